/** Operators that give the same elements another shape. */
import { badAttributeValue, badOperands, badOperandValue } from "../../../ir/messages.ts";
import { sizeOf } from "../../../ir/types.ts";
import { checkShape, move, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  axesOf,
  axisOf,
  flagAttr,
  input,
  intAttr,
  intsAttr,
  intsFrom,
  type NodeImport,
  reject,
  stringAttr,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";

const text = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

/** Sizes with −1 (what is left) and, unless `allowzero`, 0 (as in the input) resolved. */
export function resolveShape(
  n: NodeImport,
  x: Operand,
  wanted: readonly number[],
  allowzero: boolean,
): readonly number[] {
  const bad = (reason: string): never => reject(badOperands(n.loc, `shape ${text(wanted)} ${reason}`, []));
  if (wanted.some((d) => !Number.isInteger(d) || d < -1)) bad("has an entry below −1");
  if (wanted.filter((d) => d === -1).length > 1) bad("leaves more than one size open");
  if (allowzero && wanted.includes(0) && wanted.includes(-1)) bad("has both 0 and −1");
  const sizes = wanted.map((d, i) => {
    if (d !== 0 || allowzero) return d;
    return x.shape[i] ?? bad(`copies axis ${i}, which the input of rank ${x.shape.length} lacks`);
  });
  const open = sizes.indexOf(-1);
  const known = sizeOf(sizes.filter((d) => d !== -1));
  const total = sizeOf(x.shape);
  if (open >= 0) {
    if (known === 0 || total % known !== 0) bad(`does not hold the ${total} elements of ${text(x.shape)}`);
    sizes[open] = total / known;
  } else if (known !== total) bad(`does not hold the ${total} elements of ${text(x.shape)}`);
  return sizes;
}

const reshapes: Importer = {
  op: "Reshape",
  inputs: [1, 2],
  attributes: { allowzero: "int", shape: "ints" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const wanted = intsFrom(n, "shape", 1) ?? reject(badAttributeValue(n.loc, "shape", "is required"));
    return reshape(n, x, resolveShape(n, x, wanted, flagAttr(n, "allowzero", false)));
  },
};

const flatten: Importer = {
  op: "Flatten",
  inputs: [1, 1],
  attributes: { axis: "int" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const axis = intAttr(n, "axis", 1);
    const at = axis === x.shape.length ? axis : axisOf(n, axis, x.shape.length);
    return reshape(n, x, [sizeOf(x.shape.slice(0, at)), sizeOf(x.shape.slice(at))]);
  },
};

const squeeze: Importer = {
  op: "Squeeze",
  inputs: [1, 2],
  attributes: { axes: "ints" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const given = intsFrom(n, "axes", 1);
    const axes = given === undefined ? undefined : axesOf(n, given, x.shape.length);
    const wide = axes?.find((a) => x.shape[a] !== 1);
    if (wide !== undefined) reject(badOperands(n.loc, `axis ${wide} of ${text(x.shape)} has not size 1`, []));
    return reshape(
      n,
      x,
      x.shape.filter((d, i) => (axes === undefined ? d !== 1 : !axes.includes(i))),
    );
  },
};

const unsqueeze: Importer = {
  op: "Unsqueeze",
  inputs: [1, 2],
  attributes: { axes: "ints" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const given = intsFrom(n, "axes", 1) ?? reject(badAttributeValue(n.loc, "axes", "is required"));
    const rank = x.shape.length + given.length;
    const axes = axesOf(n, given, rank);
    const rest = x.shape.values();
    return reshape(
      n,
      x,
      Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.next().value!)),
    );
  },
};

const transposes: Importer = {
  op: "Transpose",
  inputs: [1, 1],
  attributes: { perm: "ints" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const perm = intsAttr(n, "perm") ?? x.shape.map((_, i) => x.shape.length - 1 - i);
    if (perm.length !== x.shape.length || !perm.toSorted((a, b) => a - b).every((p, i) => p === i))
      reject(badAttributeValue(n.loc, "perm", `is ${text(perm)}, no permutation of ${x.shape.length} axes`));
    return transpose(n, x, perm);
  },
};

