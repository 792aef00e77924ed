/** The epilogue of a fused function: what follows its root op. */
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { rescaleOf } from "../../ir/ops/integer-rescale.ts";
import type { Block } from "./block.ts";
import { createEpilogue, type Epilogue, type Post } from "./epilogue.ts";
import type { Stage } from "./stage.ts";

/** The op of that name after the root. */
export const stepOf = (stage: Stage, name: string): Op | undefined =>
  stage.func.ops.find((o, i) => o.name === name && i > 0);

/** Rescale, clamp and table of `stage`; `pad`: tables are readable up to this many channels past the real ones, rounded up to 4. */
export function epilogueOf(stage: Stage, block: Block, pad: number): Epilogue {
  const rescale = stepOf(stage, "qc.rescale");
  const clamp = stepOf(stage, "qc.clamp");
  const table = stepOf(stage, "qc.table");
  const y = stage.outputs[0]!;
  const post: Post = {
    ...(clamp ? { clamp: { lo: attr<number>(clamp, "lo"), hi: attr<number>(clamp, "hi") } } : {}),
    ...(table ? { table: { entries: attr<Dense>(table, "table"), min: attr<number>(table, "min") } } : {}),
  };
  const channels = y.shape.at(-1) ?? 1;
  return createEpilogue({
    block,
    rescale: rescale ? rescaleOf(rescale.attrs) : null,
    channels,
    pad: Math.ceil(Math.max(pad, channels) / 4) * 4,
    container: y.container,
    post,
  });
}
