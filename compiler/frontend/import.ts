/** OnnxModel → graph IR of real numbers and quantizers; see `importModel`. */
import { type Diagnostic, fail, ok, type Result } from "../ir/diagnostics.ts";
import { batchRange, newerOpset, outputShapeDiffers, outputTypeDiffers } from "../ir/messages.ts";
import { unknownEncodings } from "../ir/messages-encodings.ts";
import type { Func, Module, Port } from "../ir/module.ts";
import { sameShape } from "../ir/types.ts";
import { isFloatDtype } from "./constants.ts";
import { mergeEqualOps } from "./cse.ts";
import type { Encodings } from "./encodings.ts";
import { located } from "./ends.ts";
import { limited } from "./findings.ts";
import { inlineFunctions } from "./functions.ts";
import { materialize } from "./graph-import.ts";
import { createGraphImport } from "./import-state.ts";
import { createNodeGraph } from "./node-graph.ts";
import { isRejection } from "./node-import.ts";
import type { OnnxModel, ValueInfo } from "./onnx/model.ts";
import type { Operand } from "./operand.ts";

/** Operators of the table mean the same up to this version of the standard set. */
const NEWEST_OPSET = 28;

export interface ImportOptions {
  /** What an unknown first dimension of the inputs is fixed to, 1 … 65536. Default 1. */
  readonly batch?: number;
  /** Quantizers that lie beside the model, by tensor name. */
  readonly encodings?: Encodings;
}

/**
 * The model as a module with one function `main`, whose params and results are the graph's inputs (without
 * initializers) and outputs, under their ONNX names and types. Its ops are those of the `quant`, `float`, `layout` and
 * `const` dialects; shapes are static, constants folded, functions inlined, equal ops merged. Integer constants that a
 * DequantizeLinear reads stay integers of a quantised type.
 *
 * `model` must be in dataflow order (`orderModel`). All findings are collected: QC113x–QC115x (the graph), QC20xx
 * (unsupported), QC212x–QC213x (quantizers). Time is linear in nodes and constant data.
 */
export function importModel(model: OnnxModel, options: ImportOptions = {}): Result<Module> {
  const batch = options.batch ?? 1;
  if (!Number.isInteger(batch) || batch < 1 || batch > 65536) return fail(batchRange(batch));
  const graph = createGraphImport();
  const { diagnostics } = graph;
  const inlined = inlineFunctions(model, diagnostics);
  if (diagnostics.length > 0) return fail(...limited(diagnostics));
  const opset = model.opsets.get("") ?? 0;
  if (opset > NEWEST_OPSET) diagnostics.push(newerOpset(opset, NEWEST_OPSET));
  const { encodings } = options;
  const nodes = createNodeGraph(model.graph, inlined, graph, encodings?.entries);
  nodes.reportUnsupported();
  const params = nodes.importInputs(batch);
  nodes.importNodes();
  const results = model.graph.outputs.map((info): Port | undefined => {
    const operand = nodes.operand(info.name);
    return operand && outputPort(info, operand, nodes.boundary(info.name), diagnostics);
  });
  const unencoded = nodes.unencoded();
  if (encodings && unencoded.length > 0) diagnostics.push(unknownEncodings(encodings.path, unencoded));
  const found = located(
    limited(diagnostics),
    model,
    inlined.map((s) => s.node),
  );
  const complete = results.filter((port) => port !== undefined);
  if (found.some(({ severity }) => severity === "error") || complete.length < results.length)
    return fail(...found);
  const main: Func = { name: "main", params, ops: graph.ops, results: complete };
  return ok({ funcs: [mergeEqualOps(main, graph.names)] }, found);
}

function outputPort(
  info: ValueInfo,
  operand: Operand,
  at: Parameters<typeof materialize>[0],
  diagnostics: Diagnostic[],
): Port | undefined {
  const { elemType, shape } = info;
  if (
    elemType !== undefined &&
    elemType !== operand.dtype &&
    !(isFloatDtype(elemType) && isFloatDtype(operand.dtype))
  )
    diagnostics.push(outputTypeDiffers(info.name, elemType, operand.dtype));
  const known = shape?.map((d, i) => (typeof d === "number" ? d : (operand.shape[i] ?? -1)));
  if (known !== undefined && !sameShape(known, operand.shape))
    diagnostics.push(outputShapeDiffers(info.name, shape!, operand.shape));
  try {
    return {
      value: materialize(at, operand),
      name: info.name,
      dtype: elemType ?? operand.dtype,
      boundary: { kind: "none" },
    };
  } catch (error) {
    if (!isRejection(error)) throw error;
    diagnostics.push(error.rejection);
    return undefined;
  }
}
