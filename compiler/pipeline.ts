/** The passes from the imported graph to kernels, in order. */
import type { Pass, PassUse } from "./ir/pass.ts";
import { canonicalize } from "./passes/canonicalize.ts";
import { certify } from "./passes/certify.ts";
import { expandTransposed } from "./passes/expand-transposed/index.ts";
import { foldConstantChannels } from "./passes/fold-constant-channels.ts";
import { fuseKernels } from "./passes/fuse-kernels.ts";
import { hoistScales } from "./passes/hoist-scales.ts";
import { insertQuantizers } from "./passes/insert-quantizers.ts";
import { integerize } from "./passes/integerize/index.ts";
import { layoutNhwc } from "./passes/layout-nhwc.ts";
import { narrowTypes } from "./passes/narrow-types.ts";
import { recognizeNormalizations } from "./passes/recognize-normalizations.ts";
import { recognizeQuantizers } from "./passes/recognize-quantizers.ts";
import { shrinkTables } from "./passes/shrink-tables.ts";
import { simplifyThresholds } from "./passes/simplify-thresholds/index.ts";
import { signed, unsigned } from "./passes/unsigned.ts";
import { widenOperands } from "./passes/widen-operands.ts";

export interface PipelineChoices {
  /** Keep every quantizer's tensor as an extra result. */
  readonly keepQuantizers?: boolean;
  /** Let ops without an integer form run in float32: all, or those of these node and tensor names. Default false. */
  readonly allowFloat?: boolean | readonly string[];
  /** Fold constant channels. Default true. */
  readonly foldConstants?: boolean;
}

/** The integer graph: exact, NHWC, not yet reduced. */
export const integerPasses = ({
  keepQuantizers = false,
  allowFloat = false,
}: PipelineChoices = {}): readonly (Pass | PassUse)[] => [
  recognizeQuantizers, //                               arithmetic that quantizes → quantizers
  recognizeNormalizations, //                           means, squares and roots → float.normalize
  hoistScales, //                                       scales of the run leave products of integers
  { pass: integerize, options: { keepQuantizers, allowFloat } }, // floats and quantizers → exact integer maps
  layoutNhwc, //                                        transposes sink and cancel
  canonicalize, //                                      identities, nested clamps, pads into windows
  simplifyThresholds, //                                even steps → requantizations
  unsigned, //                                          operand signs the dot products want
  canonicalize,
];

/** Fewer multiplies, proofs. */
export const provingPasses = ({
  foldConstants = true,
}: PipelineChoices = {}): readonly (Pass | PassUse)[] => [
  expandTransposed, //                                 transposed convolutions → convolutions, pixels shuffled
  ...(foldConstants ? [foldConstantChannels] : []), // channels that can reach one value vanish
  narrowTypes, //                                      declared widths become proved widths
  shrinkTables, //                                     16-bit tables keep what can be reached
  widenOperands, //                                    activations of wide weights → 16 bits
  certify, //                                          exact requantizations → certified multiply, add, shift
];

/** From the certified graph to kernels. */
export const kernelPasses: readonly Pass[] = [
  fuseKernels, // one function per kernel
];

/** The same for kernels whose byte operands are signed. */
export const signedPasses: readonly Pass[] = [
  signed, //  activations as s8, constants moved along
  certify, // what had to be moved back
  fuseKernels,
];

/** Every pass, for `qc opt`. */
export const allPasses: readonly Pass[] = [
  insertQuantizers,
  recognizeQuantizers,
  recognizeNormalizations,
  hoistScales,
  integerize,
  layoutNhwc,
  canonicalize,
  simplifyThresholds,
  unsigned,
  expandTransposed,
  foldConstantChannels,
  narrowTypes,
  shrinkTables,
  widenOperands,
  certify,
  signed,
  fuseKernels,
];
