/**
 * Depthwise convolution, eight channels at a time: four kernel rows of a column are interleaved byte by byte, so that one dot
 * product sums them for four channels; a column serves every output pixel of the tile that it touches. Most kernels go row by row
 * instead (`depthwise-rows.ts`).
 * Weights: [C / 8][column, row group][2][4 channels][4 rows]. Where the target's dot product takes i16 pairs, rows are interleaved
 * in pairs instead.
 */
import { add, c32, type Expr, konst, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Dense } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { rescaleOf } from "../../ir/ops/integer-rescale.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import { type ReadRow, ringBytesOf, rowsEmitter, takesRows } from "./depthwise-rows.ts";
import { constantOf, epilogueOf, stepsOf } from "./epilogue-stage.ts";
import { storeChannels } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { choose } from "./schedule/index.ts";
import type { Choice, DepthwiseWork } from "./schedule/schedule.ts";
import type { Lowered, Stage } from "./stage.ts";
import { bytePart } from "./weights.ts";
import { addPanel, widenPanels } from "./widen.ts";

const CHANNELS = 8;
/** Output pixels per tile: two accumulators each, beside the interleaved column and its weights. */
const PIXELS = 4;

/** Up to four taps of one column that one dot product covers; `part`: which byte of weights wider than 8 bits. */
interface Quad {
  readonly kx: number;
  readonly taps: readonly { readonly ky: number; readonly kx: number }[];
  readonly part: number;
  /** Index of the quad with part 0 of the same taps; those come first. */
  readonly whole: number;
}

