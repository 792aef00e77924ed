/**
 * Contractions of few pixels, on targets whose dot product takes i16 pairs: each weight serves a few products only, so it is widened
 * in registers. A vector of four K-group quadruples, read as i16 lanes, gives the even weights · 256 by a left shift and the
 * odd ones by a right shift; their products have accumulators of their own. Activations are gathered once, even and odd ones apart,
 * in the order of the packed weights, so that K is one loop over memory that lies back to back.
 */
import { add, c32, type Expr, konst, load, op, scale, store } from "../../ir/kernel/ir.ts";
import { type Block, bytesOf, createKernel, type Mutable } from "./block.ts";
import type { Geometry } from "./contraction-geometry.ts";
import { storeElements } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { type Finisher, finisherOf } from "./residual.ts";
import { PANEL } from "./schedule/contraction.ts";
import type { GemvSchedule } from "./schedule/schedule.ts";
import type { Lowered, Stage } from "./stage.ts";
import { packedPanels, type WeightTerm } from "./weights.ts";

const K_GROUP = 4;
const LANES = 4;
const VECTOR_BYTES = 16;
/** Bytes of a K-group: of a panel, and of the even or the odd activations. */
const PANEL_GROUP = PANEL * K_GROUP;
const PAIR = 4;
/**
 * K-groups after which the accumulators of even weights, which hold 256 times their sums, are emptied: two products of 128 · 255
 * a group stay within 31 bits.
 */
const CHUNK = 128;

/** What the tiles share. */
interface Emitter {
  readonly g: Geometry;
  readonly y: Layout;
  readonly weights: string;
  /** Gathered activations: the even ones of all pixels, K-group by K-group, and the odd ones `odd` bytes behind. */
  readonly x: string;
  readonly odd: number;
  /** K-groups of a pixel. */
  readonly groups: number;
  readonly vectors: GemvSchedule["vectors"];
  readonly init: string | undefined;
  readonly finisher: Finisher;
}

/** `stage` has no pool behind the contraction; `terms` are its weights in K-groups of four; `vectors` of four columns in a tile. */
export function emitGemv(
  stage: Stage,
  g: Geometry,
  terms: readonly WeightTerm[],
  vectors: GemvSchedule["vectors"],
): Lowered {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const b = k.block;
  const blocks = Math.ceil(g.n / PANEL);
  const groups = terms.reduce((sum, t) => sum + t.groups, 0);
  const size = g.n * (g.groups - 1) + blocks * PANEL;
  const finisher = finisherOf(stage, b, Math.ceil(size / LANES) * LANES);
  // Gathering writes whole vectors.
  const odd = Math.ceil((g.rows * g.pixels * groups * PAIR) / VECTOR_BYTES + 1) * VECTOR_BYTES;
  const em: Emitter = {
    g,
    y,
    weights: b.constant(packedPanels(g, terms, K_GROUP, false, stage.panels), "w"),
    x: b.scratch(2 * odd, "x"),
    odd,
    groups,
    vectors,
    init: finisher.hasInit ? b.constant(bytesOf(finisher.init, "i32"), "init") : undefined,
    finisher,
  };
  fillHalo(b, y);
  const whole = terms.filter((t) => t.addsTo === undefined);
  const short = terms.filter((t) => t.addsTo !== undefined);
  const gather = gatherer(b, em, x.buffer, [whole, short]);
  b.loop(
    0,
    g.images,
    1,
    (image, images) => {
      const xi = images.bind(scale(image, g.inImage), "xi");
      images.loop(
        0,
        g.groups,
        1,
        (group, inner) => {
          gather(inner, inner.bind(add(xi, scale(group, g.inGroup)), "xg"));
          emitColumns(inner, em, image, group);
        },
        "g",
      );
    },
    "image",
  );
  return k.finish([...new Set(stage.inputs.map((l) => l.buffer))], [y.buffer]);
}

