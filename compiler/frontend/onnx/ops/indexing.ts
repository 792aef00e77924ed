/** Operators that pick and place elements by indices of the run, and those that make such indices. */
import {
  badAttributeValue,
  badOperands,
  badOperandValue,
  tensorTooLarge,
  unsupportedForm,
} from "../../../ir/messages.ts";
import type { Attrs } from "../../../ir/module.ts";
import { opDef } from "../../../ir/ops/index.ts";
import { REDUCTIONS } from "../../../ir/ops/index-select.ts";
import { I32, sizeOf, tensor } from "../../../ir/types.ts";
import { isFloatDtype, makeConstant } from "../../constants.ts";
import { append, LIMITS, move, reshape } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import {
  axisOf,
  constantOf,
  constantScalar,
  flagAttr,
  input,
  intAttr,
  type NodeImport,
  reject,
  stringAttr,
} from "../../node-import.ts";
import { constantOperand, type Operand, valueOperand } from "../../operand.ts";
import {
  anyValue,
  cast,
  type Interval,
  integers,
  intervalOf,
  isIntegers,
  isLong,
  typeOf,
} from "../../plain-integers.ts";
import { dataTypeOf } from "../data-types.ts";
import { arithmetic } from "./int-arithmetic.ts";
import { choose, compare, numberLike } from "./logic.ts";

/** A list of integers as a constant of int64. */
export const longs = (shape: readonly number[], values: readonly number[]): Operand =>
  constantOperand(makeConstant("int64", shape, values));

/** 0 … size − 1 along one axis of so many. */
export const iota = (size: number, axis: number, rank: number): Operand =>
  longs(
    Array.from({ length: rank }, (_, a) => (a === axis ? size : 1)),
    Array.from({ length: size }, (_, i) => i),
  );

/** An op on constants alone, at once; undefined where something is computed at run time. */
function folded(
  n: NodeImport,
  name: string,
  operands: readonly Operand[],
  attrs: Attrs,
  dtype: Operand["dtype"],
): Operand | undefined {
  const constants = operands.flatMap((o) => (o.kind === "constant" ? [o.constant] : []));
  if (constants.length < operands.length) return undefined;
  const dense = constants.map(({ dense: d }, k) => {
    if (operands[k]!.dtype !== "int64" || k === 0) return d;
    const far = d.data.find((v: number) => !(Math.abs(v) < 2 ** 31));
    if (far !== undefined) reject(badOperandValue(n.loc, operands[k]!.name, `holds ${far}`));
    return { ...d, elem: I32, data: Int32Array.from(d.data) } as const;
  });
  const types = dense.map((d) => tensor(d.shape, d.elem));
  const inferred = opDef(name).infer(types, attrs, undefined);
  if (typeof inferred === "string") return reject(badOperands(n.loc, inferred, []));
  const [out] = opDef(name).evaluate(dense, attrs, inferred, types);
  return constantOperand(makeConstant(dtype, out!.shape, out!.data));
}

/** Elements of x by indices: `index.gather` and its like. */
export function pick(n: NodeImport, name: string, x: Operand, indices: Operand, attrs: Attrs): Operand {
  const known = folded(n, name, [x, indices], attrs, x.dtype);
  if (known !== undefined) return known;
  const values = [anyValue(n, x), integers(n, indices)];
  return valueOperand(append(n, name, [x, indices], values, attrs), x.dtype);
}

export const gatherElements = (n: NodeImport, x: Operand, indices: Operand, axis: number): Operand =>
  pick(n, "index.gather_elements", x, indices, { axis });

const picks: readonly Importer[] = [
  {
    op: "GatherElements",
    since: 11,
    inputs: [2, 2],
    attributes: { axis: "int" },
    moves: true,
    run: (n) => {
      const x = input(n, 0);
      return gatherElements(n, x, input(n, 1), axisOf(n, intAttr(n, "axis", 0), x.shape.length));
    },
  },
  {
    op: "GatherND",
    since: 11,
    inputs: [2, 2],
    attributes: { batch_dims: "int" },
    moves: true,
    run: (n) => pick(n, "index.gather_nd", input(n, 0), input(n, 1), { batch: intAttr(n, "batch_dims", 0) }),
  },
];

const span = (a: Interval, b: Interval): Interval => ({
  lo: Math.min(a.lo, b.lo),
  hi: Math.max(a.hi, b.hi),
});

/** x with updates at the places the indices say. */
export function scatter(
  n: NodeImport,
  name: string,
  [x, indices, updates]: readonly [Operand, Operand, Operand],
  attrs: Attrs,
): Operand {
  if (x.dtype !== updates.dtype)
    reject(badOperands(n.loc, `element types ${x.dtype} and ${updates.dtype} differ`, []));
  const known = isFloatDtype(x.dtype) ? folded(n, name, [x, indices, updates], attrs, x.dtype) : undefined;
  if (known !== undefined) return known;
  const { reduction } = attrs;
  let [into, from] = [anyValue(n, x), anyValue(n, updates)];
  if (isIntegers(x)) {
    if (isLong(x.dtype) && (reduction === "add" || reduction === "mul"))
      reject(unsupportedForm(n.loc, `a scatter that reduces ${x.dtype} by ${reduction} is not supported`));
    const elem = typeOf(n, x.dtype, span(intervalOf(n, x), intervalOf(n, updates)));
    [into, from] = [cast(n, into, elem), cast(n, from, elem)];
  }
  const values = [into, integers(n, indices), from];
  return valueOperand(append(n, name, [x, indices, updates], values, attrs), x.dtype);
}

