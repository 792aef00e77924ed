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
import { type Diagnostic, type Loc, plain, quote, type Severity } from "./diagnostics.ts";

export interface Detail {
  readonly loc?: Loc;
  readonly tensor?: string;
  readonly notes?: readonly { readonly label: string; readonly text: string }[];
  readonly fixes?: readonly string[];
}

/** The one constructor all message functions use. */
export function diagnostic(
  severity: Severity,
  code: string,
  message: string,
  { loc, tensor, notes = [], fixes = [] }: Detail = {},
): Diagnostic {
  return {
    code,
    severity,
    message,
    ...(loc !== undefined && { loc }),
    ...(tensor !== undefined && { tensor }),
    notes,
    fixes,
  };
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

// QC113x, QC114x: a node or a declaration of the graph makes no sense

const list = (texts: readonly string[], label: string, most = 20) => [
  ...texts.slice(0, most).map((text) => ({ label, text })),
  ...(texts.length > most ? [{ label, text: `${texts.length - most} more` }] : []),
];
const dims = (shape: readonly (number | string | undefined)[]) =>
  `[${shape.map((d) => (typeof d === "string" ? quote(d) : (d ?? "?"))).join(", ")}]`;

export const badInputCount = (loc: Loc, has: number, min: number, max: number) =>
  diagnostic(
    "error",
    "QC1130",
    `the node has ${has} inputs; the operator takes ${min === max ? min : max === Number.POSITIVE_INFINITY ? `${min} or more` : `${min} to ${max}`}`,
    { loc },
  );
export const missingInput = (loc: Loc, index: number) =>
  diagnostic("error", "QC1131", `input ${index} is required and has been left out`, { loc });
export const wrongAttributeKind = (loc: Loc, name: string, wants: string, has: string) =>
  diagnostic("error", "QC1132", `attribute ${quote(name)} must be of kind ${wants}, is of kind ${has}`, {
    loc,
  });
export const missingAttribute = (loc: Loc, name: string) =>
  diagnostic("error", "QC1133", `attribute ${quote(name)} is required`, { loc });
export const badAttributeValue = (loc: Loc, name: string, reason: string) =>
  diagnostic("error", "QC1134", `attribute ${quote(name)} ${reason}`, { loc });
export const badOperandValue = (loc: Loc, tensor: string, reason: string) =>
  diagnostic("error", "QC1135", `constant input ${quote(tensor)} ${reason}`, { loc });
export const badOperands = (loc: Loc, reason: string, operands: readonly string[]) =>
  diagnostic("error", "QC1136", `the operands do not fit: ${reason}`, {
    loc,
    notes: list(operands, "operand"),
  });
export const axisOutOfRange = (loc: Loc, axis: number, rank: number) =>
  diagnostic("error", "QC1137", `axis ${axis} does not exist in a tensor of rank ${rank}`, { loc });
export const unknownDimension = (
  name: string,
  shape: readonly (number | string | undefined)[],
  axis: number,
) =>
  diagnostic("error", "QC1138", `axis ${axis} of the input's shape ${dims(shape)} is not fixed`, {
    loc: tensorLoc(name),
    notes: [{ label: "needs", text: "every size but the batch (axis 0) at compile time" }],
    fixes: [
      `export with a fixed size, or fix it in the file: python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name ${quote(name)} --input_shape …`,
    ],
  });
export const unknownRank = (name: string) =>
  diagnostic("error", "QC1139", "the input declares no shape", {
    loc: tensorLoc(name),
    fixes: ["export with an example input, so that the file states the shape"],
  });
export const emptyDimension = (name: string, shape: readonly (number | string | undefined)[]) =>
  diagnostic("error", "QC1140", `shape ${dims(shape)} has no elements`, {
    loc: tensorLoc(name),
    fixes: ["export with inputs of at least one element along every axis"],
  });
export const tensorTooLarge = (loc: Loc, name: string, shape: readonly number[], limit: string) =>
  diagnostic(
    "error",
    "QC1141",
    `tensor ${quote(name)} of shape ${dims(shape)} exceeds the limit of ${limit}`,
    {
      loc,
    },
  );
export const outputShapeDiffers = (
  name: string,
  declared: readonly (number | string | undefined)[],
  actual: readonly number[],
) =>
  diagnostic(
    "warning",
    "QC1142",
    `the output is declared with shape ${dims(declared)}, the graph computes ${dims(actual)}`,
    { loc: tensorLoc(name) },
  );
export const outputTypeDiffers = (name: string, declared: string, actual: string) =>
  diagnostic("error", "QC1143", `the output is declared as ${declared}, the graph computes ${actual}`, {
    loc: tensorLoc(name),
  });
export const functionRecursion = (loc: Loc, name: string) =>
  diagnostic("error", "QC1144", `function ${quote(name)} calls itself`, { loc });
export const functionsTooLarge = (loc: Loc, limit: number) =>
  diagnostic("error", "QC1145", `inlining the model's functions gives more than ${limit} nodes`, { loc });
export const badFunctionCall = (loc: Loc, name: string, reason: string) =>
  diagnostic("error", "QC1146", `call of function ${quote(name)}: ${reason}`, { loc });
export const unorderedNode = (loc: Loc, name: string) =>
  diagnostic("error", "QC1147", `the node reads ${quote(name)}, which no earlier node produces`, { loc });
export const batchRange = (batch: number) =>
  diagnostic("error", "QC1148", `the batch size must be an integer from 1 to 65536, is ${batch}`);
export const newerOpset = (opset: number, newest: number) =>
  diagnostic(
    "warning",
    "QC1149",
    `the model uses operator set ${opset}; the newest whose meaning is known here is ${newest}`,
  );

// QC20xx: an operator or type is not supported

export const unsupportedOperator = (
  op: string,
  nodes: readonly string[],
  loc: Loc,
  reason = "",
  fixes: readonly string[] = [],
) =>
  diagnostic(
    "error",
    "QC2001",
    `operator ${plain(op)} is not supported${reason === "" ? "" : `: ${reason}`} (${nodes.length} ${nodes.length === 1 ? "node" : "nodes"})`,
    {
      loc,
      notes: list(nodes, "node"),
      fixes: fixes.length > 0 ? fixes : [`cut the graph around ${plain(op)} and compute it outside`],
    },
  );
export const unsupportedOpset = (
  op: string,
  opset: number,
  since: number,
  until: number,
  nodes: readonly string[],
  loc: Loc,
) =>
  diagnostic(
    "error",
    "QC2002",
    `operator ${plain(op)} of opset ${opset} is not supported, only opsets ${since} to ${until} are`,
    {
      loc,
      notes: list(nodes, "node"),
      fixes: ["convert the model: onnx.version_converter.convert_version(model, 17)"],
    },
  );
export const unsupportedAttribute = (loc: Loc, name: string, reason: string) =>
  diagnostic("error", "QC2003", `attribute ${quote(name)} ${reason}`, { loc });
export const unsupportedType = (loc: Loc, name: string, type: string, where: string) =>
  diagnostic(
    "error",
    "QC2004",
    `${where} ${quote(name)} has element type ${type}, which is not supported here`,
    { loc },
  );
export const mustBeConstant = (loc: Loc, role: string, name: string) =>
  diagnostic("error", "QC2005", `the ${role} ${quote(name)} must be known at compile time`, {
    loc,
    notes: [
      { label: "meaning", text: "it is computed from the model's inputs, not from constants and shapes" },
    ],
  });
export const integerArithmetic = (loc: Loc, name: string, type: string) =>
  diagnostic("error", "QC2006", `the node computes on the integers of ${quote(name)} (${type}) directly`, {
    loc,
    notes: [
      { label: "needs", text: "a DequantizeLinear that says which real numbers the integers stand for" },
    ],
  });
export const unsupportedForm = (loc: Loc, reason: string, fixes: readonly string[] = []) =>
  diagnostic("error", "QC2007", reason, { loc, fixes });

// QC212x, QC213x: quantizers as the file states them

export const badScale = (loc: Loc, name: string, scale: number, index: number | undefined) =>
  diagnostic(
    "error",
    "QC2120",
    `scale ${quote(name)} is ${scale}${index === undefined ? "" : ` at index ${index}`}; a scale must be positive and finite`,
    { loc, fixes: ["calibrate or train again: the observer saw no finite values here"] },
  );
export const denormalScale = (loc: Loc, name: string, scale: number, count: number) =>
  diagnostic(
    "warning",
    "QC2121",
    `scale ${quote(name)} is as small as ${scale}${count > 1 ? ` (${count} entries)` : ""}, below the normal float32 range`,
    {
      loc,
      notes: [{ label: "meaning", text: "taken exactly; runtimes that flush denormals to zero disagree" }],
    },
  );
export const scaleLength = (loc: Loc, name: string, length: number, axis: number, size: number) =>
  diagnostic("error", "QC2122", `scale ${quote(name)} has ${length} entries, axis ${axis} has size ${size}`, {
    loc,
  });
export const quantizerShape = (loc: Loc, name: string, reason: string) =>
  diagnostic("error", "QC2123", `${quote(name)} ${reason}`, { loc });
export const quantizerAxisIgnored = (loc: Loc, axis: number, tensor: string) =>
  diagnostic(
    "warning",
    "QC2124",
    `axis ${axis} does not exist in ${quote(tensor)} of rank 1; its only axis is taken, whose size matches the scale`,
    { loc, fixes: ["set the attribute axis to 0; other tools may refuse the file"] },
  );
export const blockQuantization = (loc: Loc, blockSize: string, tensor: string) =>
  diagnostic(
    "error",
    "QC2125",
    `block quantization (${blockSize}) of ${quote(tensor)}, which is no constant or whose parameters are none`,
    {
      loc,
      tensor,
      notes: [
        { label: "needs", text: "constant weights, scales and zero points: activations have one scale" },
      ],
      fixes: ["quantize activations per tensor or per channel"],
    },
  );
export const quantizerType = (loc: Loc, name: string, type: string) =>
  diagnostic("error", "QC2126", `${quote(name)} has element type ${type}, which no integer quantizer has`, {
    loc,
  });
export const zeroPointType = (loc: Loc, name: string, has: string, wants: string, severity: Severity) =>
  diagnostic(severity, "QC2127", `zero point ${quote(name)} is ${has}, the quantized tensor is ${wants}`, {
    loc,
    ...(severity === "warning"
      ? { notes: [{ label: "meaning", text: "unaffected: its values exist in both types" }] }
      : {}),
  });
export const contradictoryQuantizers = (loc: Loc, tensor: string, made: string, read: string) =>
  diagnostic(
    "warning",
    "QC2128",
    `the integers of ${quote(tensor)} are quantized with one scale or zero point and dequantized with another`,
    {
      loc,
      notes: [
        { label: "made with", text: made },
        { label: "read with", text: read },
        { label: "meaning", text: "taken literally, as ONNX defines it" },
      ],
    },
  );
export const emptyQuantRange = (loc: Loc, lo: number, hi: number) =>
  diagnostic("error", "QC2129", `the bounds leave no integer: ${lo} … ${hi}`, {
    loc,
    fixes: ["give bounds with the lower one below the upper one"],
  });
export const plainIntegers = (loc: Loc, tensor: string, type: string) =>
  diagnostic("error", "QC2130", `${quote(tensor)} (${type}) is not the output of a quantizer`, { loc });
export const dynamicQuantizer = (loc: Loc, role: string, name: string) =>
  diagnostic("error", "QC2131", `the ${role} ${quote(name)} is computed at run time`, {
    loc,
    notes: [{ label: "meaning", text: "dynamic quantization: every inference would choose its own scale" }],
    fixes: [
      "quantize statically, with calibration data (onnxruntime.quantization.quantize_static) or by training",
    ],
  });
