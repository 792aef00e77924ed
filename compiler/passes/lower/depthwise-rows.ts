/**
 * Depthwise convolution, eight channels at a time, row by row: neighbouring input rows are interleaved once into a
 * ring of few rows, [column][2][4 channels][rows of a group], and serve all columns of the kernel and, at stride 1, two output
 * rows. The second of those takes the same groups with weights that lie one row later. Of a kernel of one row, the neighbouring
 * columns of each column are interleaved.
 */
import { add, c32, type Expr, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Block, Mutable } from "./block.ts";
import type { Layout } from "./layout.ts";

/** Channels of a block. */
const CHANNELS = 8;
/** Output pixels per tile: two accumulators each, beside the weights of a kernel row group. */
const PIXELS = 4;
const VECTOR_BYTES = 16;
const COLUMN_BYTES = 2 * VECTOR_BYTES;
/** Distance of consecutive ring rows in the input, and of the first rows of consecutive passes. */
const STEP = 2;

export interface DepthwiseRows {
  readonly x: Layout;
  /** Output rows and pixels of an image. */
  readonly rows: number;
  readonly pixels: number;
  readonly kernel: readonly [number, number];
  /** Of rows: 1 or 2. */
  readonly strides: readonly [number, number];
  /** Of columns. */
  readonly dilation: number;
  /** Byte of the first tap of the first output in an image. */
  readonly origin: number;
  /** Bytes that the weights of a block take at first, parts of wide weights included. */
  readonly packedBytes: number;
  /** Of byte quads. */
  readonly dot4: "dot4_s8u8.i32x4" | "dot4_s8s8.i32x4";
  /** Rows a dot product sums: 4 bytes, or 2 i16. */
  readonly group: 2 | 4;
  /** Blocks of eight channels whose rows are interleaved together: 1 or an even number. */
  readonly blocks: number;
}

/** Eight channels at a byte of the input, in the first half of an i8x16. */
export type ReadRow = (b: Block, addr: Expr, offset: number) => Expr;

/**
 * `DepthwiseRows.blocks` blocks of up to eight channels: where the first of their rows starts, how those of one block are read (those
 * of several are as they lie in memory), and which vectors of four are wanted.
 */
export interface ChannelBlock {
  readonly channel: Expr;
  readonly from: Expr;
  readonly read: ReadRow;
  readonly halves: readonly number[];
}

/** Output positions that pay for the second set of weights. */
const ENOUGH = 16;

/**
 * Whether it pays: not for even kernels at stride 1, of which two output rows take more groups than one, nor where few taps share
 * an interleaved column. `dilation` of rows.
 */
export function takesRows(
  [kh, kw]: readonly [number, number],
  [sh, sw]: readonly [number, number],
  dilation: number,
  positions: number,
): boolean {
  if (positions < ENOUGH) return false;
  if (kh === 1) return Math.ceil(kw / 2) > sw + 1;
  return dilation === 1 && (sh === 1 ? kh % 2 === 1 : sh === STEP && kw > sw);
}

/** Finishes a tile: for each pixel the accumulators of each half, from `channel` on, at `pixel` of output row `row`. */
export type FinishTile = (
  b: Block,
  acc: readonly (readonly Expr[])[],
  row: Expr,
  pixel: Expr,
  channel: Expr,
) => void;

export interface RowsEmitter {
  /** Where the weights of a block belong: [column of the kernel][rows in fours][4 / group][2][4 channels][group]. */
  readonly weights: string;
  /** Bytes between the weights of consecutive blocks. */
  readonly pitch: number;
  /** All rows of the blocks, once `weights` holds theirs; accumulators start from `start`. */
  readonly emit: (
    b: Block,
    block: ChannelBlock,
    start: (channel: Expr, h: number) => Expr,
    finish: FinishTile,
  ) => void;
}

type Shape = Pick<DepthwiseRows, "pixels" | "kernel" | "strides" | "dilation" | "group">;

