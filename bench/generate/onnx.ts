/** ONNX files of the generated networks: as they are, and quantized as onnxruntime's static quantizer does it. */
import onnx from "onnx-proto";
import { sizeOf } from "./float-ops.ts";
import type { NetNode, Network, Value } from "./network.ts";

const { ModelProto, TensorProto } = onnx.onnx;
const { FLOAT, INT32, INT64, INT8, UINT8 } = TensorProto.DataType;
const { AttributeType } = onnx.onnx.AttributeProto;

interface File {
  readonly nodes: onnx.onnx.INodeProto[];
  readonly initializers: onnx.onnx.ITensorProto[];
}
type Numbers = Float32Array | Int8Array | Uint8Array | Int32Array | BigInt64Array;

function addTensor(file: File, name: string, dims: readonly number[], data: Numbers): string {
  const dataType =
    data instanceof Float32Array
      ? FLOAT
      : data instanceof Int8Array
        ? INT8
        : data instanceof Uint8Array
          ? UINT8
          : data instanceof Int32Array
            ? INT32
            : INT64;
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  file.initializers.push({ name, dims: [...dims], dataType, rawData });
  return name;
}

function addNode(
  file: File,
  opType: string,
  input: readonly string[],
  output: string,
  attributes: NetNode["attributes"] = {},
): string {
  file.nodes.push({
    opType,
    name: `${opType}_${output}`,
    input: [...input],
    output: [output],
    attribute: Object.entries(attributes).map(([name, v]) =>
      typeof v === "number"
        ? { name, type: AttributeType.INT, i: v }
        : { name, type: AttributeType.INTS, ints: [...v] },
    ),
  });
  return output;
}

const port = ({ name, sample }: Value): onnx.onnx.IValueInfoProto => ({
  name,
  type: { tensorType: { elemType: FLOAT, shape: { dim: sample.dims.map((dimValue) => ({ dimValue })) } } },
});

const write = (net: Network, { nodes, initializers }: File): Uint8Array =>
  ModelProto.encode({
    irVersion: 8,
    producerName: "qc bench",
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: net.name,
      node: nodes,
      initializer: initializers,
      input: [port(net.input)],
      output: [port(net.output)],
    },
  }).finish();

const int64s = (values: readonly number[]): BigInt64Array => BigInt64Array.from(values, BigInt);

export function floatModel(net: Network): Uint8Array {
  const file: File = { nodes: [], initializers: [] };
  for (const [name, p] of net.params) addTensor(file, name, p.dims, p.data);
  for (const [name, values] of net.integers) addTensor(file, name, [values.length], int64s(values));
  for (const n of net.nodes) addNode(file, n.op, n.inputs, n.output, n.attributes);
  return write(net, file);
}

/** Operators that onnxruntime's quantizer leaves in floating point; a neighbour may still quantize their operands and results. */
const FLOAT_OPS = new Set(["Div", "Erf"]);
/** Operators whose result has the quantization of their operand. */
const SAME = new Set(["Flatten", "MaxPool", "Reshape", "Transpose"]);
/** Channel axis of a weight. */
const WEIGHT_AXIS: Readonly<Record<string, number>> = { Conv: 0, Gemm: 0, MatMul: 1 };

