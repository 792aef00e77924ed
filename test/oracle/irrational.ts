/**
 * Irrational functions in float64, each with a bound on its distance from the true real function: RELATIVE covers the
 * engine's own Math functions and the few operations around them, and the argument's error enters through a bound of
 * the derivative.
 */
import { broadcast, broadcastShape, forEachCoordinate, stridesOf } from "./gather.ts";
import { type ApproxTensor, approximate, sizeOf, type Tensor, TINY, ULP } from "./tensor.ts";
import { groupIndex, reducedShape } from "./window.ts";

export const RELATIVE = 1e-12;

interface Unary {
  readonly value: (x: number) => number;
  /** Bound of |derivative| between x − e and x + e. */
  readonly slope: (x: number, e: number) => number;
}

const constant = (bound: number) => () => bound;
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const normal = (x: number) => (x < 0 ? erfc(-x / Math.SQRT2) / 2 : 1 - erfc(x / Math.SQRT2) / 2);

/** erf by its series without cancellation, erfc by its continued fraction. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 2) return Math.sign(x) * (1 - erfc(a));
  let term = a;
  let sum = a;
  for (let n = 1; term > sum * 1e-18; n++) {
    term *= (2 * a * a) / (2 * n + 1);
    sum += term;
  }
  return Math.sign(x) * ((2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum);
}

function erfc(x: number): number {
  if (x < 2) return 1 - erf(x);
  if (x > 27) return 0;
  let fraction = x;
  for (let n = 120; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / fraction / Math.sqrt(Math.PI);
}

const UNARY: Readonly<Record<string, Unary>> = {
  Sigmoid: { value: sigmoid, slope: constant(0.25) },
  Tanh: { value: Math.tanh, slope: constant(1) },
  Erf: { value: erf, slope: constant(1.2) },
  Exp: { value: Math.exp, slope: (x, e) => Math.exp(x + e) },
  Log: { value: Math.log, slope: (x, e) => 1 / (x - e) },
  Sqrt: { value: Math.sqrt, slope: (x, e) => (x - e > 0 ? 0.5 / Math.sqrt(x - e) : Infinity) },
  Softplus: { value: softplus, slope: constant(1) },
  Sin: { value: Math.sin, slope: constant(1) },
  Cos: { value: Math.cos, slope: constant(1) },
  Gelu: { value: (x) => x * normal(x), slope: constant(1.2) },
  Mish: { value: (x) => x * Math.tanh(softplus(x)), slope: constant(1.2) },
};

export const isIrrational = (op: string): boolean => Object.hasOwn(UNARY, op);

export function mapUnary(x: Tensor, { value, slope }: Unary): ApproxTensor {
  const from = approximate(x);
  const result = from.value.map(value);
  const error = result.map((y, i) => {
    const e = from.error[i]!;
    return e * slope(from.value[i]!, e) + Math.abs(y) * RELATIVE + TINY;
  });
  return { kind: "approx", shape: x.shape, value: result, error };
}

export const irrational = (op: string, x: Tensor): ApproxTensor => mapUnary(x, UNARY[op]!);

/** alpha · (exp(x / alpha) − 1) below zero. */
export const celu = (x: Tensor, alpha: number): ApproxTensor =>
  mapUnary(x, { value: (v) => (v > 0 ? v : alpha * Math.expm1(v / alpha)), slope: () => 1.01 });

/** x · sigmoid(alpha · x) */
export const swish = (x: Tensor, alpha: number): ApproxTensor =>
  mapUnary(x, { value: (v) => v * sigmoid(alpha * v), slope: () => 1.2 });

/** The approximation of Gelu by tanh, which is a function of its own. */
export const geluTanh = (x: Tensor): ApproxTensor =>
  mapUnary(x, {
    value: (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
    slope: () => 1.2,
  });

export const elu = (x: Tensor, alpha: number, gamma: number): ApproxTensor =>
  mapUnary(x, {
    value: (v) => gamma * (v > 0 ? v : alpha * Math.expm1(v)),
    slope: () => Math.abs(gamma) * Math.max(1, Math.abs(alpha)) * 1.01,
  });

export type BinaryOp = "Add" | "Sub" | "Mul" | "Div" | "Pow";

export function binary(op: BinaryOp, a: Tensor, b: Tensor): ApproxTensor {
  const shape = broadcastShape(a.shape, b.shape);
  const x = approximate(broadcast(a, shape));
  const y = approximate(broadcast(b, shape));
  const value = new Float64Array(sizeOf(shape));
  const error = new Float64Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const [u, v, du, dv] = [x.value[i]!, y.value[i]!, x.error[i]!, y.error[i]!];
    let result: number;
    let bound: number;
    switch (op) {
      case "Add":
        [result, bound] = [u + v, du + dv];
        break;
      case "Sub":
        [result, bound] = [u - v, du + dv];
        break;
      case "Mul":
        [result, bound] = [u * v, Math.abs(u) * dv + Math.abs(v) * du + du * dv];
        break;
      case "Div": {
        const least = Math.abs(v) - dv;
        [result, bound] = [u / v, least > 0 ? (du + Math.abs(u / v) * dv) / least : Infinity];
        break;
      }
      case "Pow": {
        result = u ** v;
        const slack = Math.abs(u) - du;
        const relative = slack > 0 ? (Math.abs(v) * du) / slack + dv * Math.abs(Math.log(Math.abs(u))) : 0;
        bound =
          u === 0 && du <= TINY && dv <= TINY ? 0 : slack > 0 ? Math.abs(result) * 2 * relative : Infinity;
        bound += Math.abs(result) * RELATIVE;
      }
    }
    value[i] = result;
    error[i] = bound * (1 + 8 * ULP) + Math.abs(result) * ULP + TINY;
  }
  return { kind: "approx", shape, value, error };
}

