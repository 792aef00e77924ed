/**
 * Convolution and matmul as one outer-product micro-kernel: splat a K-group of activations, multiply-accumulate it against a packed
 * panel of weights, finish in registers. A K×K convolution walks the input rows it overlaps (no im2col): each is a segment of
 * contiguous bytes. Panels: [N / columns][segment][K / group][columns / 4][4 columns][group].
 */
import { add, c32, type Expr, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import type { Target, Tile } from "../../ir/target.ts";
import { type Block, bytesOf, createKernel, type Mutable } from "./block.ts";
import { epilogueOf } from "./finish.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";
import { storeChannels } from "./store.ts";
import { splitWeights, type WeightTerm } from "./weights.ts";

/** The geometry all contractions share: a grid of output rows of pixels, each a sum of segments. */
interface Geometry {
  /** Output rows, and pixels per row. */
  readonly rows: number;
  readonly pixels: number;
  /** Bytes between the inputs of consecutive output rows and pixels. */
  readonly inRow: number;
  readonly inPixel: number;
  /** Byte of the first tap of the first output in the input buffer. */
  readonly inOffset: number;
  readonly outRow: number;
  readonly outPixel: number;
  readonly groups: number;
  /** Bytes between the inputs of consecutive groups. */
  readonly inGroup: number;
  /** Output channels per group. */
  readonly n: number;
  /** Taps that lie side by side in memory: `length` elements from byte `offset`. */
  readonly segments: readonly { readonly offset: number; readonly length: number }[];
  /** Weight of output channel o (of all groups) at element i of segment s; 0 for padding channels. */
  readonly weight: (o: number, s: number, i: number) => number;
}

export function lowerContraction(stage: Stage): Lowered | undefined {
  const root = stage.func.ops.find((o) => o.name !== "const")!;
  const weights = constantOperand(stage, root, 1);
  if (weights === undefined) return undefined;
  const geometry =
    root.name === "qc.conv"
      ? convGeometry(stage, root, weights)
      : root.name === "qc.matmul"
        ? matmulGeometry(stage, weights)
        : undefined;
  return geometry && emitContraction(stage, geometry);
}

export function constantOperand(stage: Stage, root: Op, i: number): Dense | undefined {
  const v = root.operands[i];
  const def = stage.func.ops.find((o) => o.name === "const" && o.results[0] === v);
  return def && attr<Dense>(def, "value");
}

function convGeometry(stage: Stage, root: Op, w: Dense): Geometry | undefined {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const [o, kh, kw, ci] = w.shape as [number, number, number, number];
  const groups = attr<number>(root, "groups");
  const [sh, sw] = attr<readonly [number, number]>(root, "strides");
  const [dh, dw] = attr<readonly [number, number]>(root, "dilations");
  const [top, left] = attr<readonly [number, number, number, number]>(root, "pads");
  const [batch, oh, ow] = y.shape as [number, number, number, number];
  if (batch !== 1) return undefined;
  const e = CONTAINER_BYTES[x.container];
  const [, rowBytes, pixelBytes] = x.strides as [number, number, number, number];
  const physical = pixelBytes / e;
  // Pixels that lie back to back form one segment per kernel row; their padding channels carry zero weights.
  const joined = groups === 1 && dw === 1 && physical - ci < 8;
  const perTap = { taps: kw, length: ci };
  const segments = joined
    ? Array.from({ length: kh }, (_, ky) => ({ offset: ky * dh * rowBytes, length: kw * physical }))
    : Array.from({ length: kh * perTap.taps }, (_, t) => ({
        offset: Math.floor(t / kw) * dh * rowBytes + (t % kw) * dw * pixelBytes,
        length: perTap.length,
      }));
  const at = (n: number, ky: number, kx: number, c: number) => w.data[((n * kh + ky) * kw + kx) * ci + c]!;
  const weight = joined
    ? (n: number, s: number, i: number) =>
        i % physical < ci ? at(n, s, Math.floor(i / physical), i % physical) : 0
    : (n: number, s: number, i: number) => at(n, Math.floor(s / kw), s % kw, i);
  const flat = oneRun(x, y, sh, sw, oh, ow);
  return {
    rows: flat ? 1 : oh,
    pixels: flat ? oh * ow : ow,
    inRow: sh * rowBytes,
    inPixel: sw * pixelBytes,
    inOffset: x.offset - top * rowBytes - left * pixelBytes,
    outRow: y.strides[1]!,
    outPixel: y.strides[2]!,
    groups,
    inGroup: ci * e,
    n: o / groups,
    segments,
    weight,
  };
}

/** Whether consecutive output rows continue each other in both tensors, so that the image is one row of pixels. */
const oneRun = (x: Layout, y: Layout, sh: number, sw: number, oh: number, ow: number): boolean =>
  oh === 1 || (y.strides[1] === ow * y.strides[2]! && sh * x.strides[1]! === ow * sw * x.strides[2]!);

function matmulGeometry(stage: Stage, w: Dense): Geometry | undefined {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  if (w.shape.length !== 2) return undefined;
  const [k, n] = w.shape as [number, number];
  const rank = x.shape.length;
  const m = x.shape.slice(0, -1).reduce((a, d) => a * d, 1);
  const inPixel = rank < 2 ? 0 : x.strides[rank - 2]!;
  const outPixel = y.shape.length < 2 ? 0 : y.strides[y.shape.length - 2]!;
  const regular = (l: Layout, step: number): boolean => {
    let stride = step;
    for (let a = l.shape.length - 2; a >= 0; a--) {
      if (l.shape[a]! > 1 && l.strides[a] !== stride) return false;
      stride *= l.shape[a]!;
    }
    return true;
  };
  if (!regular(x, inPixel) || !regular(y, outPixel)) return undefined;
  return {
    rows: 1,
    pixels: m,
    inRow: 0,
    inPixel,
    inOffset: x.offset,
    outRow: 0,
    outPixel,
    groups: 1,
    inGroup: 0,
    n,
    segments: [{ offset: 0, length: k }],
    weight: (o, _, i) => w.data[i * n + o]!,
  };
}

const roundUp = (n: number, m: number): number => Math.ceil(n / m) * m;

/** Rows of a tile so that tiles of nearly equal height cover the pixels. */
function tileRows(pixels: number, most: number): number {
  return Math.ceil(pixels / Math.ceil(pixels / most));
}

function chooseTile(target: Target, pixels: number, n: number): Tile {
  if (pixels === 1) return { rows: 1, columns: Math.min(target.vectorTile.columns, roundUp(n, 8)) };
  const best = target.tiles[0]!;
  return { rows: tileRows(pixels, best.rows), columns: best.columns };
}

/** One piece of the K loop: `groups` K-groups from byte `offset`, spaced `step` bytes; its weights start at `at` in the panel. */
interface Piece {
  readonly offset: number;
  readonly groups: number;
}

function emitContraction(stage: Stage, g: Geometry): Lowered {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const wide = x.container !== "u8";
  const groupSize = wide ? 2 : 4;
  const e = CONTAINER_BYTES[x.container];
  const tile = chooseTile(stage.target, g.pixels, g.n);
  const vectors = tile.columns / 4;
  const blocks = Math.ceil(g.n / tile.columns);
  const terms = splitWeights(g.segments, g.weight, g.n * g.groups, groupSize, wide);
  const pieces: Piece[] = terms.map((t) => ({ offset: t.offset, groups: t.groups }));
  const vectorBytes = 16;
  const groupBytes = vectors * vectorBytes;
  const panel = pieces.reduce((sum, p) => sum + p.groups * groupBytes, 0);
  const w = k.block.constant(packPanels(g, terms, tile.columns, blocks, groupSize, wide), "w");
  const epilogue = epilogueOf(stage, k.block, roundUp(g.n, tile.columns) - g.n + g.n * g.groups);
  const init = k.block.constant(bytesOf(padInit(epilogue.init, g, tile.columns, blocks), "i32"), "init");
  fillHalo(k.block, y);

  const tileBody = (
    b: Block,
    rows: number,
    pa: Expr,
    po: Expr,
    pw: Expr,
    channel: Expr,
    count: number,
  ): void => {
    const acc: Mutable[][] = [];
    for (let i = 0; i < rows; i++)
      acc.push(
        Array.from({ length: vectors }, (_, j) =>
          b.variable(i === 0 ? load("i32x4", init, scale(channel, 4), j * 16) : acc[0]![j]!.ref, `c${i}${j}`),
        ),
      );
    let at = 0;
    for (const run of uniformRuns(pieces)) {
      emitRun(b, run, pa, pw, at, rows, acc);
      at += run.count * run.groups * groupBytes;
    }
    const packed = epilogue.emit(
      b,
      acc.map((row) => [row.map((v) => v.ref)]),
      channel,
    );
    storeTile(b, stage, y, packed, rows, tile.columns, count, po, g.outPixel);
  };

  /** `count` pieces `step` bytes apart, each of `groups` K-groups. */
  const emitRun = (
    b: Block,
    run: Run,
    pa: Expr,
    pw: Expr,
    at: number,
    rows: number,
    acc: readonly (readonly Mutable[])[],
  ): void => {
    const body = (inner: Block, a: Expr, panelAt: Expr, panelOffset: number, aOffset: number): void => {
      const bs = Array.from({ length: vectors }, (_, j) =>
        inner.bind(load(wide ? "i16x8" : "i8x16", w, panelAt, panelOffset + j * vectorBytes), `b${j}`),
      );
      for (let i = 0; i < rows; i++) {
        const ai = inner.bind(
          load(wide ? "i16x8" : "i8x16", x.buffer, a, aOffset + i * g.inPixel, "load32_splat"),
          "a",
        );
        for (let j = 0; j < vectors; j++) {
          const c = acc[i]![j]!;
          inner.set(
            c,
            wide
              ? op("add.i32x4", [c.ref, op("dot2.i32x4", [ai, bs[j]!])])
              : op("dot4_s8u8.i32x4", [c.ref, bs[j]!, ai]),
          );
        }
      }
    };
    const pieceBytes = run.groups * groupBytes;
    const inPieces = (
      outer: Block,
      wBase: Expr,
      wOffset: number,
      aBase: Expr,
      aOffset: number,
    ): void => {
      if (run.groups <= 2) {
        for (let u = 0; u < run.groups; u++)
          body(outer, aBase, wBase, wOffset + u * groupBytes, aOffset + u * groupSize * e);
        return;
      }
      const p = outer.variable(aBase, "pa");
      const unroll = run.groups % 2 === 0 ? 2 : 1;
      const start = outer.bind(add(wBase, wOffset), "wb");
      loopFrom(outer, start, pieceBytes, unroll * groupBytes, (q, inner) => {
        for (let u = 0; u < unroll; u++) body(inner, p.ref, q, u * groupBytes, aOffset + u * groupSize * e);
        inner.set(p, add(p.ref, unroll * groupSize * e));
      });
    };
    if (run.count === 1) {
      inPieces(b, pw, at, pa, run.offset + g.inOffset);
      return;
    }
    b.loop(
      0,
      run.count,
      1,
      (s, inner) => {
        const wb = inner.bind(add(pw, scale(s, pieceBytes)), "ws");
        const ab = inner.bind(add(pa, scale(s, run.step)), "as");
        inPieces(inner, wb, at, ab, run.offset + g.inOffset);
      },
      "s",
    );
  };

  const panels = (b: Block, group: Expr): void => {
    const gx = b.bind(scale(group, g.inGroup), "gx");
    const gw = b.bind(scale(group, blocks * panel), "gw");
    const gc = b.bind(scale(group, g.n), "gc");
    const full = Math.floor(g.n / tile.columns);
    const column = (n: Expr, inner: Block, count: number): void => {
      const channel = inner.bind(add(gc, scale(n, tile.columns)), "ch");
      const pw = inner.bind(add(gw, scale(n, panel)), "pw");
      const co = inner.bind(scale(channel, CONTAINER_BYTES[y.container]), "co");
      inner.loop(
        0,
        g.rows,
        1,
        (row, rowBlock) => {
          const ra = rowBlock.bind(add(gx, scale(row, g.inRow)), "ra");
          const ro = rowBlock.bind(add(co, scale(row, g.outRow)), "ro");
          const main = Math.floor(g.pixels / tile.rows) * tile.rows;
          rowBlock.loop(
            0,
            main,
            tile.rows,
            (p, pb) => {
              tileBody(
                pb,
                tile.rows,
                pb.bind(add(ra, scale(p, g.inPixel)), "ap"),
                pb.bind(add(ro, scale(p, g.outPixel)), "op"),
                pw,
                channel,
                count,
              );
            },
            "p",
          );
          if (main < g.pixels)
            tileBody(
              rowBlock,
              g.pixels - main,
              rowBlock.bind(add(ra, main * g.inPixel), "ap"),
              rowBlock.bind(add(ro, main * g.outPixel), "op"),
              pw,
              channel,
              count,
            );
        },
        "row",
      );
    };
    b.loop(0, full, 1, (n, inner) => column(n, inner, tile.columns), "n");
    if (full < blocks) column(c32(full), b, g.n - full * tile.columns);
  };
  k.block.loop(0, g.groups, 1, (group, b) => panels(b, group), "g");
  return k.finish([x.buffer], [y.buffer]);
}

/** for q = start; q < start + bytes; q += step. */
function loopFrom(
  b: Block,
  start: Expr,
  bytes: number,
  step: number,
  body: (q: Expr, inner: Block) => void,
): void {
  if (bytes === step) {
    body(start, b);
    return;
  }
  b.loopBetween(start, b.bind(add(start, bytes), "we"), step, body, "q");
}

/** Pieces of equal length at equal distances run as one loop. */
interface Run {
  readonly offset: number;
  readonly step: number;
  readonly count: number;
  readonly groups: number;
}

function uniformRuns(pieces: readonly Piece[]): Run[] {
  const runs: Run[] = [];
  for (let i = 0; i < pieces.length; ) {
    const p = pieces[i]!;
    const step = i + 1 < pieces.length ? pieces[i + 1]!.offset - p.offset : 0;
    let count = 1;
    while (
      step > 0 &&
      i + count < pieces.length &&
      pieces[i + count]!.groups === p.groups &&
      pieces[i + count]!.offset === p.offset + count * step
    )
      count++;
    runs.push({ offset: p.offset, step, count, groups: p.groups });
    i += count;
  }
  return runs;
}

function packPanels(
  g: Geometry,
  terms: readonly WeightTerm[],
  columns: number,
  blocks: number,
  groupSize: number,
  wide: boolean,
): Uint8Array {
  const values: number[] = [];
  for (let group = 0; group < g.groups; group++)
    for (let blk = 0; blk < blocks; blk++)
      for (const t of terms)
        for (let kg = 0; kg < t.groups; kg++)
          for (let c = 0; c < columns; c++) {
            const o = blk * columns + c;
            for (let i = 0; i < groupSize; i++)
              values.push(o < g.n ? t.weight(group * g.n + o, kg * groupSize + i) : 0);
          }
  return bytesOf(values, wide ? "i16" : "i8");
}

/** Initial accumulators by absolute channel; the last group's padding columns start at 0. */
function padInit(init: Int32Array, g: Geometry, columns: number, blocks: number): Int32Array {
  const out = new Int32Array(g.n * (g.groups - 1) + columns * blocks);
  out.set(init.subarray(0, Math.min(init.length, out.length)));
  return out;
}

/** Stores `rows` × `count` results of one tile. */
function storeTile(
  b: Block,
  stage: Stage,
  y: Layout,
  packed: readonly Expr[],
  rows: number,
  columns: number,
  count: number,
  po: Expr,
  outPixel: number,
): void {
  void stage;
  storeChannels(b, y, packed, { rows, columns, count, address: po, rowStep: outPixel });
}
