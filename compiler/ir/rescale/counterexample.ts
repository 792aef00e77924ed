import { evaluateExact } from "./exact.ts";
import { isInt32 } from "./lanes.ts";
import { multipliers, type Problem } from "./problem.ts";
import type { ChannelSolution, Solution } from "./search.ts";
import type { Points } from "./steps.ts";
import type { Counterexample, IntRange, RequantSpec } from "./types.ts";

/** An accumulator outside int32, which no class can hold, or null. */
export function overflow(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
): Counterexample | null {
  for (const [channel, row] of ranges.entries()) {
    if (row.some((r) => r.min > r.max) || row.every((r) => isInt32(r.min) && isInt32(r.max))) continue;
    const a = row.map((r) => (isInt32(r.max) ? r.min : r.max));
    const expected = evaluateExact(specs[channel] as RequantSpec, a);
    return { channel, a, expected, got: null, reason: "the accumulator exceeds 32 bits" };
  }
  return null;
}

/** Shift at which the failing candidate is shown. */
const SHOWN_SHIFT = 24;

/** Where the best single-constant candidate of a channel goes wrong, or its range's end when only the lane is too narrow. */
export function counterexample(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  problems: readonly (Problem | null)[],
  channel: number,
  solution: Solution | null,
  reason: string,
): Counterexample {
  const spec = specs[channel] as RequantSpec;
  const problem = problems[channel];
  const n = solution?.n ?? SHOWN_SHIFT;
  const ends = (ranges[channel] as readonly IntRange[]).map((r) => r.max);
  if (problem?.kind !== "points" || solution !== null) {
    const m = (solution?.channels[channel] as ChannelSolution | undefined)?.m;
    const shown = m ? `${reason}; n = ${n}, m = ${m.join(", ")}` : reason;
    return { channel, a: ends, expected: evaluateExact(spec, ends), got: null, reason: shown };
  }
  const m = problem.slopes.map((s) => multipliers(s, n)[0] ?? 0);
  const { lower, upper } = problem.constraints;
  const lowest = extreme(lower, m, n, 1n);
  const highest = extreme(upper, m, n, -1n);
  if (lowest === null || highest === null) {
    return { channel, a: ends, expected: evaluateExact(spec, ends), got: null, reason };
  }
  const a = problem.slopes.length === 1 ? [highest.a] : [highest.a, highest.b];
  const sum = a.reduce((s, x, i) => s + BigInt(x) * BigInt(m[i] as number), lowest.bound);
  const value = Number(sum >> BigInt(n));
  return {
    channel,
    a,
    expected: evaluateExact(spec, a),
    got: Math.min(Math.max(value, spec.lo), spec.hi),
    reason: `${reason}; shown for n = ${n}, m = ${m.join(", ")}, c = ${lowest.bound}`,
  };
}

function extreme(
  list: Points,
  m: readonly number[],
  n: number,
  direction: 1n | -1n,
): { bound: bigint; a: number; b: number } | null {
  let best: { bound: bigint; a: number; b: number } | null = null;
  for (let i = 0; i < list.k.length; i++) {
    const a = list.a[i] as number;
    const b = list.b[i] as number;
    const bound =
      (BigInt(list.k[i] as number) << BigInt(n)) -
      BigInt(a) * BigInt(m[0] as number) -
      BigInt(b) * BigInt(m[1] ?? 0);
    if (best === null || (bound - best.bound) * direction > 0n) best = { bound, a, b };
  }
  return best;
}
