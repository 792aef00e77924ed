/** MultiThreshold of QONNX and FINN: a quantizer with steps at any places. */
import {
  badAttributeValue,
  badOperandValue,
  dynamicQuantizer,
  quantizerShape,
  unsupportedForm,
} from "../../../ir/messages.ts";
import { cmp, div, fromNumber, isInteger, neg, toNumber } from "../../../ir/rational.ts";
import { F64, int, intTypeFor, type QuantType, type Scheme, sizeOf, tensor } from "../../../ir/types.ts";
import { append, materialize, real, realConstant } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { floatAttr, input, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import { type Operand, valueOperand } from "../../operand.ts";
import { QONNX_DOMAINS, stored } from "./qonnx.ts";

/** Most thresholds of one channel. */
const MOST = 65535;
/** Most thresholds of all channels together. */
export const MOST_IN_ALL = 2 ** 20;

/** T as rows, one or one per channel; each rising or level. */
function rowsOf(n: NodeImport, channels: number): { rows: readonly (readonly number[])[]; columns: number } {
  const operand = input(n, 1);
  const { name } = operand;
  if (operand.kind !== "constant") return reject(dynamicQuantizer(n.loc, "thresholds", name));
  const { shape, data } = operand.constant.dense;
  const [count, columns] = shape as [number, number];
  if (shape.length !== 2 || columns < 1 || columns > MOST || (count !== 1 && count !== channels))
    reject(
      quantizerShape(
        n.loc,
        name,
        `(thresholds) of shape [${shape.join(", ")}] must be [1, n] or [${channels}, n], n from 1 to ${MOST}`,
      ),
    );
  if (data.length > MOST_IN_ALL)
    reject(unsupportedForm(n.loc, `MultiThreshold with ${data.length} thresholds, more than ${MOST_IN_ALL}`));
  const rows = Array.from({ length: count }, (_, c) =>
    Array.from(data.slice(c * columns, (c + 1) * columns), (t) => t + 0),
  );
  for (const [c, row] of rows.entries()) {
    const bad = row.find((t) => !Number.isFinite(t));
    if (bad !== undefined) reject(badOperandValue(n.loc, name, `(thresholds) holds ${bad}`));
    const k = row.findIndex((t, i) => i > 0 && t < row[i - 1]!);
    if (k > 0)
      reject(badOperandValue(n.loc, name, `(thresholds) falls from ${row[k - 1]} to ${row[k]} in row ${c}`));
  }
  // Equal rows are one.
  const alike = rows.every((row) => row.every((t, k) => t === rows[0]![k]));
  return { rows: alike ? [rows[0]!] : rows, columns };
}

/** The axis of the channels; of tensors without one all elements share a row. */
function channelAxis(n: NodeImport, rank: number): number {
  const layout = stringAttr(n, "data_layout", "NCHW");
  if (!["NCHW", "NHWC", "NC", "HW"].includes(layout))
    return reject(badAttributeValue(n.loc, "data_layout", `must be NCHW, NHWC or NC, is ${layout}`));
  return layout === "NHWC" ? rank - 1 : Math.min(1, rank - 1);
}

/** The grid of out_scale·q + out_bias, where one states it exactly. */
function schemeOf(scale: number, bias: number): Scheme | undefined {
  if (!(scale > 0)) return undefined;
  const zero = neg(div(fromNumber(bias), fromNumber(scale)));
  const zeroPoint = toNumber(zero);
  // Zero points between integers stay within what quantized types hold exactly.
  const exact = cmp(fromNumber(zeroPoint), zero) === 0 && (isInteger(zero) || zero.den <= 256n);
  return exact ? { kind: "tensor", scale, zeroPoint } : undefined;
}

/** y = out_scale·#{k : x ≥ T[c][k]} + out_bias. */
function multiThreshold(n: NodeImport): Operand {
  const x = input(n, 0);
  const { shape } = x;
  if (shape.length === 0) return reject(quantizerShape(n.loc, x.name, "(data) has no channels"));
  const axis = channelAxis(n, shape.length);
  const { rows, columns } = rowsOf(n, shape[axis]!);
  const [scale, bias] = [floatAttr(n, "out_scale", 1), floatAttr(n, "out_bias", 0)];
  for (const [name, v] of [
    ["out_scale", scale],
    ["out_bias", bias],
  ] as const)
    if (!Number.isFinite(v)) reject(badAttributeValue(n.loc, name, `must be finite, is ${v}`));
  const scheme = schemeOf(scale, bias);
  const storage = intTypeFor(0, columns) ?? int(false, 16);
  const unit: Scheme = { kind: "tensor", scale: 1, zeroPoint: 0 };
  const type: QuantType = { kind: "quant", storage, lo: 0, hi: columns, scheme: scheme ?? unit };
  const q = counted(n, x, rows, axis, type);
  if (scheme !== undefined) return q;
  const scaled = real(n, "float.mul", [q, realConstant([], [scale])]);
  return bias === 0 ? scaled : real(n, "float.add", [scaled, realConstant([], [bias])]);
}

function counted(
  n: NodeImport,
  x: Operand,
  rows: readonly (readonly number[])[],
  axis: number,
  type: QuantType,
): Operand {
  if (x.kind === "constant") {
    const inner = sizeOf(x.shape.slice(axis + 1));
    const counts = Float64Array.from(x.constant.dense.data as ArrayLike<number>, (v, i) => {
      const row = rows.length === 1 ? rows[0]! : rows[Math.floor(i / inner) % x.shape[axis]!]!;
      return row.filter((t) => v >= t).length;
    });
    return stored(n, x, counts, type);
  }
  const thresholds = {
    kind: "dense",
    elem: F64,
    shape: [rows.length, rows[0]!.length],
    data: Float64Array.from(rows.flat()),
  } as const;
  const attrs = { thresholds, axis, scales: [1], strict: [], levels: [] };
  const q = append(n, "quant.threshold", [x], [materialize(n, x)], attrs, tensor(x.shape, type));
  n.graph.names.set(q, n.node.outputs[0] ?? "");
  return valueOperand(append(n, "quant.dequantize", [x], [q], {}), x.dtype);
}

export const multiThresholdImporters: readonly Importer[] = [
  {
    op: "MultiThreshold",
    domains: QONNX_DOMAINS,
    inputs: [2, 2],
    // The integer type of the result is that of its values: `out_dtype` only names it.
    attributes: { out_dtype: "string", out_scale: "float", out_bias: "float", data_layout: "string" },
    run: multiThreshold,
  },
];
