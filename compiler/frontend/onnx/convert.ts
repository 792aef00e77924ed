/** ModelProto → OnnxModel. Findings go to `context.diagnostics`; what is broken is left out. */
import { type Loc, quote } from "../../ir/diagnostics.ts";
import {
  badAttribute,
  badOpset,
  duplicateFunction,
  duplicateInitializer,
  emptyName,
  missingGraph,
  missingOpset,
  sparseInitializer,
  trainingInfoIgnored,
  unknownIrVersion,
} from "../../ir/messages.ts";
import { convertAttribute, convertType } from "./convert-attribute.ts";
import { type Context, convertTensor, toInt } from "./convert-tensor.ts";
import {
  type AttributeValue,
  functionKey,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type ValueInfo,
} from "./model.ts";
import type { onnx } from "./schema.gen.js";
import { sourcePosition } from "./source.ts";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const NONE: ReadonlyMap<string, never> = new Map<string, never>();

/** First and last IR version whose meaning is known here. */
const IR_VERSIONS = { first: 3, last: 14 };

export function convertModel(
  proto: onnx.ModelProto.$Shape,
  path: string,
  context: Context,
): OnnxModel | undefined {
  const { diagnostics } = context;
  const irVersion = toInt(proto.irVersion);
  if (irVersion < IR_VERSIONS.first || irVersion > IR_VERSIONS.last)
    diagnostics.push(unknownIrVersion(path, String(irVersion)));
  if (proto.trainingInfo?.length) diagnostics.push(trainingInfoIgnored(path));
  if (!proto.opsetImport?.length) diagnostics.push(missingOpset(path));
  const functions = new Map<string, OnnxFunction>();
  for (const entry of proto.functions ?? []) {
    const fn = convertFunction(entry, context);
    const key = functionKey(fn.domain, fn.name, fn.overload);
    if (functions.has(key)) diagnostics.push(duplicateFunction(fn.name));
    functions.set(key, fn);
  }
  if (proto.graph === null || proto.graph === undefined) {
    diagnostics.push(missingGraph(path));
    return undefined;
  }
  return {
    irVersion: Number(irVersion),
    opsets: convertOpsets(proto.opsetImport, "the model", context),
    producer: { name: proto.producerName ?? "", version: proto.producerVersion ?? "" },
    graph: convertGraph(proto.graph, context),
    functions,
    metadata: convertMetadata(proto.metadataProps),
  };
}

const standardDomain = (domain: string | null | undefined): string =>
  domain === "ai.onnx" ? "" : (domain ?? "");

function convertOpsets(
  imports: readonly onnx.OperatorSetIdProto.$Shape[] | null | undefined,
  where: string,
  { diagnostics }: Context,
): ReadonlyMap<string, number> {
  const opsets = new Map<string, number>();
  for (const entry of imports ?? []) {
    const domain = standardDomain(entry.domain);
    const version = toInt(entry.version);
    const before = opsets.get(domain);
    if (typeof version === "bigint" || version < 1)
      diagnostics.push(badOpset(where, domain, `has the impossible version ${version}`));
    else if (before !== undefined && before !== version)
      diagnostics.push(badOpset(where, domain, `is imported as version ${before} and as version ${version}`));
    else opsets.set(domain, version);
  }
  return opsets;
}

function convertMetadata(
  entries: readonly onnx.StringStringEntryProto.$Shape[] | null | undefined,
): ReadonlyMap<string, string> {
  if (!entries?.length) return NONE;
  return new Map(entries.map(({ key, value }) => [key ?? "", value ? utf8.decode(value) : ""]));
}

