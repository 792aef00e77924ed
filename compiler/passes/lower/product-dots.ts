/** A few rows times columns that lie as rows in memory: dot products along K, nothing packed. */
import { add, type Expr, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { CONTAINER_BYTES } from "./layout.ts";
import { head, loadLanes, type Packing } from "./product-pack.ts";
import type { Left } from "./product-tile.ts";

/** Elements of a vector of i16. */
const LANES = 8;
/** Accumulators held at a time. */
const HELD = 8;
const EVEN_LANES = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_LANES = EVEN_LANES.map((i) => i + 4);

/** [x0 + x1, x2 + x3, y0 + y1, y2 + y3]. */
const pairSums = (x: Expr, y: Expr): Expr =>
  op("add.i32x4", [op("shuffle.i32x4", [x, y], EVEN_LANES), op("shuffle.i32x4", [x, y], ODD_LANES)]);

/**
 * Sums of rows of i16 from byte address `x` and `width` columns of the right operand from `w`, added to `start`: row by row, four
 * columns each. Columns past `width` hold anything.
 */
export function dotTile(
  b: Block,
  left: Left,
  p: Packing,
  x: Expr,
  w: Expr,
  start: readonly (readonly Expr[])[],
  width: number,
): Expr[][] {
  const rows = start.length;
  const columns = rows === 1 ? HELD : HELD / 2;
  const e = CONTAINER_BYTES[p.rows.container];
  const whole = p.k - (p.k % LANES);
  const zero: Expr = { k: "const", type: "i32x4", value: 0 };
  const out: Expr[][] = start.map(() => []);
  for (let first = 0; first < 4 * start[0]!.length; first += columns) {
    const count = Math.min(columns, width - first);
    if (count <= 0) {
      for (const [i, row] of out.entries())
        for (let v = first / 4; v < (first + columns) / 4; v++) row.push(start[i]![v]!);
      continue;
    }
    const acc = start.map(() => Array.from({ length: count }, () => b.variable(zero, "d")));
    const chunk = (to: Block, xk: Expr, wk: Expr, elements: number): void => {
      const as = start.map((_, i) =>
        to.bind(load("i16x8", left.buffer, xk, left.offset + i * left.stride), "a"),
      );
      for (let c = 0; c < count; c++) {
        const raw = loadLanes(to, "pair", p.rows, wk, (first + c) * p.rows.stride, p.held);
        const v = elements < LANES ? head(to, p, raw, elements) : raw;
        as.forEach((a, i) => {
          const d = acc[i]![c]!;
          to.set(d, op("add.i32x4", [d.ref, op("dot2.i32x4", [a, v])]));
        });
      }
    };
    b.loop(0, whole, LANES, (k, inner) => {
      const xk = inner.bind(add(x, scale(k, 2)), "xk");
      chunk(inner, xk, inner.bind(add(w, scale(k, e)), "wk"), LANES);
    });
    if (whole < p.k) chunk(b, b.bind(add(x, whole * 2), "xk"), b.bind(add(w, whole * e), "wk"), p.k - whole);
    acc.forEach((list, i) => {
      const at = (c: number): Expr => list[c]?.ref ?? zero;
      for (let c = 0; c < columns; c += 4) {
        const four = pairSums(pairSums(at(c), at(c + 1)), pairSums(at(c + 2), at(c + 3)));
        out[i]!.push(b.bind(op("add.i32x4", [four, start[i]![(first + c) / 4]!]), "s"));
      }
    });
  }
  return out;
}
