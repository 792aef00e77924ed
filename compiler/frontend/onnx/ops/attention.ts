/** Attention, and the operators that onnxruntime fuses transformers into, as what they are made of. */
import { badOperands, unsupportedForm } from "../../../ir/messages.ts";
import { isFloatDtype, makeConstant } from "../../constants.ts";
import { elementwise, move, real, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  constantOf,
  flagAttr,
  floatAttr,
  input,
  intAttr,
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
  if (x.shape.length === 4) return x;
  const count = intAttr(n, attribute);
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
    const scale = floatAttr(n, "scale", 1 / Math.sqrt(q.shape[3]!));
    const products = real(n, "float.matmul", [q, transpose(n, k, [0, 1, 3, 2])]);
    let scores = elementwise(n, "float.mul", [products, scalar(products, scale)]);
    const mask = n.inputs[3];
    if (mask !== undefined) scores = elementwise(n, "float.add", [scores, summands(n, mask, scores)]);
    if (flagAttr(n, "is_causal", false))
      scores = elementwise(n, "float.add", [scores, causal(scores, scores.shape[2]!, scores.shape[3]!)]);
    const cap = floatAttr(n, "softcap", 0);
    if (cap > 0) {
      if (mask !== undefined || flagAttr(n, "is_causal", false))
        reject(unsupportedForm(n.loc, "Attention with a mask and a soft cap"));
      const inner = elementwise(n, "float.tanh", [
        elementwise(n, "float.div", [scores, scalar(scores, cap)]),
      ]);
      scores = elementwise(n, "float.mul", [inner, scalar(scores, cap)]);
    }
    const weights = real(n, "float.softmax", [scores], { axis: 3 });
    const y = real(n, "float.matmul", [weights, v]);
    const [batch, , length, width] = y.shape as [number, number, number, number];
    if (input(n, 0).shape.length === 4) return y;
    return reshape(n, transpose(n, y, [0, 2, 1, 3]), [batch, length, count * width]);
  },
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
  skipNormalization("SkipLayerNormalization", true),
  skipNormalization("SkipSimplifiedLayerNormalization", false),
  biasGelu,
];
