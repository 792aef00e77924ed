/** An exact rational number: `num / den`, `den > 0`, in lowest terms (zero is 0/1). */
export interface Rational {
  readonly num: bigint;
  readonly den: bigint;
}

/**
 * Rounding of a real number to an integer. `half_*` round to nearest and differ at exact halves only:
 * `half_even` to the even neighbour, `half_up` away from zero, `half_down` toward zero.
 * `up` is away from zero and `down` toward zero for every non-integer (QONNX's names).
 */
export type Rounding = "half_even" | "half_up" | "half_down" | "ceil" | "floor" | "up" | "down";

export const ZERO: Rational = { num: 0n, den: 1n };
export const ONE: Rational = { num: 1n, den: 1n };

const SAFE = 1n << 53n;

/** Number of trailing zero bits; `x` is not zero. */
function trailingZeros(x: bigint): number {
  let rest = x;
  for (let n = 0; ; n += 32, rest >>= 32n) {
    const low = Number(BigInt.asUintN(32, rest));
    if (low !== 0) return n + 31 - Math.clz32(low & -low);
  }
}

/**
 * Greatest common divisor of non-negative `a` and positive `b`. Products and quotients of doubles are small but for powers of two, which
 * are counted first, so that doubles can do the rest.
 */
function gcd(a: bigint, b: bigint): bigint {
  if ((b & (b - 1n)) === 0n) {
    const low = a & -a;
    return low !== 0n && low < b ? low : b;
  }
  if (a === 0n) return b;
  const zeros = [trailingZeros(a), trailingZeros(b)] as const;
  const odd = oddGcd(a >> BigInt(zeros[0]), b >> BigInt(zeros[1]));
  const twos = Math.min(...zeros);
  return twos === 0 ? odd : odd << BigInt(twos);
}

/** Of odd numbers. */
function oddGcd(a: bigint, b: bigint): bigint {
  let x = a;
  let y = b;
  while (y !== 0n) {
    if (x < SAFE && y < SAFE) {
      let p = Number(x);
      let q = Number(y);
      // ⌊p / q⌋ is exact: were the quotient rounded up to an integer, p would be within p·2⁻⁵³ < 1 of a multiple of q.
      while (q !== 0) {
        const rest = p - Math.floor(p / q) * q;
        p = q;
        q = rest;
      }
      return BigInt(p);
    }
    [x, y] = [y, x % y];
  }
  return x;
}

/** `num / den` in lowest terms. Throws RangeError when `den` is zero. */
export function rational(num: bigint | number, den: bigint | number = 1n): Rational {
  let n = BigInt(num);
  let d = BigInt(den);
  if (d === 0n) throw new RangeError("rational with denominator zero");
  if (d < 0n) {
    n = -n;
    d = -d;
  }
  if (d === 1n) return { num: n, den: d };
  if (n === 0n) return ZERO;
  const g = gcd(n < 0n ? -n : n, d);
  return g === 1n ? { num: n, den: d } : { num: n / g, den: d / g };
}

const view = new DataView(new ArrayBuffer(8));

/** The exact value of a finite double (hence of any float32). Throws RangeError for NaN and infinities. */
export function fromNumber(x: number): Rational {
  if (Number.isSafeInteger(x)) return { num: BigInt(x), den: 1n };
  if (!Number.isFinite(x)) throw new RangeError(`${x} is not a rational number`);
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  const magnitude = exponent === 0 ? fraction : fraction | (1n << 52n);
  const mantissa = x < 0 ? -magnitude : magnitude;
  const shift = (exponent === 0 ? 1 : exponent) - 1075;
  return shift >= 0 ? { num: mantissa << BigInt(shift), den: 1n } : rational(mantissa, 1n << BigInt(-shift));
}

export const neg = (a: Rational): Rational => ({ num: -a.num, den: a.den });

export function add(a: Rational, b: Rational): Rational {
  // A whole number added leaves lowest terms as they are.
  if (b.den === 1n) return { num: a.num + b.num * a.den, den: a.den };
  if (a.den === 1n) return { num: a.num * b.den + b.num, den: b.den };
  return a.den === b.den
    ? rational(a.num + b.num, a.den)
    : rational(a.num * b.den + b.num * a.den, a.den * b.den);
}

export const sub = (a: Rational, b: Rational): Rational => add(a, neg(b));

export const mul = (a: Rational, b: Rational): Rational => rational(a.num * b.num, a.den * b.den);

