/**
 * Second, independent opinion on rescale certificates: plain data in, first difference out. Imports nothing of the compiler.
 *
 * The exact function and the integer form are both monotone in one operand, so they are equal on a range iff they agree at
 * both ends of every plateau of the exact function; plateaus are found by bisection on the exact function itself.
 */

export interface Fraction {
  readonly num: bigint;
  readonly den: bigint;
}

export interface ExactMap {
  readonly scales: readonly Fraction[];
  readonly offset: Fraction;
  readonly zeroPoint: Fraction;
  readonly lo: number;
  readonly hi: number;
  readonly rounding: string;
  readonly order: string;
}

/** The manifest's record of a rescale. */
export interface IntegerForm {
  readonly class: string;
  readonly form: string;
  readonly select?: string;
  readonly n: number;
  readonly lo: number;
  readonly hi: number;
  readonly h: readonly number[];
  readonly narrow: string;
  readonly m: readonly (readonly number[])[];
  readonly c: readonly string[];
  readonly cUp?: readonly string[];
  readonly k?: number;
  readonly a0?: readonly number[];
  readonly width?: number;
  readonly L?: number;
  /** Constants as kernels add them, of class i32 and of the two limbs. */
  readonly c32?: readonly number[];
  readonly c1?: readonly bigint[];
  readonly c0?: readonly bigint[];
  /** Class wide: multiplier of the sum, and limbs of 30 bits, least first, of the constants. */
  readonly w?: readonly (string | bigint)[];
  readonly cLimbs?: readonly (readonly (string | bigint)[])[];
  readonly mLimbs?: readonly unknown[];
  readonly ranges: readonly (readonly (readonly [number, number])[])[];
}

export interface Difference {
  readonly channel: number;
  readonly reason: string;
  readonly a?: readonly bigint[];
}

const floorDiv = (p: bigint, q: bigint): bigint => (p - (((p % q) + q) % q)) / q;
const bits = (x: bigint, count: bigint): boolean => x >= -(1n << (count - 1n)) && x < 1n << (count - 1n);
const min = (a: bigint, b: bigint): bigint => {
  if (a < b) return a;
  return b;
};
const max = (a: bigint, b: bigint): bigint => -min(-a, -b);

/** Rounds p / q, q > 0. */
export function roundFraction(p: bigint, q: bigint, rule: string): bigint {
  const magnitude = p < 0n ? -p : p;
  const sign = p < 0n ? -1n : 1n;
  const whole = magnitude / q;
  const rest = magnitude % q;
  const away = (condition: boolean) => sign * (condition ? whole + 1n : whole);
  switch (rule) {
    case "half_even":
      return away(2n * rest > q || (2n * rest === q && whole % 2n === 1n));
    case "half_up":
      return away(2n * rest >= q);
    case "half_down":
      return away(2n * rest > q);
    case "up":
      return away(rest > 0n);
    case "down":
      return sign * whole;
    case "ceil":
      return away(sign > 0n && rest > 0n);
    case "floor":
      return away(sign < 0n && rest > 0n);
    default:
      throw new Error(`unknown rounding ${rule}`);
  }
}

/** The specification over one common denominator. */
function exactFunction(spec: ExactMap): (a: readonly bigint[]) => bigint {
  const q = [...spec.scales, spec.offset, spec.zeroPoint].reduce((d, x) => d * x.den, 1n);
  const over = (x: Fraction) => (x.num * q) / x.den;
  const scales = spec.scales.map(over);
  const before = over(spec.offset) + (spec.order === "shift_then_round" ? over(spec.zeroPoint) : 0n);
  const after = spec.order === "round_then_shift" ? spec.zeroPoint.num / spec.zeroPoint.den : 0n;
  return (a) => {
    const w = scales.reduce((sum, s, i) => sum + s * (a[i] as bigint), before);
    return min(max(roundFraction(w, q, spec.rounding) + after, BigInt(spec.lo)), BigInt(spec.hi));
  };
}

/** Per operand. */
const multipliers = (r: IntegerForm, channel: number): bigint[] =>
  (r.m[channel] as readonly number[]).map((x) => BigInt(x) * BigInt(r.w?.[channel] ?? 1));

