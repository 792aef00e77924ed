/** Small ONNX models as plain data, without a file. */
import { type DataType, rawBytes } from "../../compiler/frontend/onnx/data-types.ts";
import type {
  AttributeValue,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  ValueInfo,
} from "../../compiler/frontend/onnx/model.ts";

export type Attributes = Readonly<
  Record<string, number | readonly number[] | { readonly float: number } | string>
>;

const ARRAYS: Partial<Record<DataType, (values: readonly number[]) => ArrayBufferView>> = {
  float32: (values) => Float32Array.from(values),
  int8: (values) => Int8Array.from(values),
  uint8: (values) => Uint8Array.from(values),
  int16: (values) => Int16Array.from(values),
  uint16: (values) => Uint16Array.from(values),
  int32: (values) => Int32Array.from(values),
  int64: (values) => BigInt64Array.from(values, BigInt),
};

export function tensor(
  name: string,
  dataType: DataType,
  dims: readonly number[],
  values: readonly number[],
): OnnxTensor {
  const make = ARRAYS[dataType];
  if (make === undefined) throw new Error(`tensors of ${dataType} are not built here`);
  const view = make(values);
  if (
    view.byteLength !==
    rawBytes(
      dataType,
      dims.reduce((a, b) => a * b, 1),
    )
  )
    throw new Error(`wrong size of ${name}`);
  const chunk = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return { name, dataType, dims, size: values.length, payload: { kind: "raw", chunks: [chunk] } };
}

function attribute(value: Attributes[string]): AttributeValue {
  if (typeof value === "number") return { kind: "int", value };
  if (typeof value === "string") return { kind: "string", value };
  if ("float" in value) return { kind: "float", value: value.float };
  return { kind: "ints", value };
}

export interface ModelBuilder {
  readonly input: (name: string, elemType: DataType, shape: readonly number[]) => string;
  readonly constant: (dataType: DataType, dims: readonly number[], values: readonly number[]) => string;
  readonly node: (op: string, inputs: readonly string[], attributes?: Attributes) => string;
  readonly finish: (outputs: readonly string[]) => OnnxModel;
}

export function modelBuilder(opset = 21): ModelBuilder {
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, OnnxTensor>();
  const inputs: ValueInfo[] = [];
  const info = (
    name: string,
    elemType: DataType | undefined,
    shape: readonly number[] | undefined,
  ): ValueInfo => ({
    name,
    container: "tensor",
    elemType,
    shape,
  });
  return {
    input: (name, elemType, shape) => {
      inputs.push(info(name, elemType, shape));
      return name;
    },
    constant: (dataType, dims, values) => {
      const name = `c${initializers.size}`;
      initializers.set(name, tensor(name, dataType, dims, values));
      return name;
    },
    node: (op, operands, attributes = {}) => {
      const output = `t${nodes.length}`;
      nodes.push({
        op,
        domain: "",
        overload: "",
        name: "",
        inputs: operands,
        outputs: [output],
        attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, attribute(value)])),
        metadata: new Map(),
        loc: { kind: "node", op, name: "", output },
      });
      return output;
    },
    finish: (outputs) => ({
      irVersion: 10,
      opsets: new Map([["", opset]]),
      producer: { name: "test", version: "" },
      graph: {
        name: "test",
        nodes,
        initializers,
        inputs,
        outputs: outputs.map((name) => info(name, undefined, undefined)),
        valueInfo: new Map(),
        annotations: new Map(),
      },
      functions: new Map(),
      metadata: new Map(),
    }),
  };
}
