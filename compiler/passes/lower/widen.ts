/**
 * Bytes to 16-bit lanes, once per kernel instead of once per product: what a contraction does on targets whose dot product
 * takes i16 pairs. Activations keep their order; panels of K-groups of four become panels of K-groups of two.
 */
import { add, c32, type Expr, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import type { Geometry } from "./contraction-geometry.ts";
import { spanOf } from "./schedule/contraction.ts";

/** Bytes handled per turn. */
const STEP = 16;

/** Bytes of the scratch that `bytes` bytes become. */
export const widenedBytes = (bytes: number): number => 2 * Math.ceil(bytes / STEP) * STEP;

interface Place {
  readonly buffer: string;
  readonly addr: Expr;
  readonly offset: number;
}

/** `bytes` unsigned bytes become as many i16; writes `widenedBytes(bytes)` bytes. */
export function widenBytes(b: Block, from: Place, to: Place, bytes: number): void {
  b.loop(0, bytes, STEP, (i, inner) => {
    const source = inner.bind(add(from.addr, i), "from");
    const target = inner.bind(add(to.addr, scale(i, 2)), "to");
    for (const half of [0, 8])
      inner.push(
        store(to.buffer, target, load("i16x8", from.buffer, source, from.offset + half, "load8x8_u"), {
          offset: to.offset + 2 * half,
        }),
      );
  });
}

/** 32-bit lanes 0 and 2, or 1 and 3, of two vectors. */
const FIRST_PAIRS = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const LAST_PAIRS = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];

/**
 * K-groups [2][4 columns][4 k] of signed bytes become pairs of K-groups [2][4 columns][2 k] of i16. `bytes`: a multiple of 32.
 */
export function widenPanels(b: Block, from: Place, to: Place, bytes: number): void {
  b.loop(0, bytes, 32, (i, inner) => {
    const source = inner.bind(add(from.addr, i), "from");
    const target = inner.bind(add(to.addr, scale(i, 2)), "to");
    for (const vector of [0, 1]) {
      // Columns 0 and 1, 2 and 3: four k each.
      const [low, high] = [0, 8].map((half) =>
        inner.bind(
          load("i16x8", from.buffer, source, from.offset + vector * 16 + half, "load8x8_s"),
          half === 0 ? "low" : "high",
        ),
      ) as [Expr, Expr];
      [FIRST_PAIRS, LAST_PAIRS].forEach((lanes, pair) => {
        const packed = op("shuffle.i16x8", [low, high], lanes);
        inner.push(store(to.buffer, target, packed, { offset: to.offset + pair * 32 + vector * 16 }));
      });
    }
  });
}

/** Adds `bytes` bytes of i16 at offset `from` of `addr` in a buffer to those at `to`. */
export function addPanel(
  b: Block,
  buffer: string,
  addr: Expr,
  to: number,
  from: number,
  bytes: number,
): void {
  for (let i = 0; i < bytes; i += 16) {
    const [a, c] = [to, from].map((start) => load("i16x8", buffer, addr, start + i)) as [Expr, Expr];
    b.push(store(buffer, addr, op("add.i16x8", [a, c]), { offset: to + i }));
  }
}

/**
 * Adds the K-groups behind a widened panel's own to those whose byte offsets `targets` (i32) lists, so that weights which
 * were split into bytes are whole again. `panel`: where the panel starts; `own`: bytes of its own K-groups.
 */
export function addOutliers(
  b: Block,
  buffer: string,
  { targets, count, panel, own }: { targets: string; count: number; panel: number; own: number },
): void {
  b.loop(0, count, 1, (i, inner) => {
    const to = inner.bind(load("i32", targets, scale(i, 4)), "to");
    const from = inner.bind(scale(i, 64), "from");
    for (let v = panel; v < panel + 64; v += 16) {
      const sum = [load("i16x8", buffer, to, v), load("i16x8", buffer, from, own + v)];
      inner.push(store(buffer, to, op("add.i16x8", sum), { offset: v }));
    }
  });
}

/** Where the input of one image lies once it is widened, and how it gets there. */
export interface WidenedInput extends Pick<Geometry, "inRow" | "inPixel" | "inGroup" | "inOffset"> {
  /** The scratch buffer. */
  readonly x: string;
  /** Widens one image, whose first output reads from byte `from`. */
  readonly fill: (b: Block, from: Place) => void;
}

/** Bytes one output position reads in one group, gaps included. */
export const extentOf = (g: Geometry): number => Math.max(...g.segments.map((s) => s.offset + s.length));

/** `g` covers what is widened at a time. */
export function widenedInput(b: Block, g: Geometry): WidenedInput {
  const span = spanOf({ ...g, extent: extentOf(g) }, { rows: 1, pixels: g.pixels });
  // Rows that share no input are packed; overlapping ones keep their distance.
  const apart = g.rows > 1 && span <= g.inRow;
  const pitch = apart ? Math.ceil(span / STEP) * STEP : g.inRow;
  const bytes = (g.rows - 1) * pitch + span;
  // Dot products of four k may read three elements behind the last.
  const buffer = b.scratch(widenedBytes(bytes + 3), "x");
  return {
    x: buffer,
    inRow: 2 * pitch,
    inPixel: 2 * g.inPixel,
    inGroup: 2 * g.inGroup,
    inOffset: 0,
    fill: (to, from) => {
      const zero: Place = { buffer, addr: c32(0), offset: 0 };
      if (!apart) {
        widenBytes(to, from, zero, bytes);
        return;
      }
      to.loop(0, g.rows, 1, (row, inner) => {
        const source = { ...from, addr: inner.bind(add(from.addr, scale(row, g.inRow)), "from") };
        widenBytes(inner, source, { ...zero, addr: inner.bind(scale(row, 2 * pitch), "to") }, span);
      });
    },
  };
}
