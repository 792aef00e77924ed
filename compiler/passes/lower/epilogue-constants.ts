/** Constants of an epilogue: splats bound outside of all loops, or per-channel vectors loaded by channel. */
import { c32, type Expr, type KType, load, scale } from "../../ir/kernel/ir.ts";
import { type Block, bytesOf } from "./block.ts";

/** How a tensor's channels meet the lanes: `lanes`: lane i is channel + i; `row`: all lanes are the one channel. */
export type ChannelAxis = "lanes" | "row";

export interface Cursor {
  readonly block: Block;
  /** Byte offsets of the first channel in tables of 4 and of 8 bytes per channel. */
  readonly at4: Expr;
  readonly at8: Expr;
  /** Values read so far: every constant is read once per group and shared by all rows. */
  readonly seen: Map<string, Expr>;
}

export function cursorAt(block: Block, channel: Expr): Cursor {
  const at = (bytes: number): Expr => {
    let bound: Expr | undefined;
    const value = scale(channel, bytes);
    return value.k === "op" ? (bound = block.bind(value, "ch")) && bound : value;
  };
  return { block, at4: at(4), at8: at(8), seen: new Map() };
}
