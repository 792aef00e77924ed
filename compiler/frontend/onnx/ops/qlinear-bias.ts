/** int32 biases of QLinear operators. */
import { quantizerShape } from "../../../ir/messages.ts";
import { int, type Scheme } from "../../../ir/types.ts";
import { append, materialize } from "../../graph-import.ts";
import { constantOf, type NodeImport, reject } from "../../node-import.ts";
import { type Operand, valueOperand } from "../../operand.ts";

/**
 * A constant bias in steps of the accumulator, the product of the operands' scales, as reals. Where one of the scales
 * is per channel, it runs along `axis` of the bias. Products of two float32 are exact.
 */
export function accumulatorBias(
  n: NodeImport,
  bias: Operand,
  scales: readonly [Operand, Operand],
  axis: number,
): Operand {
  const constant = constantOf(n, bias, "bias");
  if (constant.dtype !== "int32") reject(quantizerShape(n.loc, bias.name, "(bias) must be int32"));
  const [a, b] = [constantOf(n, scales[0], "scale").dense.data, constantOf(n, scales[1], "scale").dense.data];
  const channels = Math.max(a.length, b.length);
  if ((a.length > 1 && b.length > 1) || (channels > 1 && bias.shape[axis] !== channels))
    reject(
      quantizerShape(n.loc, bias.name, `(bias) of shape [${bias.shape.join(", ")}] has ${channels} scales`),
    );
  const products = Array.from(
    { length: channels },
    (_, c) => a[a.length > 1 ? c : 0]! * b[b.length > 1 ? c : 0]!,
  );
  const scheme: Scheme =
    channels > 1
      ? { kind: "axis", axis, scales: products, zeroPoints: products.map(() => 0) }
      : { kind: "tensor", scale: products[0]!, zeroPoint: 0 };
  const type = { kind: "quant", storage: int(true, 32), lo: -(2 ** 31), hi: 2 ** 31 - 1, scheme } as const;
  const stored = materialize(n, bias, type);
  return valueOperand(append(n, "quant.dequantize", [bias], [stored], {}), "float32", bias.name);
}
