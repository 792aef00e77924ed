import fc from "fast-check";
import { expect, test } from "vitest";
import { type Rounding, rational, round, sub } from "../rational.ts";
import { clampedStep, stepInclusive, stepOffset, tieRules } from "./boundary.ts";

const ROUNDINGS: readonly Rounding[] = ["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"];
const value = fc.tuple(fc.integer({ min: -60, max: 60 }), fc.integer({ min: 1, max: 12 }));

test("a rule reaches j exactly where its boundary says", () => {
  fc.assert(
    fc.property(value, fc.integer({ min: -8, max: 8 }), fc.constantFrom(...ROUNDINGS), ([n, d], j, rule) => {
      const w = rational(n, d);
      const distance = sub(rational(2n * w.num, w.den), rational(2 * j + stepOffset(rule, j))).num;
      const reaches = distance > 0n || (distance === 0n && stepInclusive(rule, j));
      expect(round(w, rule) >= BigInt(j)).toBe(reaches);
    }),
    { numRuns: 4000 },
  );
});

test("clampedStep is clamped rounding", () => {
  const clamp = (x: bigint) => (x < -3n ? -3 : x > 4n ? 4 : Number(x));
  fc.assert(
    fc.property(value, fc.constantFrom(...ROUNDINGS), ([n, d], rule) => {
      expect(clampedStep(BigInt(n), BigInt(d), rule, -3, 4)).toBe(clamp(round(rational(n, d), rule)));
    }),
    { numRuns: 2000 },
  );
});

test("two one-sided rules and a choice make every rounding", () => {
  for (const rule of ROUNDINGS) {
    const pair = tieRules(rule);
    if (pair === null) {
      expect(["floor", "ceil"]).toContain(rule);
      continue;
    }
    for (let n = -60; n <= 60; n++) {
      for (const d of [1, 2, 3, 4, 6]) {
        const [down, up] = [pair.down, pair.up].map((r) => clampedStep(BigInt(n), BigInt(d), r, -99, 99)) as [
          number,
          number,
        ];
        const takeUp = { odd: down % 2 !== 0, negative: down < 0, nonnegative: down >= 0 }[pair.select];
        expect(BigInt(takeUp ? up : down), `${rule} of ${n}/${d}`).toBe(round(rational(n, d), rule));
      }
    }
  }
});
