import { maxBig, minBig } from "../rational.ts";
import type { ChannelSolution, Solution } from "./search.ts";
import type { IntRange, Rescale, RescaleI32, RescaleLimb, TieSelect } from "./types.ts";
import type { Window } from "./window.ts";

/** What all channels of a tensor share. */
export interface TensorFacts {
  readonly ranges: readonly (readonly IntRange[])[];
  readonly lo: number;
  readonly hi: number;
  /** Tie form: its choice, and per channel the zero point added after it. */
  readonly tie?: { readonly select: TieSelect; readonly h: readonly number[] };
}

const INT32 = { lo: -(1n << 31n), hi: (1n << 31n) - 1n };
const inInt32 = (x: bigint): boolean => x >= INT32.lo && x <= INT32.hi;
export const isInt32 = (x: number): boolean => (x | 0) === x;

/** Least and greatest Σ aᵢ·mᵢ over the box; [0, 0] for an empty one. */
export function productRange(m: readonly number[], ranges: readonly IntRange[]): Window {
  let lo = 0n;
  let hi = 0n;
  for (const [i, range] of ranges.entries()) {
    if (range.min > range.max) return { lo: 0n, hi: 0n };
    const factor = BigInt(m[i] as number);
    const ends = [BigInt(range.min) * factor, BigInt(range.max) * factor] as const;
    lo += minBig(...ends);
    hi += maxBig(...ends);
  }
  return { lo, hi };
}

/** Whether saturating narrowing to i16, a saturating add of h and narrowing to 8 bits keep every clamped result. */
export function narrowFor(lo: number, hi: number, h: readonly number[]): "i16" | "i32" {
  const bytes = lo >= 0 ? hi <= 255 : lo >= -128 && hi <= 127;
  const clear = (x: number) => x >= hi - 32767 && x <= lo + 32768 && x >= -32768 && x <= 32767;
  return bytes && h.every(clear) ? "i16" : "i32";
}

const intersect = (a: Window, b: Window): Window => ({ lo: maxBig(a.lo, b.lo), hi: minBig(a.hi, b.hi) });

const middle = (w: Window): bigint => (w.lo + w.hi) >> 1n;
const clampTo = (x: bigint, w: Window): bigint => (x < w.lo ? w.lo : x > w.hi ? w.hi : x);

/** [c] or [c, cUp] inside the windows and inside `allowed`, c ≤ cUp ≤ c + 2ⁿ, near the middle; null when impossible. */
function pickConstants(solution: ChannelSolution, n: number, allowed: Window): bigint[] | null {
  const [down, up] = solution.windows.map((w) => intersect(w, allowed));
  if (down === undefined || down.lo > down.hi) return null;
  const center = clampTo(middle(solution.windows[0] as Window), down);
  if (up === undefined) return [center];
  for (const c of [center, clampTo(up.hi, down)]) {
    const room = intersect(up, { lo: c, hi: c + (1n << BigInt(n)) });
    if (room.lo <= room.hi) return [c, clampTo(middle(solution.windows[1] as Window), room)];
  }
  return null;
}

interface Constants {
  readonly c: bigint[];
  readonly cUp: bigint[];
}

/** Constants of all channels, with v and v + h in int32 and each `allowed` interval respected; null when impossible. */
function constantsOf(
  solution: Solution,
  facts: TensorFacts,
  allowed: (products: Window) => Window,
): Constants | null {
  const n = BigInt(solution.n);
  const c: bigint[] = [];
  const cUp: bigint[] = [];
  for (const [i, channel] of solution.channels.entries()) {
    const products = productRange(channel.m, facts.ranges[i] as readonly IntRange[]);
    const picked = pickConstants(channel, solution.n, allowed(products));
    if (picked === null) return null;
    const h = BigInt(facts.tie?.h[i] ?? 0);
    const vMin = (products.lo + (picked[0] as bigint)) >> n;
    const vMax = (products.hi + (picked.at(-1) as bigint)) >> n;
    if (![vMin, vMax, vMin + h, vMax + h].every(inInt32)) return null;
    c.push(picked[0] as bigint);
    if (picked[1] !== undefined) cUp.push(picked[1]);
  }
  return { c, cUp };
}

