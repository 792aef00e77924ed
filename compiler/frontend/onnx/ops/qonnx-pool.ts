/** Average pooling as FINN's hardware does it: the sum of a window, shifted right until it fits the output's bits. */
import { badAttributeValue } from "../../../ir/messages.ts";
import { int } from "../../../ir/types.ts";
import { real, realConstant, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { input, intAttr, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { valueOperand } from "../../operand.ts";
import { reinterpret } from "../../qdq.ts";
import { isOnGrid, QONNX_DOMAINS, quantized } from "./qonnx.ts";
import { quantType } from "./qonnx-parameters.ts";

const UNIT = { kind: "tensor", scale: 1, zeroPoint: 0 } as const;
const WIDE = { storage: int(true, 32), lo: -(2 ** 31), hi: 2 ** 31 - 1 };

function between(n: NodeImport, name: string, least: number, most: number): number {
  const v = intAttr(n, name);
  return v >= least && v <= most
    ? v
    : reject(badAttributeValue(n.loc, name, `must be from ${least} to ${most}, is ${v}`));
}

/** y = ⌊rne(Σ x) / 2^t⌋ over k × k windows, t = max(0, bits of (2^ibits − 1)·k² − obits). */
function quantAveragePool(n: NodeImport): Operand {
  const x = input(n, 0);
  const [k, stride] = [between(n, "kernel", 1, 4096), between(n, "stride", 1, 4096)];
  const [ibits, obits] = [between(n, "ibits", 1, 32), between(n, "obits", 1, 32)];
  const layout = stringAttr(n, "data_layout", "NCHW");
  if (layout !== "NCHW" && layout !== "NHWC")
    return reject(badAttributeValue(n.loc, "data_layout", "must be NCHW or NHWC"));
  const image = layout === "NHWC" ? transpose(n, x, [0, 3, 1, 2]) : x;
  const mean = real(n, "float.average_pool", [image], {
    kernel: [k, k],
    strides: [stride, stride],
    pads: [0, 0, 0, 0],
    ceil_mode: false,
    count_include_pad: false,
  });
  const sum = real(n, "float.mul", [mean, realConstant([], [k * k])]);
  const whole = isOnGrid(n, x, UNIT)
    ? sum
    : quantized(n, sum, "half_even", quantType(WIDE, UNIT), `${n.node.outputs[0]}/sum`);
  const width = ((2n ** BigInt(ibits) - 1n) * BigInt(k * k)).toString(2).length;
  const coarse = { ...UNIT, scale: 2 ** Math.max(0, width - obits) };
  const y = quantized(n, whole, "floor", quantType(WIDE, coarse));
  const q = n.graph.definitions.get(y.value)!.operands[0]!;
  const z = coarse.scale === 1 ? y : reinterpret(n, valueOperand(q, y.dtype), coarse, UNIT);
  return layout === "NHWC" ? transpose(n, z, [0, 2, 3, 1]) : z;
}

export const qonnxPoolImporters: readonly Importer[] = [
  {
    op: "QuantAvgPool2d",
    domains: QONNX_DOMAINS,
    inputs: [1, 1],
    attributes: {
      kernel: "int",
      stride: "int",
      ibits: "int",
      obits: "int",
      signed: "int",
      data_layout: "string",
    },
    run: quantAveragePool,
  },
];