/** `a / b`. Throws RangeError when `b` is zero. */
export const div = (a: Rational, b: Rational): Rational => rational(a.num * b.den, a.den * b.num);

export const sign = (a: Rational): -1 | 0 | 1 => (a.num > 0n ? 1 : a.num < 0n ? -1 : 0);

export function cmp(a: Rational, b: Rational): -1 | 0 | 1 {
  const left = a.num * b.den;
  const right = b.num * a.den;
  return left < right ? -1 : left > right ? 1 : 0;
}

export const eq = (a: Rational, b: Rational): boolean => a.num === b.num && a.den === b.den;

export const isInteger = (a: Rational): boolean => a.den === 1n;

/** ⌊num / den⌋ for `den > 0`. */
export function floorDiv(num: bigint, den: bigint): bigint {
  const q = num / den;
  return num < 0n && q * den !== num ? q - 1n : q;
}

/** ⌈num / den⌉ for `den > 0`. */
export const ceilDiv = (num: bigint, den: bigint): bigint => -floorDiv(-num, den);

export const floor = (a: Rational): bigint => floorDiv(a.num, a.den);
export const ceil = (a: Rational): bigint => ceilDiv(a.num, a.den);

/** Rounds `a`, which need not be in lowest terms, to an integer. */
export function round(a: Rational, mode: Rounding): bigint {
  const below = floor(a);
  const twice = 2n * (a.num - below * a.den);
  if (twice === 0n) return below;
  const negative = a.num < 0n;
  switch (mode) {
    case "floor":
      return below;
    case "ceil":
      return below + 1n;
    case "up":
      return negative ? below : below + 1n;
    case "down":
      return negative ? below + 1n : below;
  }
  if (twice !== a.den) return twice > a.den ? below + 1n : below;
  switch (mode) {
    case "half_even":
      return (below & 1n) === 0n ? below : below + 1n;
    case "half_up":
      return negative ? below : below + 1n;
    case "half_down":
      return negative ? below + 1n : below;
  }
}

export function minBig(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

export function maxBig(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

/** Number of bits of |x|; 0 for 0. */
export function bitLength(x: bigint): number {
  const hex = (x < 0n ? -x : x).toString(16);
  return hex === "0" ? 0 : 4 * hex.length - Math.clz32(Number.parseInt(hex[0] as string, 16)) + 28;
}

/** Nearest binary float, ties to even, with `precision` bits and least bit never below 2^`least`. */
function nearestFloat(a: Rational, precision: number, least: number): number {
  if (a.num === 0n) return 0;
  const magnitude = a.num < 0n ? -a.num : a.num;
  let exponent = bitLength(magnitude) - bitLength(a.den);
  const below =
    exponent >= 0 ? magnitude < a.den << BigInt(exponent) : magnitude << BigInt(-exponent) < a.den;
  if (below) exponent -= 1;
  const unit = Math.max(exponent - precision + 1, least);
  const scaled =
    unit >= 0
      ? { num: magnitude, den: a.den << BigInt(unit) }
      : { num: magnitude << BigInt(-unit), den: a.den };
  const value =
    Number(round(scaled, "half_even")) * 2 ** Math.min(unit, 1000) * 2 ** Math.max(unit - 1000, 0);
  return a.num < 0n ? -value : value;
}

/** The correctly rounded double; ±Infinity beyond its range. `a` need not be in lowest terms. */
export function toNumber(a: Rational): number {
  if (a.den === 1n) return Number(a.num);
  return nearestFloat(a, 53, -1074);
}

/** The correctly rounded float32 (rounded once, not through a double); ±Infinity beyond its range. */
export const toFloat32 = (a: Rational): number => Math.fround(nearestFloat(a, 24, -149));

/** Reads `num` or `num/den` in decimal. Throws SyntaxError for anything else, RangeError for `/0`. */
export function parseRational(text: string): Rational {
  const match = /^(-?\d+)(?:\/(\d+))?$/.exec(text);
  if (!match) throw new SyntaxError(`not a rational number: ${JSON.stringify(text.slice(0, 80))}`);
  return rational(BigInt(match[1] as string), BigInt(match[2] ?? 1));
}

/** `num` for integers, else `num/den`; the inverse of {@link parseRational}. */
export const printRational = (a: Rational): string => (a.den === 1n ? `${a.num}` : `${a.num}/${a.den}`);
