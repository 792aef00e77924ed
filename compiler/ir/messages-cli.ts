/** QC50xx: command line, inputs and outputs of the commands. */
import { type Diagnostic, type Loc, quote } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";

const file = (path: string): Loc => ({ kind: "file", path });

export const cannotWrite = (path: string, reason: string): Diagnostic =>
  diagnostic("error", "QC5002", `cannot write the file: ${reason}`, { loc: file(path) });
export const malformedArray = (path: string, reason: string): Diagnostic =>
  diagnostic("error", "QC5003", `not a NumPy array that qc can read: ${reason}`, { loc: file(path) });
export const malformedArchive = (path: string, reason: string): Diagnostic =>
  diagnostic("error", "QC5004", `not a NumPy archive (.npz) that qc can read: ${reason}`, {
    loc: file(path),
  });
export const notAnArtifact = (path: string, reason: string): Diagnostic =>
  diagnostic("error", "QC5005", `not an artifact written by qc compile: ${reason}`, {
    loc: file(path),
    fixes: ["name the folder that qc compile wrote, or its .js or .json file"],
  });
export const inputMissing = (name: string, wants: string, given: readonly string[]): Diagnostic =>
  diagnostic("error", "QC5006", `no data for input ${quote(name)}`, {
    loc: { kind: "tensor", name },
    notes: [
      { label: "needs", text: wants },
      { label: "given", text: given.map((n) => quote(n)).join(", ") || "nothing" },
    ],
    fixes: ["pass --input NAME=FILE.npy"],
  });
export const inputUnknown = (name: string, known: readonly string[]): Diagnostic =>
  diagnostic("error", "QC5007", `the model has no input ${quote(name)}`, {
    notes: [{ label: "inputs", text: known.map((n) => quote(n)).join(", ") || "none" }],
  });
export const inputMismatch = (name: string, has: string, wants: string): Diagnostic =>
  diagnostic("error", "QC5008", `input ${quote(name)} is ${has}, the model takes ${wants}`, {
    loc: { kind: "tensor", name },
  });
export const runFailed = (reason: string): Diagnostic => diagnostic("error", "QC5009", reason);
export const differs = (tensor: string, sample: number, index: number, artifact: string, reference: string) =>
  diagnostic("error", "QC5010", `the artifact differs from the reference interpreter at ${quote(tensor)}`, {
    loc: { kind: "tensor", name: tensor },
    notes: [
      { label: "sample", text: String(sample) },
      { label: "element", text: String(index) },
      { label: "artifact", text: artifact },
      { label: "reference", text: reference },
    ],
    fixes: ["this is a bug in qc: please report it with the model"],
  });
export const nothingToCompare = (a: string, b: string): Diagnostic =>
  diagnostic(
    "error",
    "QC5013",
    "there is nothing to compare: no tensor of one has a name and size of the other",
    {
      notes: [
        { label: "first", text: quote(a) },
        { label: "second", text: quote(b) },
      ],
    },
  );
export const tensorsDiffer = (
  differing: number,
  compared: number,
  tolerance: number,
  first: {
    readonly name: string;
    readonly differing: number;
    readonly elements: number;
    readonly most: number;
  },
): Diagnostic =>
  diagnostic(
    "error",
    "QC5014",
    `${differing} of ${compared} tensors differ by more than ${tolerance} LSB, ${quote(first.name)} first`,
    {
      loc: { kind: "tensor", name: first.name },
      notes: [
        { label: "elements", text: `${first.differing} of ${first.elements} differ` },
        { label: "most", text: `${first.most} LSB` },
      ],
    },
  );

/** Options that say what a model means, with an artifact or a module in text form. `options`: as they are written. */
export const forModels = (path: string, options: readonly string[]): Diagnostic =>
  diagnostic(
    "error",
    "QC5015",
    `${options.join(", ")}: only for an ONNX model, which ${quote(path)} is not`,
    {
      fixes: ["give the model itself, or leave the options out"],
    },
  );
