/** Storing tiles of packed results, exactly as many channels as there are. */

import type { StoreOp } from "../../ir/kernel/ir.ts";
import { type Expr, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";

export interface TileStore {
  readonly rows: number;
  /** Channels per row in `packed`, a multiple of 4. */
  readonly columns: number;
  /** Channels per row that exist. */
  readonly count: number;
  /** Byte of the first result relative to the layout's offset, and bytes between rows. */
  readonly address: Expr;
  readonly rowStep: number;
}

const laneOps: { readonly [bytes: number]: StoreOp } = {
  8: "store64_lane",
  4: "store32_lane",
  2: "store16_lane",
  1: "store8_lane",
};

/**
 * `packed` holds the rows one after another, `columns` channels each. Where the layout leaves room behind the last channel (padding
 * channels of unspecified value), whole pieces are stored.
 */
export function storeChannels(b: Block, y: Layout, packed: readonly Expr[], t: TileStore): void {
  const e = CONTAINER_BYTES[y.container];
  const rowBytes = t.columns * e;
  const pixel = y.strides[y.shape.length - 2] ?? 0;
  const channels = y.shape.at(-1) ?? 1;
  const tail = t.count < t.columns;
  // Room for the whole row of columns: the tile ends where the (rounded) channels end.
  const room = tail && y.shape.length > 1 && pixel / e >= channels - t.count + t.columns;
  const bytes = tail && !room ? t.count * e : rowBytes;
  for (let r = 0; r < t.rows; r++)
    for (let at = 0; at < bytes; ) {
      const start = r * rowBytes + at;
      const lane = start % 16;
      const left = Math.min(bytes - at, 16 - lane);
      const size = [16, 8, 4, 2, 1].find((s) => s <= left && lane % s === 0)!;
      const value = packed[Math.floor(start / 16)]!;
      const offset = y.offset + r * t.rowStep + at;
      b.push(
        size === 16
          ? store(y.buffer, t.address, value, { offset })
          : store(y.buffer, t.address, value, { offset, op: laneOps[size]!, lane: lane / size }),
      );
      at += size;
    }
}