/** The integer form as mathematics; lane limits are checked separately. */
function integerFunction(r: IntegerForm, channel: number): (a: readonly bigint[]) => bigint {
  const m = multipliers(r, channel);
  const c = BigInt(r.c[channel] as string);
  const unit = 1n << BigInt(r.n);
  const clamp = (v: bigint) => min(max(v, BigInt(r.lo)), BigInt(r.hi));
  const quotient = (a: readonly bigint[], constant: bigint) =>
    floorDiv(
      m.reduce((sum, x, i) => sum + x * (a[i] as bigint), constant),
      unit,
    );
  if (r.form === "floor") return (a) => clamp(quotient(a, c));
  const cUp = BigInt(r.cUp?.[channel] as string);
  return (a) => {
    const down = quotient(a, c);
    const up = quotient(a, cUp);
    const takeUp = r.select === "odd" ? down % 2n !== 0n : r.select === "negative" ? down < 0n : down >= 0n;
    return clamp((takeUp ? up : down) + BigInt(r.h[channel] as number));
  };
}

/** Checks every channel; null when the certificate holds. */
export function checkRescale(specs: readonly ExactMap[], r: IntegerForm): Difference | null {
  for (const [channel, spec] of specs.entries()) {
    const ranges = (r.ranges[channel] as readonly (readonly [number, number])[]).map(
      ([from, to]) => [BigInt(from), BigInt(to)] as const,
    );
    if (spec.lo !== r.lo || spec.hi !== r.hi) return { channel, reason: "clamp differs" };
    if (ranges.some(([from, to]) => from > to)) continue;
    const lanes = checkLanes(r, channel, ranges);
    if (lanes !== null) return { channel, reason: lanes };
    const a = spec.lo === spec.hi ? null : compare(spec, r, channel, ranges);
    if (a !== null) return { channel, reason: "wrong output", a };
  }
  return null;
}

type Box = readonly (readonly [bigint, bigint])[];

function compare(spec: ExactMap, r: IntegerForm, channel: number, box: Box): bigint[] | null {
  if (r.class === "wide")
    return spec.hi - spec.lo > 4096 && compareByDenominator(spec, r, channel, box) === null
      ? null
      : compareSum(spec, r, channel, box);
  const exact = exactFunction(spec);
  const integer = integerFunction(r, channel);
  if (box.length > 2) {
    const points = box.reduce((n, [from, to]) => n * (to - from + 1n), 1n);
    if (points > 65_536n) return compareByDenominator(spec, r, channel, box);
    return pointsOf(box).find((a) => exact(a) !== integer(a)) ?? null;
  }
  const [[from, to], second] = box as readonly [readonly [bigint, bigint], (readonly [bigint, bigint])?];
  if (second === undefined) {
    const steps = exact([to]) - exact([from]);
    return max(steps, -steps) > 1n << 18n
      ? compareByDenominator(spec, r, channel, box)
      : compareRow(exact, integer, from, to, []);
  }
  const size = second[1] - second[0] + 1n;
  if (size > 65_536n || (size > 256n && to - from > 256n)) return compareByDenominator(spec, r, channel, box);
  for (let b = second[0]; b <= second[1]; b++) {
    const a = compareRow(exact, integer, from, to, [b]);
    if (a !== null) return a;
  }
  return null;
}

const pointsOf = (box: Box): bigint[][] =>
  box.reduce<bigint[][]>(
    (list, [from, to]) =>
      list.flatMap((p) => Array.from({ length: Number(to - from) + 1 }, (_, i) => [...p, from + BigInt(i)])),
    [[]],
  );

/**
 * Scales in the proportion of the factors make the exact function one of the sum A = Σ a·m too: both step where A does. Returns the
 * factors where the proportion is another, or an offending sum.
 */
function compareSum(spec: ExactMap, r: IntegerForm, channel: number, box: Box): bigint[] | null {
  const factors = (r.m[channel] as readonly number[]).map(BigInt);
  const live = factors.findIndex((f) => f !== 0n);
  const scale = spec.scales[Math.max(0, live)] as Fraction;
  const factor = live < 0 ? 1n : (factors[live] as bigint);
  const step: Fraction =
    live < 0
      ? { num: 0n, den: 1n }
      : factor < 0n
        ? { num: -scale.num, den: -scale.den * factor }
        : { num: scale.num, den: scale.den * factor };
  for (const [i, s] of spec.scales.entries()) {
    const [from, to] = box[i] as readonly [bigint, bigint];
    const idle = from === 0n && to === 0n;
    if (!idle && s.num * step.den !== (factors[i] as bigint) * step.num * s.den) return factors;
  }
  const [low, high] = span(factors, box);
  const sum: ExactMap = { ...spec, scales: [step] };
  const one: IntegerForm = { ...r, m: r.m.map(() => [1]) };
  return compareRow(exactFunction(sum), integerFunction(one, channel), low, high, []);
}

