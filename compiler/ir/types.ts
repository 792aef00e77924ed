/** Types of the graph IR: discriminated unions of plain data. */

/** An integer of 1 to 32 bits. The width is a fact about the values, not a container. Text: `i8`, `u4`, `i19`. */
export interface IntType {
  readonly kind: "int";
  readonly signed: boolean;
  readonly bits: number;
}

/** An IEEE float. Text: `f32`. */
export interface FloatType {
  readonly kind: "float";
  readonly bits: 16 | 32 | 64;
}

export type Scheme =
  | { readonly kind: "tensor"; readonly scale: number; readonly zeroPoint: number }
  | {
      readonly kind: "axis";
      readonly axis: number;
      /** One per index of `axis`. */
      readonly scales: readonly number[];
      readonly zeroPoints: readonly number[];
    };

/**
 * A quantised number: the integer q stands for (q − zeroPoint)·scale, lo ≤ q ≤ hi. Scales are float32 values or,
 * of biases, products of two, hence exact rationals; zero points may be fractional (QONNX). Quantised types vanish at
 * `integerize`.
 * Text: `!q<u8, 0.02:3>`, `!q<i8<-127:127>, 0.05:0>`, `!q<i8, axis 0, @s0>`.
 */
export interface QuantType {
  readonly kind: "quant";
  readonly storage: IntType;
  readonly lo: number;
  readonly hi: number;
  readonly scheme: Scheme;
}

export type ElemType = IntType | FloatType | QuantType;

/** Row-major tensor of static shape; rank 0 is a scalar. Text: `tensor<4x8xi8>`, `tensor<f32>`. */
export interface TensorType {
  readonly shape: readonly number[];
  readonly elem: ElemType;
}

export const int = (signed: boolean, bits: number): IntType => ({ kind: "int", signed, bits });
export const I8 = int(true, 8);
export const U8 = int(false, 8);
export const I16 = int(true, 16);
export const U16 = int(false, 16);
export const I32 = int(true, 32);
export const F32: FloatType = { kind: "float", bits: 32 };
export const F64: FloatType = { kind: "float", bits: 64 };

export const tensor = (shape: readonly number[], elem: ElemType): TensorType => ({ shape, elem });

/** Least and greatest value of an integer type. */
export const intMin = (t: IntType): number => (t.signed ? -(2 ** (t.bits - 1)) : 0);
export const intMax = (t: IntType): number => (t.signed ? 2 ** (t.bits - 1) - 1 : 2 ** t.bits - 1);

/** Narrowest type of at most 32 bits that holds lo … hi; `undefined` if there is none. Prefers unsigned when lo ≥ 0. */
export function intTypeFor(lo: number, hi: number): IntType | undefined {
  for (let bits = 1; bits <= 32; bits++) {
    const t = int(lo < 0, bits);
    if (intMin(t) <= lo && hi <= intMax(t)) return t;
  }
  return undefined;
}

/** Number of elements. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Row-major strides, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let n = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = n;
    n *= shape[i]!;
  }
  return strides;
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

const sameList = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((x, i) => Object.is(x, b[i]));

export function sameElem(a: ElemType, b: ElemType): boolean {
  if (a.kind === "int") return b.kind === "int" && a.signed === b.signed && a.bits === b.bits;
  if (a.kind === "float") return b.kind === "float" && a.bits === b.bits;
  return (
    b.kind === "quant" &&
    sameElem(a.storage, b.storage) &&
    a.lo === b.lo &&
    a.hi === b.hi &&
    sameScheme(a.scheme, b.scheme)
  );
}

export function sameScheme(a: Scheme, b: Scheme): boolean {
  if (a.kind === "tensor")
    return b.kind === "tensor" && Object.is(a.scale, b.scale) && a.zeroPoint === b.zeroPoint;
  return (
    b.kind === "axis" &&
    a.axis === b.axis &&
    sameList(a.scales, b.scales) &&
    sameList(a.zeroPoints, b.zeroPoints)
  );
}

export const sameType = (a: TensorType, b: TensorType): boolean =>
  sameShape(a.shape, b.shape) && sameElem(a.elem, b.elem);
