/** Constants: float literals are computed with operator by operator in their own precision, as every runtime does. */
import type { DataType } from "../../compiler/frontend/onnx/data-types.ts";
import type { OnnxTensor } from "../../compiler/frontend/onnx/model.ts";
import { elements } from "../../compiler/frontend/onnx/tensor.ts";
import { broadcastIndex, broadcastShape } from "./gather.ts";
import type { BinaryOp } from "./irrational.ts";
import { rational } from "./rational.ts";
import { exactAt, ints, literals, reals, type Tensor } from "./tensor.ts";

export const isFloat = (dtype: DataType): boolean => /^b?float/.test(dtype);

export function fromOnnx(tensor: OnnxTensor): Tensor {
  const values = elements(tensor);
  if (values instanceof Float32Array || values instanceof Float64Array) return literals(tensor.dims, values);
  if (!("buffer" in values)) throw new Error("string tensors are not covered");
  return ints(tensor.dataType, tensor.dims, Float64Array.from(values as ArrayLike<number | bigint>, Number));
}

const BINARY: Readonly<Record<BinaryOp, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
};

/** Undefined unless both are float32 literals. A float64 result rounded once more is the correct float32 one. */
export function literalBinary(op: BinaryOp, a: Tensor, b: Tensor): Tensor | undefined {
  if (a.kind !== "real" || b.kind !== "real") return undefined;
  const [x, y] = [a.literal, b.literal];
  if (!(x instanceof Float32Array && y instanceof Float32Array)) return undefined;
  const shape = broadcastShape(a.shape, b.shape);
  const [i, j] = [broadcastIndex(a.shape, shape), broadcastIndex(b.shape, shape)];
  return literals(
    shape,
    Float32Array.from(i, (at, n) => BINARY[op](x[at]!, y[j[n]!]!)),
  );
}

const UNARY: Readonly<Record<string, (x: number) => number>> = {
  Neg: (x) => -x,
  Abs: Math.abs,
  Sqrt: Math.sqrt,
  Exp: Math.exp,
  Log: Math.log,
  Reciprocal: (x) => 1 / x,
  Floor: Math.floor,
  Ceil: Math.ceil,
};

export function literalUnary(op: string, x: Tensor): Tensor | undefined {
  const f = Object.hasOwn(UNARY, op) ? UNARY[op] : undefined;
  if (f === undefined || x.kind !== "real" || !(x.literal instanceof Float32Array)) return undefined;
  return literals(x.shape, x.literal.map(f));
}

/** Casts to float32 and float64 of computed values are exact, so no cast rounds except that of a literal. */
export function cast(x: Tensor, to: DataType, constant: boolean): Tensor {
  const wide = to === "float32" || to === "float64";
  if (isFloat(to) ? !wide : /int[24]$/.test(to)) throw new Error(`a cast to ${to} is not covered`);
  if (x.kind === "approx") {
    if (wide) return x;
    throw new Error("a cast of an irrational value to an integer is not covered");
  }
  if (x.kind === "int") {
    if (!wide) return ints(to, x.shape, x.data);
    if (constant) return literals(x.shape, Float32Array.from(x.data));
    return reals(x.shape, [{ num: x.data, units: [rational(1n)], index: undefined }]);
  }
  if (wide)
    return to === "float32" && x.literal instanceof Float64Array
      ? literals(x.shape, Float32Array.from(x.literal))
      : x;
  const terms = x.terms();
  const size = x.shape.reduce((product, dim) => product * dim, 1);
  return ints(
    to,
    x.shape,
    Float64Array.from({ length: size }, (_, i) => {
      const { num, den } = exactAt(terms, i);
      return Number(num / den);
    }),
  );
}
