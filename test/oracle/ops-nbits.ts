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

/** Rows of a table whose last axis is in blocks; bytes hold 8 / bits integers, whose zero point is the middle if none is given. */
function gatherBlocks(node: OnnxNode, inputs: readonly (Tensor | undefined)[]): Tensor {
  const [data, indices, scale, zero] = inputs;
  if (data?.kind !== "int" || scale === undefined) throw new Error("a table of integers is needed here");
  const block = intOf(node, "block_size") ?? 128;
  const bits = data.dtype === "uint8" ? (intOf(node, "bits") ?? 4) : 8;
  const last = data.shape.at(-1)!;
  const columns = (last * 8) / bits;
  const [rows, ...middle] = data.shape.slice(0, -1) as [number, ...number[]];
  const width = middle.reduce((a, b) => a * b, columns);
  const blocks = Math.ceil(columns / block);
  const counts = (width / columns) * blocks;
  const packed = (bytes: Float64Array, perRow: number, r: number, i: number): number =>
    data.dtype === "uint8" ? field(bytes, r * perRow, i, bits) : bytes[r * perRow + i]!;
  const zeroRow = data.dtype === "uint8" ? Math.ceil((blocks * bits) / 8) : blocks;
  const zeros = Float64Array.from({ length: rows * counts }, (_, i) => {
    if (zero === undefined) return data.dtype === "uint8" ? 2 ** (bits - 1) : 0;
    return packed(integers(zero), zeroRow, Math.floor(i / blocks), i % blocks);
  });
  const chosen = Array.from(integers(indices), (i) => (i < 0 ? i + rows : i));
  const q = new Float64Array(chosen.length * width);
  const index = new Int32Array(q.length);
  chosen.forEach((r, at) => {
    for (let d = 0; d < width; d++) {
      const line = r * (width / columns) + Math.floor(d / columns);
      q[at * width + d] = packed(data.data, last, line, d % columns);
      index[at * width + d] = line * blocks + Math.floor((d % columns) / block);
    }
  });
  return inBlocks([...indices!.shape, ...middle, columns], q, index, literal(scale), zeros);
}

/** Undefined for other operators. */
export function evaluateBlocks(
  node: OnnxNode,
  inputs: readonly (Tensor | undefined)[],
  context: Context,
): Tensor | undefined {
  if (node.domain !== "com.microsoft") return undefined;
  if (node.op === "MatMulNBits") return matmulNBits(node, inputs, context);
  if (node.op === "GatherBlockQuantized") return gatherBlocks(node, inputs);
  return undefined;
}
