/** Quantizers. */
import { integerArithmetic } from "../../../ir/messages.ts";
import { isFloatDtype } from "../../constants.ts";
import { forOps, type Importer } from "../../importer.ts";
import { input, type NodeImport, reject } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { dequantize, outputDtype, quantize } from "../../qdq.ts";
import { QUANTIZER_ATTRIBUTES } from "../../quantizer.ts";
import { dequantizeAtRun, isArithmetic, quantizeAtRun } from "../../runtime-quantizer.ts";

const domains = ["", "com.microsoft"];

function quantizeLinear(n: NodeImport): Operand {
  const [x, scale, zeroPoint] = [input(n, 0), input(n, 1), n.inputs[2]];
  if (!isArithmetic(n, x, scale, zeroPoint)) return quantize(n);
  if (!isFloatDtype(x.dtype)) reject(integerArithmetic(n.loc, x.name, x.dtype));
  return quantizeAtRun(n, x, scale, zeroPoint, outputDtype(n, zeroPoint));
}

function dequantizeLinear(n: NodeImport): Operand {
  const [x, scale, zeroPoint] = [input(n, 0), input(n, 1), n.inputs[2]];
  return isArithmetic(n, x, scale, zeroPoint) ? dequantizeAtRun(n, x, scale, zeroPoint) : dequantize(n);
}

export const quantizeImporters: readonly Importer[] = forOps(
  ["QuantizeLinear", "DequantizeLinear"],
  (op) => ({
    domains,
    inputs: [2, 3],
    attributes: QUANTIZER_ATTRIBUTES,
    quantized: () =>
      op === "DequantizeLinear" ? [{ data: 0, scale: 1, zeroPoint: 2 }, { data: 2 }] : [{ data: 2 }],
    run: op === "QuantizeLinear" ? quantizeLinear : dequantizeLinear,
  }),
);