/** Block size and the sizes of [N, C, H, W], of which `axes` must be divisible. */
function blocks(
  n: NodeImport,
  x: Operand,
  divisor: (b: number) => readonly [number, number, number, number],
) {
  const b = intAttr(n, "blocksize");
  if (!(b >= 1 && b < 2 ** 16)) reject(badAttributeValue(n.loc, "blocksize", `is ${b}`));
  const [batch, channels, height, width] = x.shape;
  if (x.shape.length !== 4 || divisor(b).some((d, i) => x.shape[i]! % d !== 0))
    reject(badOperands(n.loc, `blocks of ${b} do not divide an input of shape ${text(x.shape)}`, []));
  return { b, batch: batch!, channels: channels!, height: height!, width: width! };
}

const depthToSpace: Importer = {
  op: "DepthToSpace",
  inputs: [1, 1],
  attributes: { blocksize: "int", mode: "string" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const { b, batch, channels, height, width } = blocks(n, x, (s) => [1, s * s, 1, 1]);
    const mode = stringAttr(n, "mode", "DCR");
    if (mode !== "DCR" && mode !== "CRD") reject(badAttributeValue(n.loc, "mode", 'must be "DCR" or "CRD"'));
    const depth = channels / (b * b);
    const split =
      mode === "DCR"
        ? { shape: [batch, b, b, depth, height, width], perm: [0, 3, 4, 1, 5, 2] }
        : { shape: [batch, depth, b, b, height, width], perm: [0, 1, 4, 2, 5, 3] };
    const moved = transpose(n, reshape(n, x, split.shape), split.perm);
    return reshape(n, moved, [batch, depth, height * b, width * b]);
  },
};

const spaceToDepth: Importer = {
  op: "SpaceToDepth",
  inputs: [1, 1],
  attributes: { blocksize: "int" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const { b, batch, channels, height, width } = blocks(n, x, (s) => [1, 1, s, s]);
    const [h, w] = [height / b, width / b];
    const moved = transpose(n, reshape(n, x, [batch, channels, h, b, w, b]), [0, 3, 5, 1, 2, 4]);
    return reshape(n, moved, [batch, channels * b * b, h, w]);
  },
};

const expand: Importer = {
  op: "Expand",
  inputs: [2, 2],
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const wanted = intsFrom(n, "shape", 1)!;
    if (wanted.some((d) => !(d >= 0 && d < 2 ** 31)))
      reject(badOperandValue(n.loc, input(n, 1).name, `(shape) is ${text(wanted)}`));
    // Broadcasting works both ways: sizes 1 of the wanted shape take the input's.
    const rank = Math.max(x.shape.length, wanted.length);
    const from = (shape: readonly number[], i: number): number => shape[i - (rank - shape.length)] ?? 1;
    const shape = Array.from({ length: rank }, (_, i) =>
      from(wanted, i) === 1 ? from(x.shape, i) : from(wanted, i),
    );
    checkShape(n.loc, n.node.outputs[0] ?? "", shape);
    return move(n, "layout.expand", [x], { shape });
  },
};

const tile: Importer = {
  op: "Tile",
  since: 6,
  inputs: [2, 2],
  moves: true,
  run: (n) => {
    const repeats = intsFrom(n, "repeats", 1)!;
    if (repeats.some((r) => !(r >= 0 && r < 2 ** 31)))
      reject(badOperandValue(n.loc, input(n, 1).name, `(repeats) is ${text(repeats)}`));
    const x = input(n, 0);
    if (repeats.length !== x.shape.length)
      reject(badOperands(n.loc, `there are ${repeats.length} repeats for ${x.shape.length} axes`, []));
    checkShape(
      n.loc,
      n.node.outputs[0] ?? "",
      repeats.map((r, i) => r * x.shape[i]!),
    );
    return move(n, "layout.tile", [x], { repeats });
  },
};

export const shapeImporters: readonly Importer[] = [
  reshapes,
  flatten,
  squeeze,
  unsqueeze,
  transposes,
  depthToSpace,
  spaceToDepth,
  expand,
  tile,
];
