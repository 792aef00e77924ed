import type { Rational, Rounding } from "../rational.ts";

export type { Rounding } from "../rational.ts";

/**
 * Exact requantization of one channel, with R the rounding rule:
 *
 *     round_then_shift:  y = clamp(R(Σᵢ aᵢ·Sᵢ + offset) + zeroPoint, lo, hi)      zeroPoint is an integer
 *     shift_then_round:  y = clamp(R(Σᵢ aᵢ·Sᵢ + offset + zeroPoint), lo, hi)      zeroPoint may be fractional
 *
 * `offset` is in units of the output step (a real bias divided by the output scale).
 */
export interface RequantSpec {
  /** One exact multiplier per integer operand, any sign, zero allowed. */
  readonly scales: readonly Rational[];
  readonly offset: Rational;
  readonly zeroPoint: Rational;
  readonly lo: number;
  readonly hi: number;
  readonly rounding: Rounding;
  readonly order: "round_then_shift" | "shift_then_round";
}

/** Inclusive reachable range of an integer operand; `min > max` is the empty range. */
export interface IntRange {
  readonly min: number;
  readonly max: number;
}

export type RescaleClass = "i32" | "hi32" | "limb" | "wide";

/**
 * Which of `down` and `up` the tie form takes, from the integer `down` (all lanes i32):
 *
 *     odd          mask = −(down & 1)      half to even
 *     negative     mask = down >> 31       half toward zero; truncation
 *     nonnegative  mask = ~(down >> 31)    half away from zero; rounding away from zero
 *
 *     v = down + ((up − down) & mask)      up − down is 0 or 1, so `odd` is also down + ((up − down) & down & 1)
 */
export type TieSelect = "odd" | "negative" | "nonnegative";

interface RescaleBase {
  /**
   * `floor`: v = q(c).  `tie`: down = q(c), up = q(cUp), v = select(down, up), where q is the class's recipe and denotes
   * q(c)(a) = ⌊(Σᵢ aᵢ·mᵢ + c) / 2ⁿ⌋ exactly on the reachable range. Then, for every class and form,
   *
   *     narrow "i16":  t = i16(v);  t = i16(t + h[channel]);  y = min(max(i8 or u8 (t), lo), hi)
   *                    i16(), i8(), u8() saturate; the last is u8 when lo ≥ 0, else i8; h = 0 needs no add
   *     narrow "i32":  y = min(max(v + h, lo), hi) in i32 lanes; v + h does not overflow
   */
  readonly form: "floor" | "tie";
  /** Present iff `form` is "tie". */
  readonly select?: TieSelect;
  /** Shift, common to all channels. */
  readonly n: number;
  readonly lo: number;
  readonly hi: number;
  /**
   * Per channel, added after the shift: the zero point in the tie form, a share of c in class hi32 (it differs between
   * channels there), else 0. An int16 when `narrow` is "i16".
   */
  readonly h: readonly number[];
  readonly narrow: "i16" | "i32";
  /** [channel][operand], signed, |m| < 2^53. In class wide the factors of the exact sum, whose multiplier is w: exact doubles. */
  readonly m: readonly (readonly number[])[];
  /**
   * Per channel. Floor form: everything at once, so y = clamp(⌊(Σᵢ aᵢ·mᵢ + c) / 2ⁿ⌋, lo, hi) in every class (in class hi32 it
   * is a0·m + h·2ⁿ). Tie form: the constant of `down`; h comes after.
   */
  readonly c: readonly bigint[];
  /** Per channel: the constant of `up`, c ≤ cUp ≤ c + 2ⁿ; empty for the floor form. */
  readonly cUp: readonly bigint[];
}

/**
 * q = (a₁·m₁ [+ a₂·m₂] + c32) >> n in i32 lanes with wrap-around; the final sum fits int32 on the reachable range, so wraps
 * in between are harmless. 0 ≤ n ≤ 31.
 */
export interface RescaleI32 extends RescaleBase {
  readonly class: "i32";
  /** c modulo 2^32 as int32. */
  readonly c32: readonly number[];
  /** cUp modulo 2^32 as int32; empty for the floor form. */
  readonly cUp32: readonly number[];
}

/**
 * One operand, floor form: q = hi32((a + a0)·m) >> k, where hi32 is the upper half of the signed 64-bit product, n = 32 + k and
 * |m| < 2^31. A constant channel has m = a0 = 0 and h = y. The caller folds a0 into the accumulator's initial value: a + a0 fits int32 on the reachable range. v = q is then
 * followed by the add of h as in {@link RescaleBase}. Here c = a0·m + h·2ⁿ.
 */