interface Grid {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Of uint8, with zero on it. */
function gridOf([lo, hi]: readonly [number, number]): Grid {
  const [least, most] = [Math.min(0, lo), Math.max(0, hi)];
  const scale = Math.fround((most - least) / 255);
  return { scale, zeroPoint: Math.round(-least / scale) };
}

/**
 * uint8 activations with one scale a tensor, int8 weights with one a channel, int32 biases: every float tensor between
 * quantizable operators becomes a QuantizeLinear and a DequantizeLinear, and a Relu or Clip disappears into the former. Weights lie in
 * ±`weightLevels`.
 */
export function quantizedModel(net: Network, weightLevels = 127): Uint8Array {
  const file: File = { nodes: [], initializers: [] };
  for (const [name, values] of net.integers) addTensor(file, name, [values.length], int64s(values));

  const isActivation = (n: NetNode): boolean => n.op === "Relu" || n.op === "Clip";
  const absorbed = new Map(net.nodes.filter(isActivation).map((n) => [n.inputs[0]!, n]));
  const quantized = new Set<string>();
  for (const n of net.nodes)
    if (!FLOAT_OPS.has(n.op))
      for (const t of [...n.inputs, n.output]) if (net.ranges.has(t)) quantized.add(t);

  const grids = new Map<string, Grid & { readonly names: readonly [string, string] }>();
  const define = (name: string, grid: Grid): void => {
    const scale = addTensor(file, `${name}_scale`, [], Float32Array.of(grid.scale));
    const zeroPoint = addTensor(file, `${name}_zero_point`, [], Uint8Array.of(grid.zeroPoint));
    grids.set(name, { ...grid, names: [scale, zeroPoint] });
  };
  const dequantized = (name: string): string => `${name}_DequantizeLinear_Output`;
  /** The quantizers of the float tensor that is called `from` in the file. */
  const insert = (name: string, from: string): void => {
    const { names } = grids.get(name)!;
    const q = addNode(file, "QuantizeLinear", [from, ...names], `${name}_QuantizeLinear_Output`);
    const to = name === net.output.name ? name : dequantized(name);
    addNode(file, "DequantizeLinear", [q, ...names], to);
  };
  const read = (name: string): string => (quantized.has(name) ? dequantized(name) : name);

  /** Symmetric int8, one scale for each index of `axis`, or one at all. */
  const weight = (name: string, axis: number | undefined): { tensor: string; scales: Float32Array } => {
    const { dims, data } = net.params.get(name)!;
    const channels = axis === undefined ? 1 : dims[axis]!;
    const inner = axis === undefined ? data.length : sizeOf(dims.slice(axis + 1));
    const channelOf = (i: number): number => Math.floor(i / inner) % channels;
    const most = new Float64Array(channels);
    for (const [i, w] of data.entries()) most[channelOf(i)] = Math.max(most[channelOf(i)]!, Math.abs(w));
    const scales = Float32Array.from(most, (m) => m / weightLevels);
    const integers = Int8Array.from(data, (w, i) =>
      Math.max(-weightLevels, Math.min(weightLevels, Math.round(w / scales[channelOf(i)]!))),
    );
    const shape = axis === undefined ? [] : [channels];
    const q = addTensor(file, `${name}_quantized`, dims, integers);
    const s = addTensor(file, `${name}_scale`, shape, scales);
    const z = addTensor(file, `${name}_zero_point`, shape, new Int8Array(channels));
    const attributes: NetNode["attributes"] = axis === undefined ? {} : { axis };
    return { tensor: addNode(file, "DequantizeLinear", [q, s, z], dequantized(name), attributes), scales };
  };
  const bias = (name: string, input: Grid, scales: Float32Array): string => {
    const { dims, data } = net.params.get(name)!;
    const own = scales.map((s) => Math.fround(s * input.scale));
    const integers = Int32Array.from(data, (b, i) => Math.round(b / own[own.length === 1 ? 0 : i]!));
    const q = addTensor(file, `${name}_quantized`, dims, integers);
    const s = addTensor(file, `${name}_quantized_scale`, [own.length], own);
    const z = addTensor(file, `${name}_quantized_zero_point`, [own.length], new Int32Array(own.length));
    return addNode(file, "DequantizeLinear", [q, s, z], dequantized(name), { axis: 0 });
  };
  const constant = (name: string): string => {
    const { dims, data } = net.params.get(name)!;
    let [lo, hi] = [0, 0];
    for (const v of data) [lo, hi] = [Math.min(lo, v), Math.max(hi, v)];
    const grid = gridOf([lo, hi]);
    define(name, grid);
    const integers = Uint8Array.from(data, (v) =>
      Math.max(0, Math.min(255, Math.round(v / grid.scale) + grid.zeroPoint)),
    );
    const q = addTensor(file, `${name}_quantized`, dims, integers);
    return addNode(file, "DequantizeLinear", [q, ...grids.get(name)!.names], dequantized(name));
  };
  const operands = (n: NetNode): string[] => {
    const [x, second, third] = n.inputs;
    const inputs = [read(x!)];
    if (second === undefined) return inputs;
    if (net.integers.has(second)) return [...inputs, second];
    if (!net.params.has(second)) return [...inputs, read(second)];
    if (n.op in WEIGHT_AXIS || third !== undefined) {
      const { tensor, scales } = weight(second, WEIGHT_AXIS[n.op]);
      return [...inputs, tensor, ...(third === undefined ? [] : [bias(third, grids.get(x!)!, scales)])];
    }
    if (!FLOAT_OPS.has(n.op)) return [...inputs, constant(second)];
    const { dims, data } = net.params.get(second)!;
    return [...inputs, addTensor(file, second, dims, data)];
  };

  define(net.input.name, gridOf(net.ranges.get(net.input.name)!));
  insert(net.input.name, net.input.name);
  for (const n of net.nodes) {
    if (isActivation(n)) continue;
    const result = absorbed.get(n.output)?.output ?? n.output;
    const inputs = operands(n);
    if (!quantized.has(result)) {
      addNode(file, n.op, inputs, result, n.attributes);
      continue;
    }
    const own = result === net.output.name ? `${result}_QuantizeLinear_Input` : result;
    addNode(file, n.op, inputs, own, n.attributes);
    const from = grids.get(n.inputs[0]!);
    if (SAME.has(n.op) && from) grids.set(result, from);
    else define(result, gridOf(net.ranges.get(result)!));
    insert(result, own);
  }
  return write(net, file);
}