/** Softmax (or its logarithm) over `axes`. */
export function softmax(x: Tensor, axes: readonly number[], log = false): ApproxTensor {
  const { value, error } = approximate(x);
  const group = groupIndex(x.shape, axes);
  const count = Math.max(-1, ...group) + 1;
  const max = new Float64Array(count).fill(-Infinity);
  const wide = new Float64Array(count);
  value.forEach((v, i) => {
    const g = group[i]!;
    max[g] = Math.max(max[g]!, v);
    wide[g] = Math.max(wide[g]!, error[i]!);
  });
  const sum = new Float64Array(count);
  value.forEach((v, i) => {
    sum[group[i]!]! += Math.exp(v - max[group[i]!]!);
  });
  // A shift of every argument by at most e changes each quotient by a factor of at most exp(2e).
  if (log) {
    const result = value.map((v, i) => v - max[group[i]!]! - Math.log(sum[group[i]!]!));
    const bound = result.map(
      (y, i) => 2 * wide[group[i]!]! + (Math.abs(y) + Math.abs(value[i]!) + 1) * RELATIVE,
    );
    return { kind: "approx", shape: x.shape, value: result, error: bound };
  }
  const result = value.map((v, i) => Math.exp(v - max[group[i]!]!) / sum[group[i]!]!);
  // exp(v − max) is off by the rounding of the difference, relatively.
  const bound = result.map((y, i) => {
    const g = group[i]!;
    return (
      y *
        (Math.expm1(2 * wide[g]!) +
          RELATIVE +
          value.length * ULP +
          4 * ULP * (Math.abs(value[i]!) + Math.abs(max[g]!))) +
      TINY
    );
  });
  return { kind: "approx", shape: x.shape, value: result, error: bound };
}

/** (x − mean) / √(variance + ε) over the last axes from `axis` on, times `gain`, plus `bias`. */
export function layerNorm(
  x: Tensor,
  axis: number,
  epsilon: number,
  gain: Tensor,
  bias: Tensor | undefined,
): Tensor {
  const { value, error } = approximate(x);
  const inner = sizeOf(x.shape.slice(axis));
  const normalized = new Float64Array(value.length);
  const bounds = new Float64Array(value.length);
  for (let start = 0; start < value.length; start += inner) {
    const row = value.subarray(start, start + inner);
    const largest = row.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const off = error.subarray(start, start + inner).reduce((a, b) => Math.max(a, b), 0);
    const mean = row.reduce((sum, v) => sum + v, 0) / inner;
    const deviation = Math.sqrt(row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / inner + epsilon);
    // Each centred element is off by at most `shift`; so is the deviation, by the triangle inequality.
    const shift = 2 * off + (inner + 4) * ULP * largest;
    for (let i = 0; i < inner; i++) {
      const y = (row[i]! - mean) / deviation;
      normalized[start + i] = y;
      bounds[start + i] =
        shift >= deviation
          ? Infinity
          : ((1 + Math.abs(y)) * shift) / (deviation - shift) + Math.abs(y) * RELATIVE + TINY;
    }
  }
  const scaled = binary("Mul", { kind: "approx", shape: x.shape, value: normalized, error: bounds }, gain);
  return bias === undefined ? scaled : binary("Add", scaled, bias);
}

/** Sum or mean over `axes`. */
export function reduceApprox(
  x: ApproxTensor,
  axes: readonly number[],
  keep: boolean,
  mean: boolean,
): ApproxTensor {
  const group = groupIndex(x.shape, axes);
  const shape = reducedShape(x.shape, axes, keep);
  const size = sizeOf(shape);
  const value = new Float64Array(size);
  const error = new Float64Array(size);
  const count = sizeOf(x.shape) / size;
  group.forEach((g, i) => {
    value[g]! += x.value[i]!;
    error[g]! += x.error[i]! + Math.abs(x.value[i]!) * (count + 2) * ULP;
  });
  const divisor = mean ? count : 1;
  return {
    kind: "approx",
    shape,
    value: value.map((v) => v / divisor),
    error: error.map((e, i) => e / divisor + Math.abs(value[i]!) * ULP + TINY),
  };
}

/** Sums of products of approximate elements: what matrix products of irrational operands need. */
export function matmulApprox(a: Tensor, b: Tensor, shape: readonly number[]): ApproxTensor {
  const x = approximate(a);
  const y = approximate(b);
  const k = a.shape.at(-1)!;
  const [sx, sy] = [stridesOf(a.shape), stridesOf(b.shape)];
  const value = new Float64Array(sizeOf(shape));
  const error = new Float64Array(value.length);
  const lead = (own: readonly number[], strides: readonly number[], at: readonly number[]) => {
    let sum = 0;
    for (let d = 0; d < own.length - 2; d++)
      if (own[d] !== 1) sum += at[at.length - own.length + d]! * strides[d]!;
    return sum;
  };
  forEachCoordinate(shape, (at, flat) => {
    const [row, column] = at.slice(-2) as [number, number];
    const left = lead(a.shape, sx, at) + row * k;
    const right = lead(b.shape, sy, at) + column;
    const step = sy[sy.length - 2]!;
    for (let l = 0; l < k; l++) {
      const [u, v] = [x.value[left + l]!, y.value[right + l * step]!];
      const [du, dv] = [x.error[left + l]!, y.error[right + l * step]!];
      value[flat]! += u * v;
      error[flat]! += Math.abs(u) * dv + Math.abs(v) * du + du * dv + Math.abs(u * v) * (k + 2) * ULP;
    }
    error[flat]! += TINY;
  });
  return { kind: "approx", shape, value, error };
}
