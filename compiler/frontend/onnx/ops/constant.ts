/** Constants, sizes, and operators that only choose or relabel. */
import {
  badAttributeValue,
  badOperands,
  badOperandValue,
  unsupportedForm,
  unsupportedType,
} from "../../../ir/messages.ts";
import { broadcastShapes, broadcastTo } from "../../../ir/ops/axes.ts";
import { type QuantType, sizeOf } from "../../../ir/types.ts";
import {
  elementOf,
  isFloatDtype,
  makeConstant,
  rangeOf,
  roundTo,
  constantOf as tensorConstant,
} from "../../constants.ts";
import { checkShape, elementwise, LIMITS, move } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import {
  constantInts,
  constantOf,
  constantScalar,
  flagAttr,
  input,
  intAttr,
  type NodeImport,
  reject,
  tensorAttr,
} from "../../node-import.ts";
import { constantOperand, named, type Operand, type ValueOperand } from "../../operand.ts";
import { integersAsReals, quantizeTo, RAW } from "../../qdq.ts";
import { type DataType, dataTypeOf } from "../data-types.ts";
import type { OnnxTensor } from "../model.ts";

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
    return input(n, 0);
  },
};

function cast(n: NodeImport, to: DataType): Operand {
  const x = input(n, 0);
  if (x.dtype === to) return x;
  if (x.kind === "constant") return constantOperand(castConstant(n, x, to));
  if (isFloatDtype(to)) {
    // The meaning is in real numbers, so the width of a float type has none.
    const y = isFloatDtype(x.dtype) ? x : integersAsReals(n, x);
    return { ...named(y, n.node.outputs[0] ?? ""), dtype: to };
  }
  return (
    castToIntegers(n, x, to) ??
    reject(unsupportedForm(n.loc, `a Cast from ${x.dtype} to ${to} at run time is not supported`))
  );
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
    run: (n) => cast(n, dataTypeAttr(n, "to")),
  },
  {
    op: "CastLike",
    inputs: [2, 2],
    attributes: { saturate: "int", round_mode: "string" },
    run: (n) => cast(n, input(n, 1).dtype),
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

/** A fold of two constants element by element. */
function fold(n: NodeImport, dtype: DataType, f: (a: number, b: number) => number): Operand {
  const [a, b] = [0, 1].map((i) => constantOf(n, input(n, i), "operand").dense);
  const shape =
    broadcastShapes(a!.shape, b!.shape) ?? reject(badOperands(n.loc, "the shapes do not broadcast", []));
  if (sizeOf(shape) > LIMITS.folded) reject(badOperands(n.loc, "the constants are too large", []));
  const [x, y] = [broadcastTo(a!, shape), broadcastTo(b!, shape)];
  return constantOperand(
    makeConstant(
      dtype,
      shape,
      Float64Array.from(x, (v, i) => f(v, y[i]!)),
    ),
  );
}

const COMPARISONS: { readonly [op: string]: (a: number, b: number) => boolean } = {
  Equal: (a, b) => a === b,
  Greater: (a, b) => a > b,
  GreaterOrEqual: (a, b) => a >= b,
  Less: (a, b) => a < b,
  LessOrEqual: (a, b) => a <= b,
  And: (a, b) => a !== 0 && b !== 0,
  Or: (a, b) => a !== 0 || b !== 0,
  Xor: (a, b) => (a !== 0) !== (b !== 0),
};

const logic: readonly Importer[] = [
  ...forOps(Object.keys(COMPARISONS), (op) => ({
    since: 7,
    inputs: [2, 2],
    run: (n) => fold(n, "bool", (a, b) => (COMPARISONS[op]!(a, b) ? 1 : 0)),
  })),
  {
    op: "Not",
    inputs: [1, 1],
    run: (n) => {
      const { shape, data } = constantOf(n, input(n, 0), "operand").dense;
      return constantOperand(
        makeConstant(
          "bool",
          shape,
          Array.from(data, (v) => (v === 0 ? 1 : 0)),
        ),
      );
    },
  },
  {
    op: "Mod",
    since: 10,
    inputs: [2, 2],
    attributes: { fmod: "int" },
    run: (n) => {
      const truncated = flagAttr(n, "fmod", false);
      if (constantOf(n, input(n, 1), "divisor").dense.data.includes(0))
        reject(badOperands(n.loc, "a divisor is 0", []));
      return fold(n, input(n, 0).dtype, (a, b) => (truncated ? a % b : a - b * Math.floor(a / b)));
    },
  },
];

/**
 * Where with a constant condition. Between values of the run: x·m + y·(1 − m) with the 0/1 mask m, which equals the
 * choice because all numbers are finite.
 */
const where: Importer = {
  op: "Where",
  since: 9,
  inputs: [3, 3],
  run: (n) => {
    const [x, y] = [input(n, 1), input(n, 2)];
    const condition = constantOf(n, input(n, 0), "condition").dense;
    const shape = broadcastShapes(condition.shape, x.shape, y.shape);
    if (shape === undefined) return reject(badOperands(n.loc, "the shapes do not broadcast", []));
    checkShape(n.loc, n.node.outputs[0] ?? "", shape);
    const whole = (o: Operand): Operand => move(n, "layout.expand", [o], { shape });
    if (condition.data.every((c) => c !== 0)) return whole(x);
    if (condition.data.every((c) => c === 0)) return whole(y);
    if (x.kind === "constant" && y.kind === "constant") {
      if (sizeOf(shape) > LIMITS.folded) reject(badOperands(n.loc, "the constants are too large", []));
      const [c, a, b] = [condition, x.constant.dense, y.constant.dense].map((d) => broadcastTo(d, shape));
      return constantOperand(
        makeConstant(
          x.dtype,
          shape,
          Float64Array.from(c!, (v, i) => (v === 0 ? b![i]! : a![i]!)),
        ),
      );
    }
    const unbounded = [x, y].find(
      (o) => o.kind === "constant" && !o.constant.dense.data.every(Number.isFinite),
    );
    if (unbounded !== undefined)
      reject(
        badOperandValue(n.loc, unbounded.name, "is infinite, and the other branch is computed at run time"),
      );
    const mask = (one: boolean): Operand => {
      const bits = Float64Array.from(condition.data, (c) => ((c !== 0) === one ? 1 : 0));
      return constantOperand(makeConstant("float32", condition.shape, bits));
    };
    const kept = elementwise(n, "float.mul", [x, mask(true)]);
    return elementwise(n, "float.add", [kept, elementwise(n, "float.mul", [y, mask(false)])]);
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
  ...logic,
  where,
];
