/** Geometry of transposed convolutions over any number of spatial axes. */
import type { Attrs, Elements } from "../module.ts";
import { sizeOf, stridesOf } from "../types.ts";

/** `pads` holds all begins, then all ends: what is cut from the full result, to whose end `extra` is added. */
export interface TransposedWindow {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
  readonly extra: readonly number[];
}

/** The window that the attributes of a transposed convolution describe. */
export const transposedWindowOf = (attrs: Attrs, kernel: readonly number[]): TransposedWindow => ({
  kernel,
  strides: attrs.strides as readonly number[],
  pads: attrs.pads as readonly number[],
  dilations: attrs.dilations as readonly number[],
  extra: attrs.output_padding as readonly number[],
});

/** stride·(size − 1) + dilation·(kernel − 1) + 1 − pads + output padding, per axis; a sentence if the attributes do not fit. */
export function transposedShape(input: readonly number[], w: TransposedWindow): number[] | string {
  const rank = input.length;
  for (const [name, list, least] of [
    ["kernel", w.kernel, 1],
    ["strides", w.strides, 1],
    ["dilations", w.dilations, 1],
    ["output_padding", w.extra, 0],
  ] as const) {
    if (list.length !== rank) return `${name} needs ${rank} entries, has ${list.length}`;
    if (list.some((v) => v < least)) return `${name} must be at least ${least}`;
  }
  if (w.pads.length !== 2 * rank) return `pads needs ${2 * rank} entries, has ${w.pads.length}`;
  if (w.pads.some((p) => p < 0)) return "pads must not be negative";
  const out = input.map(
    (size, i) =>
      w.strides[i]! * (size - 1) +
      w.dilations[i]! * (w.kernel[i]! - 1) +
      1 -
      w.pads[i]! -
      w.pads[rank + i]! +
      w.extra[i]!,
  );
  const short = out.findIndex((n) => n < 1);
  return short < 0 ? out : `nothing is left of axis ${short}`;
}

/** Flat input position that each tap adds to each output position, `[positions][taps]`; −1: none. */
export function transposedTaps(
  input: readonly number[],
  output: readonly number[],
  w: TransposedWindow,
): Int32Array {
  const rank = input.length;
  const taps = sizeOf(w.kernel);
  const table = new Int32Array(sizeOf(output) * taps);
  const inStrides = stridesOf(input);
  const outStrides = stridesOf(output);
  const tapStrides = stridesOf(w.kernel);
  for (let p = 0; p < sizeOf(output); p++)
    for (let t = 0; t < taps; t++) {
      let at = 0;
      for (let i = 0; i < rank && at >= 0; i++) {
        const o = Math.floor(p / outStrides[i]!) % output[i]!;
        const k = Math.floor(t / tapStrides[i]!) % w.kernel[i]!;
        const reach = o + w.pads[i]! - k * w.dilations[i]!;
        const x = reach / w.strides[i]!;
        at = Number.isInteger(x) && x >= 0 && x < input[i]! ? at + x * inStrides[i]! : -1;
      }
      table[p * taps + t] = at;
    }
  return table;
}

/** Weights `[C, O/groups, taps]` → `[O, C/groups, taps]`. */
export function outputsFirst<E extends Elements>(
  w: E,
  channels: number,
  perGroup: number,
  taps: number,
  groups: number,
): E {
  const out = w.slice() as E;
  const inPerGroup = channels / groups;
  let from = 0;
  for (let c = 0; c < channels; c++) {
    const group = Math.floor(c / inPerGroup);
    for (let j = 0; j < perGroup; j++)
      for (let t = 0; t < taps; t++)
        out[((group * perGroup + j) * inPerGroup + (c % inPerGroup)) * taps + t] = w[from++]!;
  }
  return out;
}
