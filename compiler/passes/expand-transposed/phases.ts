/**
 * One axis of a transposed convolution as ordinary convolutions: outputs o with (o + crop) mod stride = r are phase r, and output
 * stride·m + r − crop sums input m − e over the taps of its phase, each at its own distance e.
 */

export interface Tap {
  /** Index in the kernel. */
  readonly k: number;
  readonly e: number;
}

/** A convolution of stride 1: tap j of `taps` reads input m + j·dilation − pad. */
export interface Correlation {
  readonly taps: number;
  readonly dilation: number;
  readonly pad: number;
  /** Input rows or columns behind the last one; negative where the last ones are not read. */
  readonly end: number;
  readonly positions: number;
}

export interface AxisWindow {
  readonly size: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly pad: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Rows or columns of every phase of a result that begins `crop` before the first. */
export const positionsOf = (w: AxisWindow, crop: number): number => Math.ceil((w.out + crop) / w.stride);

/** The taps of phase `r` that meet the input at one of `positions`. */
export function tapsOf(w: AxisWindow, crop: number, r: number, positions = positionsOf(w, crop)): Tap[] {
  const taps: Tap[] = [];
  const meets = (e: number): boolean => -e < w.size && e < positions;
  for (let k = 0; k < w.kernel; k++) {
    const e = (k * w.dilation - r + crop - w.pad) / w.stride;
    if (Number.isInteger(e) && meets(e)) taps.push({ k, e });
  }
  return taps;
}

/** The smallest window that has all `taps`; of one tap that weighs nothing if there are none. */
export function correlationOf(w: AxisWindow, taps: readonly Tap[], positions: number): Correlation {
  const es = taps.length === 0 ? [0] : taps.map((t) => t.e);
  const [first, last] = [Math.max(...es), Math.min(...es)];
  const dilation = Math.max(1, es.map((e) => first - e).reduce(gcd, 0));
  const count = (first - last) / dilation + 1;
  return { taps: count, dilation, pad: first, end: positions - last - w.size, positions };
}

/** Of all phases together, with the crop that makes the fewest products. */
export function together(w: AxisWindow): { readonly crop: number; readonly window: Correlation } {
  const all = Array.from({ length: w.stride }, (_, crop) => {
    const taps = Array.from({ length: w.stride }, (_, r) => tapsOf(w, crop, r)).flat();
    return { crop, window: correlationOf(w, taps, positionsOf(w, crop)) };
  });
  const cost = ({ window }: (typeof all)[number]): number => window.taps * window.positions;
  return all.reduce((best, c) => (cost(c) < cost(best) ? c : best));
}

/** Of each phase by itself, without crop; phases that the result is too small for are left out. */
export function apart(w: AxisWindow): { readonly taps: readonly Tap[]; readonly window: Correlation }[] {
  return Array.from({ length: Math.min(w.stride, w.out) }, (_, r) => {
    const positions = Math.ceil((w.out - r) / w.stride);
    const taps = tapsOf(w, 0, r, positions);
    return { taps, window: correlationOf(w, taps, positions) };
  });
}
