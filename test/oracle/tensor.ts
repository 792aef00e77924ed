/**
 * Tensors of the oracle. Reals are exact: element i is Σ over terms of num[i] · unit(i), where every `num` is an
 * integer below 2^53 in magnitude and every unit an exact rational. Sums that would leave that range become more
 * terms, so nothing is ever rounded.
 */
import type { DataType } from "../../compiler/frontend/onnx/data-types.ts";
import { add, equals, gcd, keyOf, multiply, type Rational, rational, toNumber, ZERO } from "./rational.ts";

export interface Term {
  /** Safe integers, one per element. */
  readonly num: Float64Array;
  readonly units: readonly Rational[];
  /** Per element its unit; undefined when there is only one unit. */
  readonly index: Int32Array | undefined;
}

export interface IntTensor {
  readonly kind: "int";
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export interface RealTensor {
  readonly kind: "real";
  readonly shape: readonly number[];
  /** The float32 (or float64) elements of a constant or graph input, as long as it was only moved. */
  readonly literal: Float32Array | Float64Array | undefined;
  /** Throws RangeError when a literal holds NaN or an infinity. */
  readonly terms: () => readonly Term[];
}

/** Irrational values: |true − value[i]| ≤ error[i]. */
export interface ApproxTensor {
  readonly kind: "approx";
  readonly shape: readonly number[];
  readonly value: Float64Array;
  readonly error: Float64Array;
}

export type Tensor = IntTensor | RealTensor | ApproxTensor;

export const LIMIT = 2 ** 53;
const DIGIT = 2 ** 26;

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

export const ints = (dtype: DataType, shape: readonly number[], data: Float64Array): IntTensor => ({
  kind: "int",
  dtype,
  shape,
  data,
});

export const reals = (shape: readonly number[], terms: readonly Term[]): RealTensor => ({
  kind: "real",
  shape,
  literal: undefined,
  terms: () => terms,
});

export function literals(shape: readonly number[], values: Float32Array | Float64Array): RealTensor {
  let terms: readonly Term[] | undefined;
  return {
    kind: "real",
    shape,
    literal: values,
    terms: () => {
      terms ??= termsOfFloats(values);
      return terms;
    },
  };
}

/** Magnitude bound of a term's integers. */
export function maxAbs(num: Float64Array): number {
  let max = 0;
  for (const value of num) if (value > max || -value > max) max = Math.abs(value);
  return max;
}

export const unitAt = (term: Term, i: number): Rational =>
  term.units[term.index === undefined ? 0 : term.index[i]!]!;

/** The same units without duplicates and without unused entries. */
export function makeTerm(num: Float64Array, units: readonly Rational[], index: Int32Array | undefined): Term {
  if (index === undefined || units.length === 1) return { num, units: [units[0]!], index: undefined };
  const used = new Uint8Array(units.length);
  for (let i = 0; i < index.length; i++) if (num[i] !== 0) used[index[i]!] = 1;
  const kept: Rational[] = [];
  const byKey = new Map<string, number>();
  const renumber = units.map((unit, u) => {
    if (used[u] === 0) return 0;
    const key = keyOf(unit);
    const known = byKey.get(key);
    if (known !== undefined) return known;
    byKey.set(key, kept.length);
    return kept.push(unit) - 1;
  });
  if (kept.length <= 1) return { num, units: [kept[0] ?? units[0]!], index: undefined };
  const renumbered = new Int32Array(index.length);
  for (let i = 0; i < index.length; i++) renumbered[i] = renumber[index[i]!]!;
  return { num, units: kept, index: renumbered };
}

/** A term of single unit `unit`, several if the integers are too large for one. */
export function termsOfBigInts(values: readonly bigint[], unit: Rational): Term[] {
  const terms: Term[] = [];
  const digit = BigInt(DIGIT);
  let rest = values;
  let place = unit;
  for (;;) {
    if (rest.every((value) => value < BigInt(LIMIT) && -value < BigInt(LIMIT))) {
      terms.push({ num: Float64Array.from(rest, Number), units: [place], index: undefined });
      return terms;
    }
    terms.push({ num: Float64Array.from(rest, (v) => Number(v % digit)), units: [place], index: undefined });
    rest = rest.map((value) => value / digit);
    place = multiply(place, rational(digit));
  }
}

/** Floats on as few binary grids as their exponents need. */
function termsOfFloats(values: Float32Array | Float64Array): Term[] {
  const view = new DataView(new ArrayBuffer(8));
  const mantissa = new Float64Array(values.length);
  const exponent = new Int32Array(values.length);
  const exponents = new Set<number>();
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) throw new RangeError(`${value} takes part in exact arithmetic`);
    if (value === 0) continue;
    view.setFloat64(0, value);
    let e = Math.max((view.getUint16(0) >> 4) & 2047, 1) - 1075;
    // Below 2^53 by construction; trailing zeros go into the exponent to widen the grids.
    let m = value * 2 ** Math.floor(-e / 2) * 2 ** (-e - Math.floor(-e / 2));
    while (m % 65536 === 0) [m, e] = [m / 65536, e + 16];
    while (m % 2 === 0) [m, e] = [m / 2, e + 1];
    mantissa[i] = m;
    exponent[i] = e;
    exponents.add(e);
  }
  if (exponents.size === 0) return [];
  const terms: Term[] = [];
  const left = new Set(exponents);
  while (left.size > 0) {
    const base = Math.min(...left);
    const num = new Float64Array(values.length);
    const done = new Set<number>();
    for (const e of [...left].sort((a, b) => a - b)) {
      let fits = true;
      for (let i = 0; i < num.length && fits; i++)
        if (mantissa[i] !== 0 && exponent[i] === e) fits = Math.abs(mantissa[i]! * 2 ** (e - base)) < LIMIT;
      if (!fits) break;
      for (let i = 0; i < num.length; i++)
        if (exponent[i] === e && mantissa[i] !== 0) num[i] = mantissa[i]! * 2 ** (e - base);
      done.add(e);
    }
    for (const e of done) left.delete(e);
    const unit = base >= 0 ? rational(1n << BigInt(base)) : rational(1n, 1n << BigInt(-base));
    terms.push({ num, units: [unit], index: undefined });
  }
  return terms;
}

