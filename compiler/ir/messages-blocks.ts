/** Messages about constants quantized in blocks. */
import { type Diagnostic, type Loc, quote } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";
import type { Op, Value } from "./module.ts";

/** Columns that belong to no run of neighbours share a scale. */
export const groupIndex = (loc: Loc, tensor: string): Diagnostic =>
  diagnostic("error", "QC2133", `the group index ${quote(tensor)} assigns rows to blocks out of order`, {
    loc,
    tensor,
    fixes: [
      "quantize without act-order (desc_act), or with static groups: blocks of neighbouring rows need no index",
    ],
  });

/** A graph given as text may hold blocks that no file can. */
export const blockedTensor = (op: Op, q: Value): Diagnostic =>
  diagnostic("error", "QC2134", `the blocks of ${quote(q.name)} are not constant`, {
    ...(op.loc && { loc: op.loc }),
    tensor: q.name,
  });

/** The scale of a row is known in the run only. */
export const lookupInFloat = (op: Op): Diagnostic =>
  diagnostic(
    "error",
    "QC2135",
    "a table quantized in blocks gives rows of different scales, which are floats",
    {
      ...(op.loc && { loc: op.loc }),
      tensor: op.results[0]!.name,
      fixes: [
        "run it in float: --allow-float",
        "export the table with one scale, so that its rows are integers",
      ],
    },
  );
