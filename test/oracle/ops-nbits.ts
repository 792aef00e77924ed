/**
 * com.microsoft.MatMulNBits and GatherBlockQuantized, from onnxruntime's contrib operator documentation: weights are (q − z)·s with
 * one s and z per block of a row; integers are packed low bits first.
 */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { intOf } from "./attributes.ts";
import { type Context, evaluateNode } from "./operators.ts";
import { fromNumber, multiply, negate } from "./rational.ts";
import { type RealTensor, reals, type Tensor } from "./tensor.ts";

const standard = (node: OnnxNode, op: string, attributes: OnnxNode["attributes"] = new Map()): OnnxNode => ({
  ...node,
  op,
  domain: "",
  attributes,
});

const integers = (x: Tensor | undefined): Float64Array => {
  if (x?.kind !== "int") throw new Error("an integer tensor is needed here");
  return x.data;
};

/** Number `i` of `bits` bits after the start of byte `from`. */
function field(bytes: Float64Array, from: number, i: number, bits: number): number {
  let value = 0;
  for (let b = 0; b < bits; b++) {
    const at = i * bits + b;
    value += (Math.floor(bytes[from + Math.floor(at / 8)]! / 2 ** (at % 8)) % 2) * 2 ** b;
  }
  return value;
}

/** Σ of (q − z)·s with block indices per element; z may be fractional. */
function inBlocks(
  shape: readonly number[],
  q: Float64Array,
  index: Int32Array,
  scales: ArrayLike<number>,
  zeros: ArrayLike<number>,
): RealTensor {
  const units = Array.from(scales, fromNumber);
  const offsets = Array.from(zeros, (z, b) => negate(multiply(fromNumber(z), units[b]!)));
  return reals(shape, [
    { num: q, units, index },
    { num: new Float64Array(q.length).fill(1), units: offsets, index },
  ]);
}

const literal = (x: Tensor | undefined): ArrayLike<number> => {
  if (x?.kind !== "real" || x.literal === undefined) throw new Error("a float constant is needed here");
  return x.literal;
};

function matmulNBits(node: OnnxNode, inputs: readonly (Tensor | undefined)[], context: Context): Tensor {
  const [a, b, scale, zero, , bias] = inputs;
  const attribute = (name: string): number => intOf(node, name)!;
  const [K, N, block] = [attribute("K"), attribute("N"), attribute("block_size")];
  const bits = intOf(node, "bits") ?? 4;
  const blocks = Math.ceil(K / block);
  const bytes = integers(b);
  const q = new Float64Array(K * N);
  const index = new Int32Array(K * N);
  for (let k = 0; k < K; k++)
    for (let n = 0; n < N; n++) {
      const [of, inside] = [Math.floor(k / block), k % block];
      q[k * N + n] = field(bytes, ((n * blocks + of) * block * bits) / 8, inside, bits);
      index[k * N + n] = n * blocks + of;
    }
  const perRow = Math.ceil((blocks * bits) / 8);
  const zeros =
    zero === undefined
      ? new Float64Array(N * blocks).fill(2 ** (bits - 1))
      : zero.kind === "int"
        ? Float64Array.from({ length: N * blocks }, (_, i) =>
            field(zero.data, Math.floor(i / blocks) * perRow, i % blocks, bits),
          )
        : literal(zero);
  const w = inBlocks([K, N], q, index, literal(scale), zeros);
  const [y] = evaluateNode(standard(node, "MatMul"), [a, w], context);
  return bias === undefined ? y! : evaluateNode(standard(node, "Add"), [y!, bias], context)[0]!;
}

/** Undefined for other operators. */
export function evaluateBlocks(
  node: OnnxNode,
  inputs: readonly (Tensor | undefined)[],
  context: Context,
): Tensor | undefined {
  if (node.domain !== "com.microsoft") return undefined;
  if (node.op === "MatMulNBits") return matmulNBits(node, inputs, context);
  return undefined;
}
