import { isInt32, narrowFor, type TensorFacts } from "./lanes.ts";
import { exactWindowOf, type PointsProblem, type Problem } from "./problem.ts";
import type { ChannelSolution, Solution } from "./search.ts";
import type { Points } from "./steps.ts";
import type { IntRange, RescaleHi32 } from "./types.ts";

/**
 * Class hi32 has no room for an arbitrary c: it needs integers a0 and h with c = a0·m + h·2ⁿ, so the line of slope m / 2ⁿ must meet
 * output h at the integer −a0. The further h lies outside the outputs, the further the admissible slopes fan out
 * there, and the likelier they hold an integer. One h for all channels is tried first, then one per channel.
 */
const SHARED = [1, 0.93, 0.86, 0.79, 0.72, 0.65, 0.58, 0.5, 0.4, 0.3, 0.2, 0.1, 0.01];
const TRIES = 96;

/** Outputs h that a channel may use: narrowing stays exact and a0 stays inside int32. */
interface Reach {
  readonly low: number;
  readonly high: number;
}

/** One operand, floor form; null when no h tried suits every channel. */
export function toHi32(
  problems: readonly Problem[],
  solution: Solution,
  facts: TensorFacts,
): RescaleHi32 | null {
  const bytes = narrowFor(facts.lo, facts.hi, [0]) === "i16";
  const low = bytes ? Math.max(facts.hi - 32767, -32768) : -(2 ** 30);
  const high = bytes ? Math.min(facts.lo + 32768, 32767) : 2 ** 30;
  const channels: PointsProblem[] = [];
  const reaches: Reach[] = [];
  for (const [i, p] of problems.entries()) {
    if (p.kind !== "points" || p.slopes.length !== 1 || facts.tie) return null;
    const m = Math.abs((solution.channels[i] as ChannelSolution).m[0] as number);
    const slope = m / 2 ** solution.n;
    const { min, max } = rangeOf(facts, i);
    const room = 2 ** 31 - 2 ** 10 - Math.max(Math.abs(min), Math.abs(max));
    if (slope >= 0.5 || m >= 2 ** 31 || room <= 0) return null;
    const reach = p.constant === null ? room * slope : 2 ** 30;
    channels.push(p);
    reaches.push({ low: Math.max(low, -reach), high: Math.min(high, reach) });
  }
  const fanOf = (i: number, h: number): Fan | null => {
    const p = channels[i] as PointsProblem;
    return p.constant === null
      ? bestFan(p, solution.channels[i] as ChannelSolution, solution.n, rangeOf(facts, i), h)
      : constantFan(p.constant, rangeOf(facts, i), h, facts);
  };
  const common: Reach = {
    low: Math.max(...reaches.map((r) => r.low)),
    high: Math.min(...reaches.map((r) => r.high)),
  };
  for (const share of SHARED) {
    for (const h of [Math.ceil(common.low * share), Math.floor(common.high * share)]) {
      const fans = everyFan(channels.length, (i) => fanOf(i, h));
      const rescale = fans && emit(channels, fans, facts);
      if (rescale) return rescale;
    }
  }
  const fans = everyFan(channels.length, (i) => widestFan((h) => fanOf(i, h), reaches[i] as Reach));
  return fans && emit(channels, fans, facts);
}

function everyFan(count: number, fanOf: (channel: number) => Fan | null): Fan[] | null {
  const fans: Fan[] = [];
  for (let i = 0; i < count; i++) {
    const fan = fanOf(i);
    if (fan === null) return null;
    fans.push(fan);
  }
  return fans;
}

/** A fan that surely holds a multiplier at n = 32, else the widest of those tried from both ends of the reach. */
function widestFan(fanOf: (h: number) => Fan | null, { low, high }: Reach): Fan | null {
  let best: Fan | null = null;
  for (let i = 0; i < TRIES; i++) {
    const h = i % 2 === 0 ? Math.ceil(low * (1 - i / (2 * TRIES))) : Math.floor(high * (1 - i / (2 * TRIES)));
    const fan = fanOf(h);
    if (fan === null) continue;
    if (best === null || fan.high - fan.low > best.high - best.low) best = fan;
    if ((fan.high - fan.low) * 2 ** 32 >= 4) break;
  }
  return best;
}

/** The least n = 32 + k at which every fan holds an exact multiplier. */
function emit(
  problems: readonly PointsProblem[],
  fans: readonly Fan[],
  facts: TensorFacts,
): RescaleHi32 | null {
  for (let k = 0; k <= 31; k++) {
    const picked = pickAll(problems, fans, facts, k);
    if (picked === "too large") return null;
    if (picked !== null) return picked;
  }
  return null;
}

/** Admissible slopes (open at one end or the other; checked exactly later) for one pair (h, a0), or a constant's own multiplier. */
interface Fan {
  readonly h: number;
  readonly a0: number;
  readonly low: number;
  readonly high: number;
}

