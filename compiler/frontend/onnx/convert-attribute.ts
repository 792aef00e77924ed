/** AttributeProto and TypeProto → model data. */
import type { Loc } from "../../ir/diagnostics.ts";
import { badAttribute, badDeclaredShape } from "../../ir/messages.ts";
import { type Context, convertTensor, toInt } from "./convert-tensor.ts";
import { dataTypeOf } from "./data-types.ts";
import type { AttributeValue, Dim, OnnxGraph, OnnxType } from "./model.ts";
import type { onnx } from "./schema.gen.js";

/** Kinds by their wire number. */
const KINDS = [
  "undefined",
  "float",
  "int",
  "string",
  "tensor",
  "graph",
  "floats",
  "ints",
  "strings",
  "tensors",
  "graphs",
  "sparse",
  "sparses",
  "type",
  "types",
] as const;
type Kind = (typeof KINDS)[number];

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const given = <T>(value: T | null | undefined): value is T => value !== null && value !== undefined;

type Proto = onnx.AttributeProto.$Shape;

/** The kinds whose value field is present. */
function presentKinds(proto: Proto): Kind[] {
  const present: Kind[] = [];
  if (Object.hasOwn(proto, "f")) present.push("float");
  if (Object.hasOwn(proto, "i")) present.push("int");
  if (Object.hasOwn(proto, "s")) present.push("string");
  if (given(proto.t)) present.push("tensor");
  if (given(proto.g)) present.push("graph");
  if (given(proto.tp)) present.push("type");
  if (given(proto.sparseTensor)) present.push("sparse");
  if (proto.floats?.length) present.push("floats");
  if (proto.ints?.length) present.push("ints");
  if (proto.strings?.length) present.push("strings");
  if (proto.tensors?.length) present.push("tensors");
  if (proto.graphs?.length) present.push("graphs");
  if (proto.typeProtos?.length) present.push("types");
  if (proto.sparseTensors?.length) present.push("sparses");
  return present;
}

/**
 * The value, or undefined after reporting what is wrong with it. Writers that follow the proto3 form of the standard
 * omit zeros and empty strings, so an absent scalar is zero; writers before IR 2 omit `type`, so it is then inferred.
 */
export function convertAttribute(
  proto: Proto,
  loc: Loc,
  owner: string,
  context: Context,
  convertGraph: (graph: onnx.GraphProto.$Shape) => OnnxGraph,
): AttributeValue | undefined {
  const name = proto.name ?? "";
  const report = (reason: string): undefined => {
    context.diagnostics.push(badAttribute(loc, name, reason));
    return undefined;
  };
  const present = presentKinds(proto);
  if (given(proto.refAttrName) && proto.refAttrName !== "")
    return present.length > 0
      ? report("has a value and also refers to an attribute of the function")
      : { kind: "reference", value: proto.refAttrName };
  const type = proto.type ?? 0;
  const declared = KINDS[type];
  if (declared === undefined) return report(`has the unknown type ${type}`);
  const kind = declared === "undefined" ? present[0] : declared;
  if (kind === undefined) return report("has neither type nor value");
  const other = present.find((k) => k !== kind);
  if (other !== undefined)
    return report(
      declared === "undefined"
        ? `has several values (${present.join(", ")})`
        : `is declared as ${kind} but carries ${other}`,
    );

  const label = `${owner}.${name}`;
  const tensor = (t: onnx.TensorProto.$Shape) => convertTensor(t, label, context);
  switch (kind) {
    case "float":
      return { kind, value: proto.f ?? 0 };
    case "int":
      return { kind, value: toInt(proto.i) };
    case "string":
      return { kind, value: utf8.decode(proto.s ?? new Uint8Array(0)) };
    case "floats":
      return { kind, value: proto.floats ?? [] };
    case "ints":
      return { kind, value: (proto.ints ?? []).map(toInt) };
    case "strings":
      return { kind, value: (proto.strings ?? []).map((bytes) => utf8.decode(bytes)) };
    case "tensor": {
      if (!given(proto.t)) return report("is declared as tensor but carries none");
      const value = tensor(proto.t);
      return value && { kind, value };
    }
    case "tensors": {
      const value = (proto.tensors ?? []).map(tensor);
      return value.every((t) => t !== undefined) ? { kind, value } : undefined;
    }
    case "graph":
      return given(proto.g)
        ? { kind, value: convertGraph(proto.g) }
        : report("is declared as graph but carries none");
    case "graphs":
      return { kind, value: (proto.graphs ?? []).map(convertGraph) };
    case "type":
      return { kind, value: convertType(proto.tp, label, context) };
    case "types":
      return { kind, value: (proto.typeProtos ?? []).map((tp) => convertType(tp, label, context)) };
    case "sparse":
    case "sparses":
      return { kind: "sparse" };
    case "undefined":
      return undefined;
  }
}

export function convertType(
  proto: onnx.TypeProto.$Shape | null | undefined,
  owner: string,
  context: Context,
): OnnxType {
  const none = { elemType: undefined, shape: undefined } as const;
  if (!given(proto)) return { container: "undeclared", ...none };
  if (given(proto.tensorType)) {
    const { elemType, shape } = proto.tensorType;
    return {
      container: "tensor",
      elemType: dataTypeOf(elemType ?? 0),
      shape: given(shape) ? (shape.dim ?? []).map((dim) => convertDim(dim, owner, context)) : undefined,
    };
  }
  if (given(proto.sequenceType)) return { container: "sequence", ...none };
  if (given(proto.mapType)) return { container: "map", ...none };
  if (given(proto.optionalType)) return { container: "optional", ...none };
  if (given(proto.sparseTensorType)) return { container: "sparse", ...none };
  if (given(proto.opaqueType)) return { container: "opaque", ...none };
  return { container: "undeclared", ...none };
}

function convertDim(
  { dimValue, dimParam }: onnx.TensorShapeProto.Dimension.$Shape,
  owner: string,
  context: Context,
): Dim {
  if (given(dimParam) && dimParam !== "") return dimParam;
  if (!given(dimValue)) return undefined;
  const value = toInt(dimValue);
  if (typeof value === "number" && value >= 0) return value;
  context.diagnostics.push(
    badDeclaredShape(
      owner,
      value < 0 ? `dimension ${value} is negative` : `dimension ${value} is beyond 2^53`,
    ),
  );
  return undefined;
}
