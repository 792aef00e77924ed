/** Comparisons, truth values, choices. */
import { badOperands } from "../../../ir/messages.ts";
import type { Dense, Value } from "../../../ir/module.ts";
import { broadcastShapes, broadcastTo } from "../../../ir/ops/axes.ts";
import { hasTrait } from "../../../ir/ops/index.ts";
import type { Relation } from "../../../ir/ops/int-elementwise.ts";
import { sizeOf } from "../../../ir/types.ts";
import { isFloatDtype, makeConstant } from "../../constants.ts";
import { append, checkShape, elementwise, LIMITS, materialize, move } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import { constantOf, flagAttr, input, type NodeImport, reject } from "../../node-import.ts";
import { constantOperand, type Operand, valueOperand } from "../../operand.ts";
import { integers, intervalOf, isIntegers, onIntegers, onPlain } from "../../plain-integers.ts";
import type { DataType } from "../data-types.ts";

const BIT = { lo: 0, hi: 1 };

/** A fold of two constants element by element. */
export function fold(n: NodeImport, dtype: DataType, f: (a: number, b: number) => number): Operand {
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

/** 1 where a is in the relation to b. */
export function compare(n: NodeImport, relation: Relation, a: Operand, b: Operand): Operand {
  if (isIntegers(a) && isIntegers(b)) return onPlain(n, "int.compare", [a, b], { relation }, "bool", BIT);
  if (isIntegers(a) || isIntegers(b))
    return reject(badOperands(n.loc, `element types ${a.dtype} and ${b.dtype} differ`, []));
  const values = [a, b].map((o) => materialize(n, o));
  return valueOperand(append(n, "float.compare", [a, b], values, { relation }), "bool");
}

/** A number of the operand's own type. */
export const numberLike = (like: Operand, value: number): Operand =>
  constantOperand(makeConstant(like.dtype, [], [value]));

/** 1 where the integer is that number. */
export const isEqualTo = (n: NodeImport, x: Operand, value: number): Operand =>
  compare(n, "equal", x, constantOperand(makeConstant("int64", [], [value])));

/** 1 where x is 0. */
export const isZero = (n: NodeImport, x: Operand): Operand => compare(n, "equal", x, numberLike(x, 0));

export const not = (n: NodeImport, x: Operand): Operand =>
  onPlain(n, "int.xor", [x, constantOperand(makeConstant("bool", [], [1]))], {}, "bool", BIT);

export const both = (n: NodeImport, a: Operand, b: Operand): Operand =>
  onPlain(n, "int.and", [a, b], {}, "bool", BIT);

/** a where the truth value is 1, else b. */
export function choose(n: NodeImport, condition: Operand, a: Operand, b: Operand): Operand {
  if (isIntegers(a)) {
    const [p, q] = [intervalOf(n, a), intervalOf(n, b)];
    const interval = { lo: Math.min(p.lo, q.lo), hi: Math.max(p.hi, q.hi) };
    return onPlain(n, "int.where", [condition, a, b], {}, a.dtype, interval);
  }
  const values = [integers(n, condition), materialize(n, a), materialize(n, b)];
  return valueOperand(append(n, "float.where", [condition, a, b], values, {}), a.dtype);
}

interface Comparison {
  readonly f: (a: number, b: number) => boolean;
  readonly relation: Relation;
  /** Operands the other way round. */
  readonly swap: boolean;
}

const COMPARISONS: { readonly [op: string]: Comparison } = {
  Equal: { f: (a, b) => a === b, relation: "equal", swap: false },
  Greater: { f: (a, b) => a > b, relation: "less", swap: true },
  GreaterOrEqual: { f: (a, b) => a >= b, relation: "less_equal", swap: true },
  Less: { f: (a, b) => a < b, relation: "less", swap: false },
  LessOrEqual: { f: (a, b) => a <= b, relation: "less_equal", swap: false },
};

const CONNECTIVES: {
  readonly [op: string]: readonly [name: string, f: (a: number, b: number) => boolean];
} = {
  And: ["int.and", (a, b) => a !== 0 && b !== 0],
  Or: ["int.or", (a, b) => a !== 0 || b !== 0],
  Xor: ["int.xor", (a, b) => (a !== 0) !== (b !== 0)],
};

const allConstant = (n: NodeImport): boolean => n.inputs.every((o) => o?.kind === "constant");

const comparisons = forOps(Object.keys(COMPARISONS), (op) => ({
  since: 7,
  inputs: [2, 2],
  run: (n) => {
    const { f, relation, swap } = COMPARISONS[op]!;
    if (allConstant(n)) return fold(n, "bool", (a, b) => (f(a, b) ? 1 : 0));
    const [a, b] = swap ? [input(n, 1), input(n, 0)] : [input(n, 0), input(n, 1)];
    return compare(n, relation, a, b);
  },
}));

const connectives = forOps(Object.keys(CONNECTIVES), (op) => ({
  since: 7,
  inputs: [2, 2],
  run: (n) => {
    const [name, f] = CONNECTIVES[op]!;
    if (allConstant(n)) return fold(n, "bool", (a, b) => (f(a, b) ? 1 : 0));
    return onPlain(n, name, [input(n, 0), input(n, 1)], {}, "bool", BIT);
  },
}));

/** Truth values of every float: NaN is not equal to itself; infinities are equal to themselves. */
const tests: readonly Importer[] = [
  {
    op: "Not",
    inputs: [1, 1],
    run: (n) => {
      const x = input(n, 0);
      if (x.kind === "value") return not(n, x);
      const { shape, data } = x.constant.dense;
      const turned = Array.from(data, (v) => (v === 0 ? 1 : 0));
      return constantOperand(makeConstant("bool", shape, turned));
    },
  },
  {
    op: "IsNaN",
    since: 9,
    inputs: [1, 1],
    run: (n) => not(n, compare(n, "equal", input(n, 0), input(n, 0))),
  },
  {
    op: "IsInf",
    since: 10,
    inputs: [1, 1],
    attributes: { detect_negative: "int", detect_positive: "int" },
    run: (n) => {
      const x = input(n, 0);
      const [low, high] = [flagAttr(n, "detect_negative", true), flagAttr(n, "detect_positive", true)];
      const magnitude = low && high ? elementwise(n, "float.abs", [x]) : x;
      const signed = low && !high ? elementwise(n, "float.neg", [x]) : magnitude;
      const largest = constantOperand(makeConstant("float32", [], [3.4028234663852886e38]));
      const beyond = compare(n, "less", largest, signed);
      return low || high ? beyond : both(n, beyond, not(n, beyond));
    },
  },
];

/** With a constant condition, the x or y everywhere, or constants, need no choice in the run. */
const where: Importer = {
  op: "Where",
  since: 9,
  inputs: [3, 3],
  run: (n) => {
    const [c, x, y] = [input(n, 0), input(n, 1), input(n, 2)];
    if (x.dtype !== y.dtype && isFloatDtype(x.dtype) !== isFloatDtype(y.dtype))
      reject(badOperands(n.loc, `element types ${x.dtype} and ${y.dtype} differ`, []));
    const shape = broadcastShapes(c.shape, x.shape, y.shape);
    if (shape === undefined) return reject(badOperands(n.loc, "the shapes do not broadcast", []));
    checkShape(n.loc, n.node.outputs[0] ?? "", shape);
    if (c.kind !== "constant") return choose(n, c, x, y);
    const condition = c.constant.dense;
    const whole = (o: Operand): Operand => move(n, "layout.expand", [o], { shape });
    if (condition.data.every((v) => v !== 0)) return whole(x);
    if (condition.data.every((v) => v === 0)) return whole(y);
    if (x.kind === "constant" && y.kind === "constant") {
      if (sizeOf(shape) > LIMITS.folded) reject(badOperands(n.loc, "the constants are too large", []));
      const [cs, a, b] = [condition, x.constant.dense, y.constant.dense].map((d) => broadcastTo(d, shape));
      const chosen = Float64Array.from(cs!, (v, i) => (v === 0 ? b![i]! : a![i]!));
      return constantOperand(makeConstant(x.dtype, shape, chosen));
    }
    if (onIntegers([x, y])) return choose(n, c, x, y);
    return onlyNumbers(n, x) && onlyNumbers(n, y) ? masked(n, condition, x, y) : choose(n, c, x, y);
  },
};

/** Float ops whose results are numbers where their operands are; beside them, movement. */
const FINITE: ReadonlySet<string> = new Set(
  [
    ...["add", "sub", "mul", "neg", "abs", "min", "max", "clip", "relu", "leaky_relu", "hard_sigmoid"],
    ...["sigmoid", "tanh", "erf", "gelu", "silu", "hard_swish", "softmax", "normalize", "interpolate"],
    ...["conv", "conv_transpose", "matmul", "average_pool", "max_pool", "reduce_mean", "reduce_sum"],
  ].map((name) => `float.${name}`),
);

/** Whether only numbers, no infinity and no NaN, reach the operand: quantized tensors and constants do through the ops above. */
function onlyNumbers(n: NodeImport, o: Operand): boolean {
  if (o.kind === "constant") return o.constant.dense.data.every(Number.isFinite);
  const seen = new Set<Value>();
  const rest = [o.value];
  for (let v = rest.pop(); v !== undefined; v = rest.pop()) {
    const op = n.graph.definitions.get(v);
    if (seen.has(v) || op?.name.startsWith("quant.dequantize")) continue;
    seen.add(v);
    if (op?.name === "const") {
      if (!(op.attrs.value as Dense).data.every(Number.isFinite)) return false;
    } else if (op === undefined || !(FINITE.has(op.name) || hasTrait(op, "movement"))) return false;
    else rest.push(...op.operands);
  }
  return true;
}

/** x·m + y·(1 − m) with the 0/1 mask m, which has an integer form; equal to the choice, because all numbers are finite. */
function masked(
  n: NodeImport,
  condition: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  x: Operand,
  y: Operand,
): Operand {
  const mask = (one: boolean): Operand => {
    const bits = Float64Array.from(condition.data, (c) => ((c !== 0) === one ? 1 : 0));
    return constantOperand(makeConstant("float32", condition.shape, bits));
  };
  const kept = elementwise(n, "float.mul", [x, mask(true)]);
  return elementwise(n, "float.add", [kept, elementwise(n, "float.mul", [y, mask(false)])]);
}

export const logicImporters: readonly Importer[] = [...comparisons, ...connectives, ...tests, where];