export const scalar = (value: Rational, shape: readonly number[] = []): RealTensor =>
  reals(
    shape,
    value.num === 0n
      ? []
      : [{ num: new Float64Array(sizeOf(shape)).fill(1), units: [value], index: undefined }],
  );

/** Integers as reals. */
export const toReal = (tensor: IntTensor | RealTensor): RealTensor =>
  tensor.kind === "real"
    ? tensor
    : reals(tensor.shape, [{ num: tensor.data, units: [rational(1n)], index: undefined }]);

export function exactAt(terms: readonly Term[], i: number): Rational {
  let sum = ZERO;
  for (const term of terms) {
    const num = term.num[i]!;
    if (num === 0) continue;
    sum = add(sum, multiply(rational(BigInt(num)), unitAt(term, i)));
  }
  return sum;
}

/** A few units in the last place of the float64 sum of `terms` products; an absolute floor covers underflow. */
export const ULP = 2 ** -52;
export const TINY = 1e-290;

/** Float64 values with a rigorous error bound. */
export function approximate(tensor: Tensor, divisor?: Rational): ApproxTensor {
  if (tensor.kind === "approx") return tensor;
  const size = sizeOf(tensor.shape);
  const value = new Float64Array(size);
  const error = new Float64Array(size);
  const terms = toReal(tensor).terms();
  for (const { num, units, index } of terms) {
    const factors = Float64Array.from(units, (unit) =>
      toNumber(divisor === undefined ? unit : rational(unit.num * divisor.den, unit.den * divisor.num)),
    );
    for (let i = 0; i < size; i++) {
      const product = num[i]! * factors[index === undefined ? 0 : index[i]!]!;
      value[i]! += product;
      error[i]! += Math.abs(product);
    }
  }
  const relative = (terms.length + 3) * ULP;
  for (let i = 0; i < size; i++) error[i] = error[i]! * relative + TINY;
  return { kind: "approx", shape: tensor.shape, value, error };
}

/** Splits each term so that every resulting one has a single unit. */
export function singleUnits(terms: readonly Term[]): Term[] {
  return terms.flatMap((term) => {
    const { num, units, index } = term;
    if (index === undefined) return [term];
    if (units.length <= 4)
      return units.map((unit, u) => ({
        num: num.map((value, i) => (index[i] === u ? value : 0)),
        units: [unit],
        index: undefined,
      }));
    const den = units.reduce((lcm, unit) => (lcm * unit.den) / gcd(lcm, unit.den), 1n);
    const multiples = units.map((unit) => unit.num * (den / unit.den));
    const common = multiples.reduce((g, m) => gcd(g, m), 0n) || 1n;
    const values = Array.from(num, (value, i) => BigInt(value) * (multiples[index[i]!]! / common));
    return termsOfBigInts(values, rational(common, den));
  });
}

/** num = high · digit + low with both parts about half as long, for products that would not fit. */
export function splitDigits(term: Term): [high: Term, low: Term] {
  const size = 2 ** Math.ceil(Math.log2(maxAbs(term.num) + 1) / 2);
  const high = term.num.map((value) => Math.trunc(value / size));
  const low = term.num.map((value, i) => value - high[i]! * size);
  const digit = rational(BigInt(size));
  return [
    { num: high, units: term.units.map((unit) => multiply(unit, digit)), index: term.index },
    { num: low, units: term.units, index: term.index },
  ];
}

/** Terms short enough that sums of `count` of their integers stay exact. */
export const withHeadroom = (terms: readonly Term[], count: number): Term[] =>
  terms.flatMap((term) =>
    maxAbs(term.num) * count < LIMIT ? [term] : withHeadroom(splitDigits(term), count),
  );

/** Adds up terms of one and the same unit where the sums stay exact, and drops zero terms. */
export function simplify(terms: readonly Term[]): Term[] {
  const result: Term[] = [];
  for (const term of terms) {
    const max = maxAbs(term.num);
    if (max === 0) continue;
    const unit = term.units[0]!;
    const at = result.findIndex(
      (other) =>
        other.index === undefined &&
        term.index === undefined &&
        equals(other.units[0]!, unit) &&
        maxAbs(other.num) + max < LIMIT,
    );
    if (at < 0) result.push(term);
    else {
      const other = result[at]!;
      result[at] = { ...other, num: other.num.map((value, i) => value + term.num[i]!) };
    }
  }
  return result;
}
