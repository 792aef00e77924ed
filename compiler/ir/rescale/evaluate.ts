import type { Rescale } from "./types.ts";

/**
 * What a kernel computes, step by step in its lanes with their wrap-around, truncation and saturation: the reference for every
 * backend. `a` holds the accumulators without a0; bit-exact with `evaluateExact` on the certified range only.
 */
export function evaluateRescale(r: Rescale, channel: number, a: readonly number[]): number {
  const v = rounded(r, channel, a);
  const h = r.h[channel] as number;
  if (r.narrow === "i16") {
    const t = saturate(saturate(v, -32768, 32767) + h, -32768, 32767);
    const byte = r.lo >= 0 ? saturate(t, 0, 255) : saturate(t, -128, 127);
    return saturate(byte, r.lo, r.hi);
  }
  return saturate((v + h) | 0, r.lo, r.hi);
}

const saturate = (x: number, lo: number, hi: number): number => Math.min(Math.max(x, lo), hi);

/** v of the recipe: the i32 lane before narrowing. */
function rounded(r: Rescale, channel: number, a: readonly number[]): number {
  const down = quotient(r, channel, a, false);
  if (r.form === "floor") return down;
  const up = quotient(r, channel, a, true);
  const mask = r.select === "odd" ? -(down & 1) : r.select === "negative" ? down >> 31 : ~(down >> 31);
  return (down + ((up - down) & mask)) | 0;
}

function quotient(r: Rescale, channel: number, a: readonly number[], up: boolean): number {
  const at = <T>(values: readonly T[]): T => values[channel] as T;
  switch (r.class) {
    case "i32":
      return (dot32(a, at(r.m), at(up ? r.cUp32 : r.c32)) | 0) >> r.n;
    case "hi32": {
      const product = BigInt(((a[0] as number) + at(r.a0)) | 0) * BigInt(at(r.m)[0] as number);
      return Number(product >> 32n) >> r.k;
    }
    case "limb": {
      const c1 = at(up ? r.c1Up : r.c1);
      const c0 = at(up ? r.c0Up : r.c0);
      if (r.width === 32) {
        const low = dot32(a, at(r.m0), Number(c0)) >> r.L;
        return dot32(a, at(r.m1), (Number(BigInt.asIntN(32, c1)) + low) | 0) >> (r.n - r.L);
      }
      const low = dot64(a, at(r.m0), c0) >> BigInt(r.L);
      return Number(BigInt.asIntN(32, dot64(a, at(r.m1), c1 + low) >> BigInt(r.n - r.L)));
    }
    case "wide": {
      const lane = (x: bigint): bigint => BigInt.asIntN(64, x);
      const sums: bigint[] = [];
      let carry = 0n;
      for (const limb of r.mLimbs) {
        const sum = dot64(a, at(limb), carry);
        carry = sum >> 30n;
        sums.push(sums.length === r.mLimbs.length - 1 ? BigInt.asIntN(32, sum) : BigInt.asUintN(30, sum));
      }
      const w = r.wLimbs.map((limb) => BigInt(at(limb)));
      let top = 0n;
      (up ? r.cUpLimbs : r.cLimbs).forEach((c, l) => {
        top = sums.reduce((t, x, i) => lane(t + x * (w[l - i] ?? 0n)), lane((top >> 30n) + at(c)));
      });
      return Number(BigInt.asIntN(32, top >> BigInt(r.n - 30 * (r.cLimbs.length - 1))));
    }
  }
}

/** (Σ aᵢ·mᵢ + c) mod 2^32 as int32. */
function dot32(a: readonly number[], m: readonly number[], c: number): number {
  return a.reduce((sum, x, i) => (sum + Math.imul(x, m[i] as number)) | 0, c | 0);
}

/** (Σ aᵢ·mᵢ + c) mod 2^64 as int64. */
function dot64(a: readonly number[], m: readonly number[], c: bigint): bigint {
  return a.reduce(
    (sum, x, i) => BigInt.asIntN(64, sum + BigInt(x) * BigInt(m[i] as number)),
    BigInt.asIntN(64, c),
  );
}
