/** Differences in units of the last place of an output's quantizer. */
import type { TensorData } from "../../runtime/elements.ts";
import { quantizationOf } from "../../runtime/elements.ts";
import type { PortLayout } from "../../runtime/format.ts";
import { countText } from "./print.ts";

/** Number of elements by difference ours − theirs, in quanta of the output's scale. */
export type Histogram = Map<number, number>;

/** Adds one run. `theirs` has the port's shape and the same meaning, as floats or integers. */
export function count(
  histogram: Histogram,
  port: PortLayout,
  ours: TensorData,
  theirs: ArrayLike<number | bigint>,
): void {
  const q = port.slots[0]!.boundary.kind === "none" ? undefined : quantizationOf(port);
  const scales = q === undefined ? [1] : typeof q.scale === "number" ? [q.scale] : q.scale;
  const inner = port.shape.slice((q?.axis ?? 0) + 1).reduce((a, b) => a * b, 1);
  for (let i = 0; i < ours.length; i++) {
    const scale = scales.length === 1 ? scales[0]! : scales[Math.floor(i / inner) % scales.length]!;
    const d = Math.round((Number(ours[i]) - Number(theirs[i])) / scale) || 0;
    histogram.set(d, (histogram.get(d) ?? 0) + 1);
  }
}

/** `99.8 % equal of 1280; −1: 2, +1: 1`, smallest differences first. */
export function histogramText(h: Histogram): string {
  const total = [...h.values()].reduce((a, b) => a + b, 0);
  if (total === 0) return "nothing compared";
  const equal = h.get(0) ?? 0;
  const rest = [...h]
    .filter(([d]) => d !== 0)
    .sort(([a], [b]) => Math.abs(a) - Math.abs(b) || a - b)
    .map(([d, n]) => `${d > 0 ? "+" : "−"}${Math.abs(d)}: ${n}`);
  const shown = rest.length > 12 ? [...rest.slice(0, 12), "…"] : rest;
  const share = equal === total ? "all" : `${((100 * equal) / total).toFixed(2)} %`;
  return `${share} of ${countText(total)} equal${shown.length ? `; LSB ${shown.join(", ")}` : ""}`;
}
