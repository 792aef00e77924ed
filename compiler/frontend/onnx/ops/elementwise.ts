/** Elementwise arithmetic: one operand, two with broadcasting, or any number. */
import { integerArithmetic, unsupportedForm } from "../../../ir/messages.ts";
import type { Attrs } from "../../../ir/module.ts";
import { isFloatDtype, makeConstant, rangeOf } from "../../constants.ts";
import { elementwise } from "../../graph-import.ts";
import { forOps, type Importer, VARIADIC } from "../../importer.ts";
import { allInputs, constantScalar, floatAttr, input, type NodeImport, reject } from "../../node-import.ts";
import { constantOperand, type Operand, type ValueOperand } from "../../operand.ts";
import { clipIntegers } from "../../qdq.ts";
import { realsOf } from "./constant.ts";
import { binaryOn, unaryOn } from "./int-arithmetic.ts";

const UNARY = {
  Neg: "neg",
  Abs: "abs",
  Sqrt: "sqrt",
  Reciprocal: "reciprocal",
  Exp: "exp",
  Log: "log",
  Erf: "erf",
  Sigmoid: "sigmoid",
  Tanh: "tanh",
  Softplus: "softplus",
  Softsign: "softsign",
  Floor: "floor",
  Ceil: "ceil",
  Round: "round",
  Sign: "sign",
  Sin: "sin",
  Cos: "cos",
  Asin: "asin",
  Acos: "acos",
  Atan: "atan",
  Sinh: "sinh",
  Asinh: "asinh",
  Acosh: "acosh",
  Atanh: "atanh",
  HardSwish: "hard_swish",
  Mish: "mish",
} as const;

const BINARY = { Add: "add", Sub: "sub", Mul: "mul", Div: "div" } as const;

const isUnary = (op: string): op is keyof typeof UNARY => op in UNARY;
const isBinary = (op: string): op is keyof typeof BINARY => op in BINARY;

const unary = forOps(Object.keys(UNARY).filter(isUnary), (op) => ({
  since: 6,
  inputs: [1, 1],
  run: (n) => unaryOn(n, `float.${UNARY[op as keyof typeof UNARY]}`, input(n, 0)),
}));

const binary = forOps(Object.keys(BINARY).filter(isBinary), (op) => ({
  since: 7,
  inputs: [2, 2],
  run: (n) => binaryOn(n, `float.${BINARY[op as keyof typeof BINARY]}`, input(n, 0), input(n, 1)),
}));

/** A left fold over any number of operands. */
const chain = (n: NodeImport, name: string): Operand =>
  allInputs(n).reduce((a, b) => binaryOn(n, name, a, b));

const relu: Importer = {
  op: "Relu",
  since: 6,
  inputs: [1, 1],
  run: (n) => {
    const x = input(n, 0);
    if (isPlain(x)) return binaryOn(n, "float.max", x, scalar(x, 0));
    return isFloatDtype(x.dtype) || x.kind === "constant"
      ? elementwise(n, "float.relu", [x])
      : clipIntegers(n, x, 0, Number.POSITIVE_INFINITY);
  },
};

/** Float32 bounds stand for themselves; integers narrow the range of the quantizer before them. */
function clip(n: NodeImport, lo: number, hi: number): Operand {
  const x = input(n, 0);
  if (Number.isNaN(lo) || Number.isNaN(hi))
    reject(unsupportedForm(n.loc, "a bound of the Clip is not a number"));
  if (isPlain(x)) return boundBy(n, x, [lo, "max"], [hi, "min"]);
  if (!isFloatDtype(x.dtype)) return clipIntegers(n, x, lo, hi);
  return elementwise(n, "float.clip", [x], { lo, hi });
}

/** Integers of the run that no quantizer has made. */
const isPlain = (x: Operand): boolean => x.kind === "value" && x.value.type.elem.kind === "int";

