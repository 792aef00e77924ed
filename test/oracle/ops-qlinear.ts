/**
 * Operators on quantized tensors that bring scales and zero points along: the QLinear family and the integer products.
 * Formulae of the ONNX documentation and of onnxruntime's contrib operators: the float operator on (q − z)·s, then
 * clamp(rne(y / s) + z); QLinearAdd, QLinearMul and QLinearAveragePool
 * clamp(rne(y / s + z)) instead, as onnxruntime 1.30 does.
 */
import type { DataType } from "../../compiler/frontend/onnx/data-types.ts";
import type { AttributeValue, OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { floatOf, intOf } from "./attributes.ts";
import { broadcast, broadcastShape, chain, gather } from "./gather.ts";
import { addReals, scaleReal } from "./linear.ts";
import { cast } from "./literal.ts";
import { type Context, evaluateNode } from "./operators.ts";
import { dequantize, type Scheme, schemeOf } from "./quantize.ts";
import { fromNumber, multiply, rational } from "./rational.ts";
import {
  type IntTensor,
  ints,
  literals,
  type RealTensor,
  reals,
  sizeOf,
  type Tensor,
  toReal,
} from "./tensor.ts";

type Inputs = readonly (Tensor | undefined)[];

/** A real tensor and the quantizer to put it through, or what the node results in as it is. */
export type Lifted =
  | { readonly kind: "quantize"; readonly real: Tensor; readonly scheme: Scheme }
  | { readonly kind: "plain"; readonly tensor: Tensor };

type Lift = (node: OnnxNode, inputs: Inputs, context: Context) => Lifted;

const floatNode = (
  node: OnnxNode,
  op: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
): OnnxNode => ({
  ...node,
  op,
  domain: "",
  attributes: new Map([...node.attributes, ...Object.entries(attributes)]),
});

const integers = (x: Tensor | undefined): IntTensor => {
  if (x?.kind !== "int") throw new Error("an integer tensor is needed here");
  return x;
};

/** Scale `inputs[at]` and zero point after it, for a tensor of `shape` and (without zero point) `dtype`. */
function parameters(
  inputs: Inputs,
  at: number,
  shape: readonly number[],
  dtype: DataType,
  axis: number,
): Scheme {
  const scale = inputs[at]!;
  const zero = inputs[at + 1];
  const count = sizeOf(scale.shape);
  const zeros =
    zero?.kind === "int" && zero.data.length < count
      ? ints(zero.dtype, scale.shape, new Float64Array(count).fill(zero.data[0]!))
      : zero;
  return schemeOf(shape, scale, zeros, { axis, blockSize: 0, dtype });
}

/** (q − z)·s of the quantized tensor `inputs[at]`, whose scale and zero point follow. */
function real(inputs: Inputs, at: number, axis = 0): RealTensor {
  const q = integers(inputs[at]);
  return dequantize(q, parameters(inputs, at + 1, q.shape, q.dtype, axis));
}

const output = (y: Tensor, inputs: Inputs, at: number, like: Tensor | undefined): Lifted => ({
  kind: "quantize",
  real: y,
  scheme: parameters(inputs, at, y.shape, integers(like).dtype, 0),
});

/** The zero point counts before rounding: z·s is part of the real number. */
function outputShifted(y: Tensor, inputs: Inputs, at: number, like: Tensor | undefined): Lifted {
  const scheme = parameters(inputs, at, y.shape, integers(like).dtype, 0);
  const shift = multiply(fromNumber(scheme.scales[0]!), rational(BigInt(scheme.zeroPoints[0]!)));
  const term = { num: Float64Array.of(1), units: [shift], index: undefined };
  return {
    kind: "quantize",
    real: addReals(toReal(y as RealTensor), reals([], [term])),
    scheme: { ...scheme, zeroPoints: Float64Array.of(0) },
  };
}

/** An int32 bias in steps of the accumulator; `channels` gives each element's scale where they differ. */
function bias(b: Tensor | undefined, x: Tensor, w: Tensor): RealTensor | undefined {
  if (b === undefined) return undefined;
  const [sx, sw] = [x, w].map((s) => Array.from((s as RealTensor).literal!, fromNumber));
  const units = sx!.flatMap((u) => sw!.map((v) => multiply(u, v)));
  const { shape, data } = integers(b);
  const index = units.length === 1 ? undefined : Int32Array.from(data, (_, i) => i % units.length);
  return reals(shape, [{ num: data, units, index }]);
}

function transposed(node: OnnxNode, x: Tensor, perm: readonly number[], context: Context): Tensor {
  const turned = floatNode(node, "Transpose", { perm: { kind: "ints", value: perm } });
  return evaluateNode(turned, [x], context)[0]!;
}

/** f on channels first, where the node says that they come last. */
function channelsLast(node: OnnxNode, x: Tensor, context: Context, f: (x: Tensor) => Tensor): Tensor {
  if (intOf(node, "channels_last") !== 1) return f(x);
  const axes = x.shape.map((_, d) => d);
  const first = [0, axes.length - 1, ...axes.slice(1, -1)];
  const y = f(transposed(node, x, first, context));
  return transposed(node, y, [0, ...axes.slice(2), 1], context);
}

const unary =
  (op: string, attributes: Readonly<Record<string, AttributeValue>> = {}, finish = output): Lift =>
  (node, inputs, context) => {
    const y = channelsLast(
      node,
      real(inputs, 0),
      context,
      (x) => evaluateNode(floatNode(node, op, attributes), [x], context)[0]!,
    );
    return finish(y, inputs, 3, inputs[0]);
  };

const pair =
  (op: string): Lift =>
  (node, inputs, context) =>
    outputShifted(
      evaluateNode(floatNode(node, op), [real(inputs, 0), real(inputs, 3)], context)[0]!,
      inputs,
      6,
      inputs[0],
    );

/** x − z for each integer, z being one number or one per index of `axis`. */
function centred(x: Tensor | undefined, zero: Tensor | undefined, axis: number): RealTensor {
  const q = integers(x);
  const size = zero === undefined ? 1 : sizeOf(zero.shape);
  const scale = literals([size], new Float32Array(size).fill(1));
  const along = axis < 0 ? axis + q.shape.length : axis;
  return dequantize(q, schemeOf(q.shape, scale, zero, { axis: along, blockSize: 0, dtype: q.dtype }));
}

const product =
  (
    op: string,
    [a, za]: readonly [number, number],
    [b, zb]: readonly [number, number],
    axes: readonly [number, number],
  ): Lift =>
  (node, inputs, context) => {
    const operands = [centred(inputs[a], inputs[za], axes[0]), centred(inputs[b], inputs[zb], axes[1])];
    const y = evaluateNode(floatNode(node, op), operands, context)[0]!;
    return { kind: "plain", tensor: cast(y, "int32", false) };
  };

const LIFTS: Readonly<Record<string, Lift>> = {
  QLinearConv: (node, inputs, context) => {
    const w = real(inputs, 3, 0);
    const b = bias(inputs[8], inputs[1]!, inputs[4]!);
    const y = channelsLast(
      node,
      real(inputs, 0),
      context,
      (x) => evaluateNode(floatNode(node, "Conv"), [x, w, b], context)[0]!,
    );
    return output(y, inputs, 6, inputs[0]);
  },
  QLinearMatMul: (node, inputs, context) => {
    const rank = (i: number) => inputs[i]!.shape.length;
    const a = real(inputs, 0, Math.max(0, rank(0) - 2));
    const b = real(inputs, 3, Math.max(0, rank(3) - 1));
    return output(evaluateNode(floatNode(node, "MatMul"), [a, b], context)[0]!, inputs, 6, inputs[0]);
  },
  QGemm: (node, inputs, context) => {
    const b = real(inputs, 3, intOf(node, "transB") === 1 ? 0 : 1);
    const one: AttributeValue = { kind: "float", value: 1 };
    const c = bias(inputs[6], inputs[1]!, inputs[4]!);
    const sum = evaluateNode(
      floatNode(node, "Gemm", { alpha: one, beta: one }),
      [real(inputs, 0), b, c],
      context,
    )[0]!;
    const y = scaleReal(toReal(sum as RealTensor), fromNumber(Math.fround(floatOf(node, "alpha") ?? 1)));
    return inputs[7] === undefined ? { kind: "plain", tensor: y } : output(y, inputs, 7, inputs[0]);
  },
  QLinearAdd: pair("Add"),
  QLinearMul: pair("Mul"),
  QLinearConcat: (node, inputs, context) => {
    const parts: RealTensor[] = [];
    for (let i = 2; i + 1 < inputs.length; i += 3) parts.push(real(inputs, i));
    return output(evaluateNode(floatNode(node, "Concat"), parts, context)[0]!, inputs, 0, inputs[2]);
  },
  QLinearAveragePool: unary("AveragePool", {}, outputShifted),
  QLinearGlobalAveragePool: unary("GlobalAveragePool"),
  QLinearReduceMean: unary("ReduceMean"),
  QLinearLeakyRelu: unary("LeakyRelu"),
  QLinearSigmoid: unary("Sigmoid"),
  QLinearSoftmax: (node, inputs, context) => {
    const axis: AttributeValue = { kind: "int", value: intOf(node, "axis") ?? -1 };
    const opset = intOf(node, "opset")!;
    return unary("Softmax", { axis })(node, inputs, { ...context, opset });
  },
  QLinearWhere: (_, inputs) => {
    const [x, y] = [real(inputs, 1), real(inputs, 4)];
    const shape = broadcastShape(broadcastShape(inputs[0]!.shape, x.shape), y.shape);
    const condition = broadcast(integers(inputs[0]), shape).data;
    const both = chain([broadcast(x, shape), broadcast(y, shape)]);
    const index = Int32Array.from(condition, (c, i) => (c === 0 ? condition.length + i : i));
    return output(gather(both, index, shape), inputs, 7, inputs[1]);
  },
  ConvInteger: product("Conv", [0, 2], [1, 3], [1, 0]),
  MatMulInteger: product("MatMul", [0, 2], [1, 3], [-2, -1]),
  MulInteger: product("Mul", [0, 1], [2, 3], [0, 0]),
};

/** Undefined for other operators. */
export const liftQLinear = (node: OnnxNode, inputs: Inputs, context: Context): Lifted | undefined =>
  Object.hasOwn(LIFTS, node.op) ? LIFTS[node.op]!(node, inputs, context) : undefined;

/** Whether a node results in a quantized tensor by a quantizer of its own. */
export const quantizesItself = (node: OnnxNode): boolean =>
  (/^QLinear/.test(node.op) && Object.hasOwn(LIFTS, node.op)) ||
  (node.op === "QGemm" && (node.inputs[7] ?? "") !== "");
