/** The float network inside a QDQ model, for engines that run it without quantizers. */
import onnx from "onnx-proto";

const { ModelProto, TensorProto } = onnx.onnx;
type Tensor = onnx.onnx.ITensorProto;
const { FLOAT, INT8, INT32, UINT8 } = TensorProto.DataType;

const LOWEST: Readonly<Record<number, number>> = { [INT8]: -128, [UINT8]: 0 };
/** Operators that a quantizer may have relieved of the ReLU that followed them. */
const COMPUTING = new Set(["Add", "Conv", "Gemm", "MatMul"]);

/** Undefined for types other than those of quantized tensors and their scales. */
function numbersOf(t: Tensor): ArrayLike<number> | undefined {
  const bytes = t.rawData && t.rawData.length > 0 ? Uint8Array.from(t.rawData) : undefined;
  if (t.dataType === FLOAT) return bytes ? new Float32Array(bytes.buffer) : (t.floatData ?? []);
  if (t.dataType === INT32) return bytes ? new Int32Array(bytes.buffer) : (t.int32Data ?? []);
  if (t.dataType === INT8) return bytes ? new Int8Array(bytes.buffer) : Int8Array.from(t.int32Data ?? []);
  if (t.dataType === UINT8) return bytes ?? Uint8Array.from(t.int32Data ?? []);
  return undefined;
}

function dequantize(
  q: Tensor,
  scale: Tensor,
  zeroPoint: Tensor | undefined,
  axis: number,
): Tensor | undefined {
  const [values, scales] = [numbersOf(q), numbersOf(scale)];
  const zeros = zeroPoint ? numbersOf(zeroPoint) : undefined;
  if (!values || !scales) return undefined;
  const dims = (q.dims ?? []).map(Number);
  const at = axis < 0 ? axis + dims.length : axis;
  const inner = dims.slice(at + 1).reduce((a, b) => a * b, 1);
  const index = (i: number): number => (scales.length === 1 ? 0 : Math.floor(i / inner) % scales.length);
  const data = Float32Array.from(values, (v, i) => (v - (zeros?.[index(i)] ?? 0)) * scales[index(i)]!);
  return { name: q.name ?? "", dims: q.dims ?? [], dataType: FLOAT, rawData: new Uint8Array(data.buffer) };
}

/**
 * Every DequantizeLinear of a constant becomes the constant it stands for, every other quantizer disappears, and one with its zero
 * point at the lower end leaves a Relu where an operator computed what it reads. Integer inputs and outputs of the graph become float.
 * Undefined for constants of other types.
 */
export function floatCopy(model: Uint8Array): Uint8Array | undefined {
  const proto = ModelProto.decode(model);
  const graph = proto.graph;
  if (!graph) return undefined;
  const constants = new Map((graph.initializer ?? []).map((t) => [t.name!, t]));
  const nodes = [];
  const added: Tensor[] = [];
  const aliases = new Map<string, string>();
  const computed = new Set<string>();
  const resolve = (name: string): string => aliases.get(name) ?? name;
  for (const n of graph.node ?? []) {
    const [x, scale, zero] = (n.input ?? []) as [string, string, string | undefined];
    const y = n.output![0]!;
    const zeroPoint = constants.get(zero ?? "");
    if (n.opType === "DequantizeLinear" && constants.has(x)) {
      const axis = Number(n.attribute?.find((a) => a.name === "axis")?.i ?? 1);
      const value = dequantize(constants.get(x)!, constants.get(scale)!, zeroPoint, axis);
      if (!value) return undefined;
      added.push({ ...value, name: y });
    } else if (n.opType === "QuantizeLinear" || n.opType === "DequantizeLinear") {
      const from = resolve(x);
      const lowest = zeroPoint && LOWEST[zeroPoint.dataType ?? 0];
      const relu = computed.has(from) && zeroPoint && Number(numbersOf(zeroPoint)?.[0]) === lowest;
      if (n.opType === "QuantizeLinear" && relu) nodes.push({ opType: "Relu", input: [from], output: [y] });
      else aliases.set(y, from);
    } else {
      if (COMPUTING.has(n.opType!)) computed.add(y);
      nodes.push({ ...n, input: (n.input ?? []).map(resolve), output: n.output ?? [] });
    }
  }
  for (const o of graph.output ?? [])
    if (aliases.has(o.name!))
      nodes.push({ opType: "Identity", input: [resolve(o.name!)], output: [o.name!] });
  for (const v of [...(graph.input ?? []), ...(graph.output ?? [])]) {
    const type = v.type?.tensorType;
    if (type && (type.elemType === INT8 || type.elemType === UINT8)) type.elemType = FLOAT;
  }
  graph.node = nodes;
  graph.initializer = [...constants.values(), ...added];
  graph.valueInfo = [];
  return ModelProto.encode(proto).finish();
}
