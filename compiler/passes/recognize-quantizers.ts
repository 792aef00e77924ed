/**
 * Quantizers written out as arithmetic, and weights that came out of one and lost it. Scales need no pattern of their
 * own: x / s before and · s after a quantizer of scale 1 are linear and stay exact.
 */
import type { Diagnostic } from "../ir/diagnostics.ts";
import { ok } from "../ir/diagnostics.ts";
import { definePass } from "../ir/pass.ts";
import { greedy } from "../ir/rewriter.ts";
import { recoverGrids } from "./recognize-quantizers/grids.ts";
import { quantizerRules } from "./recognize-quantizers/rules.ts";

export const recognizeQuantizers = definePass({
  name: "recognize-quantizers",
  summary:
    "Round and clip become quantizers of scale 1, straight-through estimators vanish, float weights on a grid become integers.",
  run: (module) => {
    const diagnostics: Diagnostic[] = [];
    const funcs = module.funcs.map((f) =>
      recoverGrids(greedy(f, quantizerRules), (d) => void diagnostics.push(d)),
    );
    return ok({ ...module, funcs }, diagnostics);
  },
});
