/**
 * The fixed-point arithmetic of `qc.normalize`, shared by its definition, its error bound and its kernel.
 *
 * A row of n integers t has D = n·t − Σt and V = n·Σt² − (Σt)² (or D = n·(t − z), V = n·Σ(t − z)² without a mean), both exact. The
 * normalized element is D / √(V + E). Because n·V is the sum of D², |D| ≤ √n·√(V + E); so with 2^g ≥ √n
 *
 *     X = (V + E)·2^sh in [2^60, 2^62), sh even      m ≈ 2^61 / √X
 *     j = sh / 2 − g                                 |D·2^j| < 2^31
 *     u = ⌊D·2^j·m / 2^32⌋                           ≈ 2^(29 − g) · D / √(V + E)
 *
 * need 32 × 32-bit products only. For j < 0, m is shifted right instead.
 */

/** The bits g of the head room that outliers need: the least with 2^g ≥ √n. */
export const headroom = (n: number): number => {
  let g = 0;
  while (4 ** g < n) g++;
  return g;
};

/** Fraction bits of u for rows of n elements. */
export const unitBits = (n: number): number => 29 - headroom(n);

/** Coefficients of c0 + c1·z + c2·z², within 2.5 % of 1/√z on [1, 4), in units of 2^-31. */
export const SEED = [2867787662, -881906202, 109962428] as const;
/** Newton steps behind the seed: 0.025 → 9e-4 → 1.2e-6 → 2e-12, relatively. */
export const NEWTON_STEPS = 3;

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const i64 = (x: bigint): bigint => BigInt.asIntN(64, x);
const LARGEST = 2n ** 31n - 1n;

/**
 * m ≈ 2^61 / √X for 2^60 ≤ X < 2^62, at most 2^31 − 1; |m − 2^61 / √X| < ROOT_ERROR. Each step is
 * m + m·(1 − m²x) / 2 with x = ⌊X / 2^30⌋, in 64 bits.
 */
export function inverseRoot(X: bigint): bigint {
  const x = X >> 30n;
  const [c0, c1, c2] = SEED;
  let m = BigInt(c0) + ((x * (BigInt(c1) + ((x * BigInt(c2)) >> 30n))) >> 30n);
  for (let i = 0; i < NEWTON_STEPS; i++) {
    const residue = i64((1n << 63n) - u64(((m * m) >> 29n) * x));
    m += (m * (residue >> 32n)) >> 32n;
  }
  return m < LARGEST ? m : LARGEST;
}

/**
 * Bound of |m − 2^61 / √X|: ⌊X / 2^30⌋ moves the root by less than 1, ⌊m² / 2^29⌋ by at most 1/2, the two floors of the
 * last step by less than 3/2 downwards, its truncation error by 0.01.
 */
export const ROOT_ERROR = 2;

/** Bound of |u − 2^(29 − g)·D / √(V + E) + 1/2|: the floor is off by at most 1/2 from −1/2, m by 2·|D·2^j| / 2^32. */
export const UNIT_ERROR = 0.5 + ROOT_ERROR / 2;

/** ⌊a·b / 2^32⌋ of int32 numbers. */
export function highProduct(a: number, b: number): number {
  const high = a >> 16;
  const low = a & 0xffff;
  return Math.floor((high * b + Math.floor((low * b) / 65536)) / 65536);
}

/** E = epsilon / 2^epsilonBits as the kernel holds it. */
export interface Epsilon {
  readonly epsilon: bigint;
  readonly bits: number;
}

const leadingZeros = (x: bigint): number => 64 - x.toString(2).length;

/** The even shift that takes max(x, 1) to [2^60, 2^62); x < 2^62. */
export const rootShift = (x: bigint): number => (leadingZeros(x < 1n ? 1n : x) - 2) & ~1;

/** E of numerator/denominator, floored where 62 bits end; undefined if E ≥ 2^61. */
export function fixedEpsilon(num: bigint, den: bigint): Epsilon | undefined {
  const whole = num / den;
  if (whole >= 1n << 61n) return undefined;
  const bits = rootShift(whole);
  return { epsilon: (num << BigInt(bits)) / den, bits };
}

/** What a row multiplies its elements with: u = ⌊D·2^left·m / 2^32⌋. */
export function rowMultiplier(
  v: bigint,
  e: Epsilon,
  g: number,
): { readonly m: number; readonly left: number } {
  const sh = rootShift(v + (e.epsilon >> BigInt(e.bits)));
  const m = inverseRoot((v << BigInt(sh)) + (e.epsilon >> BigInt(e.bits - sh)));
  const j = sh / 2 - g;
  return { m: Number(m >> BigInt(Math.max(0, -j))), left: Math.max(0, j) };
}
