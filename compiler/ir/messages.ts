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
import { type Diagnostic, type Loc, quote, type Severity } from "./diagnostics.ts";

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

// QC10xx: reading the file

const file = (path: string, offset?: number): Loc =>
  offset === undefined ? { kind: "file", path } : { kind: "file", path, offset };
const tensorLoc = (name: string): Loc => ({ kind: "tensor", name });

export const emptyFile = (path: string) =>
  diagnostic("error", "QC1001", "the model file is empty", { loc: file(path) });
export const notOnnx = (path: string, looksLike: string, fix?: string) =>
  diagnostic("error", "QC1002", `not an ONNX model: the file looks like ${looksLike}`, {
    loc: file(path),
    fixes: fix === undefined ? [] : [fix],
  });
export const malformedProtobuf = (path: string, offset: number, at: string, reason: string) =>
  diagnostic("error", "QC1003", `the file is not well-formed protobuf: ${reason}`, {
    loc: file(path, offset),
    notes: at === "" ? [] : [{ label: "field", text: at }],
    fixes: ["check that the file is complete: compare its size or hash with the original"],
  });
export const modelTooComplex = (path: string, at: string, what: string) =>
  diagnostic("error", "QC1004", `the model exceeds a limit of the reader: ${what}`, {
    loc: file(path),
    notes: at === "" ? [] : [{ label: "field", text: at }],
  });
export const modelTooLarge = (path: string, bytes: number) =>
  diagnostic("error", "QC1005", `the model file has ${bytes} bytes; protobuf allows at most 2147483647`, {
    loc: file(path),
    fixes: ["save the model with external data (onnx.save_model(..., save_as_external_data=True))"],
  });
export const missingGraph = (path: string) =>
  diagnostic("error", "QC1006", "the model contains no graph", { loc: file(path) });
export const missingOpset = (path: string) =>
  diagnostic(
    "error",
    "QC1007",
    "the model does not say which operator set it uses (opset_import is missing)",
    {
      loc: file(path),
      fixes: ["add one, for example model.opset_import.append(onnx.helper.make_opsetid('', 13))"],
    },
  );
export const badOpset = (where: string, domain: string, reason: string) =>
  diagnostic("error", "QC1008", `opset_import of ${where}: domain ${quote(domain)} ${reason}`);
export const unknownIrVersion = (path: string, version: string) =>
  diagnostic("warning", "QC1009", `IR version ${version} is not one this reader knows (3 to 14)`, {
    loc: file(path),
  });
export const trainingInfoIgnored = (path: string) =>
  diagnostic("warning", "QC1010", "training_info is ignored: only the inference graph is compiled", {
    loc: file(path),
  });
export const sparseInitializer = (name: string) =>
  diagnostic("error", "QC1011", "sparse initializers are not supported: kernels read weights densely", {
    loc: tensorLoc(name),
    fixes: ["store the tensor as an ordinary initializer"],
  });
export const unknownDataType = (name: string, number: number) =>
  diagnostic(
    "error",
    "QC1012",
    number === 0 ? "the tensor has no element type" : `element type ${number} is not one of ONNX 1.23`,
    { loc: tensorLoc(name) },
  );
export const badDims = (name: string, dims: readonly string[], reason: string) =>
  diagnostic(
    "error",
    "QC1013",
    `tensor of shape [${dims.slice(0, 16).join(", ")}${dims.length > 16 ? ", …" : ""}]: ${reason}`,
    {
      loc: tensorLoc(name),
    },
  );
export const dataSizeMismatch = (name: string, type: string, size: number, needs: string, has: string) =>
  diagnostic("error", "QC1014", `${size} elements of ${type} need ${needs}, the tensor carries ${has}`, {
    loc: tensorLoc(name),
  });
export const badTensorData = (name: string, reason: string) =>
  diagnostic("error", "QC1015", `tensor data: ${reason}`, { loc: tensorLoc(name) });
export const segmentedTensor = (name: string) =>
  diagnostic("error", "QC1016", "the tensor is split into segments, which ONNX reserves and nobody writes", {
    loc: tensorLoc(name),
  });
