/** Stores of exactly the elements asked for. */
import { type Expr, type Stmt, type StoreOp, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { CONTAINER_BYTES, type Container, type Layout } from "./layout.ts";

const OPS: { readonly [bytes: number]: StoreOp } = {
  16: "store",
  8: "store64_lane",
  4: "store32_lane",
  2: "store16_lane",
  1: "store8_lane",
};

/**
 * Stores `count` elements, the first of them element `first` of the packed `vectors`, at byte addr + offset of `buffer`, in
 * pieces of 16, 8, 4, 2 and 1 bytes. Nothing else is written.
 */
export function storeElements(
  block: Block,
  to: { readonly buffer: string; readonly container: Container },
  addr: Expr,
  offset: number,
  vectors: readonly Expr[],
  count: number,
  first = 0,
): void {
  const size = CONTAINER_BYTES[to.container];
  const start = first * size;
  const end = start + count * size;
  const stmts: Stmt[] = [];
  for (let at = start; at < end; ) {
    let bytes = 16;
    while (at % bytes !== 0 || at + bytes > end) bytes /= 2;
    const value = vectors[Math.floor(at / 16)];
    if (!value) throw new Error(`store of ${count} elements from ${vectors.length} vectors`);
    stmts.push(
      store(to.buffer, addr, value, {
        offset: offset + at - start,
        op: OPS[bytes]!,
        lane: bytes === 16 ? 0 : (at % 16) / bytes,
      }),
    );
    at += bytes;
  }
  block.push(...stmts);
}

/**
 * Stores a tile: `packed` holds `rows` × `columns` elements row after row (`columns` a multiple of 4); the first `count` of each
 * row go to `address` + layout offset + row · `rowStep` bytes.
 */
export function storeChannels(
  block: Block,
  to: Layout,
  packed: readonly Expr[],
  tile: {
    readonly rows: number;
    readonly columns: number;
    readonly count: number;
    readonly address: Expr;
    readonly rowStep: number;
  },
): void {
  for (let r = 0; r < tile.rows; r++)
    storeElements(
      block,
      to,
      tile.address,
      to.offset + r * tile.rowStep,
      packed,
      tile.count,
      r * tile.columns,
    );
}
