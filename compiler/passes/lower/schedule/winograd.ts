/** Schedules of 3×3 convolutions by Winograd's F(2×2, 3×3), and what they cost. */
import type { Target } from "../../../ir/target.ts";
import { PANEL } from "./contraction.ts";
import { groupCycles } from "./contraction-cost.ts";
import type { ContractionSchedule, ContractionWork, WinogradSchedule } from "./schedule.ts";

/** Taps of a kernel, points of a tile, outputs of a tile. */
const TAPS = 9;
const POINTS = 16;
const OUTPUTS = 4;
/** Most tiles of a register tile: their sums fill ten registers. */
const MOST_ROWS = 5;
/** Bytes of transformed inputs held at a time, unless one row of tiles needs more. */
const MOST_BYTES = 1 << 19;

/** What an odd number of parts may cost more than an even one. */
const UNEVEN = 1.02;

/**
 * Three rows of three positions, a row and a position apart as the outputs are, and four times every result fits 32 bits. Weights
 * wider than eight bits have extra K-groups.
 */
const fitsWinograd = (w: ContractionWork, target: Target): boolean =>
  !target.dot4 &&
  w.input === "u8" &&
  w.groups === 1 &&
  !w.pool &&
  w.extra === 0 &&
  w.pieces === 3 &&
  w.length === 3 * w.inPixel &&
  w.extent === 2 * w.inRow + w.length &&
  w.inPixel % 4 === 0 &&
  w.rows > 1 &&
  w.pixels > 1 &&
  TAPS * w.inPixel * 255 * 128 < 2 ** 29;

const tileRowsOf = (w: ContractionWork): number => Math.ceil(w.rows / 2);
const tileColumnsOf = (w: ContractionWork): number => Math.ceil(w.pixels / 2);

const divisors = (n: number): number[] =>
  Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

/** Bytes of the transformed inputs of `lines` rows of tiles. */
const bytesOf = (w: ContractionWork, lines: number): number =>
  lines * tileColumnsOf(w) * POINTS * 2 * Math.ceil(w.inPixel / 8) * 8;

export function winogradSchedules(w: ContractionWork, target: Target): WinogradSchedule[] {
  if (!fitsWinograd(w, target)) return [];
  const all = tileRowsOf(w);
  // Images of a batch, and those with half a row of tiles, are handled whole.
  const whole = w.images > 1 || w.rows % 2 > 0;
  const parts = divisors(all).filter((lines) => !whole || lines === all);
  const fitting = parts.filter((lines, i) => i === 0 || bytesOf(w, lines) <= MOST_BYTES);
  return fitting.flatMap((lines) =>
    divisors(lines).flatMap((chunk) => {
      const tiles = chunk * tileColumnsOf(w);
      const rows = new Set(
        Array.from({ length: MOST_ROWS }, (_, i) => Math.ceil(tiles / Math.ceil(tiles / (i + 1)))),
      );
      return [...rows].map((r): WinogradSchedule => ({ family: "winograd", rows: r, lines, chunk }));
    }),
  );
}

export function winogradCycles(s: WinogradSchedule, w: ContractionWork, target: Target): number {
  const { costs } = target;
  const { transform } = costs;
  const blocks = Math.ceil(w.n / PANEL);
  const parts = (tileRowsOf(w) / s.lines) * w.images;
  const tiles = s.lines * tileColumnsOf(w);
  const groups = Math.ceil(w.inPixel / 2);
  const tile: Pick<ContractionSchedule, "widen"> & ContractionSchedule = {
    family: "contraction",
    rows: s.rows,
    panels: 1,
    widen: "both",
    unroll: 2,
    strip: { rows: 1, pixels: 1 },
  };
  const sums = (rows: number): number =>
    groups * groupCycles(rows, 1, tile, w, target) +
    (groups / 2) * costs.turn +
    costs.loop +
    costs.tile +
    2 * rows * transform.store;
  const inChunk = s.chunk * tileColumnsOf(w);
  const rest = inChunk % s.rows;
  const point = Math.floor(inChunk / s.rows) * sums(s.rows) + (rest > 0 ? sums(rest) : 0);
  const classes = w.epilogue.reduce((sum, c) => sum + (costs.epilogue[c] ?? costs.epilogue.limb!), 0);
  const finish = transform.output + OUTPUTS * (classes + (w.residual ? costs.residual : 0));
  const missed = (bytes: number): number => (Math.max(0, bytes - costs.cacheBytes) / 64) * costs.miss;
  const sumBytes = POINTS * inChunk * 4 * PANEL;
  const panel =
    (w.inPixel / 4) * transform.weights +
    (s.lines / s.chunk) * (POINTS * point + missed(sumBytes / 2)) +
    tiles * 2 * finish +
    missed(bytesOf(w, s.lines));
  // Threads share parts out, unless there is only one.
  const uneven = parts > 1 && parts % 2 > 0 ? UNEVEN : 1;
  return uneven * parts * (tiles * Math.ceil(w.inPixel / 8) * transform.input + blocks * panel);
}
