/** Constant integers: quantized weights, their layout, and what products with them can reach. */
import { allocate } from "../../ir/dense.ts";
import type { Dense, Elements, Value } from "../../ir/module.ts";
import { fromNumber, mul, rational } from "../../ir/rational.ts";
import { I32, intMax, intMin, intTypeFor, type QuantType, tensor } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import type { Interval } from "./ranges.ts";
import { at, type Constant, type PerChannel } from "./rep.ts";

/** Integers on a grid: q − zero point, and the scales along the quantized axis (counted from the front). */
export function quantizedConst(dense: Dense, q: QuantType, shape: readonly number[]): Constant {
  const scheme = q.scheme;
  const axis = scheme.kind === "axis" ? scheme.axis : 0;
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const extent = shape[axis] ?? 1;
  const zeros = scheme.kind === "axis" ? scheme.zeroPoints : [scheme.zeroPoint];
  const channel = (i: number) => (scheme.kind === "axis" ? Math.floor(i / inner) % extent : 0);
  const scale: PerChannel = (scheme.kind === "axis" ? scheme.scales : [scheme.scale]).map(fromNumber);
  const ints = minusZeros(dense.data, q, zeros, scheme.kind === "axis" ? inner : dense.data.length);
  return {
    kind: "constant",
    shape,
    at: (i) => mul(rational(BigInt(ints[i]!)), at(scale, channel(i))),
    grid: { q: ints, scale, axis },
  };
}

/** q − zero, `zeros` taking turns every `inner` elements; the same array where nothing is taken away. */
function minusZeros(data: Elements, q: QuantType, zeros: readonly number[], inner: number): Elements {
  const { storage } = q;
  const type = intTypeFor(intMin(storage) - Math.max(0, ...zeros), intMax(storage) - Math.min(0, ...zeros));
  const small = type !== undefined && storage.bits <= 16;
  if (
    small &&
    !(data instanceof Float32Array) &&
    !(data instanceof Float64Array) &&
    zeros.every((z) => z === 0)
  )
    return data;
  const out = small ? allocate(type, data.length) : new Int32Array(data.length);
  for (let from = 0, c = 0; from < data.length; from += inner, c++) {
    const zero = zeros[c % zeros.length]!;
    const end = Math.min(from + inner, data.length);
    for (let i = from; i < end; i++) out[i] = data[i]! - zero;
  }
  return out;
}

/** Integer constant op holding `data`, at the narrowest width that holds it. */
export function integerConst(ctx: Context, data: Elements, shape: readonly number[], hint: string): Value {
  let lo = 0;
  let hi = 0;
  for (let i = 0; i < data.length; i++) {
    const x = data[i]!;
    if (x < lo) lo = x;
    if (x > hi) hi = x;
  }
  const elem = intTypeFor(Math.min(lo, -1), hi) ?? I32;
  return ctx.emit(
    "const",
    [],
    { value: { kind: "dense", elem, shape, data } },
    { type: tensor(shape, elem), hint },
  );
}

/** OI(HW) weight integers → O,KH,KW,I. */
export function weightsOhwi(
  q: Elements,
  shape: readonly number[],
): { data: Elements; shape: [number, number, number, number] } {
  const [o, i, ...k] = shape as [number, number, ...number[]];
  const [kh, kw] = k.length === 2 ? [k[0]!, k[1]!] : [1, k[0]!];
  const taps = kh * kw;
  if (taps === 1 || i === 1) return { data: q, shape: [o, kh, kw, i] };
  const data = q.slice();
  for (let a = 0, from = 0; a < o; a++)
    for (let b = 0; b < i; b++) for (let t = 0; t < taps; t++) data[(a * taps + t) * i + b] = q[from++]!;
  return { data, shape: [o, kh, kw, i] };
}

/** Per output: Σ w and Σ |w|. */
export interface WeightSums {
  readonly sum: Float64Array;
  readonly size: Float64Array;
}

/** Of the rows of a rows × k matrix. */
export function rowSums(data: Elements, rows: number, k: number): WeightSums {
  const sum = new Float64Array(rows);
  const size = new Float64Array(rows);
  for (let r = 0, at = 0; r < rows; r++) {
    let s = 0;
    let m = 0;
    for (let i = 0; i < k; i++) {
      const w = data[at++]!;
      s += w;
      m += Math.abs(w);
    }
    sum[r] = s;
    size[r] = m;
  }
  return { sum, size };
}

/** Of the columns of a k × columns matrix. */
export function columnSums(data: Elements, k: number, columns: number): WeightSums {
  const sum = new Float64Array(columns);
  const size = new Float64Array(columns);
  for (let i = 0, at = 0; i < k; i++)
    for (let c = 0; c < columns; c++) {
      const w = data[at++]!;
      sum[c] = sum[c]! + w;
      size[c] = size[c]! + Math.abs(w);
    }
  return { sum, size };
}

/** Interval of Σ_k x_k·w_k for x_k in `x`, over all outputs: (Σ w·(max + min) ± Σ |w|·(max − min)) / 2. */
export function productSums({ sum, size }: WeightSums, x: Interval): Interval {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (let r = 0; r < sum.length; r++) {
    const middle = sum[r]! * (x.max + x.min);
    const spread = size[r]! * (x.max - x.min);
    min = Math.min(min, (middle - spread) / 2);
    max = Math.max(max, (middle + spread) / 2);
  }
  return sum.length === 0 ? { min: 0, max: 0 } : { min, max };
}
