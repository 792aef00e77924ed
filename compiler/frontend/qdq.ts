/** QuantizeLinear and DequantizeLinear, and integer operators between them, as one fake-quant normal form. */
import {
  contradictoryQuantizers,
  emptyQuantRange,
  integerArithmetic,
  plainIntegers,
  quantizerType,
  zeroPointType,
} from "../ir/messages.ts";
import type { Attrs, Dense } from "../ir/module.ts";
import { indexAlong } from "../ir/ops/axes.ts";
import { type QuantType, type Scheme, sameScheme, tensor } from "../ir/types.ts";
import { dequantizeBlockwise } from "./blocks.ts";
import { type Constant, isFloatDtype, makeConstant, rangeOf, roundTo } from "./constants.ts";
import { append, materialize, real, realConstant } from "./graph-import.ts";
import { input, intAttr, type NodeImport, reject } from "./node-import.ts";
import { type DataType, dataTypeOf } from "./onnx/data-types.ts";
import { constantOperand, type Operand, type ValueOperand, valueOperand } from "./operand.ts";
import { describeScheme, quantTypeOf } from "./quantizer.ts";

/**
 * y = clamp(rne(x / s) + z), the type taken from the zero point, else from `output_dtype`, else uint8. With
 * `shift_then_round` y = clamp(rne(x / s + z)).
 */
export function quantize(n: NodeImport, order: "round_then_shift" | "shift_then_round" = "round_then_shift") {
  const [x, scale, zeroPoint] = [input(n, 0), input(n, 1), n.inputs[2]];
  const dtype = outputDtype(n, zeroPoint);
  if (!isFloatDtype(x.dtype)) reject(integerArithmetic(n.loc, x.name, x.dtype));
  const type = quantTypeOf(n, { name: n.node.outputs[0] ?? "", shape: x.shape, dtype }, scale, zeroPoint);
  const known = order === "round_then_shift" ? knownReals(n, x) : undefined;
  if (known !== undefined) return constantOperand(quantizeConstant(known, dtype, type));
  return quantizeTo(n, x, type, dtype, { order });
}

/** The floats of a constant, those of a DequantizeLinear of one being rounded to its type as every runtime has them. */
function knownReals(n: NodeImport, x: Operand): Constant | undefined {
  if (x.kind === "constant") return x.constant;
  const op = n.graph.definitions.get(x.value);
  const stored = op?.name === "quant.dequantize" ? op.operands[0]! : undefined;
  const made = stored && n.graph.definitions.get(stored);
  if (made?.name !== "const" || stored?.type.elem.kind !== "quant") return undefined;
  const { scheme } = stored.type.elem;
  const { data } = made.attrs.value as Dense;
  const { scales, zeroPoints } = entries(scheme);
  const channel = channels(x.shape, scheme);
  const reals = Float64Array.from(data, (q, i) => (q - zeroPoints[channel(i)]!) * scales[channel(i)]!);
  return roundTo(x.dtype, x.shape, reals);
}

/** The type that a quantizer's zero point, or its attribute, gives to its result. */
export function outputDtype(n: NodeImport, zeroPoint: Operand | undefined): DataType {
  const number = intAttr(n, "output_dtype", 0);
  const wanted = number === 0 ? undefined : dataTypeOf(number);
  if (number !== 0 && wanted === undefined)
    reject(quantizerType(n.loc, n.node.outputs[0] ?? "", `number ${number}`));
  if (zeroPoint !== undefined && wanted !== undefined && zeroPoint.dtype !== wanted)
    reject(zeroPointType(n.loc, zeroPoint.name, zeroPoint.dtype, wanted, "error"));
  return zeroPoint?.dtype ?? wanted ?? "uint8";
}

export const quantizeTo = (
  n: NodeImport,
  x: Operand,
  type: QuantType,
  dtype: DataType,
  attrs: Attrs = {},
): Operand =>
  valueOperand(append(n, "quant.quantize", [x], [materialize(n, x)], attrs, tensor(x.shape, type)), dtype);