export function lowerDepthwise(stage: Stage): Lowered | undefined {
  const root = stage.func.ops.find((o) => o.name !== "const");
  if (root?.name !== "qc.conv") return undefined;
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const w = constantOf(stage, root.operands[1]!);
  // Signed bytes come with a dot product for them.
  const signed = x.container === "i8" && stage.target.dot4;
  if (w === undefined || (x.container !== "u8" && !signed)) return undefined;
  const dot4 = signed ? "dot4_s8s8.i32x4" : "dot4_s8u8.i32x4";
  const [channels, kh, kw, perGroup] = w.shape as [number, number, number, number];
  const groups = attr<number>(root, "groups");
  if (perGroup !== 1 || groups < 2) return undefined;
  // Each input channel serves as many neighbouring output channels.
  const multiplier = channels / groups;
  const [sh, sw] = attr<readonly [number, number]>(root, "strides");
  const [dh, dw] = attr<readonly [number, number]>(root, "dilations");
  const [top, left] = attr<readonly [number, number, number, number]>(root, "pads");
  const [images, oh, ow] = y.shape as [number, number, number, number];
  const [imageBytes, rowBytes, pixelBytes] = x.strides as [number, number, number, number];
  const quads = quadsOf(kh, kw, w);
  const k = createKernel(stage.name);
  const blocks = Math.ceil(channels / CHANNELS);
  const weights = k.block.constant(packQuads(w, quads, blocks), "w");
  const blockBytes = quads.length * 32;
  // The weights of one block as i16, whole again where they were split into bytes.
  const pairs = stage.target.wideTile !== undefined;
  const whole = quads.every((q) => q.part === 0);
  // Row by row the weights meet in other pairs than they are packed in: none of −128, of which two overflow on some engines.
  const provable = whole && !pairs && w.data.every((v) => v > -128);
  const full = fullBlocks(channels, y.spare ?? 0);
  const shape = {
    rows: oh,
    pixels: ow,
    kernel: [kh, kw] as const,
    strides: [sh, sw] as const,
    dilation: dw,
    group: pairs ? (2 as const) : (4 as const),
  };
  const choice =
    takesRows([kh, kw], [sh, sw], dh, oh * ow) && (signed ? provable : pairs || whole)
      ? chooseRows(stage, {
          ...shape,
          images,
          channels,
          multiplier,
          // A last block with fewer channels is computed by itself.
          blocks: full === blocks ? full : 1,
          inRow: rowBytes,
          inPixel: pixelBytes,
          ring: ringBytesOf(shape),
        })
      : undefined;
  const together = choice?.blocks ?? 1;
  const rowWise =
    choice &&
    rowsEmitter(k.block, {
      ...shape,
      x,
      origin: x.offset - top * rowBytes - left * pixelBytes,
      packedBytes: (pairs ? 2 : 1) * blockBytes,
      dot4,
      blocks: together,
    });
  const wide = pairs && rowWise === undefined ? k.block.scratch(2 * blockBytes, "w") : undefined;
  const widenWeights = (b: Block, panel: string, at: Expr, pw: Expr): void => {
    const to = { buffer: panel, addr: at, offset: 0 };
    widenPanels(b, { buffer: weights, addr: pw, offset: 0 }, to, blockBytes);
    quads.forEach((q, i) => {
      if (q.part > 0) addPanel(b, panel, at, q.whole * 64, i * 64, 64);
    });
  };
  const readRow = rowReader(k.block, x, multiplier, blocks);
  const epilogue = epilogueOf(stage, k.block, blocks * CHANNELS);
  const init = epilogue.hasInit
    ? k.block.constant(bytesOf(padTo(epilogue.init, blocks * CHANNELS), "i32"), "init")
    : undefined;
  fillHalo(k.block, y);

  const start = (channel: Expr, h: number): Expr =>
    init === undefined ? konst("i32x4", 0) : load("i32x4", init, scale(channel, 4), h * 16);
  const finish = (
    b: Block,
    acc: readonly (readonly Expr[])[],
    po: Expr,
    channel: Expr,
    count: number,
  ): void => {
    const columns = acc[0]!.length * 4;
    const packed = epilogue.emit(
      b,
      acc.map((row) => [row]),
      channel,
    );
    storeChannels(b, y, packed, {
      rows: acc.length,
      columns,
      count: columns - count <= (y.spare ?? 0) ? columns : count,
      address: po,
      rowStep: y.strides[2]!,
    });
  };

  const tile = (
    b: Block,
    pixels: number,
    pa: Expr,
    po: Expr,
    pw: Expr,
    channel: Expr,
    count: number,
    read: ReadRow,
  ): void => {
    const acc = Array.from({ length: pixels }, (_, i) =>
      halvesOf(count).map((h) => b.variable(start(channel, h), `c${i}${h}`)),
    );
    // Columns in memory order; each is read and interleaved once.
    const columns = (pixels - 1) * sw + (kw - 1) * dw + 1;
    for (let col = 0; col < columns; col++) {
      const used = quads.flatMap((q, qi) => {
        const px = (col - q.kx * dw) / sw;
        return Number.isInteger(px) && px >= 0 && px < pixels ? [{ q, qi, px }] : [];
      });
      const offsetsOf = (q: Quad): number[] =>
        q.taps.map(
          (t) => x.offset + (t.ky * dh - top) * rowBytes + (col + (t.kx - q.kx) * dw - left) * pixelBytes,
        );
      const byRows = new Map<string, { readonly offsets: number[]; readonly uses: typeof used }>();
      for (const use of used) {
        const offsets = offsetsOf(use.q);
        const same = byRows.get(offsets.join()) ?? { offsets, uses: [] };
        same.uses.push(use);
        byRows.set(offsets.join(), same);
      }
      for (const { offsets, uses } of byRows.values())
        if (wide)
          for (let pair = 0; 2 * pair < offsets.length; pair++) {
            const halves = interleavePair(b, read, pa, offsets.slice(2 * pair, 2 * pair + 2));
            for (const { q, qi, px } of uses) {
              if (q.part > 0) continue;
              acc[px]!.forEach((c, h) => {
                const half = halves[h]!;
                const taps = load("i16x8", wide, c32(0), qi * 64 + pair * 32 + h * 16);
                b.set(c, op("add.i32x4", [c.ref, op("dot2.i32x4", [half, taps])]));
              });
            }
          }
        else {
          const halves = interleave(b, read, pa, offsets);
          for (const { qi, px } of uses)
            acc[px]!.forEach((c, h) => {
              const taps = load("i8x16", weights, pw, qi * 32 + h * 16);
              b.set(c, op(dot4, [c.ref, taps, halves[h]!]));
            });
        }
    }
    const results = acc.map((row) => row.map((v) => v.ref));
    finish(b, results, po, channel, count);
  };

  const elementBytes = CONTAINER_BYTES[y.container];

  const block = (image: Expr, cb: Expr, b: Block, count: number): void => {
    const channel = b.bind(scale(cb, CHANNELS), "ch");
    const pw = b.bind(scale(cb, blockBytes), "pw");
    const first = multiplier === 1 ? channel : op("div_u.i32", [channel, c32(multiplier)]);
    const xi = b.bind(add(first, scale(image, imageBytes)), "xi");
    const read = readRow(b, cb);
    if (rowWise) {
      b.loop(0, together, 1, (i, inner) => {
        const at = inner.bind(scale(i, rowWise.pitch), "at");
        const own = inner.bind(add(pw, scale(i, blockBytes)), "pw");
        if (pairs) widenWeights(inner, rowWise.weights, at, own);
        else copyBytes(inner, weights, own, rowWise.weights, at, blockBytes);
      });
      const yn = scale(image, y.strides[0]!);
      rowWise.emit(
        b,
        { channel, from: xi, read, halves: halvesOf(count) },
        start,
        (inner, acc, oy, ox, own) => {
          const ro = add(add(yn, scale(own, elementBytes)), scale(oy, y.strides[1]!));
          finish(inner, acc, inner.bind(add(ro, scale(ox, y.strides[2]!)), "po"), own, count);
        },
      );
      return;
    }
    const yi = b.bind(add(scale(channel, elementBytes), scale(image, y.strides[0]!)), "yi");
    if (wide) widenWeights(b, wide, c32(0), pw);
    b.loop(
      0,
      oh,
      1,
      (oy, rows) => {
        const ra = rows.bind(add(xi, scale(oy, sh * rowBytes)), "ra");
        const ro = rows.bind(add(yi, scale(oy, y.strides[1]!)), "ro");
        const main = Math.floor(ow / PIXELS) * PIXELS;
        rows.loop(
          0,
          main,
          PIXELS,
          (ox, inner) => {
            tile(
              inner,
              PIXELS,
              inner.bind(add(ra, scale(ox, sw * pixelBytes)), "pa"),
              inner.bind(add(ro, scale(ox, y.strides[2]!)), "po"),
              pw,
              channel,
              count,
              read,
            );
          },
          "ox",
        );
        if (main < ow)
          tile(
            rows,
            ow - main,
            rows.bind(add(ra, main * sw * pixelBytes), "pa"),
            rows.bind(add(ro, main * y.strides[2]!), "po"),
            pw,
            channel,
            count,
            read,
          );
      },
      "oy",
    );
  };
  k.block.loop(
    0,
    images,
    1,
    (image, b) => {
      b.loop(0, full, together, (cb, to) => block(image, cb, to, CHANNELS), "cb");
      if (full < blocks) block(image, c32(full), b, channels - full * CHANNELS);
    },
    "image",
  );
  return { ...k.finish([x.buffer], [y.buffer]), ...(choice && { choice: choice.choice }) };
}

