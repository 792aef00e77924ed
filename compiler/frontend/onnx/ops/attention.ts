/** Attention, and the operators that onnxruntime fuses transformers into, as what they are made of. */
import { badOperands, unsupportedForm } from "../../../ir/messages.ts";
import { isFloatDtype, makeConstant } from "../../constants.ts";
import { elementwise, move, named, real, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  constantOf,
  flagAttr,
  floatAttr,
  input,
  intAttr,
  intsAttr,
  type NodeImport,
  reject,
} from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";
import { scalar } from "./elementwise.ts";
import { normalized } from "./normalization.ts";

/** What stands for −∞ among the summands of a softmax: exponentials vanish, numbers stay finite. */
const NEVER = -(2 ** 100);

/** [batch, heads, length, width] from that, or from [batch, length, heads · width]. */
function heads(n: NodeImport, x: Operand, attribute: string): Operand {
  return x.shape.length === 4 ? x : split(n, x, intAttr(n, attribute));
}

/** [batch, heads, length, width] from [batch, length, heads · width]. */
function split(n: NodeImport, x: Operand, count: number): Operand {
  const [batch, length, width] = x.shape as [number, number, number];
  if (x.shape.length !== 3 || !(count > 0) || width % count !== 0)
    return reject(badOperands(n.loc, `[${x.shape.join(", ")}] does not split into ${count} heads`, []));
  return transpose(n, reshape(n, x, [batch, length, count, width / count]), [0, 2, 1, 3]);
}

/** Every head as often as query heads share it. */
function repeated(n: NodeImport, x: Operand, count: number): Operand {
  const own = x.shape[1]!;
  if (own === count) return x;
  if (count % own !== 0) reject(badOperands(n.loc, `${count} query heads do not share ${own} heads`, []));
  const indices = Array.from({ length: count }, (_, i) => Math.floor((i * own) / count));
  return move(n, "layout.gather", [x], { axis: 1, indices });
}

/** The summands of a mask: a constant of truth values, or numbers. */
function summands(n: NodeImport, mask: Operand, like: Operand): Operand {
  if (isFloatDtype(mask.dtype)) return mask;
  const { shape, data } = constantOf(n, mask, "mask").dense;
  const values = Array.from(data, (keep) => (keep ? 0 : NEVER));
  return constantOperand(makeConstant(like.dtype, shape, values), mask.name);
}

/** Row i sees columns 0 … i. */
function causal(like: Operand, rows: number, columns: number): Operand {
  const values = Array.from({ length: rows * columns }, (_, k) =>
    k % columns <= Math.floor(k / columns) ? 0 : NEVER,
  );
  return constantOperand(makeConstant(like.dtype, [rows, columns], values));
}

interface Scores {
  readonly scale: number;
  readonly mask: Operand | undefined;
  /** Whether row i sees columns 0 … i only. */
  readonly causal: boolean;
  /** cap · tanh(score / cap); 0: none. */
  readonly cap: number;
}

/** softmax(scale · q·kᵀ + mask)·v, all [batch, heads, length, width]. Inner tensors have names, see `named`. */
function attend(n: NodeImport, [q, k, v]: readonly [Operand, Operand, Operand], s: Scores): Operand {
  const key = named(n, transpose(n, k, [0, 1, 3, 2]), "key");
  const products = real(n, "float.matmul", [named(n, q, "query"), key]);
  let scores = elementwise(n, "float.mul", [products, scalar(products, s.scale)]);
  const masked = s.mask !== undefined || s.causal;
  if (masked || s.cap > 0) named(n, scores, "products");
  if (s.mask !== undefined) scores = elementwise(n, "float.add", [scores, summands(n, s.mask, scores)]);
  if (s.causal)
    scores = elementwise(n, "float.add", [scores, causal(scores, scores.shape[2]!, scores.shape[3]!)]);
  if (s.cap > 0) {
    if (masked) reject(unsupportedForm(n.loc, "Attention with a mask and a soft cap"));
    const inner = elementwise(n, "float.tanh", [
      elementwise(n, "float.div", [scores, scalar(scores, s.cap)]),
    ]);
    scores = elementwise(n, "float.mul", [inner, scalar(scores, s.cap)]);
  }
  const weights = real(n, "float.softmax", [named(n, scores, "scores")], { axis: 3 });
  return real(n, "float.matmul", [named(n, weights, "weights"), named(n, v, "value")]);
}

/** [batch, length, heads · width] from [batch, heads, length, width]. */
function merged(n: NodeImport, y: Operand): Operand {
  const [batch, count, length, width] = y.shape as [number, number, number, number];
  return reshape(n, transpose(n, y, [0, 2, 1, 3]), [batch, length, count * width]);
}

const attention: Importer = {
  op: "Attention",
  since: 23,
  inputs: [3, 7],
  attributes: {
    is_causal: "int",
    kv_num_heads: "int",
    q_num_heads: "int",
    qk_matmul_output_mode: "int",
    scale: "float",
    softcap: "float",
    softmax_precision: "int",
  },
  run: (n) => {
    if (n.inputs.slice(4).some((x) => x !== undefined) || n.node.outputs.slice(1).some((name) => name !== ""))
      reject(unsupportedForm(n.loc, "Attention with past keys, or with other results than the first"));
    const q = heads(n, input(n, 0), "q_num_heads");
    const count = q.shape[1]!;
    const k = repeated(n, heads(n, input(n, 1), "kv_num_heads"), count);
    const v = repeated(n, heads(n, input(n, 2), "kv_num_heads"), count);
    const y = attend(n, [q, k, v], {
      scale: floatAttr(n, "scale", 1 / Math.sqrt(q.shape[3]!)),
      mask: n.inputs[3],
      causal: flagAttr(n, "is_causal", false),
      cap: floatAttr(n, "softcap", 0),
    });
    return input(n, 0).shape.length === 4 ? y : merged(n, y);
  },
};

