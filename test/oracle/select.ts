/** Comparisons and the piecewise operators built on them: maxima, clamps, rectifiers. */
import { broadcast, broadcastShape, chain, gather, NOTHING } from "./gather.ts";
import { scaleReal } from "./linear.ts";
import { compare, ONE, type Rational, ZERO } from "./rational.ts";
import {
  type ApproxTensor,
  approximate,
  exactAt,
  type RealTensor,
  reals,
  scalar,
  sizeOf,
  type Tensor,
  toReal,
} from "./tensor.ts";

export type Order = (i: number, j: number) => number;

/** Exact comparison of the elements of one tensor, by flat index. */
export function orderOf(tensor: Exclude<Tensor, ApproxTensor>): Order {
  if (tensor.kind === "int") return (i, j) => tensor.data[i]! - tensor.data[j]!;
  const terms = tensor.terms();
  const { value, error } = approximate(tensor);
  return (i, j) => {
    const difference = value[i]! - value[j]!;
    if (Math.abs(difference) > error[i]! + error[j]!) return difference;
    const same = terms.every(
      ({ num, index }) => num[i] === num[j] && (num[i] === 0 || index === undefined || index[i] === index[j]),
    );
    return same ? 0 : compare(exactAt(terms, i), exactAt(terms, j));
  };
}

/** Elementwise maximum (or minimum) with broadcasting. */
export function extreme(a: Tensor, b: Tensor, pick: "max" | "min"): Tensor {
  const shape = broadcastShape(a.shape, b.shape);
  const size = sizeOf(shape);
  const both = chain([broadcast(a, shape), broadcast(b, shape)]);
  const sign = pick === "max" ? 1 : -1;
  const index = new Int32Array(size);
  if (both.kind === "approx") {
    for (let i = 0; i < size; i++)
      index[i] = (both.value[size + i]! - both.value[i]!) * sign > 0 ? size + i : i;
    const chosen = gather(both, index, shape) as ApproxTensor;
    return { ...chosen, error: chosen.error.map((_, i) => Math.max(both.error[i]!, both.error[size + i]!)) };
  }
  const order = orderOf(both);
  for (let i = 0; i < size; i++) index[i] = order(size + i, i) * sign > 0 ? size + i : i;
  return gather(both, index, shape);
}

/** x where its sign is positive, `slope`·x elsewhere (slope 0: the rectifier). */
export function rectify(x: Exclude<Tensor, ApproxTensor>, slope?: Rational): Tensor {
  const negative = slope === undefined ? undefined : scaleReal(toReal(x), slope);
  const sign = signs(x);
  const size = sign.length;
  const index = new Int32Array(size);
  for (let i = 0; i < size; i++) index[i] = sign[i]! > 0 ? i : negative === undefined ? NOTHING : size + i;
  return gather(negative === undefined ? x : chain([x, negative]), index, x.shape);
}

/** Exact signs. */
export function signs(x: Exclude<Tensor, ApproxTensor>): Int8Array {
  if (x.kind === "int") return Int8Array.from(x.data, Math.sign);
  const terms = x.terms();
  const { value, error } = approximate(x);
  return Int8Array.from(value, (v, i) => {
    if (Math.abs(v) > error[i]!) return Math.sign(v);
    if (terms.every(({ num }) => num[i] === 0)) return 0;
    const exact = exactAt(terms, i).num;
    return exact > 0n ? 1 : exact < 0n ? -1 : 0;
  });
}

/** min(max(x, lo), hi), with one pass for both limits. */
export function clip(x: Tensor, lo: Rational | undefined, hi: Rational | undefined): Tensor {
  if (lo !== undefined && hi !== undefined && compare(lo, hi) > 0) return scalar(hi, x.shape);
  if (x.kind === "approx") {
    const above = lo === undefined ? x : extreme(x, scalar(lo), "max");
    return hi === undefined ? above : extreme(above, scalar(hi), "min");
  }
  const size = sizeOf(x.shape);
  const limits = [lo ?? ZERO, hi ?? ZERO].map((limit) => scalar(limit, [1]));
  const all = chain([x, ...limits]) as Exclude<Tensor, ApproxTensor>;
  const order = orderOf(all);
  const index = new Int32Array(size);
  for (let i = 0; i < size; i++)
    index[i] =
      lo !== undefined && order(i, size) < 0
        ? size
        : hi !== undefined && order(i, size + 1) > 0
          ? size + 1
          : i;
  return gather(all, index, x.shape);
}

/** The integer `toInteger` makes of every exact element. */
export function step(x: RealTensor, toInteger: (value: Rational) => bigint): RealTensor {
  const terms = x.terms();
  const num = Float64Array.from({ length: sizeOf(x.shape) }, (_, i) => Number(toInteger(exactAt(terms, i))));
  return reals(x.shape, [{ num, units: [ONE], index: undefined }]);
}

/** Largest (or smallest) element along `axes`. */
export function reduceExtreme(
  x: Exclude<Tensor, ApproxTensor>,
  groupOf: Int32Array,
  shape: readonly number[],
  pick: "max" | "min",
): Tensor {
  const order = orderOf(x);
  const sign = pick === "max" ? 1 : -1;
  const best = new Int32Array(sizeOf(shape)).fill(NOTHING);
  groupOf.forEach((g, i) => {
    if (best[g] === NOTHING || order(i, best[g]!) * sign > 0) best[g] = i;
  });
  return gather(x, best, shape);
}
