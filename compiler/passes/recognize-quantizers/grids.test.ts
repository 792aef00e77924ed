import { describe, expect, test } from "vitest";
import { gridOf } from "./grids.ts";

/** Uniform in [0, 1), from a seed. */
function random(seed: number): () => number {
  let s = seed;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}

const weights = (seed: number, count: number, bits: number, step: number) => {
  const next = random(seed);
  const most = 2 ** (bits - 1) - 1;
  const q = Array.from({ length: count }, () => Math.round((2 * next() - 1) * most));
  q[0] = most;
  return { q, values: Float32Array.from(q, (k) => Math.fround(k * Math.fround(step))) };
};

describe("gridOf", () => {
  test.each([
    [2, 9],
    [3, 16],
    [4, 9],
    [8, 9],
    [8, 576],
  ])("finds %i-bit grids of %i values, coarser ones where the integers share a factor", (bits, count) => {
    for (let seed = 1; seed <= 64; seed++) {
      const { q, values } = weights(seed, count, bits, 0.0123 * seed);
      const grid = gridOf(values)!;
      const factor = q[0]! / grid.q[0]!;
      expect(Number.isInteger(factor), `seed ${seed}`).toBe(true);
      expect(Array.from(grid.q, (k) => k * factor + 0)).toEqual(q.map((k) => k + 0));
      expect(Math.abs(grid.step / (0.0123 * seed * factor) - 1)).toBeLessThan(1e-6);
    }
  });

  test("survives the noise of a straight-through estimator", () => {
    const { q, values } = weights(3, 64, 8, 0.004);
    const noisy = values.map((v, i) => Math.fround(v * (1 + ((i % 3) - 1) * 2 ** -23)));
    expect(Array.from(gridOf(noisy)!.q)).toEqual(q);
  });

  test("refuses weights of no grid, of 9 values and of many", () => {
    for (let seed = 1; seed <= 64; seed++) {
      const next = random(seed);
      for (const count of [9, 64, 576])
        expect(gridOf(Float32Array.from({ length: count }, () => next() - 0.5))).toBeUndefined();
    }
  });

  test("zeros, one value, a value that is no number", () => {
    expect(gridOf([0, 0])).toEqual({ step: 1, q: new Int8Array(2), off: 0 });
    expect(gridOf([-0.3])).toEqual({ step: 0.3, q: new Int8Array([-1]), off: 0 });
    expect(gridOf([1, Number.NaN])).toBeUndefined();
    expect(gridOf([1, Number.POSITIVE_INFINITY])).toBeUndefined();
  });

  test("−128 has an integer, 128 has none", () => {
    const q = [-128, 127, 3, -77];
    expect(Array.from(gridOf(q.map((k) => k / 64))!.q)).toEqual(q);
    expect(gridOf(q.map((k) => -k / 64))).toBeUndefined();
  });
});