export interface RescaleHi32 extends RescaleBase {
  readonly class: "hi32";
  readonly form: "floor";
  readonly k: number;
  readonly a0: readonly number[];
}

/**
 * m = m1·2^L + m0, c = c1·2^L + c0 with 0 ≤ m0, c0 < 2^L, and in lanes of `width` bits
 *
 *     q = (Σᵢ aᵢ·m1ᵢ + c1 + ((Σᵢ aᵢ·m0ᵢ + c0) >> L)) >> (n − L)
 *
 * The low sum fits the lane, the high sum fits it at its end, and q fits int32 (for width 64: truncate the lanes to i32). m1 and m0
 * always fit int32, so width 64 uses 32×32→64 multiplies. L = 0 means one limb: m0 = c0 = 0, q = (Σᵢ aᵢ·m1ᵢ + c1) >> n.
 */
export interface RescaleLimb extends RescaleBase {
  readonly class: "limb";
  readonly width: 32 | 64;
  readonly L: number;
  readonly m1: readonly (readonly number[])[];
  readonly m0: readonly (readonly number[])[];
  readonly c1: readonly bigint[];
  readonly c0: readonly bigint[];
  /** Limbs of cUp; empty for the floor form. */
  readonly c1Up: readonly bigint[];
  readonly c0Up: readonly bigint[];
}

/**
 * The sum A = Σᵢ aᵢ·mᵢ is exact and q(c)(a) = ⌊(A·w + c) / 2ⁿ⌋. In 64-bit lanes, with limbs of 30 bits, least first, all but the
 * last of each number not negative: m and A of S = 2 or 3, |A| < 2^(30·S); w of W = 2 or 3, 0 ≤ w < 2^(30·W − 1); c of S + W − 1.
 *
 *     sₗ = Σᵢ aᵢ·mᵢₗ + (sₗ₋₁ >> 30),  Aₗ = sₗ mod 2^30; the last one is sₗ itself and fits int32
 *     tₗ = Σ_{i+j=l} Aᵢ·wⱼ + cₗ + (tₗ₋₁ >> 30)         for l < S + W − 1
 *     q = t_{S+W−2} >> (n − 30·(S + W − 2)), truncated to i32
 *
 * All factors fit int32 and Σ max |aᵢ| ≤ 2^32, so the products are those of 32×32→64 multiplies and no sum leaves 64 bits.
 */
export interface RescaleWide extends RescaleBase {
  readonly class: "wide";
  readonly w: readonly bigint[];
  /** [limb][channel][operand] */
  readonly mLimbs: readonly (readonly (readonly number[])[])[];
  /** [limb][channel] */
  readonly wLimbs: readonly (readonly number[])[];
  readonly cLimbs: readonly (readonly bigint[])[];
  /** Limbs of cUp; without entries for the floor form. */
  readonly cUpLimbs: readonly (readonly bigint[])[];
}

/** Certified integer requantization of a tensor; all channels share form, class, n, k, L and width. */
export type Rescale = RescaleI32 | RescaleHi32 | RescaleLimb | RescaleWide;

/** What was proved, for `inspect` and the manifest. */
export interface Certificate {
  readonly class: RescaleClass;
  readonly form: "floor" | "tie";
  readonly n: number;
  /** Bits of the largest |m|, in class wide of the largest w. */
  readonly mBits: number;
  /** Signed bits of the widest accumulator window in which an output does not saturate; in class wide of the widest sum. */
  readonly windowBits: number;
  /** Signed bits of the widest reachable accumulator. */
  readonly accBits: number;
  /** Whether an exact rounding boundary is reachable (for the lattice proof: cannot be excluded). */
  readonly ties: boolean;
  /** Per channel: the constants c that are exact for the chosen m and n (of `down` in the tie form), inclusive. */
  readonly intervals: readonly { readonly lo: bigint; readonly hi: bigint }[];
}

/** A reachable accumulator at which the best integer form found is wrong, or why there is no form at all. */
export interface Counterexample {
  readonly channel: number;
  readonly a: readonly number[];
  readonly expected: number;
  /** What the best candidate returns; null when no candidate exists. */
  readonly got: number | null;
  readonly reason: string;
}

export type Certified =
  | { readonly ok: true; readonly rescale: Rescale; readonly certificate: Certificate }
  | { readonly ok: false; readonly counterexample: Counterexample };

export interface CertifyOptions {
  /** Classes to try, always in the order i32, hi32, limb, wide. Default: all. */
  readonly classes?: readonly RescaleClass[];
}
