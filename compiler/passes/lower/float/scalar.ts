/** Single elements of any container, and runs of them. */
import { add, c32, type Expr, load, op, store } from "../../../ir/kernel/ir.ts";
import type { Block } from "../block.ts";
import { type Axis, collapse, loadScalar, nest } from "../elementwise-load.ts";
import { storeElements } from "../epilogue-store.ts";
import { CONTAINER_BYTES, type Layout } from "../layout.ts";

/** Stores the low bytes of a scalar as one element. */
export function storeScalar(b: Block, to: Layout, addr: Expr, value: Expr): void {
  const size = CONTAINER_BYTES[to.container];
  const kind = size === 1 ? "store8" : size === 2 ? "store16" : "store";
  b.push(store(to.buffer, addr, value, { offset: to.offset, op: kind }));
}

/** Copies `bytes` bytes. May read up to 15 bytes beyond them, writes exactly. */
function copyRun(b: Block, x: Layout, from: Expr, y: Layout, to: Expr, bytes: number): void {
  const piece = (c: Block, at: Expr, place: Expr, count: number): void => {
    const v = c.bind(load("i8x16", x.buffer, at, x.offset), "v");
    storeElements(c, { buffer: y.buffer, container: "u8" }, place, y.offset, [v], count);
  };
  const whole = Math.floor(bytes / 16);
  nest(
    b,
    [{ size: whole, steps: [16, 16] }].filter((a) => a.size > 0),
    [from, to],
    (c, [at, place]) => {
      if (whole > 0) piece(c, at!, place!, 16);
    },
  );
  const after = (e: Expr): Expr => b.bind(add(e, c32(whole * 16)), "at");
  if (bytes % 16 > 0) piece(b, after(from), after(to), bytes % 16);
}

/** Copies all elements along axes from one tensor to another, in runs where they are neighbours in both. */
export function copyAxes(b: Block, x: Layout, from: Expr, y: Layout, to: Expr, axes: readonly Axis[]): void {
  const size = CONTAINER_BYTES[x.container];
  const all = collapse(axes);
  const last = all.at(-1);
  const alike = x.container === y.container;
  const run = alike && last !== undefined && last.steps[0] === size && last.steps[1] === size;
  nest(b, run ? all.slice(0, -1) : all, [from, to], (c, [at, place]) => {
    if (run) copyRun(c, x, at!, y, place!, last.size * size);
    else storeScalar(c, y, place!, loadScalar(x, at!, x.offset));
  });
}

/** An index within an axis: negative ones count from the end, what is outside is the nearest end. */
export function inside(index: Expr, size: number): Expr {
  const turn = op("select.i32", [c32(size), c32(0), op("lt_s.i32", [index, c32(0)])]);
  return op("min_s.i32", [op("max_s.i32", [op("add.i32", [index, turn]), c32(0)]), c32(size - 1)]);
}
