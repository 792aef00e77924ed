/**
 * How much arithmetic a certificate costs, counted: thresholds once per channel, the constants of each multiplier looked at once per
 * shift, one confirmation in BigInt at the end.
 */
import { beforeEach, describe, expect, it, vi } from "vitest";

const calls = { build: 0, confirm: 0, windows: 0, repeated: 0 };
const looked = new Map<unknown, Set<string>>();

vi.mock("./problem.ts", async (load) => {
  const real = await load<typeof import("./problem.ts")>();
  return {
    ...real,
    buildProblem: (...args: Parameters<typeof real.buildProblem>) => {
      calls.build++;
      return real.buildProblem(...args);
    },
    windowOf: (...args: Parameters<typeof real.windowOf>) => {
      const [problem, m, n] = args;
      const seen = looked.get(problem) ?? new Set();
      looked.set(problem, seen);
      calls.windows++;
      if (seen.has(`${n}: ${m}`)) calls.repeated++;
      seen.add(`${n}: ${m}`);
      return real.windowOf(...args);
    },
    exactWindowOf: (...args: Parameters<typeof real.exactWindowOf>) => {
      calls.confirm++;
      return real.exactWindowOf(...args);
    },
  };
});

const { certify } = await import("./index.ts");
const { rational } = await import("../rational.ts");

const CHANNELS = 40;
const ranges = Array.from({ length: CHANNELS }, (_, c) => [{ min: -60_000 - 100 * c, max: 55_000 + 77 * c }]);

describe("effort of a certificate", () => {
  beforeEach(() => {
    Object.assign(calls, { build: 0, confirm: 0, windows: 0, repeated: 0 });
    looked.clear();
  });

  it.each([
    { order: "round_then_shift", lo: 0, hi: 255 },
    { order: "shift_then_round", lo: -128, hi: 127 },
  ] as const)("$order to $lo … $hi: each channel's thresholds once, confirmed once", ({ order, lo, hi }) => {
    const specs = Array.from({ length: CHANNELS }, (_, c) => ({
      scales: [rational(BigInt(3_141_592 + 271_828 * c), 1n << 30n)],
      offset: rational(BigInt(7 * c - 100), 13n),
      zeroPoint: rational(lo < 0 ? -3 : 120),
      lo,
      hi,
      rounding: "half_even" as const,
      order,
    }));
    const result = certify(specs, ranges);
    expect(result.ok && result.rescale.class).toBe("hi32");
    const { windows, repeated, ...others } = calls;
    expect(others).toEqual({ build: CHANNELS, confirm: CHANNELS });
    expect(windows).toBeLessThan(5 * CHANNELS);
    // The shift grows with the first few channels only.
    expect(repeated).toBeLessThan(CHANNELS / 4);
  });
});
