/** Small fake-quant ONNX files in a few lines: each step returns the name of the tensor it makes. */
import type { DataType } from "../../../compiler/frontend/onnx/data-types.ts";
import {
  type AttributeInput,
  model,
  type Named,
  type Node,
  node,
  type Tensor,
  tensor,
  type Value,
  value,
} from "../../onnx-writer.ts";
import { randomSource } from "../../zoo.ts";

export type Attributes = Readonly<Record<string, AttributeInput>>;
type Numbers = number | readonly number[];
export interface Grid {
  readonly type?: DataType;
  readonly axis?: number;
}

export interface GraphBuilder {
  /** A graph input; `uint8` unless told otherwise. */
  readonly input: (shape: readonly (number | string)[], type?: DataType) => string;
  readonly constant: (type: DataType, shape: readonly number[], data: Numbers) => string;
  /** Deterministic integers over the whole range of `type`. */
  readonly noise: (type: "int8" | "uint8" | "int16" | "uint16" | "int32", shape: readonly number[]) => string;
  /** `domain`: of an operator that is not the standard's. */
  readonly op: (op: string, inputs: readonly string[], attributes?: Attributes, domain?: string) => string;
  /** All `count` outputs of a node. */
  readonly ops: (
    op: string,
    inputs: readonly string[],
    count: number,
    attributes?: Attributes,
    domain?: string,
  ) => readonly string[];
  /** Lists of scales or zero points are per index of `axis`. */
  readonly q: (x: string, scale: Numbers, zero: Numbers, grid?: Grid) => string;
  readonly dq: (x: string, scale: Numbers, zero: Numbers, grid?: Grid) => string;
  /** Quantize, then dequantize. */
  readonly fq: (x: string, scale: Numbers, zero: Numbers, grid?: Grid) => string;
  /**
   * Quantized weights of `shape`: noise between −64 and 63, so that no engine's relaxed dot product saturates with uint8
   * activations.
   */
  readonly weights: (shape: readonly number[], scale?: Numbers, grid?: Grid) => string;
  readonly floats: (shape: readonly number[], data: Numbers) => string;
  readonly ints: (data: readonly number[]) => string;
  readonly finish: (outputs: readonly string[], opset?: number) => Uint8Array;
}

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export function graphBuilder(): GraphBuilder {
  const nodes: Node[] = [];
  const inputs: Value[] = [];
  const initializers: Record<string, Tensor> = {};
  const random = randomSource(1);
  const constant: GraphBuilder["constant"] = (type, shape, data) => {
    const name = `c${Object.keys(initializers).length}`;
    const list = typeof data === "number" ? Array<number>(size(shape)).fill(data) : data;
    initializers[name] = tensor(type, shape, list);
    return name;
  };
  const domains = new Set<string>();
  const ops: GraphBuilder["ops"] = (op, operands, count, attributes = {}, domain) => {
    const n = nodes.length;
    const outputs = Array.from({ length: count }, (_, i) => (i === 0 ? `t${n}` : `t${n}_${i}`));
    if (domain !== undefined) domains.add(domain);
    const named = attributes as Named<AttributeInput>;
    nodes.push(node(op, operands, outputs, named, domain === undefined ? {} : { domain }));
    return outputs;
  };
  const op: GraphBuilder["op"] = (name, operands, attributes, domain) =>
    ops(name, operands, 1, attributes, domain)[0]!;
  const quantizer =
    (name: string): GraphBuilder["q"] =>
    (x, scale, zero, { type = "uint8", axis = 0 } = {}) => {
      const shape = typeof scale === "number" ? [] : [scale.length];
      return op(name, [x, constant("float32", shape, scale), constant(type, shape, zero)], { axis });
    };
  const q = quantizer("QuantizeLinear");
  const dq = quantizer("DequantizeLinear");
  const noise: GraphBuilder["noise"] = (type, shape) => {
    const bits = Number(type.replace(/\D+/, ""));
    const lo = type.startsWith("u") ? 0 : -(2 ** (bits - 1));
    return constant(
      type,
      shape,
      Array.from({ length: size(shape) }, () => lo + Math.floor(random() * 2 ** bits)),
    );
  };
  return {
    input: (shape, type = "uint8") => {
      const name = `in${inputs.length}`;
      inputs.push(value(name, type, shape));
      return name;
    },
    constant,
    noise,
    op,
    ops,
    q,
    dq,
    fq: (x, scale, zero, grid) => dq(q(x, scale, zero, grid), scale, zero, grid),
    weights: (shape, scale = 0.013, grid = {}) =>
      dq(
        constant(
          "int8",
          shape,
          Array.from({ length: size(shape) }, () => Math.floor(random() * 128) - 64),
        ),
        scale,
        typeof scale === "number" ? 0 : scale.map(() => 0),
        {
          type: "int8",
          ...grid,
        },
      ),
    floats: (shape, data) => constant("float32", shape, data),
    ints: (data) => constant("int64", [data.length], data),
    finish: (outputs, opset = 21) =>
      model({
        opset,
        opsets: Object.fromEntries([...domains].map((d) => [d, 1])),
        inputs,
        outputs: outputs.map((name) => value(name)),
        initializers,
        nodes,
      }),
  };
}
