/** How much exact arithmetic a certificate costs, counted: thresholds once per channel, one confirmation in BigInt at the end. */
import { beforeEach, describe, expect, it, vi } from "vitest";

const calls = { build: 0, confirm: 0 };

vi.mock("./problem.ts", async (load) => {
  const real = await load<typeof import("./problem.ts")>();
  return {
    ...real,
    buildProblem: (...args: Parameters<typeof real.buildProblem>) => {
      calls.build++;
      return real.buildProblem(...args);
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
    calls.build = 0;
    calls.confirm = 0;
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
    expect(calls).toEqual({ build: CHANNELS, confirm: CHANNELS });
  });
});