/** How many blocks go together, by the cost model or the tuning. */
function chooseRows(
  stage: Stage,
  facts: Omit<DepthwiseWork, "family" | "input" | "output" | "epilogue">,
): { readonly choice: Choice; readonly blocks: number } {
  const { images, rows, pixels, kernel, strides, dilation, channels, multiplier, blocks } = facts;
  const work: DepthwiseWork = {
    family: "depthwise",
    images,
    rows,
    pixels,
    kernel,
    strides,
    dilation,
    channels,
    multiplier,
    blocks,
    // One key for both signs: their kernels are alike.
    input: "u8",
    output: stage.outputs[0]!.container,
    inRow: facts.inRow,
    inPixel: facts.inPixel,
    ring: facts.ring,
    epilogue: stepsOf(stage).flatMap((o) => (o.name === "qc.rescale" ? [rescaleOf(o.attrs).class] : [])),
  };
  const choice = choose(work, stage.target, stage.tuning);
  if (choice.schedule.family !== "depthwise") throw new Error(`${stage.name}: not a depthwise schedule`);
  return { choice, blocks: choice.schedule.blocks };
}

/** Kernel rows in groups of four per column; a kernel of one row groups its columns instead. */
function quadsOf(kh: number, kw: number, w: Dense): Quad[] {
  const taps: Quad["taps"][] = [];
  if (kh === 1)
    for (let kx = 0; kx < kw; kx += 4)
      taps.push(range(kx, Math.min(kw, kx + 4)).map((i) => ({ ky: 0, kx: i })));
  else
    for (let kx = 0; kx < kw; kx++)
      for (let ky = 0; ky < kh; ky += 4)
        taps.push(range(ky, Math.min(kh, ky + 4)).map((i) => ({ ky: i, kx })));
  const quads = taps.map((t, whole): Quad => ({ kx: t[0]!.kx, taps: t, part: 0, whole }));
  const parts = quads.flatMap((q) => {
    const more: Quad[] = [];
    for (let part = 1; needsPart(w, q.taps, part); part++) more.push({ ...q, part });
    return more;
  });
  return [...quads, ...parts];
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const tap = (w: Dense, c: number, t: { ky: number; kx: number }): number => {
  const [, kh, kw] = w.shape as [number, number, number, number];
  return w.data[(c * kh + t.ky) * kw + t.kx]!;
};

function needsPart(w: Dense, taps: Quad["taps"], part: number): boolean {
  for (let c = 0; c < w.shape[0]!; c++)
    for (const t of taps) if (bytePart(tap(w, c, t), part) !== 0) return true;
  return false;
}

function packQuads(w: Dense, quads: readonly Quad[], blocks: number): Uint8Array {
  const values: number[] = [];
  for (let cb = 0; cb < blocks; cb++)
    for (const q of quads)
      for (let c = 0; c < CHANNELS; c++)
        for (let t = 0; t < 4; t++) {
          const channel = cb * CHANNELS + c;
          const at = q.taps[t];
          values.push(at !== undefined && channel < w.shape[0]! ? bytePart(tap(w, channel, at), q.part) : 0);
        }
  return bytesOf(values, "i8");
}

/** `bytes`: a multiple of 16. */
function copyBytes(b: Block, from: string, at: Expr, to: string, toAt: Expr, bytes: number): void {
  b.loop(0, bytes, 16, (i, inner) => {
    const target = inner.bind(add(toAt, i), "to");
    inner.push(store(to, target, load("i8x16", from, inner.bind(add(at, i), "from"))));
  });
}

const LOW8 = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
const LOW16 = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
const HIGH16 = [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31];

/** Rows r0 … r3 of eight channels → [c0: r0 r1 r2 r3, c1 …] for channels 0–3 and 4–7. A missing row repeats the last: its weights are zero. */
function interleave(b: Block, read: ReadRow, pa: Expr, offsets: readonly number[]): readonly [Expr, Expr] {
  const rows = offsets.map((offset) => b.bind(read(b, pa, offset), "r"));
  const row = (i: number): Expr => rows[Math.min(i, rows.length - 1)]!;
  const a = b.bind(op("shuffle.i8x16", [row(0), row(1)], LOW8), "s");
  const c = rows.length > 2 ? b.bind(op("shuffle.i8x16", [row(2), row(3)], LOW8), "s") : a;
  return [b.bind(op("shuffle.i8x16", [a, c], LOW16), "q"), b.bind(op("shuffle.i8x16", [a, c], HIGH16), "q")];
}

/** Rows r0, r1 of eight channels → i16 [c0: r0 r1, c1 …] for channels 0–3 and 4–7. A missing row repeats the other. */
function interleavePair(
  b: Block,
  read: ReadRow,
  pa: Expr,
  offsets: readonly number[],
): readonly [Expr, Expr] {
  const [first, last] = offsets.map((offset) => b.bind(read(b, pa, offset), "r")) as [Expr, Expr?];
  const both = b.bind(op("shuffle.i8x16", [first, last ?? first], LOW8), "s");
  return [b.bind(op("extend_low_u.i16x8", [both]), "q"), b.bind(op("extend_high_u.i16x8", [both]), "q")];
}

/** Blocks from which on the half of one more is no loss. */
const MANY_BLOCKS = 16;

/**
 * Blocks that compute and store eight channels. The last one is among them where there is room for its padding and, unless there are
 * many, it needs both of its vectors: the code is there once.
 */
function fullBlocks(channels: number, spare: number): number {
  const blocks = Math.ceil(channels / CHANNELS);
  const padding = blocks * CHANNELS - channels;
  const cheap = padding < CHANNELS / 2 || blocks > MANY_BLOCKS;
  return blocks > 1 && padding <= spare && cheap ? blocks : Math.floor(channels / CHANNELS);
}

/** The vectors of four channels that a block of `count` channels needs. */
const halvesOf = (count: number): readonly number[] => (count > CHANNELS / 2 ? [0, 1] : [0]);

/**
 * Reads the input channels of the eight output channels of a block: neighbouring ones, or each as often as it has output
 * channels.
 */
function rowReader(
  outer: Block,
  x: Layout,
  multiplier: number,
  blocks: number,
): (b: Block, block: Expr) => ReadRow {
  const plain: ReadRow = (_, addr, offset) => load("i8x16", x.buffer, addr, offset, "load64_zero");
  if (multiplier === 1) return () => plain;
  const lanes = (block: number): number[] =>
    range(0, 16).map((i) => {
      const channel = (c: number): number => Math.floor((block * CHANNELS + c) / multiplier);
      return i < CHANNELS ? channel(i) - channel(0) : 0;
    });
  const tables = range(0, blocks).map(lanes);
  if (tables.every((t) => t.join() === tables[0]!.join()))
    return () => (b, addr, offset) => {
      const row = b.bind(plain(b, addr, offset), "r");
      return op("shuffle.i8x16", [row, row], tables[0]!);
    };
  const table = outer.constant(bytesOf(tables.flat(), "u8"), "spread");
  return (b, block) => {
    const spread = b.bind(load("i8x16", table, b.bind(scale(block, 16), "at")), "spread");
    return (to, addr, offset) => op("swizzle.i8x16", [plain(to, addr, offset), spread]);
  };
}

const padTo = (list: Int32Array, n: number): Int32Array => {
  const out = new Int32Array(Math.max(n, list.length));
  out.set(list);
  return out;
};
