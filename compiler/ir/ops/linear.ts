/** Matrix product and convolution loops over float64 arrays; exact for integers while |sums| < 2^53. */
import { sizeOf, stridesOf } from "../types.ts";
import { axisOffsets, broadcastShapes, gatherAxes } from "./axes.ts";

/** Result shape of the ONNX MatMul of two shapes of rank ≥ 2, or a sentence. */
export function matmulShape(a: readonly number[], b: readonly number[]): number[] | string {
  if (a.length < 2 || b.length < 2) return "matmul operands must have rank 2 or more";
  if (a.at(-1) !== b.at(-2)) return `inner sizes differ: ${a.at(-1)} and ${b.at(-2)}`;
  const batch = broadcastShapes(a.slice(0, -2), b.slice(0, -2));
  return batch ? [...batch, a.at(-2)!, b.at(-1)!] : "batch shapes do not broadcast";
}

/** Offset, in matrices, of every batch index of the result. */
function batchOffsets(shape: readonly number[], batch: readonly number[]): Int32Array {
  const own = shape.slice(0, -2);
  const strides = stridesOf(own);
  const lead = batch.length - own.length;
  const ids = Int32Array.from({ length: sizeOf(own) }, (_, i) => i);
  const out = new Int32Array(sizeOf(batch));
  gatherAxes(
    ids,
    out,
    batch.map((n, i) => axisOffsets(n, i < lead || own[i - lead] === 1 ? 0 : strides[i - lead]!)),
  );
  return out;
}

/** Batched a·b of shapes accepted by `matmulShape`, row-major. */
export function matmul(
  a: Float64Array,
  aShape: readonly number[],
  b: Float64Array,
  bShape: readonly number[],
  outShape: readonly number[],
): Float64Array {
  const [m, k, n] = [aShape.at(-2)!, aShape.at(-1)!, bShape.at(-1)!];
  const batch = outShape.slice(0, -2);
  const fromA = batchOffsets(aShape, batch);
  const fromB = batchOffsets(bShape, batch);
  const out = new Float64Array(sizeOf(outShape));
  for (let g = 0; g < fromA.length; g++)
    for (let i = 0; i < m; i++) {
      const row = (g * m + i) * n;
      for (let l = 0; l < k; l++) {
        const x = a[(fromA[g]! * m + i) * k + l]!;
        const from = (fromB[g]! * k + l) * n;
        for (let j = 0; j < n; j++) out[row + j]! += x * b[from + j]!;
      }
    }
  return out;
}

/** Sizes of a grouped convolution. `taps` maps `[position][tap]` to an input position, negative in the padding. */
export interface ConvSizes {
  readonly batch: number;
  readonly channels: number;
  readonly pixels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly taps: Int32Array;
  readonly positions: number;
}

/** x `[N, C, pixels]`, w `[O, C/groups, taps]` → `[N, O, positions]`; the padding is zero. */
export function convChannelsFirst(x: Float64Array, w: Float64Array, s: ConvSizes): Float64Array {
  const taps = s.taps.length / s.positions;
  const perGroup = s.channels / s.groups;
  const outPerGroup = s.outChannels / s.groups;
  const out = new Float64Array(s.batch * s.outChannels * s.positions);
  for (let n = 0; n < s.batch; n++)
    for (let o = 0; o < s.outChannels; o++) {
      const row = (n * s.outChannels + o) * s.positions;
      const first = Math.floor(o / outPerGroup) * perGroup;
      for (let c = 0; c < perGroup; c++) {
        const plane = (n * s.channels + first + c) * s.pixels;
        for (let t = 0; t < taps; t++) {
          const weight = w[(o * perGroup + c) * taps + t]!;
          for (let p = 0; p < s.positions; p++) {
            const at = s.taps[p * taps + t]!;
            if (at >= 0) out[row + p]! += weight * x[plane + at]!;
          }
        }
      }
    }
  return out;
}

/** x `[N, pixels, C]`, w `[O, taps, C/groups]` → `[N, positions, O]`; a padded tap reads `pad`. */
export function convChannelsLast(x: Float64Array, w: Float64Array, pad: number, s: ConvSizes): Float64Array {
  const taps = s.taps.length / s.positions;
  const perGroup = s.channels / s.groups;
  const outPerGroup = s.outChannels / s.groups;
  const out = new Float64Array(s.batch * s.positions * s.outChannels);
  for (let n = 0; n < s.batch; n++)
    for (let p = 0; p < s.positions; p++)
      for (let o = 0; o < s.outChannels; o++) {
        const first = Math.floor(o / outPerGroup) * perGroup;
        let sum = 0;
        for (let t = 0; t < taps; t++) {
          const at = s.taps[p * taps + t]!;
          const from = (o * taps + t) * perGroup;
          if (at >= 0) {
            const base = (n * s.pixels + at) * s.channels + first;
            for (let c = 0; c < perGroup; c++) sum += w[from + c]! * x[base + c]!;
          } else for (let c = 0; c < perGroup; c++) sum += w[from + c]! * pad;
        }
        out[(n * s.positions + p) * s.outChannels + o] = sum;
      }
  return out;
}
