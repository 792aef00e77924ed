/**
 * The float ops of the kernel IR: i32 lanes read as IEEE binary32, rounded to nearest, ties to even. The bits of a NaN that
 * arithmetic makes are unspecified; all else is exact to the bit.
 */
import type { Meaning } from "./registers.ts";

/** Applies `g` to each lane; the store rounds float64 results to float32, which is exact rounding for + − · / √. */
const lanes =
  (g: (x: number, y: number) => number): Meaning =>
  (f, out, a, b) => {
    for (let i = 0; i < 4; i++) f.f32[out * 4 + i] = g(f.f32[a * 4 + i]!, f.f32[b * 4 + i]!);
  };

/** A true lane has all bits set. */
const compare =
  (g: (x: number, y: number) => boolean): Meaning =>
  (f, out, a, b) => {
    for (let i = 0; i < 4; i++) f.i32[out * 4 + i] = g(f.f32[a * 4 + i]!, f.f32[b * 4 + i]!) ? -1 : 0;
  };

/** The sign bit alone changes, of NaN too. */
const bits =
  (g: (x: number) => number): Meaning =>
  (f, out, a) => {
    for (let i = 0; i < 4; i++) f.i32[out * 4 + i] = g(f.i32[a * 4 + i]!);
  };

/** To the nearest integer, ties to even; keeps the sign of zero. */
function nearest(x: number): number {
  if (!(Math.abs(x) < 2 ** 23)) return x;
  const r = Math.abs(x) + 2 ** 52 - 2 ** 52;
  return x < 0 || Object.is(x, -0) ? -r : r;
}

/** Toward zero; saturates, NaN gives 0. */
const truncated = (x: number): number =>
  Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), -(2 ** 31)), 2 ** 31 - 1);

export const floatMeanings = {
  "fadd.i32x4": lanes((x, y) => x + y),
  "fsub.i32x4": lanes((x, y) => x - y),
  "fmul.i32x4": lanes((x, y) => x * y),
  "fdiv.i32x4": lanes((x, y) => x / y),
  // NaN if either is; −0 is less than +0.
  "fmin.i32x4": lanes(Math.min),
  "fmax.i32x4": lanes(Math.max),
  "fsqrt.i32x4": lanes((x) => Math.sqrt(x)),
  "fceil.i32x4": lanes((x) => Math.ceil(x)),
  "ffloor.i32x4": lanes((x) => Math.floor(x)),
  "ftrunc.i32x4": lanes((x) => Math.trunc(x)),
  "fnearest.i32x4": lanes(nearest),
  "fabs.i32x4": bits((x) => x & 0x7fffffff),
  "fneg.i32x4": bits((x) => x ^ 0x80000000),
  "feq.i32x4": compare((x, y) => x === y),
  "fne.i32x4": compare((x, y) => x !== y),
  "flt.i32x4": compare((x, y) => x < y),
  "fle.i32x4": compare((x, y) => x <= y),
  "fconvert_s.i32x4": ((f, out, a) => {
    for (let i = 0; i < 4; i++) f.f32[out * 4 + i] = f.i32[a * 4 + i]!;
  }) as Meaning,
  "ftrunc_sat_s.i32x4": ((f, out, a) => {
    for (let i = 0; i < 4; i++) f.i32[out * 4 + i] = truncated(f.f32[a * 4 + i]!);
  }) as Meaning,
} as const satisfies { readonly [op: string]: Meaning };
