import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rational } from "../rational.ts";
import { evaluate } from "./estimate.ts";
import { evaluateExact } from "./exact.ts";
import type { RequantSpec } from "./types.ts";

const ROUNDINGS = ["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"] as const;

/** Fractions on and next to rounding boundaries, ordinary ones, and ones whose parts no double holds. */
const fraction = fc.oneof(
  fc.tuple(fc.bigInt(-64n, 64n), fc.constantFrom(1n, 2n, 4n, 8n)),
  fc.tuple(fc.bigInt(-(1n << 60n), 1n << 60n), fc.constantFrom(1n << 59n, 1n << 61n, 3n ** 38n)),
  fc.tuple(fc.constantFrom(1n, -1n, 3n), fc.constantFrom(1n << 1000n, 1n << 1030n, 1n << 1100n)),
  fc.tuple(fc.constantFrom(1n << 1023n, -(1n << 1099n)), fc.constantFrom(1n << 1024n, 1n << 1100n)),
);
const rationals = fraction.map(([num, den]) => rational(num, den));

const spec = fc
  .record({
    scales: fc.array(rationals, { minLength: 1, maxLength: 2 }),
    offset: rationals,
    zeroPoint: rationals,
    rounding: fc.constantFrom(...ROUNDINGS),
    order: fc.constantFrom("round_then_shift" as const, "shift_then_round" as const),
    wide: fc.boolean(),
  })
  .map(({ wide, ...s }): RequantSpec => {
    const zeroPoint = s.order === "round_then_shift" ? rational(s.zeroPoint.num % 256n) : s.zeroPoint;
    return { ...s, zeroPoint, lo: wide ? -(2 ** 31) : -128, hi: wide ? 2 ** 31 - 1 : 127 };
  });

const operands = fc.tuple(
  fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer()),
  fc.integer({ min: -300, max: 300 }),
);

describe("requantization in doubles", () => {
  it("is the exact one, on boundaries too", () => {
    fc.assert(
      fc.property(spec, operands, (s, pair) => {
        const a = pair.slice(0, s.scales.length);
        expect(evaluate(s, a)).toBe(evaluateExact(s, a));
      }),
      { numRuns: 20_000, seed: 1 },
    );
  });
});