function reductionOf(n: NodeImport): string {
  const reduction = stringAttr(n, "reduction", "none");
  if (!REDUCTIONS.some((r) => r === reduction))
    reject(
      badAttributeValue(n.loc, "reduction", `is ${JSON.stringify(reduction)}, which ONNX does not know`),
    );
  return reduction;
}

const three = (n: NodeImport): readonly [Operand, Operand, Operand] => [
  input(n, 0),
  input(n, 1),
  input(n, 2),
];

const scatters: readonly Importer[] = [
  ...forOps(["ScatterElements", "Scatter"], (op) => ({
    since: op === "Scatter" ? 9 : 11,
    inputs: [3, 3],
    attributes: { axis: "int", reduction: "string" },
    run: (n) => {
      const axis = axisOf(n, intAttr(n, "axis", 0), input(n, 0).shape.length);
      return scatter(n, "index.scatter_elements", three(n), { axis, reduction: reductionOf(n) });
    },
  })),
  {
    op: "ScatterND",
    since: 11,
    inputs: [3, 3],
    attributes: { reduction: "string" },
    run: (n) => scatter(n, "index.scatter_nd", three(n), { reduction: reductionOf(n) }),
  },
];

/** Positions of the k first in order, along an axis. */
export function firstOf(n: NodeImport, x: Operand, axis: number, k: number, largest: boolean): Operand {
  const size = x.shape[axis]!;
  if (!(k >= 1 && k <= size)) reject(badOperands(n.loc, `k is ${k}, the axis has ${size} elements`, []));
  if (x.dtype === "uint32") reject(unsupportedForm(n.loc, "an order of uint32 at run time is not supported"));
  const given = anyValue(n, x);
  const ordered = isIntegers(x) ? cast(n, given, I32) : given;
  return valueOperand(append(n, "index.top_k", [x], [ordered], { axis, k, largest }), "int64");
}

const topK: Importer = {
  op: "TopK",
  inputs: [1, 2],
  attributes: { axis: "int", k: "int", largest: "int", sorted: "int" },
  run: (n) => {
    const x = input(n, 0);
    const axis = axisOf(n, intAttr(n, "axis", -1), x.shape.length);
    const k = n.inputs[1] === undefined ? intAttr(n, "k") : constantScalar(n, n.inputs[1], "k");
    const found = firstOf(n, x, axis, k, flagAttr(n, "largest", true));
    return [gatherElements(n, x, found, axis), found];
  },
};

/** 1 where the index along `axis` of the result is that of the indices, which lack the axis. */
function oneHot(n: NodeImport, indices: Operand, axis: number, depth: number): Operand {
  const shape = [...indices.shape.slice(0, axis), 1, ...indices.shape.slice(axis)];
  const spread = reshape(n, indices, shape);
  const along = shape.map((_, a) => (a === axis ? depth : 1));
  const dtype = isIntegers(indices) ? "int64" : indices.dtype;
  const equal = (from: number): Operand => {
    const places = Array.from({ length: depth }, (_, i) => from + i);
    return compare(n, "equal", spread, constantOperand(makeConstant(dtype, along, places)));
  };
  const hit = equal(0);
  if (isIntegers(indices) && intervalOf(n, indices).lo >= 0) return hit;
  const other = equal(-depth);
  return valueOperand(append(n, "int.or", [], [integers(n, hit), integers(n, other)], {}), "bool");
}

const oneHots: readonly Importer[] = [
  {
    op: "OneHot",
    since: 9,
    inputs: [3, 3],
    attributes: { axis: "int" },
    run: (n) => {
      const [indices, values] = [input(n, 0), input(n, 2)];
      const depth = constantScalar(n, input(n, 1), "depth");
      const axis = axisOf(n, intAttr(n, "axis", -1), indices.shape.length + 1);
      if (!(Number.isInteger(depth) && depth >= 1 && depth * sizeOf(indices.shape) <= LIMITS.folded))
        reject(badOperandValue(n.loc, input(n, 1).name, `(depth) is ${depth}`));
      const part = (i: number): Operand =>
        reshape(
          n,
          move(n, "layout.slice", [values], { starts: [i], ends: [i + 1], steps: [1], axes: [0] }),
          [],
        );
      const index = indices.kind === "constant" ? asValue(n, indices) : indices;
      return choose(n, oneHot(n, index, axis, depth), part(1), part(0));
    },
  },
  {
    op: "Hardmax",
    inputs: [1, 1],
    attributes: { axis: "int" },
    run: (n) => {
      const x = input(n, 0);
      const rank = x.shape.length;
      const axis = axisOf(n, intAttr(n, "axis", n.opset < 13 ? 1 : -1), rank);
      // Before opset 13 all axes from `axis` on are one.
      const flat = n.opset < 13 ? [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))] : x.shape;
      const at = n.opset < 13 ? 1 : axis;
      const found = firstOf(n, reshape(n, x, flat), at, 1, true);
      const hit = compare(n, "equal", found, iota(flat[at]!, at, flat.length));
      const y = choose(n, hit, numberLike(x, 1), numberLike(x, 0));
      return reshape(n, y, x.shape);
    },
  },
];