/** Widens the activations of every term at every pixel; `from` is where those of a group of an image start. */
function gatherer(
  outer: Block,
  em: Emitter,
  source: string,
  lists: readonly (readonly WeightTerm[])[],
): (b: Block, from: Expr) => void {
  const { g, groups } = em;
  const low = outer.bind(
    load("i16x8", outer.constant(bytesOf(new Array(8).fill(255), "i16"), "low"), c32(0)),
    "low",
  );
  const tables = lists.map((terms) => {
    const offsets = terms.map((t) => t.offset);
    return offsets.length > 1 ? outer.constant(bytesOf(offsets, "i32"), "taps") : undefined;
  });
  /** Even and odd bytes of `count` K-groups, and of up to three more. */
  const widen = (b: Block, from: Expr, to: Expr, offset: number, count: number): void =>
    b.loop(
      0,
      count * PAIR,
      VECTOR_BYTES,
      (i, inner) => {
        const bytes = inner.bind(load("i16x8", source, inner.bind(add(from, i), "from"), g.inOffset), "x");
        const target = inner.bind(add(to, i), "to");
        inner.push(
          store(em.x, target, op("and.i16x8", [bytes, low]), { offset }),
          store(em.x, target, op("shr_u.i16x8", [bytes], [8]), { offset: offset + em.odd }),
        );
      },
      "i",
    );
  /** In ascending order: what is written beyond the end of a term is overwritten by the next one. */
  const pixel = (b: Block, from: Expr, to: Expr): void => {
    let done = 0;
    lists.forEach((terms, i) => {
      const [first] = terms;
      if (first === undefined) return;
      const table = tables[i];
      b.loop(
        0,
        terms.length,
        1,
        (t, inner) => {
          const offset = table === undefined ? c32(first.offset) : load("i32", table, scale(t, 4));
          const target = inner.bind(add(to, scale(t, first.groups * PAIR)), "to");
          widen(inner, inner.bind(add(from, offset), "from"), target, done * PAIR, first.groups);
        },
        "t",
      );
      done += terms.length * first.groups;
    });
  };
  const pitch = groups * PAIR;
  return (b, from) =>
    b.loop(
      0,
      g.rows,
      1,
      (row, rows) =>
        rows.loop(
          0,
          g.pixels,
          1,
          (p, inner) => {
            const at = inner.bind(add(add(from, scale(row, g.inRow)), scale(p, g.inPixel)), "xp");
            pixel(inner, at, inner.bind(add(scale(row, g.pixels * pitch), scale(p, pitch)), "to"));
          },
          "p",
        ),
      "row",
    );
}

/** All columns of one group of one image. */
function emitColumns(b: Block, em: Emitter, image: Expr, group: Expr): void {
  const { g } = em;
  const panelBytes = em.groups * PANEL_GROUP;
  const blocks = Math.ceil(g.n / PANEL);
  const base = b.bind(scale(group, blocks * panelBytes), "pw");
  const first = b.bind(scale(group, g.n), "ch");
  const { vectors } = em;
  const columns = (to: Block, count: number, panel: Expr, half: Expr): void => {
    const channel = to.bind(add(add(first, scale(panel, PANEL)), scale(half, LANES)), "ch");
    const pw = to.bind(add(add(base, scale(panel, panelBytes)), scale(half, VECTOR_BYTES)), "pw");
    const tile = { image, channel, pw, vectors: Math.min(vectors, Math.ceil(count / LANES)), count };
    emitTile(to, em, tile);
  };
  if (vectors === 1) {
    const full = Math.floor(g.n / PANEL);
    const halves = (to: Block, panel: Expr, count: number): void => {
      const whole = Math.floor(count / LANES);
      to.loop(0, whole, 1, (half, inner) => columns(inner, LANES, panel, half), "half");
      if (whole * LANES < count) columns(to, count - whole * LANES, panel, c32(whole));
    };
    b.loop(0, full, 1, (panel, to) => halves(to, panel, PANEL), "panel");
    halves(b, c32(full), g.n - full * PANEL);
    return;
  }
  const width = vectors * LANES;
  const full = Math.floor(g.n / width);
  b.loop(0, full, 1, (n, to) => columns(to, width, scale(n, width / PANEL), c32(0)), "n");
  const rest = g.n - full * width;
  if (rest > 0) columns(b, rest, c32((full * width) / PANEL), c32(0));
}

/** `vectors` vectors of columns from `channel` on, of which `count` exist; their weights start at `pw`. */
interface Tile {
  readonly image: Expr;
  readonly channel: Expr;
  readonly pw: Expr;
  readonly vectors: number;
  readonly count: number;
}

