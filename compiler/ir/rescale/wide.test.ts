/** Sums of any number of operands: proofs by the common denominator, and by the exact sum in 64 bits. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkRescale } from "../../../test/oracle/rescale-checker.ts";
import { add, div, fromNumber, mul, type Rational, rational, ZERO } from "../rational.ts";
import { certify, evaluateExact, evaluateRescale, rescaleManifest } from "./index.ts";
import { shiftProof, shiftRescale } from "./shift.ts";
import type { Certified, IntRange, RequantSpec, Rounding } from "./types.ts";

const ROUNDINGS: readonly Rounding[] = ["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"];

type Success = Extract<Certified, { ok: true }>;

function prove(specs: readonly RequantSpec[], ranges: readonly (readonly IntRange[])[], result: Success) {
  const manifest = JSON.parse(JSON.stringify(rescaleManifest(result.rescale, result.certificate, ranges)));
  expect(checkRescale(specs, manifest)).toBe(null);
  return manifest;
}

/** Operands drawn from their ranges, with the last one moved to where the exact result steps, if it can be. */
function samples(spec: RequantSpec, ranges: readonly IntRange[], random: (n: number) => number): number[][] {
  const out: number[][] = [];
  for (let i = 0; i < 60; i++) {
    const a = ranges.map((r) => r.min + random(r.max - r.min + 1));
    out.push(a);
    const last = ranges.length - 1;
    const r = ranges[last]!;
    let [low, high] = [r.min, r.max];
    const at = (x: number): number[] => [...a.slice(0, last), x];
    const first = evaluateExact(spec, at(low));
    if (evaluateExact(spec, at(high)) === first) continue;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (evaluateExact(spec, at(middle)) === first) low = middle;
      else high = middle;
    }
    out.push(at(low), at(high));
  }
  return out;
}

function agree(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  { rescale }: Success,
) {
  let state = 1;
  const random = (n: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  for (const [c, spec] of specs.entries())
    for (const a of samples(spec, ranges[c]!, random)) {
      const got = evaluateRescale(rescale, c, a);
      if (got !== evaluateExact(spec, a)) expect({ a, got }).toBe(evaluateExact(spec, a));
    }
}

const f32 = (min: number, max: number) =>
  fc.double({ min, max, noNaN: true }).map((x) => fromNumber(Math.fround(x)));

describe("sums of quantized tensors", () => {
  const branches = fc
    .tuple(
      fc.array(f32(0.001, 0.5), { minLength: 3, maxLength: 6 }),
      f32(0.01, 0.5),
      fc.integer({ min: -128, max: 127 }),
      fc.constantFrom(...ROUNDINGS),
      fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 6, maxLength: 6 }),
      fc.boolean(),
    )
    .map(([scales, out, zero, rounding, zeros, negative]) => {
      const s = scales.map((x, i) => div(negative && i === 1 ? rational(-x.num, x.den) : x, out));
      const spec: RequantSpec = {
        scales: s,
        offset: s.reduce((sum, x, i) => add(sum, mul(x, rational(-zeros[i]!))), ZERO),
        zeroPoint: rational(zero),
        lo: -128,
        hi: 127,
        rounding,
        order: "round_then_shift",
      };
      return { spec, ranges: s.map(() => ({ min: 0, max: 255 })) };
    });

  test("three to six tensors of 8 bits, any rounding", () => {
    fc.assert(
      fc.property(branches, ({ spec, ranges }) => {
        const result = certify([spec], [ranges]);
        if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
        prove([spec], [ranges], result);
        agree([spec], [ranges], result);
      }),
      { numRuns: 60 },
    );
  });

  test("equal scales, a power of two, tie in both directions", () => {
    const spec: RequantSpec = {
      scales: [1, 2, 3, 4].map((k) => rational(k, 4)),
      offset: ZERO,
      zeroPoint: rational(-1),
      lo: -128,
      hi: 127,
      rounding: "half_even",
      order: "round_then_shift",
    };
    const ranges = spec.scales.map(() => ({ min: -128, max: 127 }));
    const result = certify([spec], [ranges]);
    if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
    expect(result.rescale.form).toBe("tie");
    prove([spec], [ranges], result);
    agree([spec], [ranges], result);
  });
});

