/** The list of passes: from the imported graph to fused integer kernels. */
import type { Pass, PassUse } from "./ir/pass.ts";
import { canonicalize } from "./passes/canonicalize.ts";
import { certify } from "./passes/certify.ts";
import { fuseKernels } from "./passes/fuse-kernels.ts";
import { integerize } from "./passes/integerize/index.ts";
import { layoutNhwc } from "./passes/layout-nhwc.ts";
import { unsigned } from "./passes/unsigned.ts";

/** Real numbers and quantizers → certified integer ops. `debug` keeps every quantizer's tensor as an extra result. */
export const toIntegers = (debug: boolean): readonly PassUse[] => [
  { pass: integerize, options: { keepQuantizers: debug } }, // scales move into qc.requant, zero points into its offset
  { pass: layoutNhwc }, // channels last; transposes sink to the edges
  { pass: canonicalize }, // requants, clamps and tables merge
  { pass: unsigned }, // activations get the sign the dot products want
  { pass: certify }, // every requant becomes multiply, add, shift, with its proof
];

/** Certified integer ops → one function per kernel. */
export const toKernels: readonly PassUse[] = [{ pass: fuseKernels }];

/** Every pass, by name, for `qc opt`. */
export const passes: ReadonlyMap<string, Pass> = new Map(
  [...toIntegers(false), ...toKernels].map(({ pass }) => [pass.name, pass]),
);
