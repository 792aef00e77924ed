/** Messages about quantizers with steps at any places. */
import { type Diagnostic, plain } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";
import type { Op } from "./module.ts";

/** Thresholds behind tensors that share no grid, or per channel where no integer op follows channels. */
export const thresholdForm = (op: Op, reason: string): Diagnostic =>
  diagnostic(
    "error",
    "QC2132",
    `the thresholds of ${op.loc?.kind === "node" ? plain(op.loc.op) : op.name} have no integer form: ${reason}`,
    {
      ...(op.loc ? { loc: op.loc } : {}),
      fixes: ["use one list of thresholds for the whole tensor, or quantize what they compare"],
    },
  );
