/** Constants, sizes, and operators that only relabel. */
import {
  badAttributeValue,
  badOperands,
  badOperandValue,
  unsupportedForm,
  unsupportedType,
} from "../../../ir/messages.ts";
import { saturates } from "../../../ir/messages-float.ts";
import {
  I32,
  type IntType,
  intMax,
  intMin,
  intTypeFor,
  type QuantType,
  sizeOf,
  tensor,
} from "../../../ir/types.ts";
import {
  elementOf,
  isFloatDtype,
  makeConstant,
  rangeOf,
  roundTo,
  constantOf as tensorConstant,
} from "../../constants.ts";
import { append, checkShape, LIMITS, move } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  constantInts,
  constantScalar,
  input,
  intAttr,
  type NodeImport,
  reject,
  tensorAttr,
} from "../../node-import.ts";
import { constantOperand, named, type Operand, type ValueOperand, valueOperand } from "../../operand.ts";
import { cast, intervalOf, isIntegers, isLong, isPortDtype, portElem, typeOf } from "../../plain-integers.ts";
import { integersAsReals, quantizeTo, RAW } from "../../qdq.ts";
import { type DataType, dataTypeOf } from "../data-types.ts";
import type { OnnxTensor } from "../model.ts";
import { isZero, not } from "./logic.ts";

const ints = (shape: readonly number[], values: readonly number[]): Operand =>
  constantOperand(makeConstant("int64", shape, values));

const fromTensor = (n: NodeImport, tensor: OnnxTensor): Operand => {
  const constant = tensorConstant(tensor);
  return constant
    ? constantOperand(constant)
    : reject(unsupportedType(n.loc, tensor.name, tensor.dataType, "the constant"));
};

const exact = (v: number | bigint): number =>
  typeof v === "number" ? v : v < 0n ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;

const constant: Importer = {
  op: "Constant",
  inputs: [0, 0],
  attributes: {
    value: "tensor",
    value_float: "float",
    value_floats: "floats",
    value_int: "int",
    value_ints: "ints",
    value_string: "string",
    value_strings: "strings",
    sparse_value: "sparse",
  },
  run: (n) => {
    const [entry] = n.node.attributes;
    if (entry === undefined || n.node.attributes.size !== 1)
      return reject(badAttributeValue(n.loc, "value", "must be the one attribute of a Constant"));
    const [name, a] = entry;
    if (a.kind === "tensor") return fromTensor(n, a.value);
    if (a.kind === "int") return ints([], [exact(a.value)]);
    if (a.kind === "ints") return ints([a.value.length], a.value.map(exact));
    if (a.kind === "float") return constantOperand(makeConstant("float32", [], [a.value]));
    if (a.kind === "floats") return constantOperand(makeConstant("float32", [a.value.length], a.value));
    return reject(unsupportedType(n.loc, name, a.kind, "the constant attribute"));
  },
};

const identity: Importer = { op: "Identity", inputs: [1, 1], moves: true, run: (n) => input(n, 0) };

const dropout: Importer = {
  op: "Dropout",
  since: 7,
  inputs: [1, 3],
  attributes: { ratio: "float", seed: "int" },
  moves: true,
  run: (n) => {
    const training = n.inputs[2];
    if (training !== undefined && constantScalar(n, training, "training mode") !== 0)
      reject(
        unsupportedForm(n.loc, "Dropout in training mode is random", ["export the model in evaluation mode"]),
      );
    const x = input(n, 0);
    // The mask of what is kept: everything.
    const wanted = n.node.outputs[1] !== undefined && n.node.outputs[1] !== "";
    return wanted
      ? [x, constantOperand(makeConstant("bool", x.shape, new Uint8Array(sizeOf(x.shape)).fill(1)))]
      : x;
  },
};

function castTo(n: NodeImport, to: DataType): Operand {
  const x = input(n, 0);
  if (x.dtype === to) return x;
  if (x.kind === "constant") return constantOperand(castConstant(n, x, to));
  if (isFloatDtype(to)) {
    // The meaning is in real numbers, so the width of a float type has none.
    const y = isFloatDtype(x.dtype) ? x : realsOf(n, x);
    return { ...named(y, n.node.outputs[0] ?? ""), dtype: to };
  }
  const quantized = x.value.type.elem.kind !== "int" ? castToIntegers(n, x, to) : undefined;
  return quantized ?? toIntegers(n, x, to);
}

/** Numbers cut to integers of at most 32 bits; what lies outside the type, where ONNX says nothing, saturates. */
function castToIntegers(n: NodeImport, x: ValueOperand, to: DataType): Operand | undefined {
  const [storage, range, from] = [elementOf(to), rangeOf(to), rangeOf(x.dtype)];
  // To fewer bits than eight, casts wrap.
  if (storage?.kind !== "int" || storage.bits < 8 || range === undefined) return undefined;
  if (range.lo < -(2 ** 31) || range.hi > 2 ** 31 - 1 || !(isFloatDtype(x.dtype) || from)) return undefined;
  // Integers wrap.
  if (from && (from.lo < range.lo || from.hi > range.hi)) return undefined;
  const numbers = from ? integersAsReals(n, x) : x;
  const type: QuantType = { kind: "quant", storage, ...range, scheme: RAW };
  return quantizeTo(n, numbers, type, to, { rounding: "down" });
}

/** The integers themselves as real numbers. */
export function realsOf(n: NodeImport, x: ValueOperand): Operand {
  if (x.value.type.elem.kind === "quant") return integersAsReals(n, x);
  const attrs = { axis: 0, zeros: [0], scales: [1], offsets: [0] };
  return valueOperand(append(n, "float.from_int", [x], [x.value], attrs), "float32");
}