/** A constant of integers as a value, for what has no folded form. */
const asValue = (n: NodeImport, o: Operand): Operand =>
  isIntegers(o) ? valueOperand(integers(n, o), o.dtype) : o;

const triangle: Importer = {
  op: "Trilu",
  since: 14,
  inputs: [1, 2],
  attributes: { upper: "int" },
  run: (n) => {
    const x = input(n, 0);
    const k = n.inputs[1] === undefined ? 0 : constantScalar(n, n.inputs[1], "diagonal");
    const upper = flagAttr(n, "upper", true);
    const [rows, columns] = x.shape.slice(-2);
    if (rows === undefined || columns === undefined)
      return reject(badOperands(n.loc, "the operand needs two axes", []));
    if (rows * columns > LIMITS.folded)
      reject(tensorTooLarge(n.loc, x.name, x.shape, `${LIMITS.folded} elements of a mask`));
    const keep = Uint8Array.from({ length: rows * columns }, (_, i) => {
      const distance = (i % columns) - Math.floor(i / columns);
      return (upper ? distance >= k : distance <= k) ? 1 : 0;
    });
    const mask = constantOperand(makeConstant("bool", [rows, columns], keep));
    if (x.kind === "constant") {
      const { dense } = x.constant;
      const kept = Float64Array.from(dense.data, (v, i) => (keep[i % keep.length] === 1 ? v : 0));
      return constantOperand(makeConstant(x.dtype, x.shape, kept));
    }
    return choose(n, mask, x, numberLike(x, 0));
  },
};

const compress: Importer = {
  op: "Compress",
  since: 9,
  inputs: [2, 2],
  attributes: { axis: "int" },
  run: (n) => {
    const x = input(n, 0);
    const { data } = constantOf(n, input(n, 1), "condition").dense;
    const stated = n.node.attributes.has("axis");
    const from = stated ? x : reshape(n, x, [sizeOf(x.shape)]);
    const axis = stated ? axisOf(n, intAttr(n, "axis"), x.shape.length) : 0;
    const indices = Array.from(data, (v, i) => (v !== 0 && i < from.shape[axis]! ? i : -1)).filter(
      (i) => i >= 0,
    );
    return move(n, "layout.gather", [from], { axis, indices });
  },
};

const reverseSequence: Importer = {
  op: "ReverseSequence",
  since: 10,
  inputs: [2, 2],
  attributes: { batch_axis: "int", time_axis: "int" },
  run: (n) => {
    const [x, lengths] = [input(n, 0), input(n, 1)];
    const rank = x.shape.length;
    const batch = axisOf(n, intAttr(n, "batch_axis", 1), rank);
    const time = axisOf(n, intAttr(n, "time_axis", 0), rank);
    const size = x.shape[time]!;
    const along = x.shape.map((d, a) => (a === batch ? d : 1));
    const given = reshape(n, asValue(n, lengths), along);
    const least = arithmetic(n, "int.max", given, numberLike(given, 0));
    const length = arithmetic(n, "int.min", least, numberLike(given, size));
    const at = iota(size, time, rank);
    const mirrored = arithmetic(n, "int.sub", arithmetic(n, "int.sub", length, numberLike(length, 1)), at);
    const index = choose(n, compare(n, "less", at, length), mirrored, at);
    const whole = move(n, "layout.expand", [index], { shape: x.shape });
    return gatherElements(n, x, whole, time);
  },
};

const diagonal: Importer = {
  op: "EyeLike",
  since: 9,
  inputs: [1, 1],
  attributes: { dtype: "int", k: "int" },
  run: (n) => {
    const x = input(n, 0);
    const [rows, columns] = x.shape as [number, number];
    if (x.shape.length !== 2) reject(badOperands(n.loc, "the operand needs two axes", []));
    if (sizeOf(x.shape) > LIMITS.folded)
      reject(tensorTooLarge(n.loc, x.name, x.shape, `${LIMITS.folded} elements of a constant`));
    const k = intAttr(n, "k", 0);
    const stated = n.node.attributes.has("dtype") ? dataTypeOf(intAttr(n, "dtype")) : undefined;
    const ones = Float64Array.from({ length: rows * columns }, (_, i) =>
      (i % columns) - Math.floor(i / columns) === k ? 1 : 0,
    );
    return constantOperand(makeConstant(stated ?? x.dtype, x.shape, ones));
  },
};

export const indexingImporters: readonly Importer[] = [
  ...picks,
  ...scatters,
  topK,
  ...oneHots,
  triangle,
  compress,
  reverseSequence,
  diagonal,
];
