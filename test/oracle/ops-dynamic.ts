/**
 * Operators that compute in float32 by definition: DynamicQuantizeLinear, from the ONNX standard, and com.microsoft's
 * DynamicQuantizeMatMul and MatMulIntegerToFloat. Each float32 operation is one correct rounding of the exact result:
 * a float64 sum, difference, product or quotient of two float32 numbers, rounded once more, is that.
 */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { broadcast, broadcastShape } from "./gather.ts";
import type { Context } from "./operators.ts";
import { liftQLinear } from "./ops-qlinear.ts";
import { clamp, rne } from "./quantize.ts";
import { toFloat32 } from "./rational.ts";
import {
  approximate,
  exactAt,
  type IntTensor,
  ints,
  literals,
  type RealTensor,
  type Tensor,
} from "./tensor.ts";

type Inputs = readonly (Tensor | undefined)[];

/** The nearest float32 of every element. */
export function float32Of(x: Tensor): Float32Array {
  if (x.kind === "int") return Float32Array.from(x.data);
  if (x.kind === "approx") return Float32Array.from(approximate(x).value);
  if (x.literal !== undefined) return Float32Array.from(x.literal);
  const terms = x.terms();
  const size = x.shape.reduce((n, d) => n * d, 1);
  return Float32Array.from({ length: size }, (_, i) => toFloat32(exactAt(terms, i)));
}

const given = (x: Tensor | undefined): Tensor => {
  if (x === undefined) throw new Error("an input is missing");
  return x;
};

function quantizeDynamically(x: Tensor): readonly [y: IntTensor, scale: RealTensor, zeroPoint: IntTensor] {
  const values = float32Of(x);
  const { fround } = Math;
  const least = values.reduce((m, v) => Math.min(m, v), 0);
  const greatest = values.reduce((m, v) => Math.max(m, v), 0);
  const range = fround(greatest - least);
  const scale = fround((range === 0 ? 1 : range) / 255);
  const zero = rne(clamp(fround(0 - fround(least / scale)), 0, 255)) + 0;
  const y = Float64Array.from(values, (v) => clamp(rne(fround(v / scale)) + zero, 0, 255));
  return [
    ints("uint8", x.shape, y),
    literals([], Float32Array.of(scale)),
    ints("uint8", [], Float64Array.of(zero)),
  ];
}

const times = (a: Float32Array, b: Float32Array): Float32Array => a.map((v, i) => v * b[i]!);

/** fround(fround(acc)·fround(sa·sb)) + bias, each broadcast. */
function scaled(acc: Tensor, a: Tensor, b: Tensor, bias: Tensor | undefined): RealTensor {
  const factor = broadcastShape(a.shape, b.shape);
  const wide = (x: Tensor, shape: readonly number[]): Float32Array =>
    float32Of(broadcast(literals(x.shape, float32Of(x)), shape));
  const scale = literals(factor, times(wide(a, factor), wide(b, factor)));
  const y = times(float32Of(acc), wide(scale, acc.shape));
  if (bias === undefined) return literals(acc.shape, y);
  const added = wide(bias, acc.shape);
  return literals(
    acc.shape,
    y.map((v, i) => v + added[i]!),
  );
}

function integerProduct(node: OnnxNode, inputs: Inputs, context: Context): Tensor {
  const lifted = liftQLinear(
    { ...node, op: "MatMulInteger", domain: "", attributes: new Map() },
    inputs,
    context,
  );
  if (lifted?.kind !== "plain") throw new Error("MatMulInteger has no quantizer");
  return lifted.tensor;
}

/** Undefined for other operators. */
export function evaluateDynamic(
  node: OnnxNode,
  inputs: Inputs,
  context: Context,
): readonly Tensor[] | undefined {
  switch (node.op) {
    case "DynamicQuantizeLinear":
      return quantizeDynamically(given(inputs[0]));
    case "DynamicQuantizeMatMul": {
      const [q, scale, zero] = quantizeDynamically(given(inputs[0]));
      const acc = integerProduct(node, [q, inputs[1], zero, inputs[3]], context);
      return [scaled(acc, scale, given(inputs[2]), inputs[4])];
    }
    case "MatMulIntegerToFloat": {
      const acc = integerProduct(node, [inputs[0], inputs[1], inputs[4], inputs[5]], context);
      return [scaled(acc, given(inputs[2]), given(inputs[3]), inputs[6])];
    }
    default:
      return undefined;
  }
}
