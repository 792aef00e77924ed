/** Messages about quantizers that lie beside a model, in an `.encodings` file. */
import { type Diagnostic, type Loc, quote } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";

const tensorAt = (name: string): { loc: Loc } => ({ loc: { kind: "tensor", name } });

/** What was given as encodings is no file of AIMET's. */
export const notEncodings = (path: string, reason: string): Diagnostic =>
  diagnostic("error", "QC2150", `${quote(path)} holds no encodings: ${reason}`, {
    fixes: ["give the .encodings file that AIMET wrote beside the model (version 0.x or 1.0)"],
  });

export const badEncoding = (tensor: string, reason: string): Diagnostic =>
  diagnostic("error", "QC2151", `the encoding of ${quote(tensor)} ${reason}`, tensorAt(tensor));

export const encodingAxis = (tensor: string, count: number, shape: readonly number[]): Diagnostic =>
  diagnostic(
    "error",
    "QC2152",
    `the encoding of ${quote(tensor)} has ${count} scales, and the shape [${shape.join(", ")}] does not say along which axis`,
    { ...tensorAt(tensor), fixes: ["quantize it per tensor, or write quantizers into the model"] },
  );

export const floatEncoding = (tensor: string, bits: number): Diagnostic =>
  diagnostic("error", "QC2153", `the encoding of ${quote(tensor)} is a float of ${bits} bits`, {
    ...tensorAt(tensor),
    fixes: [
      "export with an integer encoding for this tensor",
      "remove its entry to leave the tensor as it is",
    ],
  });

/** Entries for tensors that the graph, as imported, does not have. */
export const unknownEncodings = (path: string, names: readonly string[]): Diagnostic =>
  diagnostic(
    "warning",
    "QC2154",
    `${quote(path)} has encodings for ${names.length} tensors that the model does not compute: ${names.slice(0, 8).map(quote).join(", ")}${names.length > 8 ? " …" : ""}`,
  );
