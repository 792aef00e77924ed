/** Exact rationals over BigInt, and their correctly rounded floats. */

/** In lowest terms, `den` > 0. */
export interface Rational {
  readonly num: bigint;
  readonly den: bigint;
}

const abs = (n: bigint): bigint => (n < 0n ? -n : n);

export function gcd(a: bigint, b: bigint): bigint {
  let x = abs(a);
  let y = abs(b);
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

export function rational(num: bigint, den = 1n): Rational {
  if (den === 0n) throw new RangeError("division by zero");
  const common = gcd(num, den);
  const divisor = den < 0n ? -common : common;
  return divisor === 1n ? { num, den } : { num: num / divisor, den: den / divisor };
}

export const ZERO: Rational = { num: 0n, den: 1n };
export const ONE: Rational = { num: 1n, den: 1n };

export const negate = (a: Rational): Rational => ({ num: -a.num, den: a.den });
export const add = (a: Rational, b: Rational): Rational =>
  rational(a.num * b.den + b.num * a.den, a.den * b.den);
export const subtract = (a: Rational, b: Rational): Rational => add(a, negate(b));
export const multiply = (a: Rational, b: Rational): Rational => rational(a.num * b.num, a.den * b.den);
export const divide = (a: Rational, b: Rational): Rational => rational(a.num * b.den, a.den * b.num);
export const equals = (a: Rational, b: Rational): boolean => a.num === b.num && a.den === b.den;

/** Negative, zero or positive like `a - b`. */
export function compare(a: Rational, b: Rational): number {
  const difference = a.num * b.den - b.num * a.den;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

export const keyOf = (a: Rational): string => `${a.num}/${a.den}`;

/** The exact value of a finite float64 (so of any float32 as well). */
export function fromNumber(value: number): Rational {
  if (!Number.isFinite(value)) throw new RangeError(`${value} is not a rational number`);
  if (Number.isSafeInteger(value)) return { num: BigInt(value), den: 1n };
  let mantissa = value;
  let exponent = 0;
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2;
    exponent++;
  }
  return rational(BigInt(mantissa), 1n << BigInt(exponent));
}

export const floor = (a: Rational): bigint => {
  const quotient = a.num / a.den;
  return a.num < 0n && quotient * a.den !== a.num ? quotient - 1n : quotient;
};

export function roundHalfEven(a: Rational): bigint {
  const below = floor(a);
  const twice = 2n * (a.num - below * a.den);
  if (twice < a.den) return below;
  if (twice > a.den) return below + 1n;
  return below % 2n === 0n ? below : below + 1n;
}

/** An upper bound of the bit length, at most 3 too large. */
const bits = (n: bigint): number => 4 * abs(n).toString(16).length;

/** `num / den` as an integer of at least `precision` bits times 2^exponent, its last bit sticky (round to odd). */
function roundToOdd(a: Rational, precision: number): { readonly integer: bigint; readonly exponent: number } {
  const shift = precision + 4 - (bits(a.num) - bits(a.den));
  const num = shift >= 0 ? abs(a.num) << BigInt(shift) : abs(a.num);
  const den = shift >= 0 ? a.den : a.den << BigInt(-shift);
  const quotient = num / den;
  const sticky = quotient * den === num ? quotient : quotient | 1n;
  return { integer: a.num < 0n ? -sticky : sticky, exponent: -shift };
}

/** value · 2^exponent without an intermediate overflow or underflow that the result does not have. */
function scale(value: number, exponent: number): number {
  let result = value;
  let left = exponent;
  for (; left > 1000; left -= 1000) result *= 2 ** 1000;
  for (; left < -1000; left += 1000) result *= 2 ** -1000;
  return result * 2 ** left;
}

/** The nearest float64, ties to even (subnormal results: within one unit in the last place). */
export function toNumber(a: Rational): number {
  if (a.num === 0n) return 0;
  const { integer, exponent } = roundToOdd(a, 56);
  return scale(Number(integer), exponent);
}

/** The nearest float32, ties to even. */
export function toFloat32(a: Rational): number {
  if (a.num === 0n) return 0;
  const { integer, exponent } = roundToOdd(a, 40);
  return Math.fround(scale(Number(integer), exponent));
}

function integerSqrt(n: bigint): bigint {
  if (n < 2n) return n;
  let x = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

/** √a as the nearest float64; `a` ≥ 0. */
export function sqrt(a: Rational): number {
  if (a.num < 0n) throw new RangeError("square root of a negative number");
  if (a.num === 0n) return 0;
  const half = 64 - Math.floor((bits(a.num) - bits(a.den)) / 2);
  const num = half >= 0 ? a.num << BigInt(2 * half) : a.num;
  const den = half >= 0 ? a.den : a.den << BigInt(-2 * half);
  const root = integerSqrt(num / den);
  const sticky = root * root * den === num ? root : root | 1n;
  return scale(Number(sticky), -half);
}
