/** Conversion between a float port and the integers of the core: the only floating-point arithmetic of an artifact. */
import type { IntArray } from "./elements.ts";
import type { SlotBoundary } from "./format.ts";

type Quantize = Extract<SlotBoundary, { kind: "quantize" }>;
type Thresholds = Extract<SlotBoundary, { kind: "thresholds" }>;
type Dequantize = Extract<SlotBoundary, { kind: "dequantize" }>;

/** The integers of a float input, plus `bias`. */
export function quantize(x: ArrayLike<number>, out: IntArray, b: Quantize | Thresholds, bias: number): void {
  (b.kind === "quantize" ? round : count)(x, out, b as never, bias);
}

/** out[i] = lo + #{k : sign·x[i] ≥ thresholds[k]} + bias, by bisection; NaN is never ≥. */
function count(x: ArrayLike<number>, out: IntArray, b: Thresholds, bias: number): void {
  const { thresholds, sign, lo } = b;
  const n = out.length;
  for (let i = 0; i < n; i++) {
    const v = sign * x[i]!;
    let least = 0;
    let most = thresholds.length;
    while (least < most) {
      const k = (least + most) >> 1;
      if (v >= thresholds[k]!) least = k + 1;
      else most = k;
    }
    out[i] = least + lo + bias;
  }
}

/**
 * out[i] = clamp(rne(fround(x[i] / scale)) + zeroPoint, lo, hi) + bias; NaN gives lo + bias, infinities saturate.
 * fround of the float64 quotient of two float32 is the float32 quotient. Clamping f between integers first changes nothing,
 * as rne is monotone; then adding 1.5·2^52 rounds it to the nearest integer, ties to even.
 */
function round(x: ArrayLike<number>, out: IntArray, b: Quantize, bias: number): void {
  const { scale } = b;
  const magic = 6755399441055744;
  const least = b.lo - b.zeroPoint;
  const most = b.hi - b.zeroPoint;
  const shift = b.zeroPoint + bias;
  const n = out.length;
  for (let i = 0; i < n; i++) {
    const f = Math.fround(x[i]! / scale);
    out[i] = (f > least ? (f < most ? (f + magic - magic) | 0 : most) : least) + shift;
  }
}

/** out[i] = fround((q[i] − bias − zeroPoint[c])·scale[c]), c the index of i along `axis` of `shape`. */
export function dequantize(
  q: IntArray,
  out: Float32Array | Float64Array,
  b: Dequantize,
  bias: number,
  shape: readonly number[],
): void {
  const { scales } = b;
  const zps = b.zeroPoints.map((z) => z + bias);
  const inner =
    scales.length > 1 ? shape.slice(b.axis + 1).reduce((n, d) => n * d, 1) : Math.max(q.length, 1);
  for (let i = 0, c = 0; i < q.length; c = c + 1 < scales.length ? c + 1 : 0) {
    const s = scales[c]!;
    const z = zps[c]!;
    for (const end = i + inner; i < end; i++) out[i] = Math.fround((q[i]! - z) * s);
  }
}