function bestFan(
  p: PointsProblem,
  channel: ChannelSolution,
  n: number,
  range: IntRange,
  h: number,
): Fan | null {
  const m = channel.m[0] as number;
  const window = channel.windows[0];
  if (window === undefined || m === 0) return null;
  const center = Math.round((Number(window.lo + window.hi) / 2 - h * 2 ** n) / m);
  let best: Fan | null = null;
  for (const a0 of [center, center - 1, center + 1, center - 2, center + 2]) {
    if (!isInt32(range.min + a0) || !isInt32(range.max + a0) || !isInt32(a0)) continue;
    const fan = { h, a0, low: -1, high: 1 };
    narrowSlopes(fan, p.constraints.lower, h, 1);
    narrowSlopes(fan, p.constraints.upper, h, -1);
    if (fan.low <= fan.high && (best === null || fan.high - fan.low > best.high - best.low)) best = fan;
  }
  return best;
}

/** Intersects the slopes s with (a + a0)·s ≥ k − h (side 1) or < k − h (side −1, closed here) over all points. */
function narrowSlopes(
  fan: { a0: number; low: number; high: number },
  list: Points,
  h: number,
  side: 1 | -1,
): void {
  for (let i = 0; i < list.k.length; i++) {
    const x = side * ((list.a[i] as number) + fan.a0);
    const d = side * ((list.k[i] as number) - h);
    if (x > 0) fan.low = Math.max(fan.low, d / x);
    else if (x < 0) fan.high = Math.min(fan.high, d / x);
    else if (d > 0) fan.low = Number.POSITIVE_INFINITY;
  }
}

/**
 * A channel with one output y needs (a + a0)·s in [y − h, y − h + 1) over its whole range: a slope gentle enough for the range, with
 * a0 near 2^27 where the range allows. Where y saturates, s = 0 may do.
 */
function constantFan(y: number, range: IntRange, h: number, facts: TensorFacts): Fan | null {
  const v = y - h;
  if (v === 0 || (y === facts.lo && v >= 0) || (y === facts.hi && v <= 0))
    return { h, a0: 0, low: 0, high: 0 };
  const span = Math.max(0, range.max - range.min) + 1;
  const s = Math.min(0.5 / span, Math.abs(v) * 2 ** -27);
  const first = range.min <= range.max ? range.min : 0;
  const a0 = Math.round((v + 0.25) / s) - first;
  if (!isInt32(first + a0) || !isInt32(first + span - 1 + a0) || !isInt32(a0)) return null;
  return { h, a0, low: (v + 0.01) / (first + a0), high: (v + 0.99) / (first + span - 1 + a0) };
}

function pickAll(
  problems: readonly PointsProblem[],
  fans: readonly Fan[],
  facts: TensorFacts,
  k: number,
): RescaleHi32 | "too large" | null {
  const n = 32 + k;
  const unit = 2 ** n;
  const m: number[][] = [];
  const c: bigint[] = [];
  for (const [i, { h, a0, low, high }] of fans.entries()) {
    const pick = Math.round(((low + high) / 2) * unit);
    if (Math.abs(pick) >= 2 ** 31) return "too large";
    if (!valid(problems[i] as PointsProblem, pick, a0, h, n, rangeOf(facts, i), facts)) return null;
    m.push([pick === 0 ? 0 : pick]);
    c.push(constantOf(pick, a0, h, n));
  }
  const h = fans.map((x) => x.h);
  return {
    class: "hi32",
    form: "floor",
    n,
    k,
    lo: facts.lo,
    hi: facts.hi,
    h,
    narrow: narrowFor(facts.lo, facts.hi, h),
    m,
    c,
    cUp: [],
    a0: fans.map((x) => x.a0),
  };
}

const rangeOf = (facts: TensorFacts, channel: number): IntRange =>
  (facts.ranges[channel] as readonly [IntRange])[0];

const constantOf = (m: number, a0: number, h: number, n: number): bigint =>
  BigInt(a0) * BigInt(m) + (BigInt(h) << BigInt(n));

/** Exact check of one channel. Constants are checked at both ends of their range instead of by thresholds. */
function valid(
  p: PointsProblem,
  m: number,
  a0: number,
  h: number,
  n: number,
  range: IntRange,
  facts: TensorFacts,
): boolean {
  const c = constantOf(m, a0, h, n);
  const clamp = (x: bigint) =>
    x < BigInt(facts.lo) ? facts.lo : x > BigInt(facts.hi) ? facts.hi : Number(x);
  const ends = range.min <= range.max ? [range.min, range.max] : [];
  const values = ends.map((a) => (BigInt(a) * BigInt(m) + c) >> BigInt(n));
  if (!values.every((v) => v >= -(1n << 31n) && v < 1n << 31n)) return false;
  if (p.constant !== null) return values.every((v) => clamp(v) === p.constant);
  const window = exactWindowOf(p, [m], n);
  return window !== null && c >= window.lo && c <= window.hi;
}