/** Least and greatest Σ a·f over the box. */
const span = (factors: readonly bigint[], box: Box): [bigint, bigint] =>
  factors.reduce<[bigint, bigint]>(
    ([low, high], f, i) => {
      const [p, q] = box[i] as readonly [bigint, bigint];
      return [low + min(p * f, q * f), high + max(p * f, q * f)];
    },
    [0n, 0n],
  );

function compareRow(
  exact: (a: readonly bigint[]) => bigint,
  integer: (a: readonly bigint[]) => bigint,
  from: bigint,
  to: bigint,
  rest: readonly bigint[],
): bigint[] | null {
  let start = from;
  while (start <= to) {
    const y = exact([start, ...rest]);
    let good = start;
    let bad = to + 1n;
    // Most plateaus are short, so widen before bisecting.
    for (let step = 1n; good + step < bad; step *= 2n) {
      if (exact([good + step, ...rest]) !== y) {
        bad = good + step;
        break;
      }
      good += step;
    }
    while (bad - good > 1n) {
      const middle = good + (bad - good) / 2n;
      if (exact([middle, ...rest]) === y) good = middle;
      else bad = middle;
    }
    for (const a of [start, good]) if (integer([a, ...rest]) !== y) return [a, ...rest];
    start = good + 1n;
  }
  return null;
}

/**
 * Too many steps to visit: with W = Σ aS + B a multiple of 1/D, the affine error of each quotient, largest at a corner of the box, must stay
 * below the distance from W to the next boundary. Returns the offending corner.
 */
function compareByDenominator(spec: ExactMap, r: IntegerForm, channel: number, box: Box): bigint[] | null {
  const before = spec.order === "shift_then_round";
  const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? max(a, -a) : gcd(b, a % b));
  const D = [...spec.scales, spec.offset, ...(before ? [spec.zeroPoint] : [])].reduce(
    (d, x) => (d / gcd(d, x.den)) * x.den,
    2n,
  );
  const over = (x: Fraction) => (x.num * D) / x.den;
  const unit = 1n << BigInt(r.n);
  const w = (a: readonly bigint[]) =>
    spec.scales.reduce((sum, s, i) => sum + over(s) * (a[i] as bigint), over(spec.offset)) +
    (before ? over(spec.zeroPoint) : 0n);
  const after = before ? 0n : spec.zeroPoint.num / spec.zeroPoint.den;
  const m = multipliers(r, channel);
  /** The corners of the box at which Σ a·f is least and greatest. */
  const extremes = (factors: readonly bigint[]): bigint[][] =>
    [false, true].map((greatest) =>
      box.map(([from, to], i) => ((factors[i] as bigint) > 0n === greatest ? to : from)),
    );
  const slopes = m.map((x, i) => x * D - over(spec.scales[i] as Fraction) * unit);
  /** Error of (Σ a·m + c) / 2ⁿ against W + τ (+ shift), in units of 1 / (D·2ⁿ). */
  const errors = (c: string, tau: bigint, shift: bigint) =>
    extremes(slopes).map((a) => {
      const v = a.reduce((sum, x, i) => sum + x * (m[i] as bigint), BigInt(c));
      return { a, error: v * D - (w(a) + tau + shift * D) * unit };
    });
  const corners = extremes(spec.scales.map(over));
  /** Corner at which ⌊(Σ a·m + c) / 2ⁿ⌋ may differ from the one-sided rule. */
  const miss = (c: string, rule: string, shift: bigint) => {
    const tau = rule === "floor" ? 0n : rule === "ceil" ? D : D / 2n;
    const steps = spec.scales.map(over).reduce(gcd, D);
    const reachable = (w(corners[0] as bigint[]) + tau) % steps === 0n;
    const up = rule === "floor" || rule === "tie_up";
    const from = reachable && up ? 0n : -1n;
    const to = reachable && !up ? 0n : 1n;
    return errors(c, tau, shift).find(({ error }) => error < from * unit || error >= to * unit)?.a ?? null;
  };
  const nearest = spec.rounding.startsWith("half");
  const c = r.c[channel] as string;
  if (r.form === "tie") {
    const up = r.cUp?.[channel] as string;
    return miss(c, nearest ? "tie_down" : "floor", 0n) ?? miss(up, nearest ? "tie_up" : "ceil", 0n);
  }
  const positive = corners.every((a) => w(a) >= 0n);
  const negative = corners.every((a) => w(a) <= 0n);
  const either = (x: string, y: string) => (positive ? x : negative ? y : null);
  if (!nearest) {
    const rules: Record<string, string | null> = {
      up: either("ceil", "floor"),
      down: either("floor", "ceil"),
    };
    const rule = spec.rounding in rules ? (rules[spec.rounding] as string | null) : spec.rounding;
    return rule === null ? (corners[0] as bigint[]) : miss(c, rule, after);
  }
  if (miss(c, "tie_up", after) === null && miss(c, "tie_down", after) === null) return null;
  const rules: Record<string, string | null> = {
    half_up: either("tie_up", "tie_down"),
    half_down: either("tie_down", "tie_up"),
  };
  const rule = rules[spec.rounding] ?? null;
  return rule === null ? (corners[0] as bigint[]) : miss(c, rule, after);
}

