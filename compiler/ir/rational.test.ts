import fc from "fast-check";
import { expect, test } from "vitest";
import {
  add,
  bitLength,
  ceil,
  cmp,
  div,
  eq,
  floor,
  fromNumber,
  isInteger,
  mul,
  ONE,
  parseRational,
  printRational,
  type Rounding,
  rational,
  round,
  sign,
  sub,
  toFloat32,
  toNumber,
  ZERO,
} from "./rational.ts";

const ratio = fc
  .tuple(fc.bigInt(-(1n << 80n), 1n << 80n), fc.bigInt(1n, 1n << 70n))
  .map(([n, d]) => rational(n, d));
const double = fc.double({ noNaN: true, noDefaultInfinity: true });

test("values are reduced with a positive denominator", () => {
  expect(rational(6, -4)).toEqual({ num: -3n, den: 2n });
  expect(rational(0, -7)).toEqual(ZERO);
  expect(rational(12n, 8n)).toEqual({ num: 3n, den: 2n });
  expect(rational(9007199254740993n * 6n, 9007199254740993n * 4n)).toEqual({ num: 3n, den: 2n });
  expect(() => rational(1, 0)).toThrow(RangeError);
});

test("lowest terms, whatever the factors: powers of two, beyond doubles, one alone", () => {
  const euclid = (a: bigint, b: bigint): bigint => (b === 0n ? a : euclid(b, a % b));
  const part = fc.oneof(fc.bigInt(1n, 1n << 20n), fc.bigInt(1n << 51n, 1n << 54n), fc.bigInt(1n, 1n << 90n));
  const shift = fc.nat(140).map(BigInt);
  fc.assert(
    fc.property(part, part, part, shift, shift, (p, q, common, i, j) => {
      const [num, den] = [(p * common) << i, (q * common) << j];
      const divisor = euclid(num, den);
      expect(rational(-num, den)).toEqual({ num: -num / divisor, den: den / divisor });
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(ratio, fc.bigInt(-(1n << 70n), 1n << 70n), (a, n) => {
      const sum = rational(a.num + n * a.den, a.den);
      expect(add(a, rational(n))).toEqual(sum);
      expect(add(rational(n), a)).toEqual(sum);
    }),
  );
});

test("doubles convert exactly, both ways", () => {
  expect(fromNumber(0.75)).toEqual({ num: 3n, den: 4n });
  expect(fromNumber(-0)).toEqual(ZERO);
  expect(fromNumber(Number.MIN_VALUE)).toEqual({ num: 1n, den: 1n << 1074n });
  expect(fromNumber(Number.MAX_VALUE).den).toBe(1n);
  expect(() => fromNumber(Number.NaN)).toThrow(RangeError);
  fc.assert(fc.property(double, (x) => toNumber(fromNumber(x)) === x));
});

test("toNumber and toFloat32 round to nearest, ties to even, once", () => {
  const tiny = rational(1n, 1n << 200n);
  const half = rational((1n << 53n) + 1n, 1n);
  expect(toNumber(half)).toBe(2 ** 53);
  expect(toNumber(add(half, tiny))).toBe(2 ** 53 + 2);
  expect(toNumber(rational(1n, 1n << 1075n))).toBe(0);
  expect(toNumber(rational(3n, 1n << 1076n))).toBe(Number.MIN_VALUE);
  expect(toNumber(rational(1n << 1024n))).toBe(Number.POSITIVE_INFINITY);
  expect(toNumber(rational(-(1n << 1027n), 3n))).toBe(Number.NEGATIVE_INFINITY);
  // Rounding through a double would lose the 2^-60 and tie to even.
  const above = add(fromNumber(1 + 2 ** -24), rational(1n, 1n << 60n));
  expect(toFloat32(above)).toBe(1 + 2 ** -23);
  expect(Math.fround(toNumber(above))).toBe(1);
  expect(toFloat32(fromNumber(3.5e38))).toBe(Number.POSITIVE_INFINITY);
  fc.assert(fc.property(double, (x) => Object.is(toFloat32(fromNumber(x)) + 0, Math.fround(x) + 0)));
  fc.assert(
    fc.property(ratio, (r) => {
      const x = toNumber(r);
      const error = (y: number) => {
        const d = sub(fromNumber(y), r);
        return sign(d) < 0 ? sub(ZERO, d) : d;
      };
      const step = Math.max(Math.abs(x) * 2 ** -52, Number.MIN_VALUE);
      return cmp(error(x), error(x + step)) <= 0 && cmp(error(x), error(x - step)) <= 0;
    }),
  );
});

test("field laws and order", () => {
  fc.assert(
    fc.property(ratio, ratio, ratio, (a, b, c) => {
      expect(eq(mul(a, add(b, c)), add(mul(a, b), mul(a, c)))).toBe(true);
      expect(eq(sub(add(a, b), b), a)).toBe(true);
      expect(eq(add(fromNumber(0.375), a), add(a, rational(3, 8)))).toBe(true);
      if (sign(b) !== 0) expect(eq(mul(div(a, b), b), a)).toBe(true);
      expect(cmp(a, b)).toBe(sign(sub(a, b)));
    }),
  );
  expect(() => div(ONE, ZERO)).toThrow(RangeError);
});

test("floor, ceil and isInteger", () => {
  fc.assert(
    fc.property(ratio, (r) => {
      const f = rational(floor(r));
      expect(cmp(f, r) <= 0 && cmp(r, add(f, ONE)) < 0).toBe(true);
      expect(ceil(r) - floor(r)).toBe(isInteger(r) ? 0n : 1n);
    }),
  );
});

test("rounding rules", () => {
  const table: Record<Rounding, number[]> = {
    //           -2.5 -2.25 -1.75 -1.5 -1 -0.5 -0.25 0 0.25 0.5 1 1.5 1.75 2.25 2.5
    half_even: [-2, -2, -2, -2, -1, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2],
    half_up: [-3, -2, -2, -2, -1, -1, 0, 0, 0, 1, 1, 2, 2, 2, 3],
    half_down: [-2, -2, -2, -1, -1, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2],
    ceil: [-2, -2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3],
    floor: [-3, -3, -2, -2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2],
    up: [-3, -3, -2, -2, -1, -1, -1, 0, 1, 1, 1, 2, 2, 3, 3],
    down: [-2, -2, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2],
  };
  const inputs = [-2.5, -2.25, -1.75, -1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5, 1.75, 2.25, 2.5];
  for (const [mode, expected] of Object.entries(table)) {
    expect(
      inputs.map((x) => Number(round(fromNumber(x), mode as Rounding))),
      mode,
    ).toEqual(expected);
  }
});

test("text form", () => {
  expect(printRational(rational(-6, 4))).toBe("-3/2");
  expect(printRational(rational(7))).toBe("7");
  fc.assert(fc.property(ratio, (r) => eq(parseRational(printRational(r)), r)));
  for (const bad of ["", "1.5", "1/-2", "a", "1/2/3", " 1"]) {
    expect(() => parseRational(bad)).toThrow(SyntaxError);
  }
  expect(() => parseRational("1/0")).toThrow(RangeError);
});

test("bitLength", () => {
  for (const [x, bits] of [
    [0n, 0],
    [1n, 1],
    [-1n, 1],
    [255n, 8],
    [256n, 9],
    [-(1n << 100n), 101],
  ] as const) {
    expect(bitLength(x)).toBe(bits);
  }
});
