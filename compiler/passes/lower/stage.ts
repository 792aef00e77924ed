/** One fused function of the integer graph becomes one kernel. */
import type { Buffer, Kernel } from "../../ir/kernel/ir.ts";
import type { Func } from "../../ir/module.ts";
import type { Target } from "../../ir/target.ts";
import type { Layout } from "./layout.ts";
import type { Choice, Tuning } from "./schedule/schedule.ts";
import type { PackedPanels } from "./weights.ts";

export interface Stage {
  /** Params: activations. Constants are `const` ops inside. The first non-const op is the root, the rest its epilogue. */
  readonly func: Func;
  readonly inputs: readonly Layout[];
  /** One per result. A producer also fills the halo of its results. */
  readonly outputs: readonly Layout[];
  readonly target: Target;
  /** Schedules to use instead of the cost model's, by the key of the work. */
  readonly tuning?: Tuning | undefined;
  /** Packed weights of the model so far, to share. */
  readonly panels?: PackedPanels;
  /** Kernel name, unique in the program. */
  readonly name: string;
}

export interface Lowered {
  readonly kernel: Kernel;
  /** Constant and scratch buffers of this kernel. */
  readonly buffers: readonly Buffer[];
  /** Of the families that have schedules. */
  readonly choice?: Choice;
}

/** Lowers a stage of its family, or returns undefined if the root is not of the family. */
export type Lowering = (stage: Stage) => Lowered | undefined;
