/** The parameters of ONNX quantizers: scale, zero point, axis and type, checked, as one quantised type. */
import { quote } from "../ir/diagnostics.ts";
import {
  badScale,
  blockQuantization,
  denormalScale,
  dynamicQuantizer,
  emptyQuantRange,
  quantizerAxisIgnored,
  quantizerShape,
  quantizerType,
  scaleLength,
  zeroPointType,
} from "../ir/messages.ts";
import type { IntType, QuantType, Scheme } from "../ir/types.ts";
import { type Constant, elementOf, type IntRange, isFloatDtype, isQuantDtype, rangeOf } from "./constants.ts";
import { axisOf, intAttr, type NodeImport, reject } from "./node-import.ts";
import type { DataType } from "./onnx/data-types.ts";
import type { Operand } from "./operand.ts";

const LEAST_NORMAL = 2 ** -126;

/** The tensor a quantizer makes or reads. */
export interface Quantized {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DataType;
  /** Bounds of an integer Clip. */
  readonly range?: IntRange | undefined;
}

const constantParameter = (n: NodeImport, operand: Operand, role: string): Constant =>
  operand.kind === "constant" ? operand.constant : reject(dynamicQuantizer(n.loc, role, operand.name));

/** The quantised type that the quantizer node's scale (input 1), zero point (input 2) and axis give to `x`. */
export function quantTypeOf(
  n: NodeImport,
  x: Quantized,
  scale: Operand,
  zeroPoint: Operand | undefined,
): QuantType {
  const block = intAttr(n, "block_size", 0);
  if (block !== 0) reject(blockQuantization(n.loc, `block_size ${block}`, x.name));
  if (!isQuantDtype(x.dtype)) reject(quantizerType(n.loc, x.name, x.dtype));
  const storage = elementOf(x.dtype) as IntType;
  const { lo, hi } = x.range ?? rangeOf(x.dtype)!;
  if (lo > hi) reject(emptyQuantRange(n.loc, lo, hi));
  return { kind: "quant", storage, lo, hi, scheme: schemeOf(n, x, scale, zeroPoint) };
}

function schemeOf(n: NodeImport, x: Quantized, scale: Operand, zeroPoint: Operand | undefined): Scheme {
  const scales = scalesOf(n, scale);
  const zeroPoints = zeroPoint === undefined ? [] : zeroPointsOf(n, x, zeroPoint);
  const zero = (i: number): number => (zeroPoints.length > 1 ? zeroPoints[i]! : (zeroPoints[0] ?? 0));
  if (zeroPoints.length > 1 && zeroPoints.length !== scales.length)
    reject(
      quantizerShape(
        n.loc,
        zeroPoint!.name,
        `has ${zeroPoints.length} entries, the scale has ${scales.length}`,
      ),
    );
  const uniform = scales.every((s, i) => s === scales[0] && zero(i) === zero(0));
  if (scales.length > 1) {
    if (scale.shape.length !== 1)
      reject(blockQuantization(n.loc, `scale ${quote(scale.name)} has rank ${scale.shape.length}`, x.name));
    const axis = axisFor(n, x, scales.length);
    if (x.shape[axis] !== scales.length)
      reject(scaleLength(n.loc, scale.name, scales.length, axis, x.shape[axis]!));
    if (!uniform) return { kind: "axis", axis, scales, zeroPoints: scales.map((_, i) => zero(i)) };
  }
  return { kind: "tensor", scale: scales[0]!, zeroPoint: zero(0) };
}

/** The `axis` attribute. Beyond a rank-1 tensor whose size fits the scale it can only mean the one axis there is. */
function axisFor(n: NodeImport, x: Quantized, length: number): number {
  const axis = intAttr(n, "axis", 1);
  const rank = x.shape.length;
  const inside = Number.isInteger(axis) && axis >= -rank && axis < rank;
  if (inside || rank !== 1 || x.shape[0] !== length) return axisOf(n, axis, rank);
  n.graph.diagnostics.push(quantizerAxisIgnored(n.loc, axis, x.name));
  return 0;
}

function scalesOf(n: NodeImport, scale: Operand): readonly number[] {
  const { dtype, dense } = constantParameter(n, scale, "scale");
  if (!isFloatDtype(dtype)) reject(quantizerType(n.loc, scale.name, dtype));
  const scales = Array.from(dense.data);
  if (scales.length === 0) reject(quantizerShape(n.loc, scale.name, "(scale) has no elements"));
  const bad = scales.findIndex((s) => !(s > 0 && s < Number.POSITIVE_INFINITY));
  if (bad >= 0) reject(badScale(n.loc, scale.name, scales[bad]!, scales.length > 1 ? bad : undefined));
  const tiny = scales.filter((s) => s < LEAST_NORMAL);
  if (tiny.length > 0)
    n.graph.diagnostics.push(denormalScale(n.loc, scale.name, Math.min(...tiny.slice(0, 1024)), tiny.length));
  return scales;
}

function zeroPointsOf(n: NodeImport, x: Quantized, zeroPoint: Operand): readonly number[] {
  const { dtype, dense } = constantParameter(n, zeroPoint, "zero point");
  const values = Array.from(dense.data);
  if (dtype !== x.dtype && values.length > 0) {
    const range = rangeOf(x.dtype)!;
    const harmless = values.every((v) => Number.isInteger(v) && v >= range.lo && v <= range.hi);
    const finding = zeroPointType(n.loc, zeroPoint.name, dtype, x.dtype, harmless ? "warning" : "error");
    if (harmless) n.graph.diagnostics.push(finding);
    else reject(finding);
  }
  return values;
}

/** Attributes of quantizers, in every domain and version. */
export const QUANTIZER_ATTRIBUTES = {
  axis: "int",
  block_size: "int",
  saturate: "int",
  output_dtype: "int",
  precision: "int",
} as const;

/** Text of a scheme for diagnostics. */
export function describeScheme(scheme: Scheme): string {
  if (scheme.kind === "tensor") return `scale ${scheme.scale}, zero point ${scheme.zeroPoint}`;
  const { scales, zeroPoints, axis } = scheme;
  return `${scales.length} scales along axis ${axis}: ${scales[0]}, …; zero points ${zeroPoints[0]}, …`;
}
