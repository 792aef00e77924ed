/**
 * Operators that carry their quantizers with them: QLinearConv and QLinearMatMul of the standard, the QLinear family of
 * com.microsoft. Each is DequantizeLinear, the operator on reals, QuantizeLinear; onnxruntime adds the zero point after
 * rounding, but before it in QLinearAdd, QLinearMul and QLinearAveragePool.
 */

import { badOperands } from "../../../ir/messages.ts";
import { elementwise, move } from "../../graph-import.ts";
import { forOps, type Importer, VARIADIC } from "../../importer.ts";
import { axisOf, flagAttr, floatAttr, input, intAttr, type NodeImport, reject } from "../../node-import.ts";
import type { AttributeValue } from "../../onnx/model.ts";
import type { Operand } from "../../operand.ts";
import { activationImporters } from "./activation.ts";
import { convImporters } from "./conv.ts";
import { elementwiseImporters, scalar } from "./elementwise.ts";
import { matmulImporters } from "./matmul.ts";
import { accumulatorBias } from "./qlinear-bias.ts";
import { channelsLast, dequantized, type Order, onReals, quantized, triples } from "./qlinear-lift.ts";
import { qlinearWhere } from "./qlinear-where.ts";
import { reduceImporters } from "./reduce.ts";
import { WINDOW_ATTRIBUTES } from "./window.ts";

const MICROSOFT = ["com.microsoft"];
const BOTH = ["", ...MICROSOFT];

const conv: Importer = {
  op: "QLinearConv",
  domains: BOTH,
  inputs: [8, 9],
  attributes: { ...WINDOW_ATTRIBUTES, group: "int", channels_last: "int" },
  quantized: triples(0, 3),
  run: (n) => {
    const w = dequantized(n, 3, 0);
    const scales = [input(n, 1), input(n, 4)] as const;
    const bias = n.inputs[8] && accumulatorBias(n, n.inputs[8], scales, 0);
    const y = channelsLast(n, flagAttr(n, "channels_last", false), dequantized(n, 0), (x) =>
      onReals(n, convImporters, "Conv", [x, w, bias]),
    );
    return quantized(n, y, 6, input(n, 0));
  },
};

const matmul: Importer = {
  op: "QLinearMatMul",
  domains: BOTH,
  inputs: [8, 8],
  quantized: triples(0, 3),
  run: (n) => {
    const a = dequantized(n, 0, Math.max(0, input(n, 0).shape.length - 2));
    const b = dequantized(n, 3, Math.max(0, input(n, 3).shape.length - 1));
    return quantized(n, onReals(n, matmulImporters, "MatMul", [a, b]), 6, input(n, 0));
  },
};

/** α·(A′·B′ + C) with C in steps of the accumulator; a float without the output's scale. */
const gemm: Importer = {
  op: "QGemm",
  domains: MICROSOFT,
  inputs: [6, 9],
  attributes: { alpha: "float", transA: "int", transB: "int" },
  quantized: triples(0, 3),
  run: (n) => {
    const columns = flagAttr(n, "transB", false) ? 0 : 1;
    const [a, b] = [dequantized(n, 0), dequantized(n, 3, columns)];
    const scales = [input(n, 1), input(n, 4)] as const;
    const c = n.inputs[6];
    const bias = c && accumulatorBias(n, c, scales, c.shape.length - 1);
    const attributes = new Map([...n.node.attributes].filter(([name]) => name !== "alpha"));
    const sum = onReals(n, matmulImporters, "Gemm", [a, b, bias], { attributes });
    const alpha = floatAttr(n, "alpha", 1);
    const y = alpha === 1 ? sum : elementwise(n, "float.mul", [sum, scalar(sum, alpha)]);
    return n.inputs[7] === undefined ? y : quantized(n, y, 7, input(n, 0));
  },
};

const sums = forOps(["QLinearAdd", "QLinearMul"], (op) => ({
  domains: MICROSOFT,
  inputs: [7, 8],
  optional: [2, 5],
  quantized: triples(0, 3),
  run: (n) => {
    const y = elementwise(n, op === "QLinearAdd" ? "float.add" : "float.mul", [
      dequantized(n, 0),
      dequantized(n, 3),
    ]);
    return quantized(n, y, 6, input(n, 0), "shift_then_round");
  },
}));

const concat: Importer = {
  op: "QLinearConcat",
  domains: MICROSOFT,
  inputs: [5, VARIADIC],
  attributes: { axis: "int" },
  quantized: (inputs) => triples(...firstOfTriples(inputs))(inputs),
  run: (n) => {
    const first = firstOfTriples(n.inputs.length);
    if ((n.inputs.length - 2) % 3 !== 0)
      reject(badOperands(n.loc, "the operands after the zero point must be triples", []));
    const parts = first.map((i) => dequantized(n, i));
    const axis = axisOf(n, intAttr(n, "axis"), parts[0]!.shape.length);
    const y = parts.length === 1 ? parts[0]! : move(n, "layout.concat", parts, { axis });
    return quantized(n, y, 0, input(n, first[0]!));
  },
};

const firstOfTriples = (inputs: number): readonly number[] =>
  Array.from({ length: Math.max(0, Math.floor((inputs - 2) / 3)) }, (_, i) => 2 + 3 * i);

type Attributes = { readonly [name: string]: AttributeValue["kind"] };

/** Operators of one quantized tensor: X, its scale and zero point, then those of the result. */
const unary = (
  op: string,
  attributes: Attributes,
  f: (n: NodeImport, x: Operand) => Operand,
  order?: Order,
): Importer => ({
  op,
  domains: MICROSOFT,
  inputs: [4, 5],
  optional: [2],
  attributes,
  quantized: triples(0),
  run: (n) => quantized(n, f(n, dequantized(n, 0)), 3, input(n, 0), order),
});

const pool = (op: string, attributes: Attributes, order?: Order): Importer =>
  unary(
    `QLinear${op}`,
    { ...attributes, channels_last: "int" },
    (n, x) =>
      channelsLast(n, flagAttr(n, "channels_last", false), x, (y) => onReals(n, convImporters, op, [y])),
    order,
  );

const unaries: readonly Importer[] = [
  pool(
    "AveragePool",
    { ...WINDOW_ATTRIBUTES, ceil_mode: "int", count_include_pad: "int" },
    "shift_then_round",
  ),
  pool("GlobalAveragePool", {}),
  unary("QLinearReduceMean", { axes: "ints", keepdims: "int" }, (n, x) =>
    onReals(n, reduceImporters, "ReduceMean", [x]),
  ),
  unary("QLinearLeakyRelu", { alpha: "float" }, (n, x) => onReals(n, activationImporters, "LeakyRelu", [x])),
  unary("QLinearSigmoid", {}, (n, x) => onReals(n, elementwiseImporters, "Sigmoid", [x])),
  unary("QLinearSoftmax", { axis: "int", opset: "int" }, (n, x) => {
    const attributes = new Map(n.node.attributes);
    // Unlike the standard's, the default is the last axis in every version.
    if (!attributes.has("axis")) attributes.set("axis", { kind: "int", value: -1 });
    return onReals(n, reduceImporters, "Softmax", [x], { opset: intAttr(n, "opset"), attributes });
  }),
];

export const qlinearImporters: readonly Importer[] = [
  conv,
  matmul,
  gemm,
  ...sums,
  concat,
  ...unaries,
  qlinearWhere,
];
