/** Kernels of float islands. */
import type { Lowered, Lowering, Stage } from "../stage.ts";
import { lowerFloatElementwise } from "./elementwise.ts";

const families: readonly Lowering[] = [lowerFloatElementwise];

export function lowerFloat(stage: Stage): Lowered | undefined {
  for (const family of families) {
    const lowered = family(stage);
    if (lowered) return lowered;
  }
  return undefined;
}
