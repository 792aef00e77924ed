/**
 * Convolution and matmul as one outer-product micro-kernel: splat a K-group of activations, multiply-accumulate it against a packed
 * panel of weights, finish in registers. A K×K convolution walks the input rows it overlaps (no im2col): each is a segment of
 * contiguous bytes. Panels: [N / 8][segment][K / group][2][4 columns][group]; a tile reads one or more neighbouring panels.
 */
import { add, c32, type Expr, konst, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Target, Tile } from "../../ir/target.ts";
import { type Block, bytesOf, createKernel, type Mutable } from "./block.ts";
import { convGeometry, type Geometry, matmulGeometry } from "./contraction-geometry.ts";
import { constantOf } from "./epilogue-stage.ts";
import { storeChannels } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { type Finisher, finisherOf } from "./residual.ts";
import type { Lowered, Stage } from "./stage.ts";
import { splitWeights, type WeightTerm } from "./weights.ts";

export function lowerContraction(stage: Stage): Lowered | undefined {
  const root = stage.func.ops.find((o) => o.name !== "const")!;
  const weights = constantOf(stage, root.operands[1]!);
  if (weights === undefined) return undefined;
  if (stage.inputs[0]!.container !== "u8" && stage.inputs[0]!.container !== "i16") return undefined;
  const geometry =
    root.name === "qc.conv"
      ? convGeometry(stage, root, weights, true)
      : root.name === "qc.matmul"
        ? matmulGeometry(stage, weights)
        : undefined;
  return geometry && emitContraction(stage, geometry);
}

/** Output channels of a panel. */
const PANEL = 8;
const VECTOR_BYTES = 16;
/** Bytes of one K-group of a panel: two vectors. */
const GROUP_BYTES = 2 * VECTOR_BYTES;

/** Rows of a tile so that tiles of nearly equal height cover the pixels. */
const tileRows = (pixels: number, most: number): number => Math.ceil(pixels / Math.ceil(pixels / most));

function chooseTile(target: Target, pixels: number, n: number): { rows: number; panels: number } {
  const panels = Math.ceil(n / PANEL);
  if (pixels === 1) return { rows: 1, panels: Math.min(target.vectorTile.columns / PANEL, panels) };
  const best: Tile = target.tiles[0]!;
  return { rows: tileRows(pixels, best.rows), panels: Math.min(best.columns / PANEL, panels) };
}

/** `count` pieces of the K loop, `step` bytes apart, each of `groups` K-groups from byte `offset`. */
interface Run {
  readonly offset: number;
  readonly step: number;
  readonly count: number;
  readonly groups: number;
  /** K-groups between the weights of consecutive pieces. */
  readonly pitch: number;
}

/** What the tiles of one contraction share. */
interface Emitter {
  readonly x: Layout;
  readonly y: Layout;
  readonly g: Geometry;
  /** 16-bit activations and weights. */
  readonly wide: boolean;
  /** Buffers of packed weights and initial accumulators; without the latter they start at zero. */
  readonly weights: string;
  readonly init: string | undefined;
  readonly panelBytes: number;
  readonly runs: readonly Run[];
  readonly finisher: Finisher;
  /** Bytes between the residual's images, rows and pixels; 0 without one. */
  readonly residualImage: number;
  readonly residualRow: number;
  readonly residualPixel: number;
}

function emitContraction(stage: Stage, g: Geometry): Lowered {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const wide = x.container === "i16";
  const groupSize = wide ? 2 : 4;
  const blocks = Math.ceil(g.n / PANEL);
  const terms = splitWeights(g.segments, g.weight, g.n * g.groups, groupSize, wide);
  const channels = g.n * (g.groups - 1) + blocks * PANEL;
  const weights = k.block.constant(packPanels(g, terms, blocks, groupSize, wide), "w");
  const finisher = finisherOf(stage, k.block, Math.ceil(channels / 4) * 4);
  const init = finisher.hasInit ? k.block.constant(bytesOf(finisher.init, "i32"), "init") : undefined;
  const panelBytes = terms.reduce((sum, t) => sum + t.groups * GROUP_BYTES, 0);
  const image = y.shape.length === 4;
  const joined = finisher.residual;
  const em: Emitter = {
    x,
    y,
    g,
    wide,
    weights,
    init,
    panelBytes,
    runs: uniformRuns(terms),
    finisher,
    residualImage: image ? (joined?.strides[0] ?? 0) : 0,
    residualRow: image ? (joined?.strides[1] ?? 0) : 0,
    residualPixel: joined?.strides.at(-2) ?? 0,
  };
  fillHalo(k.block, y);
  const tile = chooseTile(stage.target, g.pixels, g.n);
  const panelsOf = (b: Block, image: Expr, group: Expr): void => {
    const full = Math.floor(g.n / PANEL / tile.panels);
    const columns = (to: Block, panels: number, first: Expr, count: number): void =>
      emitColumns(to, em, { rows: tile.rows, panels, image, group, first, count });
    b.loop(0, full, 1, (n, to) => columns(to, tile.panels, scale(n, tile.panels), tile.panels * PANEL), "n");
    const done = full * tile.panels;
    if (done < blocks) columns(b, blocks - done, c32(done), g.n - done * PANEL);
  };
  k.block.loop(
    0,
    g.images,
    1,
    (image, b) => b.loop(0, g.groups, 1, (group, to) => panelsOf(to, image, group), "g"),
    "image",
  );
  const reads = [...new Set(stage.inputs.map((l) => l.buffer))];
  return k.finish(reads, [y.buffer]);
}

