/**
 * 3×3 convolutions of stride 1 by Winograd's F(2×2, 3×3): sixteen products instead of thirty-six for four outputs, exact in integers.
 * Where the dot product takes i16 pairs both operands are widened anyway; here they are transformed on the way. Input: planes
 * [16][tile][channel]; weights, panel by panel: planes [16][K / 2][2][4 columns][2]; sums: planes [16][tile][8 columns].
 * Sums are four times the results modulo 2^32; `fitsWinograd` bounds the results so that a shift gives them.
 */
import { add, c32, type Expr, konst, load, op, scale, store } from "../../ir/kernel/ir.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import type { Geometry } from "./contraction-geometry.ts";
import { type Plan, planOf } from "./contraction-plan.ts";
import { storeElements } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { multiplyTile } from "./product-tile.ts";
import { type Finisher, finisherOf } from "./residual.ts";
import { PANEL } from "./schedule/contraction.ts";
import type { WinogradSchedule } from "./schedule/schedule.ts";
import type { Lowered, Stage } from "./stage.ts";
import { packedPanels, type WeightTerm } from "./weights.ts";
import {
  type Axis,
  axisOf,
  crossings,
  neighbours,
  outputsOf,
  type Planes,
  POINTS,
  planesOf,
  transformPanel,
  transformPatch,
} from "./winograd-transforms.ts";

/** Channels transformed at a time. */
const LANES = 8;
const VECTOR_BYTES = 16;

/** What the panels share. */
interface Emitter {
  readonly schedule: WinogradSchedule;
  readonly g: Geometry;
  readonly plan: Plan;
  readonly y: Layout;
  /** Elements of K: of the input of one position. */
  readonly depth: number;
  readonly rows: Axis;
  readonly columns: Axis;
  /** Bytes between the transformed inputs of tiles. */
  readonly pitch: number;
  readonly weights: string;
  readonly panelBytes: number;
  readonly v: Planes;
  readonly u: Planes;
  readonly m: Planes;
  readonly init: string | undefined;
  readonly finisher: Finisher;
}

/** `terms`: the weights in K-groups of four bytes, none in parts. */
export function emitWinograd(
  stage: Stage,
  g: Geometry,
  terms: readonly WeightTerm[],
  schedule: WinogradSchedule,
): Lowered {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const { block } = k;
  const blocks = Math.ceil(g.n / PANEL);
  const finisher = finisherOf(stage, block, blocks * PANEL);
  const { lines, chunk } = schedule;
  const part = { rows: Math.min(g.rows, 2 * lines), pixels: g.pixels };
  const depth = g.inPixel;
  const pitch = 2 * Math.ceil(depth / LANES) * LANES;
  const columns = axisOf(block, g.pixels);
  const em: Emitter = {
    schedule,
    g,
    plan: planOf(g, y, finisher.residual, part),
    y,
    depth,
    rows: axisOf(block, part.rows),
    columns,
    pitch,
    weights: block.constant(packedPanels(g, terms, 4, false, stage.panels), "w"),
    panelBytes: 9 * depth * PANEL,
    v: planesOf(block, lines * columns.tiles * pitch, "v"),
    u: planesOf(block, 2 * depth * PANEL, "u"),
    m: planesOf(block, chunk * columns.tiles * 4 * PANEL, "m"),
    init: finisher.hasInit ? block.constant(bytesOf(finisher.init, "i32"), "init") : undefined,
    finisher,
  };
  fillHalo(block, y);
  const spare = y.spare ?? 0;
  const stored = blocks * PANEL - g.n <= spare ? blocks * PANEL : g.n;
  const full = Math.floor(stored / PANEL);
  block.loop(
    0,
    em.plan.parts,
    1,
    (index, b) => {
      transformInput(b, em, x.buffer, b.bind(scale(index, em.plan.inPart), "xi"));
      b.loop(0, full, 1, (panel, to) => emitPanel(to, em, index, panel, PANEL), "n");
      if (full < blocks) emitPanel(b, em, index, c32(full), stored - full * PANEL);
    },
    "part",
  );
  return k.finish([...new Set(stage.inputs.map((l) => l.buffer))], [y.buffer]);
}

function transformInput(b: Block, em: Emitter, x: string, from: Expr): void {
  const { g, rows, columns, depth, pitch, v } = em;
  b.loop(
    0,
    rows.tiles,
    1,
    (row, lines) => {
      const down = neighbours(lines, row, rows, g.inRow, 3);
      lines.loop(
        0,
        columns.tiles,
        1,
        (column, inner) => {
          const place = crossings(inner, from, down, neighbours(inner, column, columns, g.inPixel, 3));
          const corners = [0, 3].flatMap((r) => [0, 3].map((c) => place(r, c).addr));
          const tile = inner.bind(add(scale(row, columns.tiles * pitch), scale(column, pitch)), "tile");
          inner.loop(
            0,
            depth,
            LANES,
            (k, channels) => {
              const moved = new Map(
                [...new Set(corners)].map((c) => [c, channels.bind(add(c, k), "x")] as const),
              );
              const at = (r: number, c: number): Expr => {
                const { addr, offset } = place(r, c);
                return load("i16x8", x, moved.get(addr)!, g.inOffset + offset, "load8x8_u");
              };
              transformPatch(channels, at, v, channels.bind(add(tile, scale(k, 2)), "to"));
            },
            "k",
          );
        },
        "tx",
      );
    },
    "ty",
  );
}

