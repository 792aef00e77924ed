/** The schedules a contraction may have. */
import type { Target } from "../../../ir/target.ts";
import type { ContractionSchedule, ContractionWork, GemvSchedule, Strip } from "./schedule.ts";

/** Output channels of a panel. */
export const PANEL = 8;
const MOST_PANELS = 4;
const MOST_ROWS = 6;
const UNROLLS: readonly number[] = [1, 2, 4, 8];

/** Positions of a tile so that tiles of nearly equal height cover a row. */
const balanced = (pixels: number, most: number): number => Math.ceil(pixels / Math.ceil(pixels / most));

const distinct = (list: readonly number[]): number[] => [...new Set(list)];

/** K-groups of a piece as the inner loop sees them. */
export const groupsOf = (w: ContractionWork, widen: ContractionSchedule["widen"]): number =>
  Math.ceil(w.length / (widen === "both" || w.input === "i16" ? 2 : 4));

/** Vector registers alive in the inner loop: accumulators, weights (one at a time where one row uses them), a splat, a product. */
export function registersOf(
  s: Pick<ContractionSchedule, "rows" | "panels" | "widen">,
  w: ContractionWork,
  target: Target,
): number {
  const fused = target.dot4 && w.input === "u8";
  // Two sums per register of columns where byte quads are widened on their way.
  const each = fused || w.input === "i16" || s.widen === "both" ? 2 : 4;
  const late = s.rows === 1 && (w.input === "i16" || target.dot4 || s.widen !== "nothing");
  // Bytes are widened on their way to a register.
  const weights = late ? (s.widen === "input" ? 3 : 1) : each * s.panels;
  return each * s.panels * s.rows + weights + 1 + (fused ? 0 : 1);
}

/** Most positions of an image of a `gemv`: with two accumulators for each, one vector of columns leaves four registers. */
const GEMV_POSITIONS = 6;
/** Accumulators of a tile of several vectors. */
const GEMV_ACCUMULATORS = 8;

export function gemvSchedules(w: ContractionWork, target: Target): GemvSchedule[] {
  const positions = w.rows * w.pixels;
  if (target.dot4 || w.input !== "u8" || w.pool || positions > GEMV_POSITIONS) return [];
  const fitting = ([4, 2, 1] as const).filter((v) => v === 1 || 2 * v * positions <= GEMV_ACCUMULATORS);
  const needed = fitting.filter((v) => v === 1 || 4 * v < 2 * w.n);
  return needed.map((vectors) => ({ family: "gemv", vectors }));
}

export function contractionSchedules(w: ContractionWork, target: Target): ContractionSchedule[] {
  const whole: Strip = { rows: w.rows, pixels: w.pixels };
  const widths: readonly ContractionSchedule["widen"][] =
    w.input === "u8" && !target.dot4 ? ["both", "input", "nothing"] : ["nothing"];
  const covered = w.pool ? w.pool[1] : w.pixels;
  const rows = distinct(Array.from({ length: MOST_ROWS }, (_, i) => balanced(covered, i + 1)));
  const most = w.pool ? 1 : Math.min(MOST_PANELS, Math.ceil(w.n / PANEL));
  const panels = Array.from({ length: most }, (_, i) => i + 1);
  return widths.flatMap((widen) => {
    const groups = groupsOf(w, widen);
    const unrolls = UNROLLS.filter((_, i) => i === 0 || UNROLLS[i - 1]! < groups);
    const cut = widen !== "nothing" && w.images === 1 && !w.pool;
    const strips = cut ? stripsOf(w) : [whole];
    return rows.flatMap((r) =>
      panels.flatMap((p) =>
        registersOf({ rows: r, panels: p, widen }, w, target) > target.registers + 1
          ? []
          : unrolls.flatMap((unroll) =>
              strips.map(
                (strip): ContractionSchedule => ({
                  family: "contraction",
                  rows: r,
                  panels: p,
                  widen,
                  unroll,
                  strip,
                }),
              ),
            ),
      ),
    );
  });
}

/** Bytes between the first bytes that the first and the last output of a strip read, and to the end of the last. */
export const spanOf = (
  w: Pick<ContractionWork, "inRow" | "inPixel" | "inGroup" | "groups" | "extent">,
  s: Strip,
): number => (s.rows - 1) * w.inRow + (s.pixels - 1) * w.inPixel + (w.groups - 1) * w.inGroup + w.extent;

/** Positions below which another pass over the weights is not worth looking at. */
const FEWEST = 16;

/** The strips of an image: some of its rows, or of a single row some positions, a multiple of 4; and all of it. */
function stripsOf(w: ContractionWork): Strip[] {
  const divisors = (n: number, step: number): number[] =>
    Array.from({ length: Math.floor(n / step) }, (_, i) => (i + 1) * step).filter((d) => n % d === 0);
  const parts =
    w.rows === 1
      ? divisors(w.pixels, 4).map((pixels) => ({ rows: 1, pixels }))
      : divisors(w.rows, 1).map((rows) => ({ rows, pixels: w.pixels }));
  const large = parts.filter((s) => s.rows * s.pixels >= FEWEST && s.rows * s.pixels < w.rows * w.pixels);
  return [...large, { rows: w.rows, pixels: w.pixels }];
}
