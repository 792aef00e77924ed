/** Lines against the definition: every point on its side, and none found only where every pair of points excludes one. */
import { expect, test } from "vitest";
import { type Rational, rational } from "../../ir/rational.ts";
import { fitLine, type Point } from "./line.ts";

/** Mulberry32. */
function randomSource(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** S·x + B − k, times both denominators. */
const height = ({ scale, offset }: { scale: Rational; offset: Rational }, { x, k }: Point): bigint =>
  scale.num * BigInt(x) * offset.den + offset.num * scale.den - BigInt(k) * scale.den * offset.den;

/** By all pairs, as fractions of bigints: whether some S ≥ 0 leaves room for B. */
function exists(above: readonly Point[], below: readonly Point[]): boolean {
  let lo = rational(0n);
  let hi: Rational | undefined;
  for (const a of above)
    for (const b of below) {
      const [d, k] = [a.x - b.x, a.k - b.k];
      if (d === 0 && k >= 0) return false;
      if (d === 0) continue;
      const f = rational(BigInt(k), BigInt(d));
      if (d > 0 && f.num * lo.den > lo.num * f.den) lo = f;
      if (d < 0 && (hi === undefined || f.num * hi.den < hi.num * f.den)) hi = f;
    }
  return hi === undefined || lo.num * hi.den < hi.num * lo.den;
}

function steps(thresholds: readonly number[]): [above: Point[], below: Point[]] {
  return [thresholds.map((x, i) => ({ x, k: i + 1 })), thresholds.map((x, i) => ({ x: x - 1, k: i + 1 }))];
}

function check(thresholds: readonly number[]): boolean {
  const [above, below] = steps(thresholds);
  const line = fitLine(above, below);
  expect(line !== undefined, `${thresholds}`).toBe(exists(above, below));
  if (line === undefined) return false;
  expect(above.every((p) => height(line, p) >= 0n)).toBe(true);
  expect(below.every((p) => height(line, p) < 0n)).toBe(true);
  return true;
}

test("random steps, even, nearly even and uneven", () => {
  const random = randomSource(1);
  let found = 0;
  for (let i = 0; i < 600; i++) {
    const n = 1 + Math.floor(random() * 30);
    const [step, start] = [random() * 10 ** (random() * 8), (random() - 0.5) * 2 ** 31];
    const noise = i % 3 === 0 ? 0 : i % 3 === 1 ? 1.2 : step;
    const list = Array.from({ length: n }, (_, k) => Math.ceil(start + k * step + random() * noise));
    if (check(list.sort((a, b) => a - b))) found++;
  }
  expect(found).toBeGreaterThan(150);
  expect(found).toBeLessThan(550);
});

test("65,535 even steps", () => {
  const list = Array.from({ length: 65535 }, (_, k) => Math.ceil((k * 2 ** 31) / 70001) - 2 ** 30);
  const [above, below] = steps(list);
  const line = fitLine(above, below)!;
  expect(above.every((p) => height(line, p) >= 0n)).toBe(true);
  expect(below.every((p) => height(line, p) < 0n)).toBe(true);
});
