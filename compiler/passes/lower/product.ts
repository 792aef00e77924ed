/**
 * Products of two tensors, Σ (a − z_a)(b − z_b): the right operand is packed into panels once per matrix, then an outer-product
 * micro-kernel runs over rows as for weights. Three forms:
 *
 * - pairs: both operands less their zero points, as i16; the left one is widened in strips that stay in the cache.
 * - bytes, where the target has the byte dot product: bytes as they lie. With A = a − o_a and B = b − o_b in their byte ranges,
 *   Σ (a − z_a)(b − z_b) = Σ AB + (o_b − z_b)·Σ_k A + (o_a − z_a)·Σ_k B + K(o_a − z_a)(o_b − z_b),
 *   the row and column terms start the accumulators. All modulo 2^32; the range analysis proves that the sum fits.
 * - wide (`product-wide.ts`): anything else, in i32 lanes.
 *
 * One or two rows by columns that lie as rows take dot products along K instead (`product-dots.ts`), in the form of pairs.
 */
import { add, c32, type Expr, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Dense, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { type IntType, intMax, intMin } from "../../ir/types.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import { operandLayout, paramBuffers } from "./elementwise.ts";
import { type Axis, broadcastStrides, collapse, nest } from "./elementwise-load.ts";
import { constantOf, stepsOf } from "./epilogue-stage.ts";
import { storeChannels } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { dotTile } from "./product-dots.ts";
import type { Addresses, Product, Side } from "./product-form.ts";
import {
  type Form,
  GROUP_BYTES,
  groupSize,
  heldIn,
  loadLanes,
  PANEL,
  type Packing,
  packedBytes,
  packPanels,
  panelBytes,
} from "./product-pack.ts";
import {
  accumulate,
  type Dot,
  type Left,
  multiplyTile,
  ORIGIN,
  type Panels,
  type Start,
  startOf,
} from "./product-tile.ts";
import { emitWide } from "./product-wide.ts";
import { finisherOf } from "./residual.ts";
import type { Lowered, Stage } from "./stage.ts";

export function lowerProduct(stage: Stage): Lowered | undefined {
  const root = stepsOf(stage)[0];
  if (root?.name !== "qc.matmul") return undefined;
  const kernel = createKernel(stage.name);
  const p = productOf(stage, root, kernel.block);
  const [y] = stage.outputs as [Layout];
  fillHalo(kernel.block, y);
  const how = formOf(p, stage.target.dot4);
  if (p.m > 0 && p.n > 0) {
    const init = p.finisher.hasInit
      ? kernel.block.constant(bytesOf(p.finisher.init, "i32"), "init")
      : undefined;
    if (how === "wide") emitWide(kernel.block, p, init);
    else emitPacked(kernel.block, p, how, init, stage);
  }
  return kernel.finish(paramBuffers(stage), [y.buffer]);
}

function productOf(stage: Stage, root: Op, block: Block): Product {
  const [av, bv] = root.operands as [Value, Value];
  const [y] = stage.outputs as [Layout];
  const [a, b] = [
    sideOf(stage, block, av, attr(root, "a_zero")),
    sideOf(stage, block, bv, attr(root, "b_zero")),
  ];
  const n = y.shape.at(-1)!;
  const k = av.type.shape.at(-1)!;
  const columns = Math.ceil(n / PANEL) * PANEL;
  const finisher = finisherOf(stage, block, columns);
  const batch = y.shape.slice(0, -2);
  const steps = (l: Layout | undefined): readonly number[] =>
    l === undefined
      ? batch.map(() => 0)
      : broadcastStrides({ shape: l.shape.slice(0, -2), strides: l.strides.slice(0, -2) }, batch);
  const all = [a.layout, b.layout, y, finisher.residual].map(steps);
  const axes = batch.map((size, i): Axis => ({ size, steps: all.map((s) => s[i]!) }));
  const moves = (axis: Axis): boolean => axis.steps[1] !== 0;
  return {
    a,
    b,
    y,
    m: y.shape.at(-2)!,
    k,
    n,
    byColumn: attr<boolean>(root, "transpose_b"),
    finisher,
    held: heldIn(block),
    scratch: {
      panels: block.scratch(Math.max(4 * columns * k, packedBytes("pair", k, n)), "panels"),
      columns: block.scratch(4 * columns, "columns"),
      rows: block.scratch(4 * y.shape.at(-2)!, "rows"),
    },
    outer: collapse(axes.filter(moves)),
    inner: collapse(axes.filter((x) => !moves(x))),
  };
}

function sideOf(stage: Stage, block: Block, v: Value, zero: number): Side {
  const constant = constantOf(stage, v);
  const elem = v.type.elem as IntType;
  const [min, max] = constant ? extremes(constant) : [intMin(elem), intMax(elem)];
  return { layout: operandLayout(stage, block, v), zero, min, max, constant: constant !== undefined };
}

function extremes({ data }: Dense): [number, number] {
  let [min, max] = [data[0] ?? 0, data[0] ?? 0];
  for (const x of data) {
    if (x < min) min = x;
    if (x > max) max = x;
  }
  return [min, max];
}

const within = (s: Side, shift: number, lo: number, hi: number): boolean =>
  s.min - shift >= lo && s.max - shift <= hi;

/** How the operands are multiplied, and what is taken from their bytes before. */
interface How {
  readonly dot: Dot;
  readonly form: Form;
  readonly aZero: number;
  readonly bZero: number;
}

function formOf({ a, b }: Product, dot4: boolean): How | "wide" {
  const bytes = [a, b].every((s) => CONTAINER_BYTES[s.layout.container] === 1);
  const isU8 = (s: Side): boolean => s.layout.container === "u8";
  if (dot4 && bytes && isU8(a) && !a.constant) {
    // Zero itself if the signed bytes around it hold everything, so that no row term is left.
    const fits = within(b, b.zero, -128, 127);
    const bZero = fits ? b.zero : isU8(b) ? 128 : 0;
    return { dot: "unsigned", form: "byte", aZero: 0, bZero };
  }
  if (dot4 && bytes && isU8(b) && !b.constant && !isU8(a))
    return { dot: "signed", form: "byte", aZero: 0, bZero: 0 };
  const short = (s: Side): boolean =>
    CONTAINER_BYTES[s.layout.container] <= 2 && within(s, s.zero, -32768, 32767);
  return short(a) && short(b) ? { dot: "pairs", form: "pair", aZero: a.zero, bZero: b.zero } : "wide";
}

/** Rows up to which dot products along K are faster than an outer product of panels. */
const FEW_ROWS = 2;

/** Bytes of widened rows that stay in a first-level cache beside a panel. */
const CACHED = 16384;

interface Emitter {
  readonly p: Product;
  readonly how: How;
  readonly left: Left;
  readonly right: Panels;
  /** The right operand as it lies, where nothing is packed. */
  readonly direct: Packing | undefined;
  readonly start: Start;
  /** Rows, and panels, of a tile. */
  readonly tile: { readonly rows: number; readonly panels: number };
}

function emitPacked(block: Block, p: Product, how: How, init: string | undefined, { target }: Stage): void {
  const { a, b, k, n, m } = p;
  const packing: Packing = {
    form: how.form,
    k,
    n,
    byColumn: p.byColumn,
    rows: {
      buffer: b.layout.buffer,
      container: b.layout.container,
      offset: b.layout.offset,
      stride: b.layout.strides.at(-2)!,
      zero: how.bZero,
    },
    held: p.held,
  };
  const right: Panels = {
    buffer: p.scratch.panels,
    bytes: panelBytes(how.form, k),
    groups: Math.ceil(k / groupSize(how.form)),
  };
  const [ra, rb] = [how.aZero - a.zero, how.bZero - b.zero];
  const columns = ra === 0 ? init : p.scratch.columns;
  const rows = rb === 0 ? undefined : p.scratch.rows;
  // What is multiplied by a few rows only is not worth packing.
  const times = p.inner.reduce((count, axis) => count * axis.size, m);
  const direct = how.form === "pair" && p.byColumn && times <= FEW_ROWS ? packing : undefined;
  const tile = tileOf(m, n, how, target);
  const strip = stripOf(block, p, how, direct ? { ...tile, panels: 1 } : tile);
  const em: Emitter = {
    p,
    how,
    left: strip.left,
    right,
    direct,
    start: { columns, rows },
    tile: strip.tile,
  };
  nest(block, p.outer, [ORIGIN, ORIGIN, ORIGIN, ORIGIN], (to, at) => {
    if (direct === undefined) packPanels(to, packing, at[1]!, right.buffer);
    if (ra !== 0) columnTerms(to, em, columns!, ra | 0, Math.imul(Math.imul(k, ra), rb), init);
    nest(to, p.inner, at, (inner, [xa, xb, xy, xr]) => {
      if (rows !== undefined) rowTerms(inner, em, rows, rb | 0, xa!);
      strip.each(inner, xa!, (s, x, first, count) => {
        emitRows(s, em, x, [xa!, xb!, xy!, xr!], first, count);
      });
    });
  });
}

function tileOf(m: number, n: number, how: How, target: Stage["target"]): { rows: number; panels: number } {
  const best = how.form === "byte" ? target.tiles[0]! : (target.wideTile ?? { rows: 4, columns: 8 });
  const rows = Math.min(best.rows, m);
  // Few rows leave registers for more columns.
  const panels = rows === 1 ? 4 : rows === 2 ? 2 : 1;
  return {
    rows: Math.ceil(m / Math.ceil(m / rows)),
    panels: Math.min(panels, Math.ceil(n / PANEL)),
  };
}

/** How the rows of the left operand are prepared: as they lie, or widened some at a time. */
interface Strip {
  readonly left: Left;
  readonly tile: { rows: number; panels: number };
  /** Runs `body` for every strip: address of its rows, index of the first, how many. */
  readonly each: (
    b: Block,
    matrix: Expr,
    body: (b: Block, rows: Expr, first: Expr, count: number) => void,
  ) => void;
}

function stripOf(block: Block, p: Product, how: How, tile: { rows: number; panels: number }): Strip {
  const { layout } = p.a;
  const stride = layout.strides.at(-2)!;
  const inPlace = how.form === "byte" || (CONTAINER_BYTES[layout.container] === 2 && how.aZero === 0);
  if (inPlace)
    return {
      left: { buffer: layout.buffer, offset: layout.offset, stride },
      tile,
      each: (b, matrix, body) => body(b, matrix, ORIGIN, p.m),
    };
  const pitch = 16 * Math.ceil(p.k / 8);
  const fitting = Math.max(1, Math.floor(CACHED / (pitch * tile.rows))) * tile.rows;
  const size = Math.min(p.m, fitting);
  const buffer = block.scratch(size * pitch, "left");
  const rows = {
    buffer: layout.buffer,
    container: layout.container,
    offset: layout.offset,
    stride,
    zero: how.aZero,
  };
  const widen = (b: Block, from: Expr, count: number): void => {
    b.loop(0, count, 1, (i, row) => {
      const source = row.bind(add(from, scale(i, stride)), "from");
      const target = row.bind(scale(i, pitch), "to");
      row.loop(0, p.k, 8, (j, inner) => {
        const x = inner.bind(add(source, scale(j, CONTAINER_BYTES[layout.container])), "from");
        const to = inner.bind(add(target, scale(j, 2)), "to");
        inner.push(store(buffer, to, loadLanes(inner, "pair", rows, x, 0, p.held)));
      });
    });
  };
  return {
    left: { buffer, offset: 0, stride: pitch },
    tile,
    each: (b, matrix, body) => {
      const strip = (to: Block, first: Expr, count: number): void => {
        widen(to, to.bind(add(matrix, scale(first, stride)), "from"), count);
        body(to, ORIGIN, first, count);
      };
      const whole = Math.floor(p.m / size);
      b.loop(0, whole, 1, (i, to) => strip(to, to.bind(scale(i, size), "first"), size), "strip");
      if (whole * size < p.m) strip(b, c32(whole * size), p.m - whole * size);
    },
  };
}

/** Column by column: (o_a − z_a)·Σ_k B + constant, plus what the epilogue starts from. */
function columnTerms(
  block: Block,
  { p, how, right }: Emitter,
  to: string,
  factor: number,
  constant: number,
  init: string | undefined,
): void {
  const ones = p.held.splat(1, "i8x16");
  const f = p.held.splat(factor, "i32x4");
  const c = p.held.splat(constant, "i32x4");
  block.loop(0, Math.ceil(p.n / PANEL), 1, (i, b) => {
    const panel = b.bind(scale(i, right.bytes), "panel");
    const sums = [0, 1].map(() => b.variable({ k: "const", type: "i32x4", value: 0 }, "sum"));
    b.loop(0, right.groups, 1, (g, inner) => {
      const at = inner.bind(add(panel, scale(g, GROUP_BYTES)), "at");
      sums.forEach((sum, half) => {
        const w = load("i8x16", right.buffer, at, half * 16);
        inner.set(sum, accumulate(how.dot, sum.ref, ones, w));
      });
    });
    const at = b.bind(scale(i, PANEL * 4), "to");
    sums.forEach((sum, half) => {
      const term = op("add.i32x4", [op("mul.i32x4", [sum.ref, f]), c]);
      const total = init ? op("add.i32x4", [term, load("i32x4", init, at, half * 16)]) : term;
      b.push(store(to, at, total, { offset: half * 16 }));
    });
  });
}

/** Row by row: (o_b − z_b)·Σ_k A. */
function rowTerms(block: Block, { p, how, left }: Emitter, to: string, factor: number, matrix: Expr): void {
  const whole = Math.floor(p.k / 16) * 16;
  const ones = p.held.splat(1, "i8x16");
  const tail = Array.from({ length: 16 }, (_, i) => (whole + i < p.k ? 1 : 0));
  const few = p.held.vector(tail, "i8x16");
  block.loop(0, p.m, 1, (i, b) => {
    const row = b.bind(add(matrix, scale(i, left.stride)), "row");
    const sum = b.variable({ k: "const", type: "i32x4", value: 0 }, "sum");
    const addTo = (inner: Block, at: Expr, w: Expr): void => {
      const x = load("i8x16", left.buffer, at, left.offset);
      inner.set(sum, accumulate(how.dot, sum.ref, x, w));
    };
    b.loop(0, whole, 16, (j, inner) => addTo(inner, inner.bind(add(row, j), "at"), ones));
    if (whole < p.k) addTo(b, b.bind(add(row, whole), "at"), few);
    const lane = (j: number): Expr => op("lane.i32x4", [sum.ref], [j]);
    const total = op("add.i32", [op("add.i32", [lane(0), lane(1)]), op("add.i32", [lane(2), lane(3)])]);
    b.push(store(to, b.bind(scale(i, 4), "to"), op("mul.i32", [total, c32(factor)])));
  });
}

/** All panels of `count` rows from row `first`; `x`: address of the first one's left operand. */
function emitRows(block: Block, em: Emitter, x: Expr, at: Addresses, first: Expr, count: number): void {
  const { n } = em.p;
  const { rows, panels } = em.tile;
  const column = (b: Block, panel: Expr, some: number, width: number): void => {
    const main = count - (count % rows);
    b.loop(
      0,
      main,
      rows,
      (i, to) => emitTile(to, em, { x, at, first, i, rows, panel, panels: some, width }),
      "m",
    );
    const i = c32(main);
    if (main < count) emitTile(b, em, { x, at, first, i, rows: count - main, panel, panels: some, width });
  };
  const full = Math.floor(n / (PANEL * panels));
  block.loop(0, full, 1, (i, b) => column(b, b.bind(scale(i, panels), "panel"), panels, panels * PANEL), "n");
  const rest = n - full * panels * PANEL;
  if (rest > 0) column(block, c32(full * panels), Math.ceil(rest / PANEL), rest);
}

interface Tile {
  readonly x: Expr;
  readonly at: Addresses;
  /** The tile's first row is row i of the strip that starts at row `first`. */
  readonly first: Expr;
  readonly i: Expr;
  readonly rows: number;
  /** First panel, how many, and how many of their columns exist. */
  readonly panel: Expr;
  readonly panels: number;
  readonly width: number;
}

function emitTile(b: Block, em: Emitter, t: Tile): void {
  const { p, how, left, right, direct } = em;
  const { y, finisher } = p;
  const x = b.bind(add(t.x, scale(t.i, left.stride)), "x");
  const column = direct && add(t.at[1], scale(t.panel, PANEL * direct.rows.stride));
  const w = b.bind(column ?? scale(t.panel, right.bytes), "w");
  const channel = b.bind(scale(t.panel, PANEL), "ch");
  const row = b.bind(add(t.first, t.i), "row");
  const place = (l: Layout, matrix: Expr): Expr => {
    const start = add(matrix, scale(channel, CONTAINER_BYTES[l.container]));
    return b.bind(add(start, scale(row, l.strides.at(-2)!)), "at");
  };
  const start = startOf(b, em.start, { rows: t.rows, vectors: 2 * t.panels }, channel, row);
  const sums = direct
    ? dotTile(b, left, direct, x, w, start, t.width)
    : multiplyTile(b, how.dot, left, right, x, w, start);
  const { residual } = finisher;
  const addr = residual ? place(residual, t.at[3]) : ORIGIN;
  const step = residual?.strides.at(-2) ?? 0;
  const places = sums.map((_, r) => ({ addr, offset: r * step }));
  const packed = finisher.emit(b, sums, channel, places);
  storeChannels(b, y, packed, {
    rows: t.rows,
    columns: t.panels * PANEL,
    count: t.width,
    address: place(y, t.at[2]),
    rowStep: y.strides.at(-2)!,
  });
}
