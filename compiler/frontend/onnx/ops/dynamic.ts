/**
 * Operators that quantize a tensor by a scale and zero point of its own values, and those that take such parameters:
 * DynamicQuantizeLinear, DynamicQuantizeMatMul, MatMulIntegerToFloat. Their arithmetic is that of float32, step by step.
 */
import { int, type QuantType } from "../../../ir/types.ts";
import { makeConstant } from "../../constants.ts";
import { elementwise, real } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { input, type NodeImport } from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";
import { integersAsReals, quantizeTo, RAW } from "../../qdq.ts";
import { integerMatmul } from "./integer.ts";
import { within } from "./qlinear-lift.ts";

const U8: QuantType = { kind: "quant", storage: int(false, 8), lo: 0, hi: 255, scheme: RAW };

const number = (x: number): Operand => constantOperand(makeConstant("float32", [], [x]));

interface Dynamic {
  readonly y: Operand;
  readonly scale: Operand;
  readonly zeroPoint: Operand;
}

/**
 * x as uint8: s = (max(0, max x) − min(0, min x)) / 255, or 1 / 255 where that is 0; z = sat(R(−min(0, min x) / s));
 * y = sat(R(x / s) + z), R to the nearest, ties to even.
 */
function quantizeDynamically(n: NodeImport, x: Operand): Dynamic {
  const all = { axes: x.shape.map((_, a) => a), keepdims: false };
  const f = (op: string, ...operands: readonly Operand[]): Operand => elementwise(n, `float.${op}`, operands);
  const low = f("min", real(n, "float.reduce_min", [x], all), number(0));
  const high = f("max", real(n, "float.reduce_max", [x], all), number(0));
  const range = f("sub", high, low);
  // 1 − sign is 1 where the range is 0, else 0.
  const scale = f("div", f("add", range, f("sub", number(1), f("sign", range))), number(255));
  const zeroPoint = quantizeTo(n, f("neg", f("div", low, scale)), U8, "uint8");
  const zero = zeroPoint.kind === "value" ? integersAsReals(n, zeroPoint) : zeroPoint;
  const y = quantizeTo(n, f("add", f("round", f("div", x, scale)), zero), U8, "uint8");
  return { y, scale, zeroPoint };
}

/** The integers of input 0 and 1 multiplied, times both scales, plus the bias: in this order. */
function scaledProduct(
  n: NodeImport,
  product: Operand,
  a: Operand,
  b: Operand,
  bias: Operand | undefined,
): Operand {
  const sum = product.kind === "value" ? integersAsReals(n, product) : product;
  const y = elementwise(n, "float.mul", [sum, elementwise(n, "float.mul", [a, b])]);
  return bias === undefined ? y : elementwise(n, "float.add", [y, bias]);
}

export const dynamicImporters: readonly Importer[] = [
  {
    op: "DynamicQuantizeLinear",
    since: 11,
    inputs: [1, 1],
    run: (n) => {
      const { y, scale, zeroPoint } = quantizeDynamically(n, input(n, 0));
      return [y, scale, zeroPoint];
    },
  },
  {
    op: "DynamicQuantizeMatMul",
    domains: ["com.microsoft"],
    inputs: [3, 5],
    quantized: () => [{ data: 1, zeroPoint: 3 }, { data: 3 }],
    run: (n) => {
      const { y, scale, zeroPoint } = quantizeDynamically(n, input(n, 0));
      const product = integerMatmul(within(n, [y, input(n, 1), zeroPoint, n.inputs[3]]), 2, 3);
      return scaledProduct(n, product, scale, input(n, 2), n.inputs[4]);
    },
  },
  {
    op: "MatMulIntegerToFloat",
    domains: ["com.microsoft"],
    inputs: [4, 7],
    quantized: () => [{ data: 0, zeroPoint: 4 }, { data: 1, zeroPoint: 5 }, { data: 4 }, { data: 5 }],
    run: (n) => scaledProduct(n, integerMatmul(n, 4, 5), input(n, 2), input(n, 3), n.inputs[6]),
  },
];
