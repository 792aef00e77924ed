/** Convolutions and pools. */
import { badOperands, unsupportedAttribute } from "../../../ir/messages.ts";
import { isFloatDtype } from "../../constants.ts";
import { elementwise, real, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { flagAttr, input, intAttr, type NodeImport, reject } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { onGrid } from "../../qdq.ts";
import { TRANSPOSED_ATTRIBUTES, transposedAttrs, WINDOW_ATTRIBUTES, windowAttrs } from "./window.ts";

/** The spatial sizes of [N, C, spatial …]. */
export function spatial(n: NodeImport, x: Operand): readonly number[] {
  if (x.shape.length < 3)
    reject(badOperands(n.loc, `the input must be [N, C, spatial …], is [${x.shape.join(", ")}]`, []));
  return x.shape.slice(2);
}

const isZero = (x: Operand): boolean => x.kind === "constant" && x.constant.dense.data.every((v) => v === 0);

/** x + bias, unless the bias is a constant zero of a shape that does not widen x. */
export const addBias = (n: NodeImport, x: Operand, bias: Operand): Operand => {
  const narrower = bias.shape.length <= x.shape.length;
  return narrower && isZero(bias) ? x : elementwise(n, "float.add", [x, bias]);
};

/** Rejects weights of another rank than the input's. */
function checkRank(n: NodeImport, x: Operand, w: Operand): void {
  if (w.shape.length === x.shape.length) return;
  const sentence = `the weights have rank ${w.shape.length}, the input has rank ${x.shape.length}`;
  reject(badOperands(n.loc, sentence, []));
}

/** y + the bias of its `channels`, if there is one. */
function withBias(n: NodeImport, y: Operand, bias: Operand | undefined, channels: number): Operand {
  if (bias === undefined) return y;
  if (bias.shape.length !== 1 || bias.shape[0] !== channels)
    reject(badOperands(n.loc, `the bias must have shape [${channels}], has [${bias.shape.join(", ")}]`, []));
  return addBias(n, y, reshape(n, bias, [1, channels, ...y.shape.slice(2).map(() => 1)]));
}

const conv: Importer = {
  op: "Conv",
  inputs: [2, 3],
  attributes: { ...WINDOW_ATTRIBUTES, group: "int" },
  run: (n) => {
    const [x, w, bias] = [input(n, 0), input(n, 1), n.inputs[2]];
    const size = spatial(n, x);
    checkRank(n, x, w);
    const { strides, pads, dilations } = windowAttrs(n, size, w.shape.slice(2));
    const y = real(n, "float.conv", [x, w], { strides, pads, dilations, groups: intAttr(n, "group", 1) });
    return withBias(n, y, bias, w.shape[0]!);
  },
};

const convTranspose: Importer = {
  op: "ConvTranspose",
  inputs: [2, 3],
  attributes: { ...TRANSPOSED_ATTRIBUTES, group: "int" },
  run: (n) => {
    const [x, w, bias] = [input(n, 0), input(n, 1), n.inputs[2]];
    const size = spatial(n, x);
    checkRank(n, x, w);
    const { strides, pads, dilations, extra } = transposedAttrs(n, size, w.shape.slice(2));
    const groups = intAttr(n, "group", 1);
    const attrs = { strides, pads, dilations, groups, output_padding: extra };
    return withBias(n, real(n, "float.conv_transpose", [x, w], attrs), bias, w.shape[1]! * groups);
  },
};

const maxPool: Importer = {
  op: "MaxPool",
  inputs: [1, 1],
  attributes: { ...WINDOW_ATTRIBUTES, ceil_mode: "int", storage_order: "int" },
  run: (n) => {
    const x = input(n, 0);
    const attrs = { ...windowAttrs(n, spatial(n, x), undefined), ceil_mode: flagAttr(n, "ceil_mode", false) };
    return poolMax(n, x, attrs);
  },
};

/** Quantized integers are compared by the reals they stand for, which have the same order. */
function poolMax(n: NodeImport, x: Operand, attrs: Parameters<typeof real>[3]): Operand {
  const pool = (r: Operand): Operand => real(n, "float.max_pool", [r], attrs);
  return x.kind === "value" && !isFloatDtype(x.dtype) ? onGrid(n, x, pool) : pool(x);
}

const averagePool: Importer = {
  op: "AveragePool",
  inputs: [1, 1],
  attributes: { ...WINDOW_ATTRIBUTES, ceil_mode: "int", count_include_pad: "int" },
  run: (n) => {
    const x = input(n, 0);
    const { kernel, strides, pads, dilations } = windowAttrs(n, spatial(n, x), undefined);
    if (dilations.some((d) => d !== 1))
      reject(unsupportedAttribute(n.loc, "dilations", "is not supported here"));
    return real(n, "float.average_pool", [x], {
      kernel,
      strides,
      pads,
      ceil_mode: flagAttr(n, "ceil_mode", false),
      count_include_pad: flagAttr(n, "count_include_pad", false),
    });
  },
};

const globalPools: readonly Importer[] = [
  {
    op: "GlobalAveragePool",
    inputs: [1, 1],
    run: (n) => {
      const x = input(n, 0);
      const axes = spatial(n, x).map((_, i) => i + 2);
      return real(n, "float.reduce_mean", [x], { axes, keepdims: true });
    },
  },
  {
    op: "GlobalMaxPool",
    inputs: [1, 1],
    run: (n) => {
      const x = input(n, 0);
      const kernel = spatial(n, x);
      const ones = kernel.map(() => 1);
      const pads = [...kernel, ...kernel].map(() => 0);
      return poolMax(n, x, { kernel, strides: ones, pads, dilations: ones });
    },
  },
];

export const convImporters: readonly Importer[] = [conv, convTranspose, maxPool, averagePool, ...globalPools];
