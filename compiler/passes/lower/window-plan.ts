/** Which taps of a sliding window lie inside the input, for ranges of output positions that agree. */
import type { Layout } from "./layout.ts";

export interface WindowAxis {
  readonly input: number;
  readonly output: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
}

/** Output positions first … first + count − 1 use exactly taps from … to − 1. */
export interface Span {
  readonly first: number;
  readonly count: number;
  readonly from: number;
  readonly to: number;
}

/** Splits the output positions of one axis; with `padded`, the halo makes all taps readable. */
export function spansOf(a: WindowAxis, padded: boolean): Span[] {
  const spans: Span[] = [];
  for (let o = 0; o < a.output; o++) {
    const origin = o * a.stride - a.before;
    let from = 0;
    let to = a.kernel;
    if (!padded) {
      while (from < to && origin + from * a.dilation < 0) from++;
      while (to > from && origin + (to - 1) * a.dilation >= a.input) to--;
    }
    const last = spans.at(-1);
    if (last && last.from === from && last.to === to)
      spans[spans.length - 1] = { ...last, count: last.count + 1 };
    else spans.push({ first: o, count: 1, from, to });
  }
  return spans;
}

/** Whether the layout's halo covers every padded tap and holds a value that `serves`. */
export function haloCovers(
  x: Layout,
  [h, w]: readonly [WindowAxis, WindowAxis],
  serves: (value: number) => boolean,
): boolean {
  const { halo } = x;
  if (!halo || !serves(halo.value)) return false;
  const reach = (a: WindowAxis): number =>
    (a.output - 1) * a.stride - a.before + (a.kernel - 1) * a.dilation - (a.input - 1);
  return halo.top >= h.before && halo.left >= w.before && halo.bottom >= reach(h) && halo.right >= reach(w);
}
