/** QuantizeLinear and DequantizeLinear whose scale or zero point is computed at run time: float32 arithmetic around integers. */
import { badOperands, blockQuantization, quantizerType } from "../ir/messages.ts";
import { type IntType, int, type QuantType } from "../ir/types.ts";
import { elementOf, isFloatDtype, isQuantDtype, makeConstant, rangeOf } from "./constants.ts";
import { elementwise, reshape } from "./graph-import.ts";
import { axisOf, intAttr, type NodeImport, reject } from "./node-import.ts";
import type { DataType } from "./onnx/data-types.ts";
import { constantOperand, type Operand } from "./operand.ts";
import { dequantize, integersAsReals, quantizeTo, RAW } from "./qdq.ts";

/** A parameter of one element, or one per index of `axis` of a tensor of shape `shape`, shaped to broadcast. */
export function spread(
  n: NodeImport,
  p: Operand,
  role: string,
  shape: readonly number[],
  axis: number,
): Operand {
  if (p.shape.length === 0) return p;
  const [size] = p.shape;
  if (p.shape.length > 1 || (size !== 1 && size !== shape[axis]))
    reject(badOperands(n.loc, `${role} of shape [${p.shape.join(", ")}] do not fit axis ${axis}`, []));
  return reshape(n, p, size === 1 ? [] : shape.map((d, i) => (i === axis ? d : 1)));
}

const ONE = constantOperand(makeConstant("float32", [], [1]));

/** Integers as the reals they are. */
export const asReals = (n: NodeImport, x: Operand): Operand =>
  x.kind === "constant"
    ? dequantize({ ...n, inputs: [x, ONE], opset: 13, node: { ...n.node, attributes: new Map() } })
    : integersAsReals(n, x);

/** Differences of two 8-bit integers, exactly. */
export const DIFFERENCE: QuantType = {
  kind: "quant",
  storage: int(true, 16),
  lo: -255,
  hi: 255,
  scheme: RAW,
};

/** Differences of integers of a type, exactly; undefined beyond 16 bits. */
function differencesOf(dtype: DataType): QuantType | undefined {
  const { lo, hi } = rangeOf(dtype)!;
  const most = hi - lo;
  return most > 65535
    ? undefined
    : { kind: "quant", storage: int(true, most < 32768 ? 16 : 32), lo: -most, hi: most, scheme: RAW };
}

const axisFor = (n: NodeImport, x: Operand, params: readonly (Operand | undefined)[]): number =>
  params.some((p) => p !== undefined && p.shape.length > 0 && p.shape[0] !== 1)
    ? axisOf(n, intAttr(n, "axis", 1), x.shape.length)
    : 0;

function checked(n: NodeImport, dtype: DataType): void {
  const block = intAttr(n, "block_size", 0);
  if (block !== 0) reject(blockQuantization(n.loc, `block_size ${block}, parameters of the run`, ""));
  if (!isQuantDtype(dtype)) reject(quantizerType(n.loc, n.node.outputs[0] ?? "", dtype));
}

export const isOfRun = (scale: Operand, zeroPoint: Operand | undefined): boolean =>
  scale.kind === "value" || zeroPoint?.kind === "value";

/** sat(R(x / s) + z) */
export function quantizeAtRun(
  n: NodeImport,
  x: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
  dtype: DataType,
): Operand {
  checked(n, dtype);
  if (!isFloatDtype(scale.dtype)) reject(quantizerType(n.loc, scale.name, scale.dtype));
  const axis = axisFor(n, x, [scale, zeroPoint]);
  const range = rangeOf(dtype)!;
  const type: QuantType = { kind: "quant", storage: elementOf(dtype) as IntType, ...range, scheme: RAW };
  const s = spread(n, scale, "scales", x.shape, axis);
  const q = elementwise(n, "float.round", [elementwise(n, "float.div", [x, s])]);
  if (zeroPoint === undefined) return quantizeTo(n, q, type, dtype);
  const z = spread(n, asReals(n, zeroPoint), "zero points", x.shape, axis);
  return quantizeTo(n, elementwise(n, "float.add", [q, z]), type, dtype);
}

/** (x − z)·s */
export function dequantizeAtRun(
  n: NodeImport,
  x: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
): Operand {
  checked(n, x.dtype);
  if (!isFloatDtype(scale.dtype)) reject(quantizerType(n.loc, scale.name, scale.dtype));
  const axis = axisFor(n, x, [scale, zeroPoint]);
  const q = asReals(n, x);
  const s = spread(n, scale, "scales", x.shape, axis);
  if (zeroPoint === undefined) return elementwise(n, "float.mul", [q, s]);
  const z = spread(n, asReals(n, zeroPoint), "zero points", x.shape, axis);
  const type = differencesOf(x.dtype);
  const difference = elementwise(n, "float.sub", [q, z]);
  if (type === undefined) return elementwise(n, "float.mul", [difference, s]);
  const kept = quantizeTo(n, difference, type, type.storage.bits === 16 ? "int16" : "int32");
  return elementwise(n, "float.mul", [kept.kind === "value" ? integersAsReals(n, kept) : kept, s]);
}