/** Index along the axis of each element. */
function channels(shape: readonly number[], scheme: Scheme): (i: number) => number {
  return indexAlong(shape, scheme.kind === "tensor" ? undefined : scheme.axis);
}

const entries = (
  scheme: Scheme,
): { readonly scales: readonly number[]; readonly zeroPoints: readonly number[] } =>
  scheme.kind === "axis" ? scheme : { scales: [scheme.scale], zeroPoints: [scheme.zeroPoint] };

/** Rounds a float32 to the nearest integer, ties to even: beyond 2^23 it is one already. */
const rne = (x: number): number => {
  if (Math.abs(x) >= 2 ** 23) return x;
  const f = Math.floor(x);
  const rest = x - f;
  return rest > 0.5 || (rest === 0.5 && f % 2 !== 0) ? f + 1 : f;
};

/** In float32, as ONNX defines it; NaN gives the least value. */
export function quantizeConstant({ dense }: Constant, dtype: DataType, type: QuantType): Constant {
  const { scales, zeroPoints } = entries(type.scheme);
  const channel = channels(dense.shape, type.scheme);
  const { data } = dense;
  const out = new Float64Array(data.length);
  for (let i = 0; i < out.length; i++) {
    const c = channel(i);
    const q = rne(Math.fround(data[i]! / scales[c]!)) + zeroPoints[c]!;
    out[i] = q >= type.lo ? Math.min(q, type.hi) : type.lo;
  }
  return { ...makeConstant(dtype, dense.shape, out), quant: type };
}

/** (q − z)·s. Constants stay integers under a quantised type. */
export function dequantize(n: NodeImport): Operand {
  const [x, scale, zeroPoint] = [input(n, 0), input(n, 1), n.inputs[2]];
  if (intAttr(n, "block_size", 0) !== 0) return dequantizeBlockwise(n, x, scale, zeroPoint);
  const range = x.kind === "constant" ? x.constant.range : undefined;
  const type = quantTypeOf(n, { name: x.name, shape: x.shape, dtype: x.dtype, range }, scale, zeroPoint);
  if (x.kind === "constant") {
    const made = x.constant.quant?.scheme;
    if (made !== undefined && !sameScheme(made, type.scheme)) contradiction(n, x, made, type.scheme);
    return dequantizeValue(n, valueOperand(materialize(n, x, type), x.dtype, x.name), scale.dtype);
  }
  const { elem } = x.value.type;
  if (elem.kind !== "quant") return reject(plainIntegers(n.loc, x.name, x.dtype));
  if (sameScheme(elem.scheme, type.scheme)) return dequantizeValue(n, x, scale.dtype);
  contradiction(n, x, elem.scheme, type.scheme);
  return reinterpret(n, x, elem.scheme, type.scheme);
}

const contradiction = (n: NodeImport, x: Operand, made: Scheme, read: Scheme): void => {
  n.graph.diagnostics.push(
    contradictoryQuantizers(n.loc, x.name, describeScheme(made), describeScheme(read)),
  );
};

const dequantizeValue = (n: NodeImport, x: ValueOperand, dtype: DataType): Operand =>
  valueOperand(append(n, "quant.dequantize", [x], [x.value], {}), dtype);

/**
 * The reals that `to` gives the integers of x, from those that `from` gives them: ((r / s + z) − z')·s', every step of
 * it exact in rationals.
 */
export function reinterpret(n: NodeImport, x: ValueOperand, from: Scheme, to: Scheme): Operand {
  const constant = (scheme: Scheme, values: readonly number[]): Operand => perAxis(x.shape, scheme, values);
  const [a, b] = [entries(from), entries(to)];
  let r = dequantizeValue(n, x, "float32");
  r = real(n, "float.div", [r, constant(from, a.scales)]);
  if (a.zeroPoints.some((z) => z !== 0)) r = real(n, "float.add", [r, constant(from, a.zeroPoints)]);
  if (b.zeroPoints.some((z) => z !== 0)) r = real(n, "float.sub", [r, constant(to, b.zeroPoints)]);
  if (b.scales.some((s) => s !== 1)) r = real(n, "float.mul", [r, constant(to, b.scales)]);
  return r;
}

