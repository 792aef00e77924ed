/** Requantization of broadcast integer operands, channel by channel. */
import type { Dense } from "../module.ts";
import { sizeOf, type TensorType } from "../types.ts";
import { broadcastTo } from "./axes.ts";
import { storeInts } from "./define.ts";

/** One element's result from its channel and its operands' values. Must be a pure function. */
export type ChannelMap = (channel: number, a: readonly number[]) => number;

/** Second operands of less than this magnitude share one exact memo key with the first. */
const KEY = 2 ** 20;

/**
 * Applies `map` to every element of the result shape, c being the index along `axis`. Results are remembered per
 * channel, because exact arithmetic is slow and quantised values repeat.
 */
export function mapChannels(
  operands: readonly Dense[],
  axis: number,
  type: TensorType,
  map: ChannelMap,
): Dense {
  const data = operands.map((d) => broadcastTo(d, type.shape));
  const inner = sizeOf(type.shape.slice(axis + 1));
  const channels = type.shape[axis] ?? 1;
  const memo = Array.from({ length: channels }, () => new Map<number, number>());
  const out = new Float64Array(sizeOf(type.shape));
  const [first, second] = data;
  for (let i = 0; i < out.length; i++) {
    const c = Math.floor(i / inner) % channels;
    const other = second?.[i] ?? 0;
    const keyed = data.length <= 2 && Math.abs(other) < KEY;
    const key = first![i]! * 2 * KEY + other;
    let y = keyed ? memo[c]!.get(key) : undefined;
    if (y === undefined) {
      y = map(
        c,
        data.map((d) => d[i]!),
      );
      if (keyed) memo[c]!.set(key, y);
    }
    out[i] = y;
  }
  return storeInts(out, type);
}
