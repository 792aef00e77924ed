/** Certified requantizations of every class and form, from random real multipliers. */
import { rational } from "../../compiler/ir/rational.ts";
import {
  certify,
  type IntRange,
  type RequantSpec,
  type Rescale,
  type RescaleClass,
} from "../../compiler/ir/rescale/index.ts";

export type Random = (n: number) => number;

/** Deterministic integers in 0 … n − 1. */
export function randomFrom(seed: number): Random {
  let state = (Math.imul(seed, 0x9e3779b1) + 0x7f4a7c15) >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

/** Class and form, and the lane width of class limb. */
export type Kind = "i32" | "hi32" | "limb32" | "limb64" | "wide" | "tie";
export const KINDS: readonly Kind[] = ["i32", "hi32", "limb32", "limb64", "wide", "tie"];

export interface RescaleRequest {
  readonly kind: Kind;
  readonly channels: number;
  /** Whether multipliers differ between channels. */
  readonly perChannel: boolean;
  /** One per operand. */
  readonly ranges: readonly IntRange[];
  readonly lo: number;
  readonly hi: number;
}

const classes: { readonly [K in Kind]: readonly RescaleClass[] } = {
  i32: ["i32"],
  hi32: ["hi32"],
  limb32: ["limb"],
  limb64: ["limb"],
  wide: ["wide"],
  tie: ["i32", "limb"],
};

const isKind = (r: Rescale, kind: Kind): boolean =>
  kind === "tie"
    ? r.form === "tie"
    : kind === "limb32" || kind === "limb64"
      ? r.class === "limb" && r.form === "floor" && r.width === (kind === "limb32" ? 32 : 64)
      : r.class === kind && r.form === "floor";

function randomSpec(random: Random, q: RescaleRequest): RequantSpec {
  const span = Math.max(...q.ranges.map((r) => r.max - r.min)) + 1;
  const tie = q.kind === "tie";
  const scales = q.ranges.map(() => {
    const sign = random(4) === 0 ? -1n : 1n;
    if (tie)
      return rational(sign * BigInt(1 + 2 * random(2)), BigInt(2 * Math.ceil(span / (q.hi - q.lo + 1))));
    const mantissa = BigInt(2 ** 23 + random(2 ** 23));
    return rational(sign * mantissa * BigInt(q.hi - q.lo + 1), BigInt(span) * 2n ** BigInt(23 + random(3)));
  });
  const zero = q.lo + random(q.hi - q.lo + 1);
  return {
    scales,
    offset: tie ? rational(0n) : rational(BigInt(random(2 ** 20) - 2 ** 19), 2n ** 14n),
    zeroPoint: rational(BigInt(zero)),
    lo: q.lo,
    hi: q.hi,
    rounding: "half_even",
    order: "round_then_shift",
  };
}

/** A rescale of the wanted kind, or undefined when none of a few random ones certifies as such. */
export function randomRescale(random: Random, q: RescaleRequest): Rescale | undefined {
  for (let attempt = 0; attempt < 3; attempt++) {
    const first = randomSpec(random, q);
    const specs = Array.from({ length: q.channels }, () => {
      if (!q.perChannel) return first;
      const other = randomSpec(random, q);
      return q.kind === "tie" ? { ...other, zeroPoint: first.zeroPoint } : other;
    });
    const result = certify(
      specs,
      specs.map(() => q.ranges),
      { classes: classes[q.kind] },
    );
    if (result.ok && isKind(result.rescale, q.kind)) return result.rescale;
  }
  return undefined;
}
