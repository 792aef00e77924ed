import { bitLength, isInteger, type Rational } from "../rational.ts";
import { tieRules } from "./boundary.ts";
import { counterexample, overflow } from "./counterexample.ts";
import { toHi32 } from "./hi32.ts";
import { assertInside, isInt32, type TensorFacts, toI32, toLimb } from "./lanes.ts";
import { buildProblem, exactWindowOf, hasTies, mixedTies, type Problem, shiftAfter } from "./problem.ts";
import { type Channel, MAX_SHIFT, search } from "./search.ts";
import type {
  Certificate,
  Certified,
  CertifyOptions,
  IntRange,
  RequantSpec,
  Rescale,
  RescaleClass,
} from "./types.ts";
import { solveWide } from "./wide.ts";

/** Shifts tried for a single constant when boundaries round both ways: only a tilt of the slope can help, and it shows early. */
const TILT_SHIFT = 40;

/** Operands beyond which a search among the narrower classes is not worth its time. */
const MANY = 8;

const CLASSES: readonly RescaleClass[] = ["i32", "hi32", "limb", "wide"];

/**
 * Finds integers that reproduce `specs[channel]` for every accumulator in `ranges[channel]` (one range per operand), in the cheapest
 * class in which all channels certify, or a counterexample. lo, hi, rounding and order must be equal in all channels.
 * One operand is decided exactly; two operands too while one has at most 1,024 values. Everything else is decided by the common
 * denominator, which is sufficient only, or by the exact sum of the products (class wide), whose thresholds decide it. Throws RangeError on malformed specs (a bug in the caller).
 */
export function certify(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  options: CertifyOptions = {},
): Certified {
  checkSpecs(specs, ranges);
  const bad = overflow(specs, ranges);
  if (bad !== null) return { ok: false, counterexample: bad };
  const [{ lo, hi }] = specs as readonly [RequantSpec];
  const facts: TensorFacts = { ranges, lo, hi };
  const tried = new Set(options.classes ?? CLASSES);

  // Of many operands the exact sum is the sooner found, and no slower.
  const many = specs[0]!.scales.length > MANY && tried.has("wide") ? solveWide(specs, ranges) : null;
  if (many !== null && typeof many !== "string")
    return { ok: true, rescale: many.rescale, certificate: many.certificate };

  const floor = specs.map((spec, i) =>
    buildProblem(spec, ranges[i] as readonly IntRange[], spec.rounding, shiftAfter(spec), lo, hi),
  );
  const complete = floor.every((p) => p !== null);
  const limit = floor.some((p) => p !== null && mixedTies(p)) ? TILT_SHIFT : MAX_SHIFT;
  const single = complete
    ? search(
        floor.map((p): Channel => [p]),
        limit,
      )
    : { failed: floor.indexOf(null) };
  const solved = "n" in single ? single : null;

  const direct =
    complete && solved
      ? ((tried.has("i32") ? toI32(solved, facts) : null) ??
        (tried.has("hi32") ? toHi32(floor, solved, facts) : null) ??
        (tried.has("limb") ? toLimb(solved, facts, 32) : null))
      : null;
  if (direct !== null)
    return finish(
      direct,
      floor.map((p): Channel => [p as Problem]),
      ranges,
    );

  const tied = solved === null || limit === TILT_SHIFT ? tieChannels(specs, ranges) : null;
  const pair = tied ? search(tied.channels) : null;
  const pairSolved = tied && pair && "n" in pair ? pair : null;
  if (tied && pairSolved) {
    const rescale =
      (tried.has("i32") ? toI32(pairSolved, { ...facts, tie: tied.tie }) : null) ??
      (tried.has("limb") ? toLimb(pairSolved, { ...facts, tie: tied.tie }, 32) : null);
    if (rescale !== null) return finish(rescale, tied.channels, ranges);
  }
  if (tried.has("limb")) {
    const wide = solved ? toLimb(solved, facts, 64) : null;
    if (wide !== null)
      return finish(
        wide,
        floor.map((p): Channel => [p as Problem]),
        ranges,
      );
    const wideTie = tied && pairSolved ? toLimb(pairSolved, { ...facts, tie: tied.tie }, 64) : null;
    if (tied && wideTie !== null) return finish(wideTie, tied.channels, ranges);
  }
  const sum = many ?? (tried.has("wide") ? solveWide(specs, ranges) : null);
  if (sum !== null && typeof sum !== "string")
    return { ok: true, rescale: sum.rescale, certificate: sum.certificate };
  const failed = "failed" in single ? single.failed : 0;
  const reason =
    sum ??
    ((solved ?? pairSolved)
      ? `no lane of class ${[...tried].join(", ")} holds the products`
      : "no multiplier and shift reproduce every rounding");
  return { ok: false, counterexample: counterexample(specs, ranges, floor, failed, solved, reason) };
}

