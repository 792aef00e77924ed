/** A copy of a QDQ model with uint8 activations: onnxruntime has integer kernels for those where int8 ones fall back to float. */
import onnx from "onnx-proto";

const { ModelProto, TensorProto } = onnx.onnx;
type Node = onnx.onnx.INodeProto;
type Tensor = onnx.onnx.ITensorProto;
type ValueInfo = onnx.onnx.IValueInfoProto;
const { INT8, UINT8 } = TensorProto.DataType;

/** Ops whose result holds elements of their first operand (of all operands: Concat) and nothing else. */
const MOVING = new Set([
  "Concat",
  "Flatten",
  "Identity",
  "MaxPool",
  "Reshape",
  "Slice",
  "Squeeze",
  "Transpose",
  "Unsqueeze",
]);

function int8Values(t: Tensor): Int8Array {
  if (t.rawData && t.rawData.length > 0) return new Int8Array(t.rawData);
  return Int8Array.from(t.int32Data ?? []);
}

const elemTypeOf = (v: ValueInfo): number | null | undefined => v.type?.tensorType?.elemType;
const setElemType = (v: ValueInfo, elemType: number): void => {
  if (v.type?.tensorType) v.type.tensorType.elemType = elemType;
};

export interface Uint8Copy {
  readonly bytes: Uint8Array;
  /** Graph inputs and outputs whose integers are now 128 higher. */
  readonly moved: ReadonlySet<string>;
}

/** Every int8 activation q becomes the uint8 q + 128. Undefined when there is none, or one that an unknown op reads. */
export function uint8Copy(model: Uint8Array): Uint8Copy | undefined {
  const proto = ModelProto.decode(model);
  const graph = proto.graph;
  if (!graph) return undefined;
  const nodes = (graph.node ?? []) as Node[];
  const initializers = new Map((graph.initializer ?? []).map((t) => [t.name!, t as Tensor]));
  const zeroPoint = (n: Node): Tensor | undefined => initializers.get(n.input?.[2] ?? "");
  const isInt8 = (n: Node): boolean => zeroPoint(n)?.dataType === INT8;

  const signed = new Set<string>();
  for (const v of graph.input ?? [])
    if (elemTypeOf(v) === INT8 && !initializers.has(v.name!)) signed.add(v.name!);
  // Nodes are in topological order.
  for (const n of nodes) {
    const reads = (n.input ?? []).some((i) => signed.has(i));
    const quantizes = n.opType === "QuantizeLinear" && isInt8(n) && !initializers.has(n.input![0]!);
    if (quantizes || (reads && MOVING.has(n.opType!))) for (const o of n.output!) signed.add(o);
    else if (reads && !(n.opType === "DequantizeLinear" && isInt8(n))) return undefined;
  }
  if (signed.size === 0) return undefined;

  const shifted = new Map<string, string>();
  for (const n of nodes) {
    const touches =
      (n.opType === "QuantizeLinear" && signed.has(n.output![0]!)) ||
      (n.opType === "DequantizeLinear" && signed.has(n.input![0]!));
    const zero = touches ? zeroPoint(n) : undefined;
    if (!zero) continue;
    let name = shifted.get(zero.name!);
    if (name === undefined) {
      name = `${zero.name}_uint8`;
      shifted.set(zero.name!, name);
      graph.initializer!.push(
        TensorProto.create({
          name,
          dataType: UINT8,
          dims: zero.dims ?? [],
          rawData: Uint8Array.from(int8Values(zero), (z) => z + 128),
        }),
      );
    }
    n.input![2] = name;
  }
  const ports = [...(graph.input ?? []), ...(graph.output ?? [])].filter((v) => signed.has(v.name!));
  for (const v of ports) setElemType(v, UINT8);
  graph.valueInfo = (graph.valueInfo ?? []).filter((v) => !signed.has(v.name!));
  return { bytes: ModelProto.encode(proto).finish(), moved: new Set(ports.map((v) => v.name!)) };
}
