/** Sliding windows over any number of spatial axes: output sizes and tap tables. */
import type { Attrs } from "../module.ts";
import { sizeOf, stridesOf } from "../types.ts";

/** Geometry of a window op; `pads` holds all begins, then all ends, as in ONNX. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
  readonly ceil: boolean;
}

/** The window an op's attributes describe; `dilations` and `ceil_mode` may be absent from the op's attribute list. */
export const windowOf = (attrs: Attrs, kernel: readonly number[]): Window => ({
  kernel,
  strides: attrs.strides as readonly number[],
  pads: attrs.pads as readonly number[],
  dilations: (attrs.dilations as readonly number[] | undefined) ?? kernel.map(() => 1),
  ceil: attrs.ceil_mode === true,
});

/**
 * Output sizes by the ONNX formula: floor, or ceil without a window that starts in the end padding. A sentence if the
 * attributes do not fit the rank or a window does not fit its input.
 */
export function windowShape(input: readonly number[], w: Window): number[] | string {
  const rank = input.length;
  if (w.kernel.length !== rank) return `kernel needs ${rank} entries, has ${w.kernel.length}`;
  if (w.strides.length !== rank) return `strides needs ${rank} entries, has ${w.strides.length}`;
  if (w.dilations.length !== rank) return `dilations needs ${rank} entries, has ${w.dilations.length}`;
  if (w.pads.length !== 2 * rank) return `pads needs ${2 * rank} entries, has ${w.pads.length}`;
  if (w.kernel.some((k) => k < 1)) return "kernel sizes must be at least 1";
  if (w.strides.some((s) => s < 1)) return "strides must be at least 1";
  if (w.dilations.some((d) => d < 1)) return "dilations must be at least 1";
  if (w.pads.some((p) => p < 0)) return "pads must not be negative";
  const out: number[] = [];
  for (let i = 0; i < rank; i++) {
    const room = input[i]! + w.pads[i]! + w.pads[rank + i]! - (w.dilations[i]! * (w.kernel[i]! - 1) + 1);
    if (room < 0) return `the window does not fit axis ${i} of size ${input[i]}`;
    let n = Math.floor(room / w.strides[i]!) + 1;
    if (w.ceil && room % w.strides[i]! !== 0 && n * w.strides[i]! < input[i]! + w.pads[i]!) n++;
    out.push(n);
  }
  return out;
}

/** A sentence if a pool's window could lie wholly in the padding, where it has no elements. */
export const emptyWindow = ({ kernel, pads, dilations }: Window): string | undefined =>
  pads.some((p, i) => p > dilations[i % kernel.length]! * (kernel[i % kernel.length]! - 1))
    ? "a window could lie wholly in the padding"
    : undefined;

/**
 * Flat input position of every tap of every output position, `[positions][taps]`. A tap in the padding is −1, a tap
 * beyond the padding (only `ceil` makes them) −2.
 */
export function tapTable(input: readonly number[], output: readonly number[], w: Window): Int32Array {
  const rank = input.length;
  const taps = sizeOf(w.kernel);
  const table = new Int32Array(sizeOf(output) * taps);
  const inStrides = stridesOf(input);
  const outStrides = stridesOf(output);
  const tapStrides = stridesOf(w.kernel);
  for (let p = 0; p < sizeOf(output); p++)
    for (let t = 0; t < taps; t++) {
      let at = 0;
      for (let i = 0; i < rank && at !== -2; i++) {
        const o = Math.floor(p / outStrides[i]!) % output[i]!;
        const k = Math.floor(t / tapStrides[i]!) % w.kernel[i]!;
        const x = o * w.strides[i]! - w.pads[i]! + k * w.dilations[i]!;
        if (x >= input[i]! + w.pads[rank + i]!) at = -2;
        else if (x < 0 || x >= input[i]!) at = -1;
        else if (at >= 0) at += x * inStrides[i]!;
      }
      table[p * taps + t] = at;
    }
  return table;
}
