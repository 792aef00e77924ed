/** Tensors known at compile time, in the number formats ONNX has and the IR lacks. */
import { allocate } from "../ir/dense.ts";
import type { Dense, Elements } from "../ir/module.ts";
import { F32, F64, type FloatType, type IntType, int, intMax, intMin, type QuantType } from "../ir/types.ts";
import type { DataType } from "./onnx/data-types.ts";
import type { OnnxTensor } from "./onnx/model.ts";
import { elements } from "./onnx/tensor.ts";

/**
 * A constant tensor. `dense` has the IR type `elementOf(dtype)`; int64 and uint64, which the IR does not have, are held
 * as float64: exactly up to ±(2^53 − 1), anything beyond as ±∞, which bounds of slices clamp and everything else refuses.
 */
export interface Constant {
  readonly dtype: DataType;
  readonly dense: Dense;
  /** Quantized tensors: bounds an integer Clip has put on the elements. */
  readonly range?: IntRange;
  /** Quantized tensors: the type a folded QuantizeLinear gave them. */
  readonly quant?: QuantType;
}

export interface IntRange {
  readonly lo: number;
  readonly hi: number;
}

const ELEMENTS: { readonly [dtype in DataType]?: IntType | FloatType } = {
  float32: F32,
  float16: F32,
  bfloat16: F32,
  float64: F64,
  int8: int(true, 8),
  uint8: int(false, 8),
  int16: int(true, 16),
  uint16: int(false, 16),
  int32: int(true, 32),
  uint32: int(false, 32),
  int64: F64,
  uint64: F64,
  bool: int(false, 1),
  int4: int(true, 4),
  uint4: int(false, 4),
  int2: int(true, 2),
  uint2: int(false, 2),
};

/** The IR element type that holds a dtype; undefined where there is none. Half-width floats are widened, exactly. */
export const elementOf = (dtype: DataType): IntType | FloatType | undefined => ELEMENTS[dtype];

export const isFloatDtype = (dtype: DataType): boolean =>
  dtype === "float32" || dtype === "float16" || dtype === "bfloat16" || dtype === "float64";

/** Integer types a quantized tensor may have. */
export const isQuantDtype = (dtype: DataType): boolean => /^u?int(2|4|8|16|32)$/.test(dtype);

/** Whether the IR can hold such a tensor at run time. */
export const isRuntimeDtype = (dtype: DataType): boolean => isFloatDtype(dtype) || isQuantDtype(dtype);

/** Least and greatest value of an integer or bool dtype. */
export function rangeOf(dtype: DataType): IntRange | undefined {
  if (dtype === "int64") return { lo: -(2 ** 63), hi: 2 ** 63 };
  if (dtype === "uint64") return { lo: 0, hi: 2 ** 64 };
  const elem = ELEMENTS[dtype];
  return elem?.kind === "int" ? { lo: intMin(elem), hi: intMax(elem) } : undefined;
}

/** A constant of the file; undefined if its element type is not supported. Shares the file's bytes where it can. */
export function constantOf(tensor: OnnxTensor): Constant | undefined {
  const elem = elementOf(tensor.dataType);
  if (elem === undefined) return undefined;
  const data = elements(tensor);
  const held =
    data instanceof BigInt64Array || data instanceof BigUint64Array
      ? Float64Array.from(data, safeNumber)
      : (data as Elements);
  return {
    dtype: tensor.dataType,
    dense: {
      kind: "dense",
      elem,
      shape: tensor.dims,
      data: elem.kind === "int" && elem.bits === 1 ? held.map(bit) : held,
    },
  };
}

const bit = (x: number): number => (x === 0 ? 0 : 1);

const safeNumber = (x: bigint): number => {
  const n = Number(x);
  return Number.isSafeInteger(n) ? n : n < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
};

/** A constant from values that lie in the dtype. */
export function makeConstant(dtype: DataType, shape: readonly number[], values: ArrayLike<number>): Constant {
  const elem = elementOf(dtype);
  if (elem === undefined) throw new Error(`constants of type ${dtype} cannot be made`);
  const data = dtype === "float32" ? new Float32Array(values.length) : allocate(elem, values.length);
  data.set(values);
  return { dtype, dense: { kind: "dense", elem, shape, data } };
}

/** The same values as a float64 tensor, for arithmetic that is rounded afterwards. */
export const asFloat64 = ({ dense }: Constant): Dense => ({ ...dense, elem: F64 });

/** Rounds float64 results to a dtype: floats to nearest even, integers toward zero and modulo 2^bits, as C does. */
export function roundTo(dtype: DataType, shape: readonly number[], values: ArrayLike<number>): Constant {
  return makeConstant(dtype, shape, Float64Array.from(values, rounding(dtype)));
}

function rounding(dtype: DataType): (x: number) => number {
  switch (dtype) {
    case "float32":
      return Math.fround;
    case "float16":
      return (x) => roundFloat(x, 10, -14, 65504);
    case "bfloat16":
      return (x) => roundFloat(x, 7, -126, 0xff * 2 ** 120);
    case "float64":
      return (x) => x;
    case "bool":
      return bit;
    case "int64":
    case "uint64":
      return (x) => Math.trunc(x) + 0;
    default: {
      const range = rangeOf(dtype)!;
      const size = range.hi - range.lo + 1;
      return (x) => {
        const t = Math.trunc(x);
        if (t >= range.lo && t <= range.hi) return t + 0;
        return t - size * Math.floor((t - range.lo) / size);
      };
    }
  }
}

const view = new DataView(new ArrayBuffer(8));

/** Nearest value with `mantissa` fraction bits and least normal exponent `least`, ties to even; ±∞ beyond `max`. */
function roundFloat(x: number, mantissa: number, least: number, max: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  view.setFloat64(0, x);
  const exponent = Math.max(((view.getUint16(0) >> 4) & 0x7ff) - 1023, least);
  const quantum = 2 ** (exponent - mantissa);
  const scaled = x / quantum;
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  const y = (up ? floor + 1 : floor) * quantum;
  return Math.abs(y) > max ? Math.sign(y) * Number.POSITIVE_INFINITY : y;
}
