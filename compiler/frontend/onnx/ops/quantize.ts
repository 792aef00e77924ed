/** Quantizers. */
import { forOps, type Importer } from "../../importer.ts";
import { dequantize, quantize } from "../../qdq.ts";
import { QUANTIZER_ATTRIBUTES } from "../../quantizer.ts";

const domains = ["", "com.microsoft"];

export const quantizeImporters: readonly Importer[] = forOps(
  ["QuantizeLinear", "DequantizeLinear"],
  (op) => ({
    domains,
    inputs: [2, 3],
    attributes: QUANTIZER_ATTRIBUTES,
    ...(op === "DequantizeLinear" ? { quantized: () => [{ data: 0, scale: 1, zeroPoint: 2 }] } : {}),
    run: op === "QuantizeLinear" ? (n) => quantize(n) : dequantize,
  }),
);
