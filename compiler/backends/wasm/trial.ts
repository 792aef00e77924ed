/** One kernel in a module of its own, for measuring it. */
import type { Buffer, Kernel } from "../../ir/kernel/ir.ts";
import { legalize } from "../../ir/kernel/legalize.ts";
import type { Target } from "../../ir/target.ts";
import { layout, separatePlan } from "./layout.ts";
import { assembleModule } from "./module.ts";

/** A place in the module's memory. */
export interface Region {
  readonly offset: number;
  readonly bytes: number;
}

/** The module has no imports, exports `memory` and `run`, and holds the kernel's constants. */
export interface Trial {
  readonly binary: Uint8Array;
  /** What the kernel reads and does not make itself, and what it writes for others, in the order of `buffers`. */
  readonly inputs: readonly Region[];
  readonly outputs: readonly Region[];
}

/** `buffers`: those of the kernel and the ones around it. Equal input gives equal bytes. */
export async function buildTrial(
  kernel: Kernel,
  buffers: readonly Buffer[],
  own: ReadonlySet<string>,
  target: Target,
): Promise<Trial> {
  const program = legalize({ buffers, kernels: [kernel] }, target);
  const { addresses, memoryPages } = layout(program, separatePlan(program));
  const binary = await assembleModule({
    program,
    addresses,
    kind: target.dot4 ? "relaxed" : "baseline",
    memoryPages,
    exportsMemory: true,
    data: true,
  });
  const regions = (names: readonly string[]): Region[] =>
    buffers.flatMap((b) =>
      names.includes(b.name) && !own.has(b.name) ? [{ offset: addresses.get(b.name)!, bytes: b.bytes }] : [],
    );
  return { binary, inputs: regions(kernel.reads), outputs: regions(kernel.writes) };
}
