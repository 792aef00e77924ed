/** The micro-kernel of a product: splat a K-group of each row, multiply-accumulate it against packed panels. */
import { add, c32, type Expr, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Block, Mutable } from "./block.ts";
import { GROUP_BYTES } from "./product-pack.ts";

/** `pairs`: i16 · i16. `unsigned`: u8 rows, s8 panels. `signed`: s8 rows, u8 panels. */
export type Dot = "pairs" | "unsigned" | "signed";

/** Rows of the left operand, four bytes per K-group. */
export interface Left {
  readonly buffer: string;
  readonly offset: number;
  /** Bytes between rows. */
  readonly stride: number;
}

export interface Panels {
  readonly buffer: string;
  readonly bytes: number;
  /** K-groups that hold elements. */
  readonly groups: number;
}

export const vectorType = (dot: Dot): "i16x8" | "i8x16" => (dot === "pairs" ? "i16x8" : "i8x16");

/** acc + left · panel. */
export function accumulate(dot: Dot, acc: Expr, left: Expr, panel: Expr): Expr {
  if (dot === "pairs") return op("add.i32x4", [acc, op("dot2.i32x4", [left, panel])]);
  return op("dot4_s8u8.i32x4", dot === "unsigned" ? [acc, panel, left] : [acc, left, panel]);
}

/** K-groups per turn. */
const UNROLL = 2;

/**
 * `rows` × `panels` · 8 accumulators from `start`: rows from byte address `x` of the left operand, panels from `w`. Returns
 * them row by row, four columns each.
 */
export function multiplyTile(
  b: Block,
  dot: Dot,
  left: Left,
  right: Panels,
  x: Expr,
  w: Expr,
  start: readonly (readonly Expr[])[],
): Expr[][] {
  const acc: Mutable[][] = start.map((row, i) => row.map((v, j) => b.variable(v, `c${i}_${j}_`)));
  const type = vectorType(dot);
  const group = (to: Block, xk: Expr, xOffset: number, wk: Expr, wOffset: number): void => {
    const ws = acc[0]!.map((_, j) =>
      to.bind(load(type, right.buffer, wk, wOffset + (j >> 1) * right.bytes + (j & 1) * 16), "w"),
    );
    acc.forEach((row, i) => {
      const a = to.bind(
        load(type, left.buffer, xk, left.offset + xOffset + i * left.stride, "load32_splat"),
        "a",
      );
      row.forEach((c, j) => {
        to.set(c, accumulate(dot, c.ref, a, ws[j]!));
      });
    });
  };
  const { groups } = right;
  const looped = groups <= UNROLL ? 0 : groups - (groups % UNROLL);
  if (looped > 0) {
    const xk = b.variable(x, "xk");
    const end = b.bind(add(w, looped * GROUP_BYTES), "we");
    b.loopBetween(
      w,
      end,
      UNROLL * GROUP_BYTES,
      (q, inner) => {
        for (let u = 0; u < UNROLL; u++) group(inner, xk.ref, u * 4, q, u * GROUP_BYTES);
        inner.set(xk, add(xk.ref, UNROLL * 4));
      },
      "q",
    );
  }
  for (let g = looped; g < groups; g++) group(b, x, g * 4, w, g * GROUP_BYTES);
  return acc.map((row) => row.map((v) => v.ref));
}

/** Where the accumulators of a tile start: a term per column, and one per row, each an i32 in a buffer; either may be absent. */
export interface Start {
  readonly columns: string | undefined;
  readonly rows: string | undefined;
}

export function startOf(
  b: Block,
  { columns, rows }: Start,
  count: { readonly rows: number; readonly vectors: number },
  channel: Expr,
  row: Expr,
): Expr[][] {
  const column = (j: number): Expr | undefined =>
    columns === undefined
      ? undefined
      : b.bind(load("i32x4", columns, b.bind(scale(channel, 4), "ci"), j * 16), "ci");
  const first = Array.from({ length: count.vectors }, (_, j) => column(j));
  const zero: Expr = { k: "const", type: "i32x4", value: 0 };
  return Array.from({ length: count.rows }, (_, i) => {
    const own =
      rows === undefined
        ? undefined
        : b.bind(load("i32x4", rows, b.bind(scale(row, 4), "ri"), i * 4, "load32_splat"), "ri");
    return first.map((c) => (c && own ? op("add.i32x4", [c, own]) : (c ?? own ?? zero)));
  });
}

/** The constant address 0. */
export const ORIGIN: Expr = c32(0);
