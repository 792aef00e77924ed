/** Messages about writing ONNX files. */
import type { Diagnostic, Loc } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";

/** The standard operators, at the types they take, cannot say it exactly. */
export const notInOnnx = (loc: Loc | undefined, what: string): Diagnostic =>
  diagnostic("error", "QC5012", `not expressible in standard ONNX without changing a result: ${what}`, {
    ...(loc && { loc }),
  });
