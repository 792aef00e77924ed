/**
 * Products whose operands do not fit 16 bits: the right one is unpacked into i32 panels [N / 4][K][4 columns], rows are
 * multiplied by 32-bit lanes, which are exact modulo 2^32.
 */
import { add, c32, type Expr, load, op, scale, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { loadScalar, nest } from "./elementwise-load.ts";
import { storeChannels } from "./epilogue-store.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Addresses, Product, Side } from "./product-form.ts";
import { ORIGIN, startOf } from "./product-tile.ts";

const COLUMNS = 8;

const centred = ({ layout, zero }: Side, at: Expr): Expr => {
  const x = loadScalar(layout, at, layout.offset);
  return zero === 0 ? x : op("sub.i32", [x, c32(zero | 0)]);
};

export function emitWide(block: Block, p: Product, init: string | undefined): void {
  const { k, n, b } = p;
  const { panels } = p.scratch;
  const e = CONTAINER_BYTES[b.layout.container];
  const row = b.layout.strides.at(-2)!;
  const [columnStep, innerStep] = p.byColumn ? [row, e] : [e, row];
  nest(block, p.outer, [ORIGIN, ORIGIN, ORIGIN, ORIGIN], (to, at) => {
    to.loop(0, n, 1, (j, c) => {
      const from = c.bind(add(at[1]!, scale(j, columnStep)), "from");
      const panel = op("and.i32", [j, c32(-COLUMNS)]);
      const lane = op("and.i32", [j, c32(COLUMNS - 1)]);
      const target = c.bind(add(scale(panel, 4 * k), scale(lane, 4)), "to");
      c.loop(0, k, 1, (i, inner) => {
        const x = centred(b, inner.bind(add(from, scale(i, innerStep)), "at"));
        inner.push(store(panels, inner.bind(add(target, scale(i, 4 * COLUMNS)), "at"), x));
      });
    });
    nest(to, p.inner, at, (inner, [xa, xb, xy, xr]) => {
      inner.loop(0, p.m, 1, (i, r) => {
        const full = Math.floor(n / COLUMNS);
        const tile = (t: Block, panel: Expr, width: number): void =>
          emitRow(t, p, panels, init, [xa!, xb!, xy!, xr!], i, panel, width);
        r.loop(0, full, 1, (panel, t) => tile(t, panel, COLUMNS));
        if (full * COLUMNS < n) tile(r, c32(full), n - full * COLUMNS);
      });
    });
  });
}

/** One row of one panel. */
function emitRow(
  b: Block,
  p: Product,
  panels: string,
  init: string | undefined,
  at: Addresses,
  i: Expr,
  panel: Expr,
  width: number,
): void {
  const { a, y, k, finisher } = p;
  const x = b.bind(add(at[0], scale(i, a.layout.strides.at(-2)!)), "x");
  const w = b.bind(scale(panel, 4 * COLUMNS * k), "w");
  const channel = b.bind(scale(panel, COLUMNS), "ch");
  const [start] = startOf(b, { columns: init, rows: undefined }, { rows: 1, vectors: 2 }, channel, i);
  const acc = start!.map((v) => b.variable(v, "c"));
  const e = CONTAINER_BYTES[a.layout.container];
  b.loop(0, k, 1, (j, inner) => {
    const left = inner.bind(op("splat.i32x4", [centred(a, inner.bind(add(x, scale(j, e)), "at"))]), "a");
    const from = inner.bind(add(w, scale(j, 4 * COLUMNS)), "w");
    acc.forEach((c, v) => {
      const product = op("mul.i32x4", [left, load("i32x4", panels, from, v * 16)]);
      inner.set(c, op("add.i32x4", [c.ref, product]));
    });
  });
  const place = (l: Layout, matrix: Expr): Expr => {
    const start = add(matrix, scale(channel, CONTAINER_BYTES[l.container]));
    return b.bind(add(start, scale(i, l.strides.at(-2)!)), "at");
  };
  const { residual } = finisher;
  const packed = finisher.emit(b, [acc.map((c) => c.ref)], channel, [
    { addr: residual ? place(residual, at[3]) : ORIGIN, offset: 0 },
  ]);
  storeChannels(b, y, packed, {
    rows: 1,
    columns: COLUMNS,
    count: width,
    address: place(y, at[2]),
    rowStep: 0,
  });
}