/** What is added before the shift, where the form says so. */
function addedConstant(r: IntegerForm, channel: number): bigint | undefined {
  const [c32, c1, c0] = [r.c32?.[channel], r.c1?.[channel], r.c0?.[channel]];
  if (r.class === "i32" && c32 !== undefined) return BigInt(c32);
  if (r.class === "wide")
    return r.cLimbs?.reduce(
      (sum, limb, l) => sum + (BigInt(limb[channel] as string | bigint) << BigInt(30 * l)),
      0n,
    );
  return c1 === undefined || c0 === undefined ? undefined : (c1 << BigInt(r.L as number)) + c0;
}

/** Ranges of every intermediate of the class's recipe; a reason or null. */
function checkLanes(r: IntegerForm, channel: number, box: Box): string | null {
  const m = multipliers(r, channel);
  const constants = [r.c[channel] as string, ...(r.form === "tie" ? [r.cUp?.[channel] as string] : [])].map(
    BigInt,
  );
  const [c, cUp] = constants as [bigint, bigint | undefined];
  if (cUp !== undefined && (cUp < c || cUp > c + (1n << BigInt(r.n)))) return "up and down too far apart";
  const [low, high] = span(m, box);
  const h = BigInt(r.h[channel] as number);
  // The constant of a floor counts what is added after the shift.
  const after = r.form === "floor" ? h << BigInt(r.n) : 0n;
  const sums = constants.flatMap((x) => [low + x - after, high + x - after]);
  const v = sums.map((s) => floorDiv(s, 1n << BigInt(r.n)));
  if (!v.every((x) => bits(x, 32n) && bits(x + h, 32n))) return "quotient exceeds 32 bits";
  if (r.narrow === "i16") {
    const sat = (x: bigint) => min(max(x, -32768n), 32767n);
    const clamp = (x: bigint) => min(max(x, BigInt(r.lo)), BigInt(r.hi));
    if (!bits(h, 16n)) return "h exceeds 16 bits";
    if (r.lo < -128 || r.hi > 255 || (r.lo < 0 && r.hi > 127)) return "output exceeds 8 bits";
    for (const x of [...v, -32769n, 32768n]) {
      if (clamp(sat(sat(x) + h)) !== clamp(x + h)) return "narrowing changes an output";
    }
  }
  const lane = r.class === "i32" ? 32 : r.class === "wide" ? 128 : 64;
  if (after !== 0n && r.class !== "hi32" && addedConstant(r, channel) !== BigInt.asIntN(lane, c - after))
    return "c is not what is added before and after the shift";
  switch (r.class) {
    case "i32":
      return r.n <= 31 && sums.every((s) => bits(s, 32n)) && m.every((x) => bits(x, 32n))
        ? null
        : "sum exceeds 32 bits";
    case "hi32": {
      const a0 = BigInt(r.a0?.[channel] as number);
      const [from, to] = box[0] as readonly [bigint, bigint];
      if (r.form !== "floor" || r.n !== 32 + (r.k as number) || (r.k as number) > 31) return "bad shift";
      if (c !== a0 * (m[0] as bigint) + after) return "c is not a0·m + h·2ⁿ";
      if (!bits(m[0] as bigint, 32n)) return "m exceeds 32 bits";
      return bits(from + a0, 32n) && bits(to + a0, 32n) && bits(a0, 32n) ? null : "a + a0 exceeds 32 bits";
    }
    case "limb": {
      const L = BigInt(r.L as number);
      const width = BigInt(r.width as number);
      const m1 = m.map((x) => floorDiv(x, 1n << L));
      const m0 = m.map((x, i) => x - ((m1[i] as bigint) << L));
      const [lowMin, lowMax] = span(m0, box);
      const limit = (1n << L) - 1n;
      if (![...m1, ...m0].every((x) => bits(x, 32n))) return "limb of m exceeds 32 bits";
      if (!bits(lowMin, width) || !bits(lowMax + limit, width)) return "low sum overflows";
      if (!sums.every((s) => bits(floorDiv(s, 1n << L), width))) return "high sum overflows";
      return BigInt(r.n) - L < width ? null : "shift exceeds the lane";
    }
    case "wide":
      return checkWide(r, channel, box, c);
    default:
      return `unknown class ${r.class}`;
  }
}

