/** Operators that take parts of tensors and put them together. */
import {
  badAttributeValue,
  badOperands,
  badOperandValue,
  unsupportedAttribute,
} from "../../../ir/messages.ts";
import { move, reshape } from "../../graph-import.ts";
import { type Importer, VARIADIC } from "../../importer.ts";
import {
  allInputs,
  axesOf,
  axisOf,
  constantInts,
  constantScalar,
  floatAttr,
  input,
  intAttr,
  intsAttr,
  intsFrom,
  type NodeImport,
  reject,
  stringAttr,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { pick } from "./indexing.ts";

const clamp = (v: number, lo: number, hi: number): number => Math.min(Math.max(v, lo), hi);

interface Cut {
  readonly axes: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly steps: readonly number[];
}

/** Bounds counted from the front and clamped into the axis; −1 is the end of a downward slice that takes index 0. */
function normalise(n: NodeImport, x: Operand, given: Cut): Cut {
  const axes = axesOf(n, given.axes, x.shape.length);
  const { steps } = given;
  const lists = [given.starts, given.ends, steps];
  if (lists.some((l) => l.length !== axes.length))
    reject(badOperands(n.loc, "starts, ends, axes and steps differ in length", []));
  if (steps.some((s) => s === 0)) reject(badOperands(n.loc, "a step is 0", []));
  const bound = (v: number, i: number, down: readonly [number, number]): number => {
    const size = x.shape[axes[i]!]!;
    const from = v < 0 ? v + size : v;
    return steps[i]! > 0 ? clamp(from, 0, size) : clamp(from, down[0], size + down[1]);
  };
  return {
    axes,
    // A step beyond the axis takes one element, as any step of the axis' size does.
    steps: steps.map((s, i) => clamp(s, -x.shape[axes[i]!]! - 1, x.shape[axes[i]!]! + 1)),
    starts: given.starts.map((v, i) => bound(v, i, [0, -1])),
    ends: given.ends.map((v, i) => bound(v, i, [-1, -1])),
  };
}

function slice(n: NodeImport, x: Operand, given: Cut): Operand {
  const { axes, starts, ends, steps } = normalise(n, x, given);
  const whole = axes.every((a, i) => steps[i] === 1 && starts[i] === 0 && ends[i] === x.shape[a]);
  return whole ? x : move(n, "layout.slice", [x], { starts, ends, steps, axes });
}

const slices: readonly Importer[] = [
  {
    op: "Slice",
    until: 9,
    inputs: [1, 1],
    attributes: { axes: "ints", starts: "ints", ends: "ints" },
    moves: true,
    run: (n) => {
      const starts = intsAttr(n, "starts") ?? reject(badAttributeValue(n.loc, "starts", "is required"));
      const ends = intsAttr(n, "ends") ?? reject(badAttributeValue(n.loc, "ends", "is required"));
      const axes = intsAttr(n, "axes") ?? starts.map((_, i) => i);
      return slice(n, input(n, 0), { axes, starts, ends, steps: starts.map(() => 1) });
    },
  },
  {
    op: "Slice",
    since: 10,
    inputs: [3, 5],
    moves: true,
    run: (n) => {
      const starts = constantInts(n, input(n, 1), "starts");
      const ends = constantInts(n, input(n, 2), "ends");
      const list = (i: number, role: string, fallback: readonly number[]) =>
        n.inputs[i] === undefined ? fallback : constantInts(n, n.inputs[i], role);
      const axes = list(
        3,
        "axes",
        starts.map((_, i) => i),
      );
      const steps = list(
        4,
        "steps",
        starts.map(() => 1),
      );
      return slice(n, input(n, 0), { axes, starts, ends, steps });
    },
  },
];

/** Sizes of the parts: stated, or equal ones of which the last may be smaller. */
function parts(n: NodeImport, size: number): readonly number[] {
  const count = n.node.outputs.length;
  const stated = intsFrom(n, "split", 1);
  if (stated === undefined) {
    const wanted = intAttr(n, "num_outputs", count);
    if (wanted !== count)
      reject(badAttributeValue(n.loc, "num_outputs", `is ${wanted}, the node has ${count} outputs`));
    const each = Math.ceil(size / count);
    return Array.from({ length: count }, (_, i) => clamp(size - i * each, 0, each));
  }
  const sum = stated.reduce((a, b) => a + b, 0);
  if (stated.length !== count || sum !== size || stated.some((s) => s < 0))
    reject(
      badOperands(n.loc, `[${stated.join(", ")}] does not split ${size} elements into ${count} parts`, []),
    );
  return stated;
}

const split: Importer = {
  op: "Split",
  inputs: [1, 2],
  attributes: { axis: "int", split: "ints", num_outputs: "int" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const axis = axisOf(n, intAttr(n, "axis", 0), x.shape.length);
    let at = 0;
    return parts(n, x.shape[axis]!).map((size) => {
      const start = at;
      at += size;
      return slice(n, x, { axes: [axis], starts: [start], ends: [at], steps: [1] });
    });
  },
};

const concat: Importer = {
  op: "Concat",
  inputs: [1, VARIADIC],
  attributes: { axis: "int" },
  moves: true,
  run: (n) => {
    const xs = allInputs(n);
    const axis = axisOf(n, n.opset < 4 ? intAttr(n, "axis", 1) : intAttr(n, "axis"), xs[0]!.shape.length);
    const odd = xs.find((x) => x.dtype !== xs[0]!.dtype);
    if (odd) reject(badOperands(n.loc, `element types ${xs[0]!.dtype} and ${odd.dtype} differ`, []));
    const filled = xs.filter((x) => x.shape.length !== xs[0]!.shape.length || x.shape[axis] !== 0);
    if (filled.length === 1) return filled[0]!;
    return move(n, "layout.concat", filled.length === 0 ? xs.slice(0, 1) : filled, { axis });
  },
};

const gather: Importer = {
  op: "Gather",
  inputs: [2, 2],
  attributes: { axis: "int" },
  moves: true,
  run: (n) => {
    const [x, list] = [input(n, 0), input(n, 1)];
    const axis = axisOf(n, intAttr(n, "axis", 0), x.shape.length);
    const size = x.shape[axis]!;
    if (list.kind !== "constant") return pick(n, "index.gather", x, list, { axis });
    const indices = constantInts(n, list, "indices").map((i) => (i < 0 ? i + size : i));
    const bad = indices.find((i) => !(i >= 0 && i < size));
    if (bad !== undefined)
      reject(badOperandValue(n.loc, list.name, `(indices) points outside axis ${axis} of size ${size}`));
    const taken = move(n, "layout.gather", [x], { axis, indices });
    return reshape(n, taken, [...x.shape.slice(0, axis), ...list.shape, ...x.shape.slice(axis + 1)]);
  },
};

const MODES = ["constant", "reflect", "edge"];

/** Negative padding takes elements away. */
function pad(n: NodeImport, pads: readonly number[], axes: readonly number[], value: number): Operand {
  const x = input(n, 0);
  const rank = x.shape.length;
  const mode = stringAttr(n, "mode", "constant");
  if (!MODES.includes(mode))
    reject(unsupportedAttribute(n.loc, "mode", `${JSON.stringify(mode)} is not supported`));
  if (pads.length !== 2 * axes.length)
    reject(
      badOperands(n.loc, `${axes.length} axes need ${2 * axes.length} pads, there are ${pads.length}`, []),
    );
  if (pads.some((p) => !(Math.abs(p) < 2 ** 31))) reject(badOperands(n.loc, "a pad is out of range", []));
  const before = new Array<number>(rank).fill(0);
  const after = new Array<number>(rank).fill(0);
  axes.forEach((a, i) => {
    before[a] = pads[i]!;
    after[a] = pads[axes.length + i]!;
  });
  const grown = (list: readonly number[]): readonly number[] => list.map((p) => Math.max(p, 0));
  const padded = [...before, ...after].some((p) => p > 0)
    ? move(n, "layout.pad", [x], { before: grown(before), after: grown(after), mode, value })
    : x;
  return slice(n, padded, {
    axes: before.map((_, i) => i),
    starts: before.map((p) => Math.max(-p, 0)),
    ends: padded.shape.map((d, i) => Math.max(d + Math.min(after[i]!, 0), 0)),
    steps: before.map(() => 1),
  });
}

const allAxes = (n: NodeImport): readonly number[] => input(n, 0).shape.map((_, i) => i);

const pads: readonly Importer[] = [
  {
    op: "Pad",
    since: 2,
    until: 10,
    inputs: [1, 1],
    attributes: { mode: "string", pads: "ints", value: "float" },
    moves: true,
    run: (n) => {
      const list = intsAttr(n, "pads") ?? reject(badAttributeValue(n.loc, "pads", "is required"));
      return pad(n, list, allAxes(n), floatAttr(n, "value", 0));
    },
  },
  {
    op: "Pad",
    since: 11,
    inputs: [2, 4],
    attributes: { mode: "string" },
    moves: true,
    run: (n) => {
      const value = n.inputs[2];
      const axes = n.inputs[3];
      return pad(
        n,
        constantInts(n, input(n, 1), "pads"),
        axes === undefined ? allAxes(n) : axesOf(n, constantInts(n, axes, "axes"), input(n, 0).shape.length),
        value === undefined ? 0 : constantScalar(n, value, "padding value"),
      );
    },
  },
];

export const sliceImporters: readonly Importer[] = [...slices, split, concat, gather, ...pads];
