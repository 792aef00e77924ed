/** The steps of a stage: its root and what follows it. */
import type { Dense, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { rescaleOf } from "../../ir/ops/integer-rescale.ts";
import type { Rescale } from "../../ir/rescale/types.ts";
import type { Block } from "./block.ts";
import { createEpilogue, type Epilogue, type Post } from "./epilogue.ts";
import type { Stage } from "./stage.ts";

/** Root op and the chain after it, in the only order an epilogue can run: rescale, clamps, table. Each may be absent. */
export interface Chain {
  readonly root: Op;
  readonly rescale?: Op;
  readonly post: Post;
}

export const isConst = (op: Op): boolean => op.name === "const";

/** The op's value if it is a constant of the stage. */
export function constantOf(stage: Stage, v: Value): Dense | undefined {
  const def = stage.func.ops.find((o) => isConst(o) && o.results[0] === v);
  return def && attr<Dense>(def, "value");
}

/** The stage's ops without constants, root first. */
export const stepsOf = (stage: Stage): readonly Op[] => stage.func.ops.filter((o) => !isConst(o));

/**
 * Reads the steps after `root`. Undefined if they are not a straight chain of at most one rescale (whose first operand is
 * the chain), any clamps, and at most one table, or if the stage has several results.
 */
export function chainOf(stage: Stage): Chain | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (!root || stage.func.results.length !== 1) return undefined;
  let last = root.results[0]!;
  let rescale: Op | undefined;
  let clamp: { lo: number; hi: number } | undefined;
  let table: Post["table"];
  for (const op of rest) {
    if (op.operands[0] !== last || table) return undefined;
    if (op.name === "qc.rescale" && !rescale && !clamp) rescale = op;
    else if (op.name === "qc.clamp") {
      const [lo, hi] = [attr<number>(op, "lo"), attr<number>(op, "hi")];
      const to = (x: number): number => Math.min(Math.max(x, lo), hi);
      clamp = clamp ? { lo: to(clamp.lo), hi: to(clamp.hi) } : { lo, hi };
    } else if (op.name === "qc.table")
      table = { entries: attr<Dense>(op, "table"), min: attr<number>(op, "min") };
    else return undefined;
    last = op.results[0]!;
  }
  if (stage.func.results[0]!.value !== last) return undefined;
  return {
    root,
    ...(rescale ? { rescale } : {}),
    post: { ...(clamp ? { clamp } : {}), ...(table ? { table } : {}) },
  };
}

/** The rescale of a chain whose channels are the last axis of the result; null if there is none. */
export function lastAxisRescale(op: Op | undefined): Rescale | null {
  if (!op) return null;
  const rank = op.results[0]!.type.shape.length;
  const r = rescaleOf(op.attrs);
  if (r.m.length > 1 && attr<number>(op, "axis") !== rank - 1)
    throw new Error("a rescale fused behind an accumulator has its channels last");
  return r;
}

/**
 * The epilogue of a stage whose root accumulates into the channels of the result's last axis. Constant tables and `init`
 * have `size` entries, at least one per channel. Throws if the steps after the root are not what an epilogue can do.
 */
export function epilogueOf(stage: Stage, block: Block, size?: number): Epilogue {
  const chain = chainOf(stage);
  if (!chain) throw new Error(`${stage.name}: the steps after the root are not an epilogue`);
  if (chain.rescale && chain.rescale.operands.length > 1)
    throw new Error(`${stage.name}: a rescale of two tensors is not an epilogue`);
  const [y] = stage.outputs;
  const channels = y!.shape.at(-1) ?? 1;
  return createEpilogue({
    block,
    rescale: lastAxisRescale(chain.rescale),
    channels,
    pad: size ?? 4,
    container: y!.container,
    post: chain.post,
  });
}