/** Query, key and value are parts of one product with a weight matrix. */
const packedAttention: Importer = {
  op: "Attention",
  domains: ["com.microsoft"],
  inputs: [2, 7],
  attributes: {
    do_rotary: "int",
    mask_filter_value: "float",
    num_heads: "int",
    past_present_share_buffer: "int",
    qkv_hidden_sizes: "ints",
    rotary_embedding_dim: "int",
    scale: "float",
    unidirectional: "int",
  },
  run: (n) => {
    onlyFirst(n, [3, 4, 6]);
    if (flagAttr(n, "do_rotary", false)) reject(unsupportedForm(n.loc, "Attention with a rotary embedding"));
    const count = intAttr(n, "num_heads");
    let sum = real(n, "float.matmul", [input(n, 0), input(n, 1)]);
    if (n.inputs[2] !== undefined) sum = real(n, "float.add", [sum, input(n, 2)]);
    named(n, sum, "qkv");
    const width = sum.shape.at(-1)!;
    const sizes = intsAttr(n, "qkv_hidden_sizes") ?? [width / 3, width / 3, width / 3];
    if (sizes.length !== 3 || sizes.reduce((a, b) => a + b, 0) !== width || sizes[0] !== sizes[1])
      reject(badOperands(n.loc, `${width} columns do not split into query, key and value`, []));
    let from = 0;
    const parts = sizes.map((size) => {
      const part = { starts: [from], ends: [from + size], steps: [1], axes: [2] };
      from += size;
      return split(n, move(n, "layout.slice", [sum], part), count);
    });
    const [q, k, v] = parts as [Operand, Operand, Operand];
    return merged(n, attend(n, [q, k, v], contribScores(n, q, n.inputs[5])));
  },
};

const multiHead: Importer = {
  op: "MultiHeadAttention",
  domains: ["com.microsoft"],
  inputs: [3, 10],
  attributes: { mask_filter_value: "float", num_heads: "int", scale: "float", unidirectional: "int" },
  run: (n) => {
    onlyFirst(n, [4, 6, 7, 8, 9]);
    const count = intAttr(n, "num_heads");
    const bias = n.inputs[3];
    let from = 0;
    const parts = [0, 1, 2].map((i) => {
      const x = input(n, i);
      if (x.shape.length !== 3)
        reject(unsupportedForm(n.loc, "MultiHeadAttention of packed or transposed keys"));
      const width = x.shape[2]!;
      const part = { starts: [from], ends: [from + width], steps: [1], axes: [0] };
      from += width;
      const sum = bias ? real(n, "float.add", [x, move(n, "layout.slice", [bias], part)]) : x;
      return split(n, sum, count);
    });
    const [q, k, v] = parts as [Operand, Operand, Operand];
    return merged(n, attend(n, [q, k, v], contribScores(n, q, n.inputs[5])));
  },
};

/** Only the first result, and none of these inputs. */
function onlyFirst(n: NodeImport, absent: readonly number[]): void {
  const given = absent.some((i) => n.inputs[i] !== undefined);
  if (given || n.node.outputs.slice(1).some((name) => name !== ""))
    reject(
      unsupportedForm(n.loc, `${n.node.op} with padding masks, past keys, or other results than the first`),
    );
}

const contribScores = (n: NodeImport, q: Operand, mask: Operand | undefined): Scores => {
  const scale = floatAttr(n, "scale", 0);
  return {
    scale: scale === 0 ? 1 / Math.sqrt(q.shape[3]!) : scale,
    mask,
    causal: flagAttr(n, "unidirectional", false),
    cap: 0,
  };
};

/** The normalized sum of the input, the skip connection and a bias; the sum itself is the fourth result. */
const skipNormalization = (op: string, centre: boolean): Importer => ({
  op,
  domains: ["com.microsoft"],
  inputs: [3, 5],
  attributes: { epsilon: "float" },
  run: (n) => {
    const [beta, bias] = centre ? [n.inputs[3], n.inputs[4]] : [undefined, n.inputs[3]];
    let sum = elementwise(n, "float.add", [input(n, 0), input(n, 1)]);
    if (bias !== undefined) sum = elementwise(n, "float.add", [sum, bias]);
    if (n.node.outputs.slice(1, 3).some((name) => name !== ""))
      reject(unsupportedForm(n.loc, `the mean and variance of ${op}`));
    const fallback = Math.fround(1e-12);
    const unit = normalized(n, sum, { centre, axis: sum.shape.length - 1, fallback });
    const scaled = real(n, "float.mul", [unit, input(n, 2)]);
    const y = beta === undefined ? scaled : real(n, "float.add", [scaled, beta]);
    return [y, y, y, sum];
  },
});

const biasGelu: Importer = {
  op: "BiasGelu",
  domains: ["com.microsoft"],
  inputs: [2, 2],
  run: (n) =>
    elementwise(n, "float.gelu", [elementwise(n, "float.add", [input(n, 0), input(n, 1)])], {
      approximate: "none",
    }),
};

export const attentionImporters: readonly Importer[] = [
  attention,
  packedAttention,
  multiHead,
  skipNormalization("SkipLayerNormalization", true),
  skipNormalization("SkipSimplifiedLayerNormalization", false),
  biasGelu,
];