/** All pixels of one image. */
function emitTile(b: Block, em: Emitter, t: Tile): void {
  const { g, y, finisher } = em;
  const { image, channel, vectors } = t;
  const pixels = Array.from({ length: g.rows * g.pixels }, (_, i) => i);
  const accumulators = (hint: string): Mutable[][] =>
    pixels.map((i) =>
      Array.from({ length: vectors }, (_, j) => b.variable(konst("i32x4", 0), `${hint}${i}_${j}_`)),
    );
  const [even, odd] = [accumulators("e"), accumulators("o")];
  const pitch = em.groups * PAIR;
  const step = (to: Block, x: Expr, w: Expr, u: number): void => {
    const pairs = (from: number): Expr[] =>
      pixels.map((i) => {
        const a = load("i16x8", em.x, x, i * pitch + from + u * PAIR, "load32_splat");
        return vectors > 1 ? to.bind(a, "a") : a;
      });
    const operands = [
      { sums: even, activations: pairs(0), shift: "shl.i16x8" },
      { sums: odd, activations: pairs(em.odd), shift: "shr_s.i16x8" },
    ] as const;
    for (let j = 0; j < vectors; j++) {
      const at = (j >> 1) * em.groups * PANEL_GROUP + (j & 1) * VECTOR_BYTES + u * PANEL_GROUP;
      const both = to.bind(load("i16x8", em.weights, w, at), "w");
      for (const { sums, activations, shift } of operands) {
        const weights = to.bind(op(shift, [both], [8]), "w");
        activations.forEach((a, i) => {
          const sum = sums[i]![j]!;
          to.set(sum, op("add.i32x4", [sum.ref, op("dot2.i32x4", [a, weights])]));
        });
      }
    }
  };
  /** Even sums are 256 times too large. */
  const total = (i: number, j: number): Expr =>
    op("add.i32x4", [odd[i]![j]!.ref, op("shr_s.i32x4", [even[i]![j]!.ref], [8])]);
  emitGroups(b, em.groups, t.pw, step, (to) =>
    even.forEach((row, i) => {
      row.forEach((sum, j) => {
        to.set(odd[i]![j]!, total(i, j));
        to.set(sum, konst("i32x4", 0));
      });
    }),
  );
  const rows = pixels.map((i) =>
    Array.from({ length: vectors }, (_, j) => {
      const start = em.init && load("i32x4", em.init, scale(channel, 4), j * VECTOR_BYTES);
      return b.bind(start ? op("add.i32x4", [total(i, j), start]) : total(i, j), "c");
    }),
  );
  const at = (bytes: number, imageBytes: number, hint: string): Expr =>
    b.bind(add(scale(channel, bytes), scale(image, imageBytes)), hint);
  const joined = finisher.residual;
  const isImage = y.shape.length === 4;
  const rp = joined ? at(CONTAINER_BYTES[joined.container], isImage ? joined.strides[0]! : 0, "rp") : c32(0);
  const [rowBytes, pixelBytes] = [isImage ? (joined?.strides[1] ?? 0) : 0, joined?.strides.at(-2) ?? 0];
  const [rowOf, pixelOf] = [(i: number) => Math.floor(i / g.pixels), (i: number) => i % g.pixels];
  const residuals = pixels.map((i) => ({ addr: rp, offset: rowOf(i) * rowBytes + pixelOf(i) * pixelBytes }));
  const packed = finisher.emit(b, rows, channel, residuals);
  const yp = at(CONTAINER_BYTES[y.container], g.images > 1 ? y.strides[0]! : 0, "yp");
  const width = vectors * LANES;
  const stored = width - t.count <= (y.spare ?? 0) ? width : t.count;
  for (const i of pixels) {
    const offset = y.offset + rowOf(i) * g.outRow + pixelOf(i) * g.outPixel;
    storeElements(b, y, yp, offset, packed, stored, i * width);
  }
}

/** K-groups handled per turn. */
const UNROLL = 2;

/** Calls `step` for every K-group, and `empty` at least every CHUNK of them. */
function emitGroups(
  b: Block,
  groups: number,
  pw: Expr,
  step: (b: Block, x: Expr, w: Expr, u: number) => void,
  empty: (b: Block) => void,
): void {
  const looped = groups - (groups % UNROLL);
  const x = b.variable(c32(0), "x");
  const turns = (to: Block, from: Expr, end: Expr): void =>
    to.loopBetween(
      from,
      end,
      UNROLL * PANEL_GROUP,
      (w, inner) => {
        for (let u = 0; u < UNROLL; u++) step(inner, x.ref, w, u);
        inner.set(x, add(x.ref, UNROLL * PAIR));
      },
      "w",
    );
  const end = b.bind(add(pw, looped * PANEL_GROUP), "end");
  if (groups > CHUNK)
    b.loopBetween(
      pw,
      end,
      CHUNK * PANEL_GROUP,
      (from, to) => {
        turns(to, from, to.bind(op("min_s.i32", [add(from, CHUNK * PANEL_GROUP), end]), "until"));
        empty(to);
      },
      "chunk",
    );
  else if (looped > 0) turns(b, pw, end);
  for (let u = looped; u < groups; u++) step(b, x.ref, end, u - looped);
}
