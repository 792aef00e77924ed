/**
 * QuantizeLinear and DequantizeLinear whose scale or zero point is computed at run time, or belongs to a block: float32 arithmetic
 * around integers.
 */
import { badOperands, blockQuantization, quantizerType } from "../ir/messages.ts";
import { type IntType, int, type QuantType, sizeOf } from "../ir/types.ts";
import { elementOf, isFloatDtype, isQuantDtype, makeConstant, rangeOf } from "./constants.ts";
import { elementwise, move, reshape } from "./graph-import.ts";
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

/** What reaches the elements of x: parameters of the tensor, along the axis of the node, or of blocks of it. */
function reaching(n: NodeImport, x: Operand, p: Operand, role: string): Operand {
  const stated = intAttr(n, "block_size", 0);
  const single = p.shape.length === 0 || (p.shape.length === 1 && p.shape[0] === 1);
  const axis = single ? 0 : axisOf(n, intAttr(n, "axis", 1), x.shape.length);
  if (stated === 0 || single) return spread(n, p, role, x.shape, axis);
  const { shape } = x;
  const block = Math.min(stated, shape[axis]!);
  const count = Math.ceil(shape[axis]! / block);
  const fits =
    p.shape.length === shape.length && p.shape.every((d, a) => d === (a === axis ? count : shape[a]));
  if (!fits || block < 0)
    reject(
      blockQuantization(n.loc, `${role} of shape [${p.shape.join(", ")}], block_size ${stated}`, x.name),
    );
  const [before, after] = [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis + 1))];
  const wide = move(n, "layout.expand", [reshape(n, p, [before, count, 1, after])], {
    shape: [before, count, block, after],
  });
  const rows = reshape(n, wide, [before, count * block, after]);
  const kept =
    count * block === shape[axis]
      ? rows
      : move(n, "layout.slice", [rows], { axes: [1], starts: [0], ends: [shape[axis]!], steps: [1] });
  return reshape(n, kept, shape);
}

function checked(n: NodeImport, dtype: DataType, scale: Operand): void {
  if (!isQuantDtype(dtype)) reject(quantizerType(n.loc, n.node.outputs[0] ?? "", dtype));
  if (!isFloatDtype(scale.dtype)) reject(quantizerType(n.loc, scale.name, scale.dtype));
}

/** Whether the quantizer `n` of x is arithmetic: its parameters are computed, or those of blocks of a computed tensor. */
export const isArithmetic = (
  n: NodeImport,
  x: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
): boolean =>
  scale.kind === "value" ||
  zeroPoint?.kind === "value" ||
  (x.kind === "value" && intAttr(n, "block_size", 0) !== 0);

/** sat(R(x / s) + z) */
export function quantizeAtRun(
  n: NodeImport,
  x: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
  dtype: DataType,
): Operand {
  checked(n, dtype, scale);
  const range = rangeOf(dtype)!;
  const type: QuantType = { kind: "quant", storage: elementOf(dtype) as IntType, ...range, scheme: RAW };
  const s = reaching(n, x, scale, "scales");
  const q = elementwise(n, "float.round", [elementwise(n, "float.div", [x, s])]);
  if (zeroPoint === undefined) return quantizeTo(n, q, type, dtype);
  const z = reaching(n, x, asReals(n, zeroPoint), "zero points");
  return quantizeTo(n, elementwise(n, "float.add", [q, z]), type, dtype);
}

/** (x − z)·s */
export function dequantizeAtRun(
  n: NodeImport,
  x: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
): Operand {
  checked(n, x.dtype, scale);
  const q = asReals(n, x);
  const s = reaching(n, x, scale, "scales");
  if (zeroPoint === undefined) return elementwise(n, "float.mul", [q, s]);
  const z = reaching(n, x, asReals(n, zeroPoint), "zero points");
  const type = differencesOf(x.dtype);
  const difference = elementwise(n, "float.sub", [q, z]);
  if (type === undefined) return elementwise(n, "float.mul", [difference, s]);
  const kept = quantizeTo(n, difference, type, type.storage.bits === 16 ? "int16" : "int32");
  return elementwise(n, "float.mul", [kept.kind === "value" ? integersAsReals(n, kept) : kept, s]);
}