/** Per-block sums of a matrix product: scales are products of float32, one weight scale per block. */
const blocks = fc
  .tuple(
    fc.integer({ min: 1, max: 8 }),
    fc.array(f32(0.002, 0.03), { minLength: 16, maxLength: 16 }),
    f32(0.005, 0.05),
    f32(0.01, 0.2),
    fc.constantFrom<readonly [number, number]>([-128, 127], [0, 255], [-8, 7], [-32768, 32767]),
    fc.constantFrom(...ROUNDINGS),
    fc.integer({ min: -300, max: 300 }),
  )
  .map(([count, weights, x, y, [lo, hi], rounding, bias]) => {
    const specs = [0, 1].map(
      (c): RequantSpec => ({
        scales: Array.from({ length: count }, (_, i) => div(mul(x, weights[c * 8 + i]!), y)),
        offset: div(mul(rational(bias), mul(x, weights[0]!)), y),
        zeroPoint: rational(lo < 0 ? 3 : 120),
        lo,
        hi,
        rounding,
        order: "round_then_shift",
      }),
    );
    const ranges = specs.map((s) => s.scales.map((_, i) => ({ min: -30_000 - i, max: 28_123 + 7 * i })));
    return { specs, ranges, y };
  });

describe("per-block sums", () => {
  test.each([undefined, ["wide"] as const])("one to eight blocks, classes %s", (classes) => {
    let wide = 0;
    fc.assert(
      fc.property(blocks, ({ specs, ranges }) => {
        const result = certify(specs, ranges, classes ? { classes } : {});
        if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
        if (result.rescale.class === "wide") wide++;
        prove(specs, ranges, result);
        agree(specs, ranges, result);
      }),
      { numRuns: 40 },
    );
    expect(wide).toBeGreaterThan(10);
  });

  test("a residual beside per-block sums: one scale is a float32, the others products of two", () => {
    const third = fc.tuple(blocks, f32(0.001, 0.05));
    let long = 0;
    fc.assert(
      fc.property(third, ([{ specs, ranges, y }, own]) => {
        const more = specs.map((s) => ({
          ...s,
          scales: [...s.scales, div(own, y)],
        }));
        const wider = ranges.map((row) => [...row, { min: 0, max: 255 }]);
        const result = certify(more, wider, { classes: ["wide"] });
        if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
        if (result.rescale.class === "wide" && result.rescale.mLimbs.length === 3) long++;
        prove(more, wider, result);
        agree(more, wider, result);
      }),
      { numRuns: 40 },
    );
    expect(long).toBeGreaterThan(5);
  });

  test("a block whose weights are all zero may have any scale", () => {
    const scales = [rational(1, 3), rational(12_345_677, 2n ** 90n), rational(1, 7)];
    const spec: RequantSpec = {
      scales,
      offset: ZERO,
      zeroPoint: ZERO,
      lo: -128,
      hi: 127,
      rounding: "half_even",
      order: "round_then_shift",
    };
    const ranges = [
      { min: -(2 ** 20), max: 2 ** 20 },
      { min: 0, max: 0 },
      { min: -(2 ** 20), max: 2 ** 20 },
    ];
    const result = certify([spec], [ranges], { classes: ["wide"] });
    if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
    prove([spec], [ranges], result);
    agree([spec], [ranges], result);
  });

  test.each([
    [-1000, 0],
    [1000, 255],
    [-2, 0],
  ])("results that are all clamped, offset %d", (offset, result) => {
    const scales = [3, 5, 7].map((k) => rational(BigInt(10_000_019 * k + 2), 10_000_001n * 2n ** 22n));
    const ranges = scales.map(() => ({ min: -30, max: 31 }));
    const spec: RequantSpec = {
      scales,
      offset: rational(offset),
      zeroPoint: ZERO,
      lo: 0,
      hi: 255,
      rounding: "half_even",
      order: "round_then_shift",
    };
    const solved = certify([spec], [ranges], { classes: ["wide"] });
    if (!solved.ok) throw new Error(JSON.stringify(solved.counterexample));
    prove([spec], [ranges], solved);
    for (const a of [-30, 0, 31]) expect(evaluateRescale(solved.rescale, 0, [a, a, a])).toBe(result);
  });

  test("scales without a common step are refused with a witness", () => {
    const huge = (k: bigint): Rational => rational(2n ** 80n + k, 2n ** 83n);
    const spec: RequantSpec = {
      scales: [huge(1n), huge(12_345_678_901n), huge(99_999_999_977n)],
      offset: ZERO,
      zeroPoint: ZERO,
      lo: -128,
      hi: 127,
      rounding: "half_even",
      order: "round_then_shift",
    };
    const ranges = spec.scales.map(() => ({ min: -30_000, max: 30_000 }));
    const result = certify([spec], [ranges]);
    expect(result.ok).toBe(false);
    if (result.ok) return;
    expect(result.counterexample.reason).toMatch(/no common step/);
    expect(result.counterexample.expected).toBe(evaluateExact(spec, result.counterexample.a));
  });

  test("the checker sees a wrong multiplier, constant or factor", () => {
    fc.assert(
      fc.property(blocks, ({ specs, ranges }) => {
        const result = certify(specs, ranges, { classes: ["wide"] });
        if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
        const good = prove(specs, ranges, result);
        const { lo, hi } = result.certificate.intervals[1]!;
        const c = [String(lo - 1n), String(hi + 1n)];
        for (const x of c)
          expect(checkRescale(specs, { ...good, form: "floor", c: [good.c[0], x] })).not.toBe(null);
        const m = good.m.map((row: number[]) => row.map((x, i) => (i === 0 ? x + 1 : x)));
        if (m[0].length > 1) expect(checkRescale(specs, { ...good, m })).not.toBe(null);
        const w = good.w.map((x: string) => String(BigInt(x) + (BigInt(x) >> 6n) + 1n));
        expect(checkRescale(specs, { ...good, w })).not.toBe(null);
      }),
      { numRuns: 10 },
    );
  });

  test("operands and results moved by constants", () => {
    fc.assert(
      fc.property(blocks, fc.integer({ min: -128, max: 128 }), (problem, k) => {
        const { specs, ranges } = problem;
        const result = certify(specs, ranges, { classes: ["wide"] });
        if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
        const by = specs.map((s) => s.scales.map((_, i) => 100 - 3 * i));
        const proof = {
          mBits: 0,
          windowBits: 0,
          accBits: 0,
          ties: false,
          ranges: ranges.map((row) => row.map((r) => [r.min, r.max] as const)),
          scales: specs.map((s) => s.scales),
          offsets: specs.map((s) => s.offset),
          zero_point: specs[0]!.zeroPoint,
          rounding: specs[0]!.rounding,
          order: specs[0]!.order,
        };
        const moved =
          shiftRescale(result.rescale, proof, by, k) ?? shiftRescale(result.rescale, proof, by, 0)!;
        const step = moved.lo - result.rescale.lo;
        const p = shiftProof(proof, by, step);
        expect(p.zero_point).toEqual(add(specs[0]!.zeroPoint, rational(step)));
        specs.forEach((spec, c) => {
          for (const shift of [0, 0.3, 0.7, 1]) {
            const a = ranges[c]!.map((r) => Math.round(r.min + shift * (r.max - r.min)));
            const there = a.map((x, i) => x + by[c]![i]!);
            expect(evaluateRescale(moved, c, there)).toBe(evaluateExact(spec, a) + step);
          }
        });
      }),
      { numRuns: 20 },
    );
  });
});
