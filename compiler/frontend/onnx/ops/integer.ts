/**
 * Operators that multiply integers: ConvInteger, MatMulInteger, MulInteger. The result is the exact integer: a quantizer
 * of scale 1 behind the product of the reals (q − z)·1.
 */
import { int, type QuantType } from "../../../ir/types.ts";
import { makeConstant } from "../../constants.ts";
import { elementwise } from "../../graph-import.ts";
import type { Importer, QuantizedInput } from "../../importer.ts";
import { input, type NodeImport } from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";
import { dequantize, quantizeTo, RAW, readAs } from "../../qdq.ts";
import { quantTypeOf } from "../../quantizer.ts";
import { asReals, DIFFERENCE, spread } from "../../runtime-quantizer.ts";
import { convImporters } from "./conv.ts";
import { matmulImporters } from "./matmul.ts";
import { axisAttribute, onReals, within } from "./qlinear-lift.ts";
import { WINDOW_ATTRIBUTES } from "./window.ts";

/** The exact MatMul of inputs 0 and 1 less their zero points, as integers. */
export function integerMatmul(n: NodeImport, zeroA: number, zeroB: number): Operand {
  const rank = (i: number): number => input(n, i).shape.length;
  const a = centred(n, 0, zeroA, Math.max(0, rank(0) - 2));
  const b = centred(n, 1, zeroB, Math.max(0, rank(1) - 1));
  return exact(n, onReals(n, matmulImporters, "MatMul", [a, b]));
}

/** Input `data` less the zero point at input `zeroPoint`: one for the tensor, or one per index of `axis`. */
function centred(n: NodeImport, data: number, zeroPoint: number, axis: number): Operand {
  const [x, zero] = [input(n, data), n.inputs[zeroPoint]];
  if (zero?.kind === "value") {
    const difference = elementwise(n, "float.sub", [
      asReals(n, x),
      spread(n, asReals(n, zero), "zero points", x.shape, axis),
    ]);
    return asReals(n, quantizeTo(n, difference, DIFFERENCE, "int16"));
  }
  const size = zero?.shape.reduce((a, b) => a * b, 1) ?? 1;
  const ones = makeConstant("float32", zero?.shape ?? [], new Array<number>(size).fill(1));
  const at = within(n, [x, constantOperand(ones), zero], axisAttribute(axis));
  if (x.kind === "constant") return dequantize(at);
  const { name, shape, dtype } = x;
  return readAs(n, x, quantTypeOf(at, { name, shape, dtype }, constantOperand(ones), zero).scheme);
}

/** Exact int32: the accumulators of a kernel fit or are refused later. */
const INTEGER: QuantType = {
  kind: "quant",
  storage: int(true, 32),
  lo: -(2 ** 31),
  hi: 2 ** 31 - 1,
  scheme: RAW,
};

const exact = (n: NodeImport, y: Operand): Operand => quantizeTo(n, y, INTEGER, "int32");

const plain =
  (...pairs: readonly (readonly [data: number, zeroPoint: number])[]) =>
  (): readonly QuantizedInput[] =>
    pairs.flatMap(([data, zeroPoint]) => [{ data, zeroPoint }, { data: zeroPoint }]);

export const integerImporters: readonly Importer[] = [
  {
    op: "ConvInteger",
    since: 10,
    inputs: [2, 4],
    attributes: { ...WINDOW_ATTRIBUTES, group: "int" },
    quantized: plain([0, 2], [1, 3]),
    run: (n) => exact(n, onReals(n, convImporters, "Conv", [centred(n, 0, 2, 1), centred(n, 1, 3, 0)])),
  },
  {
    op: "MatMulInteger",
    since: 10,
    inputs: [2, 4],
    quantized: plain([0, 2], [1, 3]),
    run: (n) => integerMatmul(n, 2, 3),
  },
  {
    op: "MulInteger",
    domains: ["com.microsoft"],
    inputs: [3, 4],
    optional: [1],
    quantized: plain([0, 1], [2, 3]),
    run: (n) => exact(n, elementwise(n, "float.mul", [centred(n, 0, 1, 0), centred(n, 2, 3, 0)])),
  },
];
