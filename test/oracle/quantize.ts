/** QuantizeLinear and DequantizeLinear. */
import type { DataType } from "../../compiler/frontend/onnx/data-types.ts";
import { stridesOf } from "./gather.ts";
import { divide, fromNumber, type Rational, roundHalfEven, toNumber } from "./rational.ts";
import {
  exactAt,
  type IntTensor,
  ints,
  type RealTensor,
  reals,
  sizeOf,
  type Tensor,
  type Term,
  TINY,
  toReal,
  ULP,
} from "./tensor.ts";

const RANGES: Partial<Record<DataType, readonly [lo: number, hi: number]>> = {
  uint2: [0, 3],
  int2: [-2, 1],
  uint4: [0, 15],
  int4: [-8, 7],
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
};

export function rangeOf(dtype: DataType): readonly [lo: number, hi: number] {
  const range = RANGES[dtype];
  if (range === undefined) throw new Error(`no quantized integers of type ${dtype}`);
  return range;
}

/** Scales and zero points, and per element of the quantized tensor which of them applies. */
export interface Scheme {
  readonly scales: Float32Array | Float64Array;
  readonly zeroPoints: Float64Array;
  readonly dtype: DataType;
  /** Undefined: one scale for all. */
  readonly index: Int32Array | undefined;
}

export function schemeOf(
  shape: readonly number[],
  scale: Tensor,
  zeroPoint: Tensor | undefined,
  {
    axis,
    blockSize,
    dtype,
  }: { readonly axis: number; readonly blockSize: number; readonly dtype?: DataType | undefined },
): Scheme {
  if (scale.kind !== "real" || scale.literal === undefined)
    throw new Error("the scale is not a float constant");
  if (zeroPoint !== undefined && zeroPoint.kind !== "int")
    throw new Error("the zero point is not an integer constant");
  const scales = scale.literal;
  const type = zeroPoint?.dtype ?? dtype ?? "uint8";
  const zeroPoints = zeroPoint?.data ?? new Float64Array(scales.length);
  if (zeroPoints.length !== scales.length) throw new Error("scale and zero point differ in size");
  if (scales.length === 1) return { scales, zeroPoints, dtype: type, index: undefined };
  // A vector has only one axis to mean, whatever some converters write.
  const along = shape.length === 1 ? 0 : axis < 0 ? axis + shape.length : axis;
  const dim = shape[along];
  if (dim === undefined) throw new Error(`axis ${axis} of a tensor of rank ${shape.length}`);
  const size = sizeOf(shape);
  const step = stridesOf(shape)[along]!;
  const index = new Int32Array(size);
  if (blockSize === 0) {
    if (dim !== scales.length) throw new Error(`${scales.length} scales along an axis of ${dim}`);
    for (let i = 0; i < size; i++) index[i] = Math.floor(i / step) % dim;
  } else {
    const blocks = scale.shape[along]!;
    for (let i = 0; i < size; i++) {
      const at = Math.floor(i / step);
      index[i] = (Math.floor(at / dim) * blocks + Math.floor((at % dim) / blockSize)) * step + (i % step);
    }
  }
  return { scales, zeroPoints, dtype: type, index };
}

export interface Quantized {
  readonly tensor: IntTensor;
  /** Elements whose error bound reaches a rounding boundary: the least and greatest candidate. */
  readonly undecided: ReadonlyMap<number, readonly [number, number]>;
}

/** x as ONNX quantizes float32 values: clamp(rne(fround(x / s)) + z); NaN gives lo. */
function quantizeLiteral(values: Float32Array, scheme: Scheme, data: Float64Array): void {
  const [lo, hi] = rangeOf(scheme.dtype);
  for (let i = 0; i < data.length; i++) {
    const c = scheme.index === undefined ? 0 : scheme.index[i]!;
    const quotient = Math.fround(values[i]! / scheme.scales[c]!);
    data[i] = Number.isNaN(quotient) ? lo : clamp(rne(quotient) + scheme.zeroPoints[c]!, lo, hi);
  }
}