/** Floats toward zero, saturating; integers modulo 2^bits; anything but 0 is true. */
function toIntegers(n: NodeImport, x: ValueOperand, to: DataType): Operand {
  if (to === "bool") return not(n, isZero(n, x));
  if (!isPortDtype(to))
    return reject(unsupportedForm(n.loc, `a Cast from ${x.dtype} to ${to} at run time is not supported`));
  if (isIntegers(x)) {
    const interval = intervalOf(n, x);
    const elem = typeOf(n, to, interval);
    return valueOperand(cast(n, x.value, elem), to);
  }
  // To fewer bits than eight, floats wrap, too.
  const target = portElem(to) as IntType;
  const elem = target.bits < 8 ? I32 : target;
  if (isLong(to)) n.graph.diagnostics.push(saturates(n.loc, n.node.outputs[0] ?? "", to));
  const attrs = {
    axis: 0,
    scales: [1],
    zeros: [0],
    lo: intMin(elem),
    hi: intMax(elem),
    rounding: "down",
    order: "round_then_shift",
  };
  const cut = append(n, "float.to_int", [x], [x.value], attrs, tensor(x.shape, elem));
  return valueOperand(elem === target ? cut : cast(n, cut, target), to);
}

/** Whole floats as indices 0 … hi; what is outside is the nearest of them. */
export function castFloats(n: NodeImport, x: Operand, hi: number): Operand {
  if (x.kind === "constant") {
    const inside = Float64Array.from(x.constant.dense.data, (v) => Math.min(Math.max(Math.trunc(v), 0), hi));
    return constantOperand(makeConstant("int64", x.shape, inside));
  }
  const elem = intTypeFor(0, hi)!;
  const attrs = { axis: 0, scales: [1], zeros: [0], lo: 0, hi, rounding: "down", order: "round_then_shift" };
  return valueOperand(append(n, "float.to_int", [x], [x.value], attrs, tensor(x.shape, elem)), "int64");
}

function castConstant(n: NodeImport, x: Operand & { readonly kind: "constant" }, to: DataType) {
  const { dense } = x.constant;
  const range = rangeOf(to);
  if (range === undefined && !isFloatDtype(to))
    return reject(unsupportedType(n.loc, x.name, to, "the cast of"));
  if (range !== undefined && to !== "bool" && isFloatDtype(x.dtype)) {
    const bad = dense.data.find((v) => !(Math.trunc(v) >= range.lo && Math.trunc(v) <= range.hi));
    if (bad !== undefined)
      reject(badOperandValue(n.loc, x.name, `has the element ${bad}, which is not in ${to}`));
  }
  return roundTo(to, dense.shape, dense.data);
}

const dataTypeAttr = (n: NodeImport, name: string): DataType => {
  const number = intAttr(n, name);
  return dataTypeOf(number) ?? reject(badAttributeValue(n.loc, name, `${number} is no element type`));
};

const casts: readonly Importer[] = [
  {
    op: "Cast",
    since: 6,
    inputs: [1, 1],
    attributes: { to: "int", saturate: "int", round_mode: "string" },
    run: (n) => castTo(n, dataTypeAttr(n, "to")),
  },
  {
    op: "CastLike",
    inputs: [2, 2],
    attributes: { saturate: "int", round_mode: "string" },
    run: (n) => castTo(n, input(n, 1).dtype),
  },
];

const sizes: readonly Importer[] = [
  {
    op: "Shape",
    inputs: [1, 1],
    attributes: { start: "int", end: "int" },
    run: (n) => {
      const { shape } = input(n, 0);
      const part = shape.slice(intAttr(n, "start", 0), intAttr(n, "end", shape.length));
      return ints([part.length], part);
    },
  },
  { op: "Size", inputs: [1, 1], run: (n) => ints([], [sizeOf(input(n, 0).shape)]) },
];

const constantOfShape: Importer = {
  op: "ConstantOfShape",
  inputs: [1, 1],
  attributes: { value: "tensor" },
  run: (n) => {
    const shape = constantInts(n, input(n, 0), "shape");
    if (shape.some((d) => !(d >= 0 && d < 2 ** 31)))
      reject(badOperandValue(n.loc, input(n, 0).name, "(shape) is out of range"));
    checkShape(n.loc, n.node.outputs[0] ?? "", shape);
    const stated = tensorAttr(n, "value");
    const value = stated ? fromTensor(n, stated) : constantOperand(makeConstant("float32", [1], [0]));
    if (sizeOf(value.shape) !== 1) reject(badAttributeValue(n.loc, "value", "must have one element"));
    return move(n, "layout.expand", [move(n, "layout.reshape", [value], { shape: [] })], { shape });
  },
};

const range: Importer = {
  op: "Range",
  inputs: [3, 3],
  run: (n) => {
    const start = constantScalar(n, input(n, 0), "start");
    const limit = constantScalar(n, input(n, 1), "limit");
    const delta = constantScalar(n, input(n, 2), "delta");
    const count = Math.max(Math.ceil((limit - start) / delta), 0);
    if (!(count <= LIMITS.axis)) reject(badOperands(n.loc, `the range would have ${count} elements`, []));
    const values = Array.from({ length: count }, (_, i) => start + i * delta);
    return constantOperand(roundTo(input(n, 0).dtype, [count], values));
  },
};

export const constantImporters: readonly Importer[] = [
  constant,
  identity,
  dropout,
  ...casts,
  ...sizes,
  constantOfShape,
  range,
];