/** Limbs of 30 bits: with two or three limbs of the sum and of its multiplier no sum of products leaves 64 bits. */
function checkWide(r: IntegerForm, channel: number, box: Box, c: bigint): string | null {
  const factors = (r.m[channel] as readonly number[]).map(BigInt);
  const w = BigInt(r.w?.[channel] as string | bigint);
  const ends = box.map(([from, to]) => max(max(from, -from), max(to, -to)));
  const size = factors.reduce((sum, f, i) => sum + max(f, -f) * (ends[i] as bigint), 0n);
  const own = BigInt(r.mLimbs?.length ?? (wideSum(r) ? 3 : 2));
  if (size >= 1n << (30n * own)) return "the exact sum exceeds its limbs";
  if (factors.some((f) => max(f, -f) >= 1n << (30n * own))) return "a factor exceeds its limbs";
  if (ends.reduce((sum, a) => sum + a, 0n) > 1n << 32n) return "products with a limb exceed the lane";
  if (!box.flat().every((a) => bits(a, 32n))) return "an operand exceeds 32 bits";
  const count = r.cLimbs
    ? BigInt(r.cLimbs.length)
    : BigInt(r.n >= 30 * (Number(own) + 1) ? own + 2n : own + 1n);
  const limbs = count - own + 1n;
  if (limbs < 2n || limbs > 3n || w < 0n || w >= 1n << (30n * limbs - 1n)) return "w exceeds its limbs";
  const last = 30n * (count - 1n);
  const tops = [c, ...(r.form === "tie" ? [BigInt(r.cUp?.[channel] as string)] : [])].map((x) =>
    floorDiv(x, 1n << last),
  );
  // Products with the last limb of the sum are below 2^61, of which there is one, others below 2^60, of which there are two.
  if (!tops.every((x) => bits(x, 62n))) return "the top limb of c exceeds the lane";
  const lower = (r.cLimbs ?? []).slice(0, -1).map((limb) => BigInt(limb[channel] as string | bigint));
  if (lower.some((x) => x < 0n || x >= 1n << 30n)) return "a limb of c exceeds 30 bits";
  const shift = BigInt(r.n) - last;
  return shift >= 0n && shift < 64n ? null : "shift exceeds the lane";
}

/** Whether some channel's exact sum needs three limbs; all channels then have three. */
const wideSum = (r: IntegerForm): boolean =>
  r.m.some((row, c) => {
    const ranges = r.ranges[c] as readonly (readonly [number, number])[];
    const size = row.reduce((sum, f, i) => {
      const [from, to] = ranges[i] as readonly [number, number];
      const most = BigInt(Math.max(Math.abs(from), Math.abs(to)));
      const factor = BigInt(f);
      return sum + max(factor, -factor) * most;
    }, 0n);
    return size >= 1n << 58n || row.some((f) => Math.abs(f) >= 2 ** 58);
  });