function convertGraph(proto: onnx.GraphProto.$Shape, context: Context): OnnxGraph {
  const { diagnostics } = context;
  const initializers = new Map<string, OnnxTensor>();
  const seen = new Set<string>();
  for (const entry of proto.initializer ?? []) {
    const name = entry.name ?? "";
    if (name === "") diagnostics.push(emptyName(`an initializer of graph ${quote(proto.name ?? "")}`));
    else if (seen.has(name)) diagnostics.push(duplicateInitializer(name));
    seen.add(name);
    const tensor = convertTensor(entry, "", context);
    if (tensor !== undefined) initializers.set(name, tensor);
  }
  for (const { values } of proto.sparseInitializer ?? [])
    diagnostics.push(sparseInitializer(values?.name ?? ""));
  return {
    name: proto.name ?? "",
    nodes: (proto.node ?? []).map((node) => convertNode(node, context)),
    initializers,
    inputs: (proto.input ?? []).map((value) => convertValueInfo(value, context)),
    outputs: (proto.output ?? []).map((value) => convertValueInfo(value, context)),
    valueInfo: convertValueInfos(proto.valueInfo, context),
    annotations: new Map(
      (proto.quantizationAnnotation ?? []).map((entry) => [
        entry.tensorName ?? "",
        convertMetadata(entry.quantParameterTensorNames),
      ]),
    ),
  };
}

function convertNode(proto: onnx.NodeProto.$Shape, context: Context): OnnxNode {
  const name = proto.name ?? "";
  const outputs = proto.output ?? [];
  const metadata = convertMetadata(proto.metadataProps);
  const source = sourcePosition(metadata);
  const loc: Loc = {
    kind: "node",
    op: proto.opType ?? "",
    name,
    output: outputs[0] ?? "",
    ...(source === undefined ? {} : { source }),
  };
  if (loc.op === "") context.diagnostics.push(emptyName("the operator of a node", loc));
  return {
    op: loc.op,
    domain: standardDomain(proto.domain),
    overload: proto.overload ?? "",
    name,
    inputs: proto.input ?? [],
    outputs,
    attributes: convertAttributes(proto.attribute, loc, name === "" ? loc.output : name, context),
    metadata,
    loc,
  };
}

function convertAttributes(
  entries: readonly onnx.AttributeProto.$Shape[] | null | undefined,
  loc: Loc,
  owner: string,
  context: Context,
): ReadonlyMap<string, AttributeValue> {
  if (!entries?.length) return NONE;
  const attributes = new Map<string, AttributeValue>();
  for (const entry of entries) {
    const name = entry.name ?? "";
    if (name === "") context.diagnostics.push(emptyName("an attribute", loc));
    const value = convertAttribute(entry, loc, owner, context, (graph) => convertGraph(graph, context));
    if (value === undefined) continue;
    if (attributes.has(name)) context.diagnostics.push(badAttribute(loc, name, "is given twice"));
    attributes.set(name, value);
  }
  return attributes;
}

const convertValueInfo = (proto: onnx.ValueInfoProto.$Shape, context: Context): ValueInfo => ({
  name: proto.name ?? "",
  ...convertType(proto.type, proto.name ?? "", context),
});

/** The first declaration of a name counts. */
function convertValueInfos(
  entries: readonly onnx.ValueInfoProto.$Shape[] | null | undefined,
  context: Context,
): ReadonlyMap<string, ValueInfo> {
  if (!entries?.length) return NONE;
  const infos = new Map<string, ValueInfo>();
  for (const entry of entries) {
    const info = convertValueInfo(entry, context);
    if (!infos.has(info.name)) infos.set(info.name, info);
  }
  return infos;
}

function convertFunction(proto: onnx.FunctionProto.$Shape, context: Context): OnnxFunction {
  const name = proto.name ?? "";
  const loc: Loc = { kind: "node", op: name, name, output: "" };
  if (name === "") context.diagnostics.push(emptyName("a function"));
  return {
    domain: standardDomain(proto.domain),
    name,
    overload: proto.overload ?? "",
    inputs: proto.input ?? [],
    outputs: proto.output ?? [],
    required: proto.attribute ?? [],
    defaults: convertAttributes(proto.attributeProto, loc, name, context),
    nodes: (proto.node ?? []).map((node) => convertNode(node, context)),
    opsets: convertOpsets(proto.opsetImport, `function ${quote(name)}`, context),
    valueInfo: convertValueInfos(proto.valueInfo, context),
  };
}
