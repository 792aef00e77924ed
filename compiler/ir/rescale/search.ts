import { minBig } from "../rational.ts";
import { multipliers, type Problem, windowOf } from "./problem.ts";
import type { Window } from "./window.ts";

/** Largest shift considered: a 64-bit lane's. */
export const MAX_SHIFT = 62;

/** The problems of one channel, to be solved with the same m and n: one for the floor form, (down, up) for the tie form. */
export type Channel = readonly [Problem] | readonly [Problem, Problem];

/** Multipliers of one channel at some n, with the admissible constants of each of its problems. */
export interface ChannelSolution {
  readonly m: readonly number[];
  readonly windows: readonly Window[];
}

export interface Solution {
  readonly n: number;
  readonly channels: readonly ChannelSolution[];
}

/** The candidate with the widest interval of constants at shift n, or null. */
export function solveAt(channel: Channel, n: number): ChannelSolution | null {
  let best: ChannelSolution | null = null;
  let widest = -1n;
  for (const m of candidates(channel, n)) {
    const windows = windowsOf(channel, m, n);
    if (windows === null) continue;
    const width = windows.map((x) => x.hi - x.lo).reduce(minBig);
    if (width > widest) {
      widest = width;
      best = { m, windows };
    }
  }
  return best;
}

function candidates(channel: Channel, n: number): number[][] {
  const slopes = channel[0].slopes;
  if (channel.every((p) => p.constant !== null)) return [slopes.map(() => 0)];
  if (slopes.length > 2) {
    const nearest = slopes.map((s) => multipliers(s, n)[0]);
    return nearest.every((m) => m !== undefined) ? [nearest] : [];
  }
  const [first, second] = slopes.map((s) => multipliers(s, n));
  if (first === undefined) return [];
  if (second === undefined) return first.map((m) => [m]);
  return first.flatMap((m) => second.map((q) => [m, q]));
}

function windowsOf(channel: Channel, m: readonly number[], n: number): Window[] | null {
  const windows: Window[] = [];
  for (const problem of channel) {
    const window = windowOf(problem, m, n);
    if (window === null) return null;
    windows.push(window);
  }
  return fitTogether(windows, n) ? windows : null;
}

/** Whether a c of the first and a cUp of the second window exist with c ≤ cUp ≤ c + 2ⁿ, as the tie form asks. */
function fitTogether([down, up]: readonly Window[], n: number): boolean {
  if (down === undefined || up === undefined) return true;
  return up.hi >= down.lo && up.lo <= down.hi + (1n << BigInt(n));
}

const feasibleAt = (channel: Channel, n: number): boolean =>
  candidates(channel, n).some((m) => windowsOf(channel, m, n) !== null);

/**
 * The least common shift at which every channel has a multiplier, or the first channel without any up to `limit`.
 * Smaller shifts mean smaller multipliers, so no class is missed: a solution at n gives one at n + 1 by doubling m and c.
 */
export function search(channels: readonly Channel[], limit = MAX_SHIFT): Solution | { failed: number } {
  let n = 0;
  /** What was found on the way, and at which shift. */
  const found: ({ readonly n: number; readonly solution: ChannelSolution } | undefined)[] = [];
  for (const [i, channel] of channels.entries()) {
    const solution = n > 0 ? solveAt(channel, n) : null;
    if (solution !== null) {
      found[i] = { n, solution };
      continue;
    }
    while (n <= limit && !feasibleAt(channel, n)) n++;
    if (n > limit) return { failed: i };
  }
  for (; n <= limit; n++) {
    const solved = solveAll(channels, n, (i) => (found[i]?.n === n ? found[i].solution : undefined));
    if (solved !== null) return { n, channels: solved };
  }
  return { failed: 0 };
}

function solveAll(
  channels: readonly Channel[],
  n: number,
  known: (channel: number) => ChannelSolution | undefined,
): ChannelSolution[] | null {
  const solved: ChannelSolution[] = [];
  for (const [i, channel] of channels.entries()) {
    const solution = known(i) ?? solveAt(channel, n);
    if (solution === null) return null;
    solved.push(solution);
  }
  return solved;
}
