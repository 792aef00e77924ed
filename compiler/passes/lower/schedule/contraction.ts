/** The schedules a contraction may have, and the one it gets. */
import type { Target } from "../../../ir/target.ts";
import type { ContractionSchedule, ContractionWork, Strip } from "./schedule.ts";

/** Output channels of a panel. */
export const PANEL = 8;

/** Rows of a tile so that tiles of nearly equal height cover the pixels. */
const tileRows = (pixels: number, most: number): number => Math.ceil(pixels / Math.ceil(pixels / most));

/** Widening the weights pays from a few pixels on. */
const worthWidening = (w: ContractionWork): boolean => w.rows * w.pixels >= 4;

export function chooseContraction(target: Target, w: ContractionWork): ContractionSchedule {
  const wide = w.input === "u8" && worthWidening(w) ? target.wideTile : undefined;
  const most = (wide ?? target.tiles[0]!).rows;
  const panels = Math.ceil(w.n / PANEL);
  const whole: Strip = { rows: w.rows, pixels: w.pixels };
  const operands = wide ? "widened" : "bytes";
  if (w.pool) return { rows: most, panels: 1, operands, strip: whole };
  if (wide) {
    const strip = w.images === 1 ? chooseStrip(w) : whole;
    return {
      rows: tileRows(w.pixels, most),
      panels: Math.min(wide.columns / PANEL, panels),
      operands,
      strip,
    };
  }
  const vector = w.pixels === 1;
  const tile = vector ? target.vectorTile : target.tiles[0]!;
  return {
    rows: vector ? 1 : tileRows(w.pixels, most),
    panels: Math.min(tile.columns / PANEL, panels),
    operands,
    strip: whole,
  };
}

/** Bytes between the first bytes that the first and the last output of a strip read, and to the end of the last. */
export const spanOf = (
  w: Pick<ContractionWork, "inRow" | "inPixel" | "inGroup" | "groups" | "extent">,
  s: Strip,
): number => (s.rows - 1) * w.inRow + (s.pixels - 1) * w.inPixel + (w.groups - 1) * w.inGroup + w.extent;

/** Bytes of widened activations that stay in a first-level cache beside a panel of weights. */
const CACHED = 16384;
/** Pixels over which widening a panel anew is cheap. */
const ENOUGH = 64;

/** The strips of an image: some of its rows, or of a single row some positions, a multiple of 4. */
export function stripsOf(w: ContractionWork): Strip[] {
  const divisors = (n: number, step: number): number[] =>
    Array.from({ length: Math.floor(n / step) }, (_, i) => (i + 1) * step).filter((d) => n % d === 0);
  return w.rows === 1
    ? divisors(w.pixels, 4).map((pixels) => ({ rows: 1, pixels }))
    : divisors(w.rows, 1).map((rows) => ({ rows, pixels: w.pixels }));
}

function chooseStrip(w: ContractionWork): Strip {
  const large = stripsOf(w).filter((s) => s.rows * s.pixels >= ENOUGH);
  const fitting = large.filter((s) => 2 * spanOf(w, s) <= CACHED);
  return fitting.at(-1) ?? large[0] ?? { rows: w.rows, pixels: w.pixels };
}