export const badExternalLocation = (name: string, location: string, reason: string) =>
  diagnostic("error", "QC1017", `external data location ${quote(location)} is refused: ${reason}`, {
    loc: tensorLoc(name),
    fixes: ["keep external data in the model's folder or below it, and name it by a relative path"],
  });
export const externalDataMissing = (name: string, location: string) =>
  diagnostic("error", "QC1018", `the tensor's data is in ${quote(location)}, which was not found`, {
    loc: tensorLoc(name),
    fixes: ["put the file beside the model; exporters write the two together and both are needed"],
  });
export const badExternalRange = (name: string, location: string, reason: string) =>
  diagnostic("error", "QC1019", `external data in ${quote(location)}: ${reason}`, { loc: tensorLoc(name) });
export const externalDataOutside = (path: string) =>
  diagnostic(
    "error",
    "QC1020",
    "external data is reached through a link that leads out of the model's folder",
    {
      loc: file(path),
    },
  );
export const unreadableFile = (path: string, reason: string) =>
  diagnostic("error", "QC1021", `cannot read ${quote(path)}: ${reason}`, { loc: file(path) });
export const badAttribute = (loc: Loc, name: string, reason: string) =>
  diagnostic("error", "QC1022", `attribute ${quote(name)} ${reason}`, { loc });
export const badDeclaredShape = (name: string, reason: string) =>
  diagnostic("warning", "QC1023", `declared shape: ${reason}; the dimension is taken as unknown`, {
    loc: tensorLoc(name),
  });
export const duplicateFunction = (name: string) =>
  diagnostic("error", "QC1024", `function ${quote(name)} is defined twice`);

// QC11xx: the ONNX graph is malformed

export const duplicateValue = (name: string, makers: readonly string[], loc: Loc) =>
  diagnostic("error", "QC1101", `value ${quote(name)} is defined more than once`, {
    loc,
    notes: makers.map((text) => ({ label: "defined by", text })),
  });
export const undefinedValue = (name: string, loc: Loc, more: number) =>
  diagnostic("error", "QC1102", `nothing produces ${quote(name)}, which this node reads`, {
    loc,
    notes: more > 0 ? [{ label: "also read by", text: `${more} more` }] : [],
  });
export const graphCycle = (cycle: readonly string[], length: number, loc: Loc) =>
  diagnostic(
    "error",
    "QC1103",
    `${length === 1 ? "the node reads its own output" : `${length} nodes form a cycle`}`,
    {
      loc,
      notes: cycle.map((text) => ({ label: "through", text })),
    },
  );
export const unsortedNodes = (loc: Loc, count: number) =>
  diagnostic(
    "warning",
    "QC1104",
    `${count === 1 ? "a node comes" : `${count} nodes come`} before what they read; the graph was put into dataflow order`,
    { loc },
  );
export const duplicateNodeName = (name: string, count: number, loc: Loc) =>
  diagnostic("warning", "QC1105", `${count} nodes are named ${quote(name)}`, {
    loc,
    notes: [{ label: "meaning", text: "unaffected: values connect nodes, names only label them" }],
    fixes: ["other tools may refuse the file: rename all but one"],
  });
export const outputNotProduced = (name: string) =>
  diagnostic("error", "QC1106", `nothing produces the graph output ${quote(name)}`, { loc: tensorLoc(name) });
export const duplicateInitializer = (name: string) =>
  diagnostic("error", "QC1107", `initializer ${quote(name)} is given twice`, { loc: tensorLoc(name) });
export const emptyName = (what: string, loc?: Loc) =>
  diagnostic("error", "QC1108", `${what} has no name`, loc === undefined ? {} : { loc });
export const duplicateDeclaration = (what: string, name: string) =>
  diagnostic("error", "QC1109", `${what} ${quote(name)} is declared twice`, { loc: tensorLoc(name) });
export const moreOfTheSame = (code: string, severity: Severity, count: number) =>
  diagnostic(severity, code, `${count} more of the same kind are not shown`);