export const clamp = (value: number, lo: number, hi: number): number => Math.min(Math.max(value, lo), hi);

/** Half to even; exact for every float64. */
export function rne(x: number): number {
  const below = Math.floor(x);
  const fraction = x - below;
  if (fraction < 0.5) return below;
  if (fraction > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

function quantizeExact(terms: readonly Term[], scheme: Scheme, data: Float64Array): void {
  const [lo, hi] = rangeOf(scheme.dtype);
  const scales = Array.from(scheme.scales, fromNumber);
  // One factor per pair of unit and scale, computed when first needed (NaN until then).
  const factors = terms.map(({ units }) => new Float64Array(units.length * scales.length).fill(Number.NaN));
  const relative = (terms.length + 3) * ULP;
  for (let i = 0; i < data.length; i++) {
    const c = scheme.index === undefined ? 0 : scheme.index[i]!;
    let sum = 0;
    let magnitude = 0;
    for (let t = 0; t < terms.length; t++) {
      const { num, units, index } = terms[t]!;
      const u = index === undefined ? 0 : index[i]!;
      let factor = factors[t]![c * units.length + u]!;
      if (Number.isNaN(factor)) {
        factor = toNumber(divide(units[u]!, scales[c]!));
        factors[t]![c * units.length + u] = factor;
      }
      const product = num[i]! * factor;
      sum += product;
      magnitude += Math.abs(product);
    }
    const bound = magnitude * relative + TINY;
    const z = scheme.zeroPoints[c]!;
    const below = Math.floor(sum);
    const toTie = Math.abs(sum - below - 0.5);
    // Beyond the clamp by more than one, or safely off a tie (which needs the bound below a quarter), floats decide.
    if (sum + bound < lo - z - 1) data[i] = lo;
    else if (sum - bound > hi - z + 1) data[i] = hi;
    else if (bound < 0.25 && toTie > bound)
      data[i] = clamp((sum - below > 0.5 ? below + 1 : below) + z, lo, hi);
    else data[i] = quantizeRational(exactAt(terms, i), scales[c]!, z, lo, hi);
  }
}

/** clamp(rne(x / s) + z) in exact arithmetic. */
export function quantizeRational(x: Rational, s: Rational, z: number, lo: number, hi: number): number {
  const q = roundHalfEven(divide(x, s)) + BigInt(z);
  return q < BigInt(lo) ? lo : q > BigInt(hi) ? hi : Number(q);
}

export function quantize(x: Tensor, scheme: Scheme): Quantized {
  const [lo, hi] = rangeOf(scheme.dtype);
  const data = new Float64Array(sizeOf(x.shape));
  const tensor = ints(scheme.dtype, x.shape, data);
  const undecided = new Map<number, readonly [number, number]>();
  if (x.kind === "approx") {
    for (let i = 0; i < data.length; i++) {
      const c = scheme.index === undefined ? 0 : scheme.index[i]!;
      const s = scheme.scales[c]!;
      const z = scheme.zeroPoints[c]!;
      const y = x.value[i]! / s;
      const bound = x.error[i]! / s + Math.abs(y) * 2 * ULP;
      data[i] = Number.isNaN(y) ? lo : clamp(rne(y) + z, lo, hi);
      const least = clamp(rne(y - bound * (1 + 4 * ULP)) + z, lo, hi);
      const greatest = clamp(rne(y + bound * (1 + 4 * ULP)) + z, lo, hi);
      if (least !== greatest) undecided.set(i, [least, greatest]);
    }
  } else if (x.kind === "real" && x.literal instanceof Float32Array) quantizeLiteral(x.literal, scheme, data);
  else quantizeExact(toReal(x).terms(), scheme, data);
  return { tensor, undecided };
}

/** (q − z)·s, exactly. */
export function dequantize(q: IntTensor, scheme: Scheme): RealTensor {
  const { index, zeroPoints } = scheme;
  const num = q.data.map((value, i) => value - zeroPoints[index === undefined ? 0 : index[i]!]!);
  return reals(q.shape, [{ num, units: Array.from(scheme.scales, fromNumber), index }]);
}
