/** The graph IR's data: immutable ops over SSA values, in topological order. A pass builds a new `Func`. */
import type { Loc } from "./diagnostics.ts";
import type { Rational } from "./rational.ts";
import type { FloatType, IntType, TensorType } from "./types.ts";

/** Storage of constants and interpreter values. Integers of at most 32 bits, floats as float64. */
export type Elements =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** A dense constant, row-major. Two constants that share `data` are stored once. Text: `@name` into the data section. */
export interface Dense {
  readonly kind: "dense";
  readonly elem: IntType | FloatType;
  readonly shape: readonly number[];
  readonly data: Elements;
}

/** Attribute values: what JSON has, and bigints (`12n`), exact rationals (`3/4`), dense constants (`@d0`). */
export type Attr =
  | null
  | boolean
  | number
  | bigint
  | string
  | Rational
  | Dense
  | readonly Attr[]
  | { readonly [key: string]: Attr };
export type Attrs = { readonly [key: string]: Attr };

/** An SSA value. Identity is the object; `name` is a hint for the printer, made unique there. */
export interface Value {
  readonly name: string;
  readonly type: TensorType;
}

export interface Op {
  /** Key of the op table, `dialect.name`. */
  readonly name: string;
  readonly operands: readonly Value[];
  readonly attrs: Attrs;
  readonly results: readonly Value[];
  readonly loc?: Loc;
}

/**
 * How a float graph boundary meets the integer core. Conversion is done outside the core:
 * `quantize`: q = clamp(rne(fround(x / scale)) + zeroPoint, lo, hi), all of it as ONNX QuantizeLinear in float32;
 * `thresholds`: q = lo + #{k : sign·x ≥ thresholds[k]}, thresholds rising, hi = lo + their number; NaN gives lo. No arithmetic,
 * hence exact: any monotone map of a float to a few integers has this form.
 * `dequantize`: x = fround((q − zeroPoint[c])·scale[c]) with the product formed in float64, c along `axis`, or one entry for the tensor.
 */
export type Boundary =
  | { readonly kind: "none" }
  | {
      readonly kind: "quantize";
      readonly scale: number;
      readonly zeroPoint: number;
      readonly lo: number;
      readonly hi: number;
    }
  | {
      readonly kind: "thresholds";
      readonly sign: 1 | -1;
      readonly thresholds: readonly number[];
      readonly lo: number;
      readonly hi: number;
    }
  | {
      readonly kind: "dequantize";
      readonly axis: number;
      readonly scales: readonly number[];
      readonly zeroPoints: readonly number[];
    };

/** A graph input or output. Several params may share a `name` (one float input under several quantizers). */
export interface Port {
  readonly value: Value;
  /** The ONNX tensor name, exactly. */
  readonly name: string;
  /** The dtype the user sees, as ONNX spells it: `float32`, `uint8`, `int8` … */
  readonly dtype: string;
  readonly boundary: Boundary;
  readonly loc?: Loc;
}

export interface Func {
  readonly name: string;
  readonly params: readonly Port[];
  readonly ops: readonly Op[];
  readonly results: readonly Port[];
}

/** `funcs[0]` is the entry, `main`; the others are called by `qc.call`. */
export interface Module {
  readonly funcs: readonly Func[];
}

export const value = (type: TensorType, name = ""): Value => ({ name, type });

/** The op that defines each value of the function; params are absent. */
export function definitions(func: Func): Map<Value, Op> {
  const defs = new Map<Value, Op>();
  for (const op of func.ops) for (const r of op.results) defs.set(r, op);
  return defs;
}

/** The ops that use each value, one entry per operand position; function results do not count. */
export function uses(func: Func): Map<Value, Op[]> {
  const map = new Map<Value, Op[]>();
  for (const op of func.ops)
    for (const v of op.operands) {
      const list = map.get(v);
      if (list) list.push(op);
      else map.set(v, [op]);
    }
  return map;
}
