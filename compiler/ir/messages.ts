/**
 * Every message qc can emit, as functions from facts to a `Diagnostic`. One block per range of codes:
 *
 *   QC10xx  reading the file (protobuf, external data, limits)
 *   QC11xx  the ONNX graph is malformed (names, cycles, shapes, attributes)
 *   QC20xx  an operator or type is not supported
 *   QC21xx  quantizers: missing, contradictory, off grid
 *   QC30xx  numerics: nothing certifies, accumulator too wide
 *   QC40xx  text (.qir, .qk) and verifier
 *   QC50xx  command line, inputs and outputs of `qc run`
 */
import type { Diagnostic, Loc, Severity } from "./diagnostics.ts";

export interface Detail {
  readonly loc?: Loc;
  readonly notes?: readonly { readonly label: string; readonly text: string }[];
  readonly fixes?: readonly string[];
}

/** The one constructor all message functions use. */
export function diagnostic(
  severity: Severity,
  code: string,
  message: string,
  { loc, notes = [], fixes = [] }: Detail = {},
): Diagnostic {
  return loc === undefined
    ? { code, severity, message, notes, fixes }
    : { code, severity, message, loc, notes, fixes };
}