/** Constants that keep Σ aᵢ·mᵢ + c within `bits` signed bits. */
const fitting =
  (bits: number) =>
  (products: Window): Window => ({
    lo: -(1n << BigInt(bits - 1)) - products.lo,
    hi: (1n << BigInt(bits - 1)) - 1n - products.hi,
  });

function base(solution: Solution, facts: TensorFacts, { c, cUp }: Constants) {
  const h = facts.tie?.h ?? solution.channels.map(() => 0);
  return {
    n: solution.n,
    lo: facts.lo,
    hi: facts.hi,
    h,
    narrow: narrowFor(facts.lo, facts.hi, h),
    m: solution.channels.map((x) => x.m),
    c,
    cUp,
    ...(facts.tie ? { form: "tie" as const, select: facts.tie.select } : { form: "floor" as const }),
  };
}

const wrap32 = (x: bigint): number => Number(BigInt.asIntN(32, x));

/** Class i32, or null when some channel overflows. */
export function toI32(solution: Solution, facts: TensorFacts): RescaleI32 | null {
  if (solution.n > 31) return null;
  if (!solution.channels.every((x) => x.m.every(isInt32))) return null;
  const constants = constantsOf(solution, facts, fitting(32));
  if (constants === null) return null;
  return {
    class: "i32",
    ...base(solution, facts, constants),
    c32: constants.c.map(wrap32),
    cUp32: constants.cUp.map(wrap32),
  };
}

/** Class limb in lanes of `width` bits, with the fewest low bits that fit, or null. */
export function toLimb(solution: Solution, facts: TensorFacts, width: 32 | 64): RescaleLimb | null {
  if (width === 32) {
    for (let L = 1; L <= Math.min(solution.n, 30); L++) {
      const rescale = limbs(solution, facts, width, L);
      if (rescale !== null) return rescale;
    }
    return null;
  }
  return limbs(solution, facts, width, 0) ?? limbs(solution, facts, width, Math.min(solution.n, 31));
}

function limbs(solution: Solution, facts: TensorFacts, width: 32 | 64, L: number): RescaleLimb | null {
  if (solution.n - L >= width) return null;
  const unit = 2 ** L;
  const m1 = solution.channels.map((x) => x.m.map((m) => Math.floor(m / unit)));
  const m0 = solution.channels.map((x, i) => x.m.map((m, j) => m - (m1[i]?.[j] as number) * unit));
  if (!m1.every((row) => row.every(isInt32))) return null;
  const laneMax = 1n << BigInt(width - 1);
  for (const [i, row] of m0.entries()) {
    const low = productRange(row, facts.ranges[i] as readonly IntRange[]);
    if (low.lo < -laneMax || low.hi + BigInt(unit) > laneMax) return null;
  }
  const constants = constantsOf(solution, facts, fitting(width + L));
  if (constants === null) return null;
  const bits = BigInt(L);
  const high = (c: bigint) => c >> bits;
  const low = (c: bigint) => c & ((1n << bits) - 1n);
  return {
    class: "limb",
    width,
    L,
    ...base(solution, facts, constants),
    m1,
    m0,
    c1: constants.c.map(high),
    c0: constants.c.map(low),
    c1Up: constants.cUp.map(high),
    c0Up: constants.cUp.map(low),
  };
}

/** Checks the finished constants against `inside` once more and returns them; a miss is a bug in the search. */
export function assertInside(rescale: Rescale, windows: readonly (readonly (Window | null)[])[]): void {
  for (const [i, [down, up]] of windows.entries()) {
    const c = rescale.c[i] as bigint;
    const above = rescale.cUp[i];
    const good =
      down &&
      c >= down.lo &&
      c <= down.hi &&
      (above === undefined || (up && above >= up.lo && above <= up.hi));
    if (!good) throw new Error(`rescale of channel ${i} lies outside its certified interval`);
  }
}
