import type { Certificate, IntRange, Rescale } from "./types.ts";

/** JSON form of a certified rescale: everything a checker needs besides the exact specification. Big integers are decimal strings. */
export interface RescaleManifest {
  readonly class: "i32" | "hi32" | "limb" | "wide";
  readonly form: "floor" | "tie";
  readonly select?: "odd" | "negative" | "nonnegative";
  readonly n: number;
  readonly lo: number;
  readonly hi: number;
  /** Per channel. */
  readonly h: readonly number[];
  readonly narrow: "i16" | "i32";
  /** [channel][operand] */
  readonly m: readonly (readonly number[])[];
  readonly c: readonly string[];
  readonly cUp?: readonly string[];
  /** Class hi32. */
  readonly k?: number;
  readonly a0?: readonly number[];
  /** Class limb; the limbs follow from m, c and L. */
  readonly width?: 32 | 64;
  readonly L?: number;
  /** Class wide: the multiplier of the sum, per channel. */
  readonly w?: readonly string[];
  /** [channel][operand] [min, max] */
  readonly ranges: readonly (readonly (readonly [number, number])[])[];
  readonly bits: { readonly m: number; readonly window: number; readonly acc: number };
  readonly ties: boolean;
}

export function rescaleManifest(
  r: Rescale,
  certificate: Certificate,
  ranges: readonly (readonly IntRange[])[],
): RescaleManifest {
  return {
    class: r.class,
    form: r.form,
    ...(r.select ? { select: r.select } : {}),
    n: r.n,
    lo: r.lo,
    hi: r.hi,
    h: r.h,
    narrow: r.narrow,
    m: r.m,
    c: r.c.map(String),
    ...(r.form === "tie" ? { cUp: r.cUp.map(String) } : {}),
    ...(r.class === "hi32" ? { k: r.k, a0: r.a0 } : {}),
    ...(r.class === "limb" ? { width: r.width, L: r.L } : {}),
    ...(r.class === "wide" ? { w: r.w.map(String) } : {}),
    ranges: ranges.map((row) => row.map(({ min, max }) => [min, max] as const)),
    bits: { m: certificate.mBits, window: certificate.windowBits, acc: certificate.accBits },
    ties: certificate.ties,
  };
}
