/** Rewrites a program so that it uses only what a target has. Results do not change. */
import type { Target } from "../target.ts";
import { expandDot4 } from "./expand-dot4.ts";
import type { Kernel, Program } from "./ir.ts";

/** Expands `dot4_s8u8` and `dot4_s8s8` on targets without it; the identity on the others. */
export function legalize(program: Program, target: Pick<Target, "dot4">): Program {
  if (target.dot4) return program;
  return { ...program, kernels: program.kernels.map((k): Kernel => ({ ...k, body: expandDot4(k.body) })) };
}