/** All pixels of one image in `panels` neighbouring panels, from panel `first` of a group; `count` of their channels exist. */
interface Columns {
  readonly rows: number;
  readonly panels: number;
  readonly image: Expr;
  readonly group: Expr;
  readonly first: Expr;
  readonly count: number;
}

function emitColumns(b: Block, em: Emitter, { rows, panels, image, group, first, count }: Columns): void {
  const { g, y } = em;
  const blocks = Math.ceil(g.n / PANEL);
  const channel = b.bind(add(scale(group, g.n), scale(first, PANEL)), "ch");
  const pw = b.bind(add(scale(group, blocks * em.panelBytes), scale(first, em.panelBytes)), "pw");
  const xg = b.bind(add(scale(group, g.inGroup), scale(image, g.inImage)), "xg");
  const yc = b.bind(add(scale(channel, CONTAINER_BYTES[y.container]), scale(image, g.outImage)), "yc");
  const joined = em.finisher.residual;
  const rc = joined
    ? b.bind(add(scale(channel, CONTAINER_BYTES[joined.container]), scale(image, em.residualImage)), "rc")
    : c32(0);
  b.loop(
    0,
    g.rows,
    1,
    (row, inner) => {
      const xr = inner.bind(add(xg, scale(row, g.inRow)), "xr");
      const yr = inner.bind(add(yc, scale(row, g.outRow)), "yr");
      const main = Math.floor(g.pixels / rows) * rows;
      const rr = joined ? inner.bind(add(rc, scale(row, em.residualRow)), "rr") : c32(0);
      const at = (to: Block, base: Expr, p: Expr, step: number, hint: string): Expr =>
        to.bind(add(base, scale(p, step)), hint);
      const tile = (to: Block, n: number, p: Expr): void => {
        const xp = at(to, xr, p, g.inPixel, "xp");
        const yp = at(to, yr, p, g.outPixel, "yp");
        const rp = joined ? at(to, rr, p, em.residualPixel, "rp") : c32(0);
        emitTile(to, em, n, panels, xp, yp, rp, pw, channel, count);
      };
      inner.loop(0, main, rows, (p, to) => tile(to, rows, p), "p");
      if (main < g.pixels) tile(inner, g.pixels - main, c32(main));
    },
    "row",
  );
}

/** `rows` pixels × `panels` panels: initialise, run over K, finish, store. */
function emitTile(
  b: Block,
  em: Emitter,
  rows: number,
  panels: number,
  xp: Expr,
  yp: Expr,
  rp: Expr,
  pw: Expr,
  channel: Expr,
  count: number,
): void {
  const { g, y, init } = em;
  const vectors = panels * 2;
  const start = (j: number): Expr =>
    init === undefined ? konst("i32x4", 0) : load("i32x4", init, scale(channel, 4), j * VECTOR_BYTES);
  const acc: Mutable[][] = [];
  for (let i = 0; i < rows; i++)
    acc.push(
      Array.from({ length: vectors }, (_, j) =>
        b.variable(i === 0 ? start(j) : acc[0]![j]!.ref, `c${i}_${j}_`),
      ),
    );
  let at = 0;
  for (const run of em.runs) {
    emitRun(b, em, run, acc, xp, pw, at);
    at += run.count * run.groups * GROUP_BYTES;
  }
  const places = acc.map((_, i) => ({ addr: rp, offset: i * em.residualPixel }));
  const packed = em.finisher.emit(
    b,
    acc.map((row) => row.map((v) => v.ref)),
    channel,
    places,
  );
  const columns = vectors * 4;
  const stored = columns - count <= (y.spare ?? 0) ? columns : count;
  storeChannels(b, y, packed, { rows, columns, count: stored, address: yp, rowStep: g.outPixel });
}