/** All tiles of one part in one panel, of which `count` channels exist. */
function emitPanel(b: Block, em: Emitter, part: Expr, panel: Expr, count: number): void {
  const { schedule, columns, y, plan, finisher } = em;
  const channel = b.bind(scale(panel, PANEL), "ch");
  transformPanel(b, em.weights, b.bind(scale(panel, em.panelBytes), "pw"), em.depth, em.u);
  const base = (l: Layout, bytes: number, hint: string): Expr =>
    b.bind(add(scale(channel, CONTAINER_BYTES[l.container]), scale(part, bytes)), hint);
  const { residual } = finisher;
  const yc = base(y, plan.outPart, "yc");
  const rc = residual ? base(residual, plan.residualPart, "rc") : c32(0);
  const quads = Math.ceil(count / 4);
  const { chunk, lines } = schedule;
  b.loop(
    0,
    lines / chunk,
    1,
    (c, to) => {
      const from = to.bind(scale(c, chunk * columns.tiles * em.pitch), "from");
      to.loop(0, POINTS, 1, (point, inner) => multiplyPoint(inner, em, point, from, quads), "point");
      to.loop(
        0,
        chunk,
        1,
        (line, inner) => {
          const row = inner.bind(add(scale(c, chunk), line), "row");
          const down = neighbours(inner, row, em.rows, em.g.outRow, 1);
          const beside = residual && neighbours(inner, row, em.rows, plan.residualRow, 1);
          inner.loop(
            0,
            columns.tiles,
            1,
            (column, tile) => {
              const place = crossings(tile, yc, down, neighbours(tile, column, columns, em.g.outPixel, 1));
              const other =
                beside &&
                crossings(tile, rc, beside, neighbours(tile, column, columns, plan.residualPixel, 1));
              const at = tile.bind(
                add(scale(line, columns.tiles * 4 * PANEL), scale(column, 4 * PANEL)),
                "at",
              );
              emitOutputs(tile, em, { at, channel, quads, count, place, other });
            },
            "tx",
          );
        },
        "ty",
      );
    },
    "chunk",
  );
}

/** The products of one point: all tiles of a chunk, whose transformed inputs start at byte `from` of a plane. */
function multiplyPoint(b: Block, em: Emitter, point: Expr, from: Expr, quads: number): void {
  const { v, u, m, pitch, depth, schedule, columns } = em;
  const tiles = schedule.chunk * columns.tiles;
  const xs = b.bind(add(scale(point, v.bytes), from), "xs");
  const ws = b.bind(scale(point, u.bytes), "ws");
  const ms = b.bind(scale(point, m.bytes), "ms");
  const tile = (to: Block, rows: number, first: Expr): void => {
    const start = Array.from({ length: rows }, () => Array.from({ length: quads }, () => konst("i32x4", 0)));
    const left = { buffer: v.buffer, offset: 0, stride: pitch };
    const right = { buffer: u.buffer, bytes: u.bytes, groups: depth / 2 };
    const x = to.bind(add(xs, scale(first, pitch)), "xp");
    const target = to.bind(add(ms, scale(first, 4 * PANEL)), "mp");
    multiplyTile(to, "pairs", left, right, x, ws, start).forEach((row, i) => {
      row.forEach((sum, j) => {
        to.push(store(m.buffer, target, sum, { offset: i * 4 * PANEL + j * VECTOR_BYTES }));
      });
    });
  };
  const { rows } = schedule;
  const main = Math.floor(tiles / rows) * rows;
  b.loop(0, main, rows, (first, to) => tile(to, rows, first), "p");
  if (main < tiles) tile(b, tiles - main, c32(main));
}

interface Outputs {
  /** Byte of the tile in a plane of sums. */
  readonly at: Expr;
  readonly channel: Expr;
  readonly quads: number;
  readonly count: number;
  readonly place: ReturnType<typeof crossings>;
  readonly other: ReturnType<typeof crossings> | undefined;
}

/** The four pixels of a tile. */
function emitOutputs(b: Block, em: Emitter, { at, channel, quads, count, place, other }: Outputs): void {
  const { m, y, init, finisher } = em;
  const pixels = [0, 1].flatMap((row) => [0, 1].map((column) => [row, column] as const));
  const initAt = init === undefined ? c32(0) : b.bind(scale(channel, 4), "init");
  const groups = Array.from({ length: quads }, (_, j) => {
    const sums = outputsOf(b, m, at, j * VECTOR_BYTES);
    if (init === undefined) return sums;
    const start = b.bind(load("i32x4", init, initAt, j * VECTOR_BYTES), "a0");
    return sums.map((s) => b.bind(op("add.i32x4", [s, start]), "c"));
  });
  const rows = pixels.map((_, p) => groups.map((sums) => sums[p]!));
  const places = pixels.map(([r, c]) => other?.(r, c) ?? { addr: c32(0), offset: 0 });
  const packed = finisher.emit(b, rows, channel, places);
  const width = quads * 4;
  const stored = width - count <= (y.spare ?? 0) ? width : count;
  // Of a tile with one row or column its results come last, over what was stored in their place.
  for (const [i, [r, c]] of [...pixels.entries()].reverse()) {
    const { addr, offset } = place(r, c);
    storeElements(b, y, addr, y.offset + offset, packed, stored, i * width);
  }
}
