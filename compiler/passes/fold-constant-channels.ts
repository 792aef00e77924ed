/**
 * Removes channels that can reach a single value, and channels that nobody reads: convolutions and matmuls take a removed
 * constant into the offset of the requantization that follows. Exact: the results stay the same, bit for bit.
 */
import { ok } from "../ir/diagnostics.ts";
import type { Func } from "../ir/module.ts";
import { definePass } from "../ir/pass.ts";
import { dce, mapFuncs } from "../ir/rewriter.ts";
import { analyzeDemand, type Demand } from "./fold-constant-channels/demand.ts";
import { channelsOf } from "./fold-constant-channels/relation.ts";
import { keepChannels } from "./fold-constant-channels/rewrite.ts";

/** Channels of all values of the function. */
const size = (func: Func): number =>
  func.ops.flatMap((op) => op.results).reduce((n, v) => n + channelsOf(v), 0);

/** Whether every channel exists, and every op is used. */
const keepsAll = (func: Func, { kept }: Demand): boolean =>
  dce(func) === func && func.ops.every((op) => op.results.every((v) => kept(v).length === channelsOf(v)));

/** Until no channel can be removed: ranges and demands tighten as channels vanish. */
function fold(func: Func): Func {
  let at = func;
  for (;;) {
    const demand = analyzeDemand(at);
    if (keepsAll(at, demand)) return at;
    const next = keepChannels(at, demand);
    if (size(next) >= size(at)) return at;
    at = next;
  }
}

export const foldConstantChannels = definePass({
  name: "fold-constant-channels",
  summary:
    "Remove channels that can reach one value only, or that nobody reads; consumers absorb the constants.",
  requires: ["lifted"],
  run: (module) => ok(mapFuncs(module, fold)),
});

export interface ChannelStats {
  /** Output channels of convolutions and matmuls that were removed. */
  readonly folded: number;
  /** Those there were before. */
  readonly total: number;
}

const outputs = (func: Func): number =>
  func.ops.reduce(
    (n, op) => (op.name === "qc.conv" || op.name === "qc.matmul" ? n + channelsOf(op.results[0]!) : n),
    0,
  );

/** What the pass removed, from the function before and after it. */
export function channelStats(before: Func, after: Func): ChannelStats {
  const total = outputs(before);
  return { folded: total - outputs(after), total };
}