/** The ring of one block. */
function ringOf({ pixels, kernel: [kh, kw], strides: [, sw], dilation, group }: Shape) {
  // A kernel of one row has groups of columns instead.
  const flat = kh === 1;
  const groups = Math.ceil(kh / group);
  const taps = flat ? Math.ceil(kw / group) : kw;
  const tapColumns = flat ? group * dilation : dilation;
  const widthOf = (count: number): number => (count - 1) * sw + (taps - 1) * tapColumns + 1;
  const columns = widthOf(pixels);
  const ahead = ((groups - 1) * group) / STEP;
  const ring = 2 ** Math.ceil(Math.log2(ahead + 1));
  return { flat, groups, taps, tapColumns, widthOf, columns, ahead, ring, rowBytes: columns * COLUMN_BYTES };
}

/** Bytes of the interleaved rows of a block. */
export const ringBytesOf = (d: Shape): number => {
  const { ring, rowBytes } = ringOf(d);
  return ring * rowBytes;
};

export function rowsEmitter(outer: Block, d: DepthwiseRows): RowsEmitter {
  const [kh, kw] = d.kernel;
  const [sh, sw] = d.strides;
  const { flat, groups, taps, tapColumns, widthOf, columns, ahead, ring, rowBytes } = ringOf(d);
  const passes = sh === 1 && !flat ? 2 : 1;
  // Packed weights have whole quads of rows.
  const tapBytes = Math.ceil(kh / 4) * (4 / d.group) * COLUMN_BYTES;
  const tapPitch = flat ? COLUMN_BYTES : tapBytes;
  const weightBytes = flat ? Math.ceil(kw / 4) * tapBytes : kw * tapBytes;
  const zero = outer.bind(load("i8x16", outer.constant(new Uint8Array(16), "zero"), c32(0)), "zero");
  const pitch = Math.max(passes * weightBytes, d.packedBytes);
  const weights = outer.scratch(d.blocks * pitch, "w");
  const looped = groups * taps > WRITTEN_OUT;
  const between = d.group / STEP;
  const ringBytes = ring * rowBytes;
  const scratch = outer.scratch(d.blocks * ringBytes, "rows");
  const last = (d.rows - 1) * sh + kh - 1;
  const lastColumn = (d.pixels - 1) * sw + (kw - 1) * d.dilation;
  const slot = (b: Block, index: Expr): Expr =>
    ring === 1 ? c32(0) : b.bind(scale(op("and.i32", [index, c32(ring - 1)]), rowBytes), "slot");

  /** One column of a block, from its rows' pixels at `places`. */
  const fillBlock = (b: Block, { read, halves }: ChannelBlock, places: readonly Expr[], to: Expr): void => {
    const bytes = places.map((at) => b.bind(read(b, at, d.origin), "r"));
    const both = interleave(b, bytes, d.group, zero, false);
    for (const h of halves) b.push(store(scratch, to, both[h]!, { offset: h * VECTOR_BYTES }));
  };
  /** One column of two neighbouring blocks. */
  const fillTwo = (b: Block, places: readonly Expr[], to: Expr): void => {
    const bytes = places.map((at) => b.bind(load("i8x16", d.x.buffer, at, d.origin), "r"));
    for (const block of [0, 1])
      interleave(b, bytes, d.group, zero, block === 1).forEach((v, h) => {
        b.push(store(scratch, to, v, { offset: block * ringBytes + h * VECTOR_BYTES }));
      });
  };

  /** Interleaves the rows of ring row `index`; what lies beyond the last row or column repeats it, with zero weights. */
  const fill = (b: Block, channels: ChannelBlock, index: Expr): void => {
    const to = slot(b, index);
    const [rowStep, pixelStep] = [d.x.strides[1]!, d.x.strides[2]!];
    const members = Array.from({ length: d.group }, (_, t) => t);
    const first = b.bind(scale(index, flat ? sh : STEP), "row");
    const rows = members.map((t) => {
      const row = flat ? first : op("min_s.i32", [add(first, t), c32(last)]);
      return b.bind(add(channels.from, scale(row, rowStep)), "ra");
    });
    const fillColumn = (inner: Block, col: Expr, places: readonly Expr[]): void => {
      const target = inner.bind(add(to, scale(col, COLUMN_BYTES)), "to");
      if (d.blocks === 1) {
        fillBlock(inner, channels, places, target);
        return;
      }
      inner.loop(
        0,
        d.blocks / 2,
        1,
        (two, pairs) => {
          const moved = places.map((at) => pairs.bind(add(at, scale(two, 2 * CHANNELS)), "ra"));
          fillTwo(pairs, moved, pairs.bind(add(target, scale(two, 2 * ringBytes)), "to"));
        },
        "two",
      );
    };
    const shift = flat ? d.dilation : 0;
    const inside = Math.min(columns, Math.max(0, lastColumn - (d.group - 1) * shift + 1));
    b.loop(
      0,
      inside,
      1,
      (col, inner) => {
        const at = inner.bind(scale(col, pixelStep), "at");
        const places = members.map((t) => inner.bind(add(add(rows[t]!, at), t * shift * pixelStep), "ra"));
        fillColumn(inner, col, places);
      },
      "col",
    );
    b.loop(
      inside,
      columns,
      1,
      (col, inner) => {
        const places = members.map((t) => {
          const c = op("min_s.i32", [add(col, t * shift), c32(lastColumn)]);
          return inner.bind(add(rows[t]!, scale(c, pixelStep)), "ra");
        });
        fillColumn(inner, col, places);
      },
      "col",
    );
  };

  const tile = (
    b: Block,
    n: number,
    at: Places,
    w: Expr,
    halves: readonly number[],
    start: (h: number) => Expr,
  ): Expr[][] => {
    const acc: Mutable[][] = Array.from({ length: n }, () => []);
    const width = widthOf(n);
    const places = looped ? [] : at.slots.map((s) => b.bind(add(s, at.shift), "at"));
    for (const h of halves) {
      const initial = b.bind(start(h), "init");
      for (const row of acc) row.push(b.variable(initial, `c${h}_`));
      const sum = (inner: Block, j: Expr, place: Expr): void => {
        const from = inner.bind(add(w, scale(j, COLUMN_BYTES)), "pw");
        const vectors = Array.from({ length: taps }, (_, k) => {
          const offset = k * tapPitch + h * VECTOR_BYTES;
          const vector = load(d.group === 2 ? "i16x8" : "i8x16", weights, from, offset);
          return taps <= HELD ? inner.bind(vector, "w") : vector;
        });
        for (let col = 0; col < width; col++) {
          const uses = vectors.flatMap((tap, k) => {
            const px = (col - k * tapColumns) / sw;
            return Number.isInteger(px) && px >= 0 && px < n ? [{ tap, px }] : [];
          });
          if (uses.length === 0) continue;
          const offset = col * COLUMN_BYTES + h * VECTOR_BYTES;
          const x = inner.bind(load(d.group === 2 ? "i16x8" : "i8x16", scratch, place, offset), "x");
          for (const { tap, px } of uses) {
            const c = acc[px]![h]!;
            inner.set(
              c,
              d.group === 2
                ? op("add.i32x4", [c.ref, op("dot2.i32x4", [x, tap])])
                : op(d.dot4, [c.ref, tap, x]),
            );
          }
        }
      };
      if (!looped) {
        places.forEach((place, j) => void sum(b, c32(j), place));
        continue;
      }
      const place = b.variable(at.slots[0]!, "slot");
      const end = ring * rowBytes;
      b.loop(
        0,
        groups,
        1,
        (j, inner) => {
          sum(inner, j, inner.bind(add(place.ref, at.shift), "at"));
          const next = inner.bind(add(place.ref, between * rowBytes), "next");
          const over = op("ge_s.i32", [next, c32(end)]);
          inner.set(place, op("select.i32", [add(next, -end), next, over]));
        },
        "j",
      );
    }
    return acc.map((row) => row.map((v) => v.ref));
  };

  const emit: RowsEmitter["emit"] = (b, channels, start, finish) => {
    if (passes > 1)
      b.loop(0, d.blocks, 1, (block, inner) => {
        const at = inner.bind(scale(block, pitch), "at");
        laterByOneRow(inner, weights, at, weightBytes, tapBytes, d.group);
      });
    b.loop(0, ahead, 1, (index, inner) => fill(inner, channels, index), "index");
    b.loop(
      0,
      Math.ceil(d.rows / passes),
      1,
      (m, inner) => {
        fill(inner, channels, inner.bind(add(m, ahead), "index"));
        const written = looped ? 1 : groups;
        const slots = Array.from({ length: written }, (_, j) => slot(inner, add(m, j * between)));
        const row = (to: Block, p: Expr, block: Expr): void => {
          const channel = to.bind(add(channels.channel, scale(block, CHANNELS)), "ch");
          const w = to.bind(add(scale(p, weightBytes), scale(block, pitch)), "pw");
          const own = to.bind(scale(block, ringBytes), "own");
          const oy = to.bind(add(scale(m, passes), p), "oy");
          const main = Math.floor(d.pixels / PIXELS) * PIXELS;
          const one = (at: Block, n: number, pixel: Expr): void => {
            const shift = at.bind(add(own, scale(pixel, sw * COLUMN_BYTES)), "at");
            const sums = tile(at, n, { slots, shift }, w, channels.halves, (h) => start(channel, h));
            finish(at, sums, oy, pixel, channel);
          };
          to.loop(0, main, PIXELS, (pixel, inside) => one(inside, PIXELS, pixel), "p");
          if (main < d.pixels) one(to, d.pixels - main, c32(main));
        };
        const rows = (to: Block, p: Expr): void =>
          to.loop(0, d.blocks, 1, (block, own) => row(own, p, block), "block");
        if (passes === 1 || d.rows === 1) {
          rows(inner, c32(0));
          return;
        }
        const count = op("min_s.i32", [op("sub.i32", [c32(d.rows), scale(m, passes)]), c32(passes)]);
        inner.loopBetween(c32(0), inner.bind(count, "count"), 1, (p, to) => rows(to, p), "second");
      },
      "m",
    );
  };
  return { weights, pitch, emit };
}

