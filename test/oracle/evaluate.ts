/**
 * The oracle of the whole compiler: the value an ONNX model denotes, with every real between two quantizers exact and
 * every quantizer's result decided exactly. It knows nothing of the compiler beyond the reader's plain data.
 *
 * Graph inputs and constants are quantized in float32 as ONNX has it, NaN to the least integer. Irrational functions
 * are float64 with a rigorous error bound; a quantizer whose bound reaches a rounding boundary says so.
 */
import { type DataType, dataTypeOf } from "../../compiler/frontend/onnx/data-types.ts";
import type { Dim, OnnxModel, OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { intOf, tensorOf } from "./attributes.ts";
import { cast, fromOnnx, isFloat } from "./literal.ts";
import { numbersOf } from "./move.ts";
import { evaluateNode } from "./operators.ts";
import { evaluateDynamic, float32Of } from "./ops-dynamic.ts";
import { evaluateBlocks } from "./ops-nbits.ts";
import { liftQLinear, quantizesItself } from "./ops-qlinear.ts";
import { evaluateQonnx, isQonnx } from "./ops-qonnx.ts";
import { dequantize, quantize, type Scheme, schemeOf } from "./quantize.ts";
import { toFloat32 } from "./rational.ts";
import { exactAt, type IntTensor, ints, literals, sizeOf, type Tensor } from "./tensor.ts";

export type NumericArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

export interface QuantizerResult {
  readonly shape: readonly number[];
  readonly dtype: DataType;
  readonly values: Int32Array;
  /**
   * Elements that the error bound of an irrational function leaves undecided: least and greatest possible integer.
   * `values` then holds the integer nearest to the float64 value, and evaluation goes on with it.
   */
  readonly undecided?: ReadonlyMap<number, readonly [number, number]>;
}

export type OutputResult =
  | {
      readonly kind: "int";
      readonly shape: readonly number[];
      readonly dtype: DataType;
      readonly values: Int32Array;
    }
  | {
      readonly kind: "float";
      readonly shape: readonly number[];
      /** The nearest float32 of each exact value. */
      readonly values: Float32Array;
      /** The quantized tensor a final DequantizeLinear reads: its name and integers. */
      readonly integers?: { readonly name: string; readonly values: Int32Array };
    };

/** clamp(rne(real / scale) + zero point); where a quantizer shifts before it rounds, the shift is part of `real`. */
export interface QuantizerStep {
  readonly real: Tensor;
  readonly scheme: Scheme;
}

export interface Evaluation {
  readonly outputs: ReadonlyMap<string, OutputResult>;
  /** Every quantizer whose input is not constant, by the name of its result, in evaluation order. */
  readonly quantizers: ReadonlyMap<string, QuantizerResult>;
  /** With `keep: "all"` what went into each of the quantizers. */
  readonly steps: ReadonlyMap<string, QuantizerStep>;
  /** With `keep: "all"` every tensor. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

export interface EvaluateOptions {
  readonly keep?: "quantizers" | "all";
  /**
   * Integers that replace a quantizer's result for its consumers, by tensor name. What the quantizer itself computes
   * is still reported, so with all of another runtime's integers each quantizer is one independent step.
   */
  readonly overrides?: ReadonlyMap<string, ArrayLike<number>>;
  /** Real results of every node are rounded to float32, as float islands compute them. Default: they stay exact. */
  readonly float32?: boolean;
}

export const isQuantize = (node: OnnxNode): boolean =>
  node.op === "QuantizeLinear" || quantizesItself(node) || isQonnx(node);

interface Prepared {
  /** In dataflow order. */
  readonly nodes: readonly OnnxNode[];
  readonly variable: ReadonlySet<string>;
  readonly constants: Map<string, Tensor>;
}

const prepared = new WeakMap<OnnxModel, Prepared>();

function prepare(model: OnnxModel): Prepared {
  const known = prepared.get(model);
  if (known !== undefined) return known;
  const { graph } = model;
  const constants = new Map<string, Tensor>();
  for (const [name, tensor] of graph.initializers) constants.set(name, fromOnnx(tensor));
  const variable = new Set<string>();
  for (const { name } of graph.inputs) if (!constants.has(name)) variable.add(name);
  const available = new Set([...constants.keys(), ...variable, ""]);
  const nodes: OnnxNode[] = [];
  let left = [...graph.nodes];
  while (left.length > 0) {
    const ready = left.filter((node) => {
      if (!node.inputs.every((name) => available.has(name))) return false;
      for (const name of node.outputs) available.add(name);
      return true;
    });
    if (ready.length === 0) throw new Error(`no order for ${left[0]!.op} "${left[0]!.name}"`);
    nodes.push(...ready);
    left = left.filter((node) => !ready.includes(node));
  }
  for (const node of nodes)
    if (node.inputs.some((name) => variable.has(name))) for (const name of node.outputs) variable.add(name);
  const result: Prepared = { nodes, variable, constants };
  prepared.set(model, result);
  return result;
}

/** The shape of an input of `size` elements; its first symbolic dimension takes what the others leave. */
export function inputShape(declared: readonly Dim[], size: number): number[] {
  const known = declared.reduce<number>((product, dim) => product * (typeof dim === "number" ? dim : 1), 1);
  let rest = size / known;
  const shape = declared.map((dim) => {
    if (typeof dim === "number") return dim;
    const take = rest;
    rest = 1;
    return take;
  });
  if (sizeOf(shape) !== size || !shape.every(Number.isInteger))
    throw new Error(`${size} elements do not fill [${declared.map((dim) => dim ?? "?").join()}]`);
  return shape;
}

function inputTensor(shape: readonly number[], dtype: DataType, data: NumericArray): Tensor {
  if (!isFloat(dtype))
    return ints(dtype, shape, Float64Array.from(data as ArrayLike<number | bigint>, Number));
  return literals(shape, data instanceof Float64Array ? data : Float32Array.from(data as Float32Array));
}

function schemeFor(node: OnnxNode, inputs: readonly (Tensor | undefined)[]): Scheme {
  const type = intOf(node, "output_dtype");
  return schemeOf(inputs[0]!.shape, inputs[1]!, inputs[2], {
    axis: intOf(node, "axis") ?? 1,
    blockSize: intOf(node, "block_size") ?? 0,
    dtype: type === undefined ? undefined : dataTypeOf(type),
  });
}

function constantOf(node: OnnxNode): Tensor {
  const tensor = tensorOf(node, "value");
  if (tensor !== undefined) return fromOnnx(tensor);
  const [name, attribute] = [...node.attributes][0] ?? [];
  const list = (values: readonly (number | bigint)[]) => Float64Array.from(values, Number);
  if (name === "value_float" && attribute?.kind === "float")
    return literals([], Float32Array.of(attribute.value));
  if (name === "value_floats" && attribute?.kind === "floats")
    return literals([attribute.value.length], Float32Array.from(attribute.value));
  if (name === "value_int" && attribute?.kind === "int") return ints("int64", [], list([attribute.value]));
  if (name === "value_ints" && attribute?.kind === "ints")
    return ints("int64", [attribute.value.length], list(attribute.value));
  throw new Error(`Constant with ${name ?? "nothing"} is not covered`);
}

function fillOf(node: OnnxNode, shape: Tensor): Tensor {
  const value = tensorOf(node, "value");
  const one = value === undefined ? literals([1], Float32Array.of(0)) : fromOnnx(value);
  const dims = numbersOf(shape);
  const size = sizeOf(dims);
  return one.kind === "int"
    ? ints(one.dtype, dims, new Float64Array(size).fill(one.data[0]!))
    : literals(dims, new Float32Array(size).fill(numbersOf(one)[0]!));
}

/** Evaluates `model` on inputs given by name in row-major order. Throws an Error that names what is not covered. */
export function evaluateOnnx(
  model: OnnxModel,
  inputs: ReadonlyMap<string, NumericArray>,
  { keep = "quantizers", overrides, float32 = false }: EvaluateOptions = {},
): Evaluation {
  const { nodes, variable, constants } = prepare(model);
  const { graph } = model;
  const tensors = new Map<string, Tensor>(constants);
  const quantizers = new Map<string, QuantizerResult>();
  const steps = new Map<string, QuantizerStep>();
  const integersOf = new Map<string, string>();
  const opset = model.opsets.get("") ?? 1;

  for (const info of graph.inputs) {
    if (!variable.has(info.name)) continue;
    const data = inputs.get(info.name);
    if (data === undefined) throw new Error(`no data for the input "${info.name}"`);
    if (info.elemType === undefined || info.shape === undefined)
      throw new Error(`"${info.name}" has no type`);
    tensors.set(info.name, inputTensor(inputShape(info.shape, data.length), info.elemType, data));
  }

  const quantized = (node: OnnxNode, real: Tensor, scheme: Scheme, constant: boolean): Tensor => {
    // What constants come to is a constant of the file's type: rounded to float32, unless moved only.
    if (constant) {
      const known = real.kind === "real" && real.literal === undefined;
      return quantize(known ? literals(real.shape, floatsOf(real)) : real, scheme).tensor;
    }
    const { tensor, undecided } = quantize(real, scheme);
    const name = node.outputs[0]!;
    const values = Int32Array.from(tensor.data);
    const { shape, dtype } = tensor;
    quantizers.set(name, { shape, dtype, values, ...(undecided.size > 0 ? { undecided } : {}) });
    if (keep === "all") steps.set(name, { real, scheme });
    const other = overrides?.get(name);
    if (other !== undefined && other.length !== values.length)
      throw new Error(`${other.length} elements replace ${values.length}`);
    return other === undefined ? tensor : ints(dtype, shape, Float64Array.from(other));
  };

  const qonnx = (node: OnnxNode, operands: readonly (Tensor | undefined)[], constant: boolean): Tensor => {
    const { shape, integers, undecided, read } = evaluateQonnx(
      node,
      operands,
      model.opsets.get(node.domain) ?? 1,
    );
    if (constant) return read(integers);
    const name = node.outputs[0]!;
    const values = Int32Array.from(integers);
    quantizers.set(name, { shape, dtype: "int32", values, ...(undecided.size > 0 ? { undecided } : {}) });
    const other = overrides?.get(name);
    return read(other === undefined ? integers : Float64Array.from(other));
  };

  const run = (
    node: OnnxNode,
    operands: readonly (Tensor | undefined)[],
    constant: boolean,
  ): readonly Tensor[] => {
    switch (node.op) {
      case "QuantizeLinear":
        return [quantized(node, operands[0]!, schemeFor(node, operands), constant)];
      case "DequantizeLinear": {
        const q = operands[0]!;
        if (q.kind !== "int") throw new Error("DequantizeLinear of a float");
        const zeroless = operands[2] === undefined ? [q, operands[1], undefined] : operands;
        integersOf.set(node.outputs[0]!, node.inputs[0]!);
        return [dequantize(q, schemeFor(node, zeroless))];
      }
      case "Constant":
        return [constantOf(node)];
      case "ConstantOfShape":
        return [fillOf(node, operands[0]!)];
      case "Cast": {
        const type = dataTypeOf(intOf(node, "to")!);
        if (type === undefined) throw new Error("Cast to an unknown type");
        return [cast(operands[0]!, type, constant)];
      }
      default: {
        if (isQonnx(node)) return [qonnx(node, operands, constant)];
        const inBlocks = evaluateBlocks(node, operands, { opset, constant });
        if (inBlocks !== undefined) return [inBlocks];
        const dynamic = evaluateDynamic(node, operands, { opset, constant });
        if (dynamic !== undefined) return dynamic;
        const lifted = liftQLinear(node, operands, { opset, constant });
        if (lifted === undefined) return evaluateNode(node, operands, { opset, constant });
        if (lifted.kind === "plain") return [lifted.tensor];
        return [quantized(node, lifted.real, lifted.scheme, constant)];
      }
    }
  };

  for (const node of nodes) {
    const constant = !node.inputs.some((name) => variable.has(name));
    if (constant && node.outputs.every((name) => name === "" || constants.has(name))) continue;
    const operands = node.inputs.map((name) => (name === "" ? undefined : tensors.get(name)));
    let results: readonly Tensor[];
    try {
      results = run(node, operands, constant);
      if (float32 && !constant) results = results.map(rounded);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${node.op} "${node.name}" (${node.outputs[0]}): ${reason}`, { cause: error });
    }
    node.outputs.forEach((name, i) => {
      const result = results[i];
      if (name === "" || result === undefined) return;
      tensors.set(name, result);
      if (constant) constants.set(name, result);
    });
  }

  const outputs = new Map<string, OutputResult>();
  for (const { name } of graph.outputs) {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`nothing computes the output "${name}"`);
    outputs.set(name, outputOf(tensor, tensors, integersOf.get(name)));
  }
  return { outputs, quantizers, steps, tensors: keep === "all" ? tensors : new Map() };
}

const rounded = (t: Tensor): Tensor => (t.kind === "int" ? t : literals(t.shape, float32Of(t)));

function outputOf(
  tensor: Tensor,
  tensors: ReadonlyMap<string, Tensor>,
  integers: string | undefined,
): OutputResult {
  const { shape } = tensor;
  if (tensor.kind === "int")
    return { kind: "int", shape, dtype: tensor.dtype, values: Int32Array.from(tensor.data) };
  const values = floatsOf(tensor);
  if (integers === undefined) return { kind: "float", shape, values };
  const source = Int32Array.from((tensors.get(integers) as IntTensor).data);
  return { kind: "float", shape, values, integers: { name: integers, values: source } };
}

/** The nearest float32 of every element (of irrational ones, of their float64 value). */
export function floatsOf(tensor: Tensor): Float32Array {
  if (tensor.kind === "int") return Float32Array.from(tensor.data);
  if (tensor.kind === "approx") return Float32Array.from(tensor.value);
  if (tensor.literal !== undefined) return Float32Array.from(tensor.literal);
  const terms = tensor.terms();
  return Float32Array.from({ length: sizeOf(tensor.shape) }, (_, i) => toFloat32(exactAt(terms, i)));
}
