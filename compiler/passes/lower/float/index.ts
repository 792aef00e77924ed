/** Kernels of float islands. */
import type { Lowered, Lowering, Stage } from "../stage.ts";
import { lowerArgMax } from "./arg-max.ts";
import { lowerFloatConv } from "./conv.ts";
import { lowerFloatElementwise } from "./elementwise.ts";
import { lowerGatherBlocks } from "./gather-blocks.ts";
import { lowerIndexSelect } from "./index-select.ts";
import { lowerFloatMatmul } from "./matmul.ts";
import { lowerMatmulBlocks } from "./matmul-blocks.ts";
import { lowerFloatPool } from "./pool.ts";
import { lowerFloatReduce } from "./reduce.ts";
import { lowerTopK } from "./top-k.ts";

const families: readonly Lowering[] = [
  lowerFloatElementwise,
  lowerFloatMatmul,
  lowerMatmulBlocks,
  lowerGatherBlocks,
  lowerFloatConv,
  lowerFloatPool,
  lowerFloatReduce,
  lowerArgMax,
  lowerIndexSelect,
  lowerTopK,
];

export function lowerFloat(stage: Stage): Lowered | undefined {
  for (const family of families) {
    const lowered = family(stage);
    if (lowered) return lowered;
  }
  return undefined;
}
