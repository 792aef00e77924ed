/** Steps against their definition: every threshold in exact arithmetic, hulls by looking at all triples' turns. */
import { describe, expect, it, vi } from "vitest";

let divisions = 0;
vi.mock("../rational.ts", async (load) => {
  const real = await load<typeof import("../rational.ts")>();
  return {
    ...real,
    ceilDiv: (num: bigint, den: bigint) => {
      divisions++;
      return real.ceilDiv(num, den);
    },
  };
});

const { addSteps, emptyConstraints } = await import("./steps.ts");
const { clampedStep } = await import("./boundary.ts");
const { admissibleLines } = await import("./polygon.ts");

type Rule = Parameters<typeof addSteps>[2];
const RULES: readonly Rule[] = [
  "half_even",
  "half_up",
  "half_down",
  "floor",
  "ceil",
  "up",
  "down",
  "tie_up",
  "tie_down",
];

let seed = 1;
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};

type Point = readonly [k: number, a: number];

/** The vertices among points in order of a′: those that no line through others covers. `side` 1: from above, −1: from below. */
function vertices(points: readonly Point[], side: 1 | -1): Point[] {
  const above = (p: Point, q: Point, r: Point): boolean =>
    side * ((q[0] - p[0]) * (r[1] - p[1]) - (r[0] - p[0]) * (q[1] - p[1])) > 0;
  // Of points with the same a only the outermost counts.
  const outer = points.filter(([k, a]) => points.every(([l, b]) => b !== a || side * (k - l) >= 0));
  return outer.filter(
    (q, i) => !outer.some((p, l) => l < i && outer.some((r, m) => m > i && !above(p, q, r))),
  );
}

/** Both lists by definition, for rising maps: for each k within reach the last a below it and the first a at it. */
function byDefinition(
  w: { alpha: bigint; beta: bigint; gamma: bigint },
  rule: Rule,
  lo: number,
  hi: number,
  min: number,
  max: number,
) {
  const y = (a: number): number => clampedStep(BigInt(a) * w.alpha + w.beta, w.gamma, rule, lo, hi);
  const [first, last] = [y(min), y(max)];
  const lower: Point[] = first > lo ? [[first, min]] : [];
  const upper: Point[] = [];
  for (let k = first + 1; k <= last; k++) {
    let [below, at] = [min, max];
    while (at - below > 1) {
      const middle = Math.floor((below + at) / 2);
      if (y(middle) >= k) at = middle;
      else below = middle;
    }
    lower.push([k, at]);
    upper.push([k, at - 1]);
  }
  if (last < hi) upper.push([last + 1, max]);
  return { lower: vertices(lower, 1), upper: vertices(upper, -1) };
}

const pointsOf = ({ k, a }: { readonly k: readonly number[]; readonly a: readonly number[] }): Point[] =>
  k.map((x, i) => [x, a[i]!]);

describe("steps", () => {
  it.each(RULES)("%s: the vertices are those of all thresholds", (rule) => {
    for (let run = 0; run < 150; run++) {
      // Dyadic slopes and offsets meet boundaries; the others come close at most.
      const gamma = run % 2 === 0 ? 1n << BigInt(random(9)) : BigInt(1 + random(2 ** 20));
      const alpha = BigInt(1 + random(run % 3 === 0 ? 7 : Number(gamma) * (run % 5 === 0 ? 3 : 1)));
      const beta = BigInt(random(2 ** 12) - 2 ** 11);
      const [lo, hi] = run % 4 === 0 ? [0, 20 + random(20)] : [-16 - random(9), 15];
      const [min, max] = [-1 - random(2000), 1 + random(2000)];
      const out = emptyConstraints();
      expect(addSteps(out, { alpha, beta, gamma }, rule, 0, lo, hi, { min, max }, 0)).toBe(true);
      const expected = byDefinition({ alpha, beta, gamma }, rule, lo, hi, min, max);
      expect(
        { lower: pointsOf(out.lower), upper: pointsOf(out.upper) },
        `${alpha}/${gamma} + ${beta}`,
      ).toEqual(expected);
    }
  });

  it.each(RULES)("%s: slopes beyond the range of doubles", (rule) => {
    for (const tiny of [1n << 1030n, 1n << 1074n, 1n << 2000n]) {
      for (const w of [
        { alpha: 1n, beta: 0n, gamma: tiny },
        { alpha: 1n, beta: -1n, gamma: tiny },
        { alpha: tiny, beta: tiny >> 1n, gamma: 1n },
        { alpha: 1n, beta: tiny, gamma: 1n },
        { alpha: tiny - 1n, beta: -tiny, gamma: tiny },
      ]) {
        const out = emptyConstraints();
        expect(addSteps(out, w, rule, 0, -8, 7, { min: -9, max: 9 }, 0)).toBe(true);
        const { lower, upper } = byDefinition(w, rule, -8, 7, -9, 9);
        const sorted = (points: readonly Point[]) => [...points].sort((p, q) => p[0] - q[0]);
        expect(sorted(pointsOf(out.lower))).toEqual(sorted(lower));
        expect(sorted(pointsOf(out.upper))).toEqual(sorted(upper));
      }
    }
  });

  it("no exact division where doubles decide, and few vertices", () => {
    divisions = 0;
    for (let c = 0; c < 100; c++) {
      const out = emptyConstraints();
      const w = { alpha: BigInt(3_141_592 + 271_829 * c), beta: BigInt(7919 * c) << 12n, gamma: 1n << 30n };
      addSteps(out, w, "half_even", 0, 0, 255, { min: -200_000, max: 200_000 }, 0);
      expect(out.lower.k.length + out.upper.k.length).toBeLessThan(40);
    }
    expect(divisions).toBeLessThan(5);
  });
});

describe("admissible lines", () => {
  it("at any output, all vertices are within the stated reach of the first", () => {
    for (let run = 0; run < 100; run++) {
      const out = emptyConstraints();
      const alpha = BigInt(1_000_003 + random(2 ** 22));
      addSteps(
        out,
        { alpha, beta: BigInt(random(2 ** 30)), gamma: 1n << 30n },
        "half_even",
        0,
        0,
        255,
        { min: -99_999, max: 99_999 },
        0,
      );
      const lines = admissibleLines(out.lower, out.upper, Number(alpha), 2 ** 29, 30, 128);
      expect(lines.at.length).toBeGreaterThan(2);
      for (const h of [-900, 0, 127, 128, 255, 1100]) {
        const meets = lines.at.map((x, i) => x - h * lines.per[i]!);
        const reach = lines.reach + Math.abs(h - lines.centre) * lines.spread;
        const farthest = Math.max(...meets.map((x) => Math.abs(x - meets[0]!)));
        expect(farthest).toBeLessThanOrEqual(reach * (1 + 2 ** -20) + Math.abs(meets[0]!) * 2 ** -46);
      }
    }
  });
});