/** Values along a scheme's axis, shaped to broadcast over a tensor of shape `shape`. */
const perAxis = (shape: readonly number[], scheme: Scheme, values: readonly number[]): Operand =>
  realConstant(scheme.kind === "axis" ? shape.map((d, i) => (i === scheme.axis ? d : 1)) : [], values);

export const RAW: Scheme = { kind: "tensor", scale: 1, zeroPoint: 0 };

/** The integers themselves as reals: a Cast to float. */
export const integersAsReals = (n: NodeImport, x: ValueOperand): Operand => readAs(n, x, RAW);

/** The reals that a scheme gives the integers of x, whatever quantizer made them. */
export function readAs(n: NodeImport, x: ValueOperand, scheme: Scheme): Operand {
  const { elem } = x.value.type;
  if (elem.kind !== "quant") return reject(plainIntegers(n.loc, x.name, x.dtype));
  return sameScheme(elem.scheme, scheme)
    ? dequantizeValue(n, x, "float32")
    : reinterpret(n, x, elem.scheme, scheme);
}

/**
 * Applies an operator that keeps the grid (its results are among its inputs' values, or bounds on the grid) to the
 * integers of x, by way of the reals they stand for.
 */
export function onGrid(
  n: NodeImport,
  x: ValueOperand,
  f: (real: Operand) => Operand,
  type = quantElem(n, x),
): Operand {
  return quantizeTo(n, f(dequantizeValue(n, x, "float32")), type, x.dtype);
}

export function quantElem(n: NodeImport, x: ValueOperand): QuantType {
  const { elem } = x.value.type;
  return elem.kind === "quant" ? elem : reject(plainIntegers(n.loc, x.name, x.dtype));
}

/** An integer Clip: narrows the bounds of the quantised type. */
export function clipIntegers(n: NodeImport, x: Operand, lo: number, hi: number): Operand {
  if (x.kind === "constant") return clipConstant(n, x.constant, lo, hi);
  const type = quantElem(n, x);
  const narrow: QuantType = { ...type, lo: Math.max(type.lo, lo), hi: Math.min(type.hi, hi) };
  if (narrow.lo > narrow.hi) reject(emptyQuantRange(n.loc, narrow.lo, narrow.hi));
  if (narrow.lo === type.lo && narrow.hi === type.hi) return x;
  const made = n.graph.definitions.get(x.value);
  if (made?.name === "quant.quantize") {
    const [real] = made.operands;
    const declared = tensor(x.shape, narrow);
    return valueOperand(append(n, "quant.quantize", [x], [real!], made.attrs, declared), x.dtype);
  }
  // (q − z)·s is monotone in q: clip at the reals that the bounds stand for.
  const { scheme } = type;
  const clip = (r: Operand): Operand => {
    if (scheme.kind === "tensor") {
      const bound = (q: number): number => (q - scheme.zeroPoint) * scheme.scale;
      return real(n, "float.clip", [r], { lo: bound(narrow.lo), hi: bound(narrow.hi) });
    }
    const bound = (q: number): Operand =>
      perAxis(
        x.shape,
        scheme,
        scheme.scales.map((s, c) => (q - scheme.zeroPoints[c]!) * s),
      );
    return real(n, "float.min", [real(n, "float.max", [r, bound(narrow.lo)]), bound(narrow.hi)]);
  };
  return onGrid(n, x, clip, narrow);
}

function clipConstant(n: NodeImport, c: Constant, lo: number, hi: number): Operand {
  const before = c.range ?? rangeOf(c.dtype)!;
  const range = { lo: Math.max(before.lo, lo), hi: Math.min(before.hi, hi) };
  if (range.lo > range.hi) reject(emptyQuantRange(n.loc, range.lo, range.hi));
  const data = c.dense.data.map((v) => Math.min(Math.max(v, range.lo), range.hi));
  return constantOperand({ ...c, range, dense: { ...c.dense, data } });
}