/** Ring rows of the row groups, the first one only where they are looped over, and a pixel's place in all of them. */
interface Places {
  readonly slots: readonly Expr[];
  readonly shift: Expr;
}

/** Vectors of weights up to which the row groups of a tile are written out one after another. */
const WRITTEN_OUT = 12;

/** Taps of a kernel row group that stay in registers. */
const HELD = 5;

/** Behind the weights at `at`, the same for the next output row: every tap one row later. */
function laterByOneRow(
  b: Block,
  weights: string,
  at: Expr,
  bytes: number,
  tapBytes: number,
  group: 2 | 4,
): void {
  const bits = 32 / group;
  b.loop(
    0,
    bytes,
    tapBytes,
    (tap, inner) => {
      const kx = inner.bind(add(at, tap), "kx");
      for (const h of [0, 1]) {
        let before: Expr | undefined;
        for (let row = 0; row < tapBytes; row += COLUMN_BYTES) {
          const offset = row + h * VECTOR_BYTES;
          const own = inner.bind(load("i32x4", weights, kx, offset), "w");
          const moved = op("shl.i32x4", [own], [bits]);
          const carried = before && op("shr_u.i32x4", [before], [32 - bits]);
          const value = carried ? op("or.i32x4", [moved, carried]) : moved;
          inner.push(store(weights, kx, value, { offset: bytes + offset }));
          before = own;
        }
      }
    },
    "kx",
  );
}

const LOW8 = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
const HIGH8 = [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];
const LOW16 = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
const HIGH16 = [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31];

/**
 * Eight channels of two or four rows, the first or the `last` of sixteen → [c0: r0 r1 …, c1 …] for four of them and the other four;
 * two rows become i16.
 */
function interleave(b: Block, rows: readonly Expr[], group: 2 | 4, zero: Expr, last: boolean): Expr[] {
  const pairs = Array.from({ length: group / 2 }, (_, i) =>
    b.bind(op("shuffle.i8x16", [rows[2 * i]!, rows[2 * i + 1]!], last ? HIGH8 : LOW8), "s"),
  );
  if (group === 2) return [LOW8, HIGH8].map((lanes) => op("shuffle.i8x16", [pairs[0]!, zero], lanes));
  return [LOW16, HIGH16].map((lanes) => op("shuffle.i8x16", [pairs[0]!, pairs[1]!], lanes));
}