/** Bounds on plain integers; infinite ones and those of the type do nothing. */
function boundBy(
  n: NodeImport,
  x: Operand,
  ...bounds: readonly (readonly [number, "min" | "max"])[]
): Operand {
  const range = rangeOf(x.dtype);
  return bounds.reduce((y, [at, which]) => {
    if (range === undefined || (which === "max" ? at <= range.lo : at >= range.hi)) return y;
    return binaryOn(n, `float.${which}`, y, scalar(y, at));
  }, x);
}

/** Bounds of which one is computed at run time. */
function clipBetween(n: NodeImport): Operand {
  const [x, lo, hi] = [input(n, 0), n.inputs[1], n.inputs[2]];
  const above = lo === undefined ? x : binaryOn(n, "float.max", x, lo);
  return hi === undefined ? above : binaryOn(n, "float.min", above, hi);
}

const bound = (n: NodeImport, index: number, role: string, fallback: number): number => {
  const operand = n.inputs[index];
  return operand === undefined ? fallback : constantScalar(n, operand, role);
};

/** A bound that comes through a DequantizeLinear is a constant all the same. */
const fromDequantize = (n: NodeImport, o: ValueOperand): boolean =>
  n.graph.definitions.get(o.value)?.name === "quant.dequantize";

const clips: readonly Importer[] = [
  {
    op: "Clip",
    since: 6,
    until: 10,
    inputs: [1, 1],
    attributes: { min: "float", max: "float" },
    run: (n) =>
      clip(n, floatAttr(n, "min", Number.NEGATIVE_INFINITY), floatAttr(n, "max", Number.POSITIVE_INFINITY)),
  },
  {
    op: "Clip",
    since: 11,
    inputs: [1, 3],
    run: (n) => {
      const plainBounds = [1, 2].map((i) => n.inputs[i]);
      const known = plainBounds.every((o) => o?.kind !== "value" || fromDequantize(n, o));
      if (!known) return clipBetween(n);
      return clip(
        n,
        bound(n, 1, "lower bound", Number.NEGATIVE_INFINITY),
        bound(n, 2, "upper bound", Number.POSITIVE_INFINITY),
      );
    },
  },
];

const others: readonly Importer[] = [
  { op: "Min", since: 8, inputs: [1, VARIADIC], run: (n) => chain(n, "float.min") },
  { op: "Max", since: 8, inputs: [1, VARIADIC], run: (n) => chain(n, "float.max") },
  { op: "Sum", since: 8, inputs: [1, VARIADIC], run: (n) => chain(n, "float.add") },
  {
    op: "Mean",
    since: 8,
    inputs: [1, VARIADIC],
    run: (n) => {
      const count = n.inputs.length;
      const sum = chain(n, "float.add");
      return elementwise(n, "float.div", [sum, scalar(sum, count)]);
    },
  },
  {
    op: "Pow",
    since: 7,
    inputs: [2, 2],
    run: (n) => {
      const [x, y] = [input(n, 0), input(n, 1)];
      if (isFloatDtype(y.dtype)) return elementwise(n, "float.pow", [x, y]);
      // From opset 12 the exponent may have another type than the base.
      if (y.kind !== "constant") {
        if (!isFloatDtype(x.dtype)) return reject(integerArithmetic(n.loc, y.name, y.dtype));
        return elementwise(n, "float.pow", [x, realsOf(n, y)]);
      }
      const { shape, data } = y.constant.dense;
      const dtype = isFloatDtype(x.dtype) ? x.dtype : y.dtype;
      return elementwise(n, "float.pow", [x, constantOperand(makeConstant(dtype, shape, data), y.name)]);
    },
  },
];

/** A scalar of the operand's own type. */
export const scalar = (like: Operand, value: number): Operand =>
  constantOperand(makeConstant(like.dtype, [], [value]));

export const withAttrs = (n: NodeImport, name: string, attrs: Attrs): Operand =>
  elementwise(n, name, [input(n, 0)], attrs);

export const elementwiseImporters: readonly Importer[] = [...unary, ...binary, relu, ...clips, ...others];