/** The K loop of one run; its weights start `at` bytes into each panel. */
function emitRun(
  b: Block,
  em: Emitter,
  run: Run,
  acc: readonly (readonly Mutable[])[],
  xp: Expr,
  pw: Expr,
  at: number,
): void {
  const offset = run.offset + em.g.inOffset;
  if (run.count === 1) {
    emitPiece(b, em, run.groups, acc, xp, offset, pw, at);
    return;
  }
  b.loop(
    0,
    run.count,
    1,
    (s, inner) => {
      const xs = inner.bind(add(xp, scale(s, run.step)), "xs");
      const ws = inner.bind(add(pw, scale(s, run.groups * GROUP_BYTES)), "ws");
      emitPiece(inner, em, run.groups, acc, xs, offset, ws, at);
    },
    "s",
  );
}

/** K-groups handled per turn of the inner loop, and the longest stretch written out without a loop. */
const UNROLL = 2;

function emitPiece(
  b: Block,
  em: Emitter,
  groups: number,
  acc: readonly (readonly Mutable[])[],
  x: Expr,
  xOffset: number,
  w: Expr,
  wOffset: number,
): void {
  const groupBytes = (em.wide ? 2 : 4) * CONTAINER_BYTES[em.x.container];
  const straight = groups <= UNROLL ? groups : groups % UNROLL;
  const looped = groups - straight;
  if (looped > 0) {
    const xk = b.variable(x, "xk");
    const wk = b.bind(add(w, wOffset), "wk");
    b.loopBetween(
      wk,
      b.bind(add(wk, looped * GROUP_BYTES), "we"),
      UNROLL * GROUP_BYTES,
      (q, inner) => {
        for (let u = 0; u < UNROLL; u++)
          emitGroup(inner, em, acc, xk.ref, xOffset + u * groupBytes, q, u * GROUP_BYTES);
        inner.set(xk, add(xk.ref, UNROLL * groupBytes));
      },
      "q",
    );
  }
  for (let u = looped; u < groups; u++)
    emitGroup(b, em, acc, x, xOffset + u * groupBytes, w, wOffset + u * GROUP_BYTES);
}

/** One K-group: load the panels' vectors, splat each row's activations, multiply-accumulate. */
function emitGroup(
  b: Block,
  em: Emitter,
  acc: readonly (readonly Mutable[])[],
  x: Expr,
  xOffset: number,
  w: Expr,
  wOffset: number,
): void {
  const type = em.wide ? "i16x8" : "i8x16";
  const vectors = acc[0]!.length;
  const ws = Array.from({ length: vectors }, (_, j) =>
    b.bind(load(type, em.weights, w, wOffset + (j >> 1) * em.panelBytes + (j & 1) * VECTOR_BYTES), "w"),
  );
  acc.forEach((row, i) => {
    const a = b.bind(load(type, em.x.buffer, x, xOffset + i * em.g.inPixel, "load32_splat"), "a");
    row.forEach((c, j) => {
      const product = em.wide
        ? op("add.i32x4", [c.ref, op("dot2.i32x4", [a, ws[j]!])])
        : op("dot4_s8u8.i32x4", [c.ref, ws[j]!, a]);
      b.set(c, product);
    });
  });
}

/** Terms of equal length at equal distances run as one loop. */
function uniformRuns(terms: readonly WeightTerm[]): Run[] {
  const runs: Run[] = [];
  for (let i = 0; i < terms.length; ) {
    const first = terms[i]!;
    const step = i + 1 < terms.length ? terms[i + 1]!.offset - first.offset : 0;
    let count = 1;
    while (
      step > 0 &&
      terms[i + count]?.groups === first.groups &&
      terms[i + count]!.offset === first.offset + count * step
    )
      count++;
    runs.push({ offset: first.offset, step, count, groups: first.groups });
    i += count;
  }
  return runs;
}

function packPanels(
  g: Geometry,
  terms: readonly WeightTerm[],
  blocks: number,
  groupSize: number,
  wide: boolean,
): Uint8Array {
  const values: number[] = [];
  for (let group = 0; group < g.groups; group++)
    for (let o = 0; o < blocks * PANEL; o += PANEL)
      for (const t of terms)
        for (let k = 0; k < t.groups * groupSize; k += groupSize)
          for (let c = o; c < o + PANEL; c++)
            for (let i = k; i < k + groupSize; i++) values.push(c < g.n ? t.weight(group * g.n + c, i) : 0);
  return bytesOf(values, wide ? "i16" : "i8");
}