/** The two problems of the tie form per channel; null for rules that have none. */
function tieChannels(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
): { channels: Channel[]; tie: NonNullable<TensorFacts["tie"]> } | null {
  const [{ rounding, lo, hi }] = specs as readonly [RequantSpec];
  const rules = tieRules(rounding);
  if (rules === null) return null;
  const h = specs.map(shiftAfter);
  const channels: Channel[] = [];
  for (const [i, spec] of specs.entries()) {
    const after = shiftAfter(spec);
    // One step more on either side: down and up are then exact wherever the result does not saturate, not only their choice.
    const build = (rule: typeof rules.down) =>
      buildProblem(spec, ranges[i] as readonly IntRange[], rule, 0, lo - after - 1, hi - after + 1);
    const down = build(rules.down);
    const up = build(rules.up);
    if (down === null || up === null) return null;
    channels.push([down, up]);
  }
  return { channels, tie: { select: rules.select, h } };
}

/** Re-checks every constant in BigInt and adds the certificate. */
function finish(
  rescale: Rescale,
  channels: readonly Channel[],
  ranges: readonly (readonly IntRange[])[],
): Certified {
  const windows = channels.map((channel, i) =>
    channel.map((p) => exactWindowOf(p, rescale.m[i] as readonly number[], rescale.n)),
  );
  const plain = windows.map((row, i) =>
    rescale.class === "hi32" && channels[i]?.[0].constant !== null
      ? [{ lo: rescale.c[i] as bigint, hi: rescale.c[i] as bigint }]
      : row,
  );
  assertInside(rescale, plain);
  const certificate: Certificate = {
    class: rescale.class,
    form: rescale.form,
    n: rescale.n,
    mBits: Math.max(...rescale.m.map((row) => Math.max(...row.map((m) => bitLength(BigInt(m)))))),
    windowBits: Math.max(...channels.map(([p]) => windowBits(p))),
    accBits: Math.max(...ranges.map((row) => Math.max(...row.map((r) => signedBits(r.min, r.max))))),
    ties: channels.some((channel) => channel.some(hasTies)),
    intervals: plain.map(([down]) => down ?? { lo: 1n, hi: 0n }),
  };
  return { ok: true, rescale, certificate };
}

function windowBits(p: Problem): number {
  if (p.kind === "lattice") return Math.max(...p.ranges.map((r) => signedBits(r.min, r.max)));
  return signedBits(p.constraints.window.min, p.constraints.window.max);
}

/** Bits of the smallest two's complement integer type that holds both. */
function signedBits(min: number, max: number): number {
  const magnitude = Math.max(min < 0 ? -min - 1 : min, max < 0 ? -max - 1 : max);
  return bitLength(BigInt(magnitude)) + 1;
}

function checkSpecs(specs: readonly RequantSpec[], ranges: readonly (readonly IntRange[])[]): void {
  const first = specs[0];
  if (first === undefined || specs.length !== ranges.length) {
    throw new RangeError("certify needs one range list per channel and at least one channel");
  }
  const whole = (x: Rational) => isInteger(x) && Number.isSafeInteger(Number(x.num));
  for (const [i, spec] of specs.entries()) {
    const { lo, hi, rounding, order, scales, zeroPoint } = spec;
    if (lo !== first.lo || hi !== first.hi || rounding !== first.rounding || order !== first.order) {
      throw new RangeError("channels of one tensor share lo, hi, rounding and order");
    }
    if (!isInt32(lo) || !isInt32(hi) || lo > hi) throw new RangeError(`bad output range [${lo}, ${hi}]`);
    if (scales.length < 1 || ranges[i]?.length !== scales.length) {
      throw new RangeError("a requantization has operands, each with a range");
    }
    if (order === "round_then_shift" && !whole(zeroPoint)) {
      throw new RangeError("round_then_shift needs an integer zero point");
    }
  }
}
