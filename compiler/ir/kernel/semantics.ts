/** What every op of the kernel IR computes, lane by lane: the oracle all backends are compared with. */
import type { OpName } from "./ir.ts";
import type { Meaning, RegisterFile } from "./registers.ts";
import { floatMeanings } from "./semantics-float.ts";

type View = keyof RegisterFile;
type Small = Exclude<View, "f32" | "i64" | "u64">;
const perRegister = { i8: 16, u8: 16, i16: 8, u16: 8, i32: 4, u32: 4, i64: 2, u64: 2 } as const;

/** Applies `g` to each lane of a view with numbers. Stores wrap to the lane's width. */
const lanes =
  (v: Small, g: (x: number, y: number, z: number) => number): Meaning =>
  (f, out, a, b, c) => {
    const view = f[v];
    const n = perRegister[v];
    for (let i = 0; i < n; i++) view[out * n + i] = g(view[a * n + i]!, view[b * n + i]!, view[c * n + i]!);
  };

const lanes64 =
  (v: "i64" | "u64", g: (x: bigint, y: bigint, z: bigint) => bigint): Meaning =>
  (f, out, a, b, c) => {
    const view = f[v];
    for (let i = 0; i < 2; i++) view[out * 2 + i] = g(view[a * 2 + i]!, view[b * 2 + i]!, view[c * 2 + i]!);
  };

/** As `lanes`, with the immediate as a shift count. */
const shifts =
  (v: Small, g: (x: number, count: number) => number): Meaning =>
  (f, out, a, _b, _c, imm) => {
    const n = perRegister[v];
    for (let i = 0; i < n; i++) f[v][out * n + i] = g(f[v][a * n + i]!, imm[0]!);
  };

const shifts64 =
  (v: "i64" | "u64", g: (x: bigint, count: bigint) => bigint): Meaning =>
  (f, out, a, _b, _c, imm) => {
    for (let i = 0; i < 2; i++) f[v][out * 2 + i] = g(f[v][a * 2 + i]!, BigInt(imm[0]!));
  };

/** Scalars: the first lane only. */
const scalar32 =
  (v: "i32" | "u32", g: (x: number, y: number) => number): Meaning =>
  (f, out, a, b) => {
    f.i32[out * 4] = g(f[v][a * 4]!, f[v][b * 4]!);
  };
const scalar64 =
  (v: "i64" | "u64", g: (x: bigint, y: bigint) => bigint): Meaning =>
  (f, out, a, b) => {
    f.i64[out * 2] = g(f[v][a * 2]!, f[v][b * 2]!);
  };
const compare32 = (v: "i32" | "u32", g: (x: number, y: number) => boolean): Meaning =>
  scalar32(v, (x, y) => (g(x, y) ? 1 : 0));
const compare64 =
  (v: "i64" | "u64", g: (x: bigint, y: bigint) => boolean): Meaning =>
  (f, out, a, b) => {
    f.i32[out * 4] = g(f[v][a * 2]!, f[v][b * 2]!) ? 1 : 0;
  };

/** Lane `i` of the result from lane `i` (low half) or `i + half` (high half) of operands half as wide. */
const widen =
  (from: Small, to: "i16" | "i32" | "i64", high: boolean, g: (x: number, y: number) => number): Meaning =>
  (f, out, a, b) => {
    const n = perRegister[to];
    const start = high ? n : 0;
    for (let i = 0; i < n; i++) {
      const value = g(f[from][a * 2 * n + start + i]!, f[from][b * 2 * n + start + i]!);
      if (to === "i64") f.i64[out * 2 + i] = BigInt(value);
      else f[to][out * n + i] = value;
    }
  };

/** 32 × 32 → 64 bits exceeds exact numbers, hence apart from `widen`. */
const extmul64 =
  (high: boolean): Meaning =>
  (f, out, a, b) => {
    const start = high ? 2 : 0;
    for (let i = 0; i < 2; i++)
      f.i64[out * 2 + i] = BigInt(f.i32[a * 4 + start + i]!) * BigInt(f.i32[b * 4 + start + i]!);
  };

const pairs =
  (from: Small, to: "i16" | "i32"): Meaning =>
  (f, out, a) => {
    const n = perRegister[to];
    for (let i = 0; i < n; i++)
      f[to][out * n + i] = f[from][a * 2 * n + 2 * i]! + f[from][a * 2 * n + 2 * i + 1]!;
  };

const narrow =
  (from: "i16" | "i32", to: "i8" | "i16", lo: number, hi: number): Meaning =>
  (f, out, a, b) => {
    const n = perRegister[from];
    for (let i = 0; i < n; i++) {
      f[to][out * 2 * n + i] = clamp(f[from][a * n + i]!, lo, hi);
      f[to][out * 2 * n + n + i] = clamp(f[from][b * n + i]!, lo, hi);
    }
  };

const lane =
  (v: Small): Meaning =>
  (f, out, a, _b, _c, imm) => {
    f.i32[out * 4] = f[v][a * perRegister[v] + imm[0]!]!;
  };
const splat =
  (v: "i8" | "i16" | "i32"): Meaning =>
  (f, out, a) => {
    f[v].fill(f.i32[a * 4]!, out * perRegister[v], (out + 1) * perRegister[v]);
  };
const shuffle: Meaning = (f, out, a, b, _c, imm) => {
  for (let i = 0; i < 16; i++)
    f.u8[out * 16 + i] = f.u8[imm[i]! < 16 ? a * 16 + imm[i]! : b * 16 + imm[i]! - 16]!;
};

const min = (x: number, y: number): number => Math.min(x, y);
const max = (x: number, y: number): number => Math.max(x, y);
const clamp = (x: number, lo: number, hi: number): number => Math.max(lo, Math.min(hi, x));
const ones = (x: boolean): number => (x ? -1 : 0);
const nonzero = (x: number): number => {
  if (x === 0) throw new RangeError("division by zero");
  return x;
};
const nonzero64 = (x: bigint): bigint => {
  if (x === 0n) throw new RangeError("division by zero");
  return x;
};
const quotient = (x: number, y: number): number => {
  const q = Math.trunc(x / nonzero(y));
  if (q === 2 ** 31) throw new RangeError("quotient overflows");
  return q;
};
const quotient64 = (x: bigint, y: bigint): bigint => {
  const q = x / nonzero64(y);
  if (q === 2n ** 63n) throw new RangeError("quotient overflows");
  return q;
};
const leadingZeros64 = (x: bigint): bigint => 64n - BigInt(x === 0n ? 0 : x.toString(2).length);
const trailingZeros64 = (x: bigint): bigint => {
  let n = 0n;
  while (n < 64n && ((x >> n) & 1n) === 0n) n++;
  return n;
};
const popcount = (x: number): number => {
  let n = 0;
  for (let bits = x; bits; bits &= bits - 1) n++;
  return n;
};

const bitwise = {
  and: lanes("i32", (x, y) => x & y),
  or: lanes("i32", (x, y) => x | y),
  xor: lanes("i32", (x, y) => x ^ y),
  /** a and not b */
  andnot: lanes("i32", (x, y) => x & ~y),
  /** bits of a where the mask is 1, of b where it is 0 */
  bitselect: lanes("i32", (x, y, mask) => (x & mask) | (y & ~mask)),
};
const S8 = [-128, 127] as const;
const U8 = [0, 255] as const;
const S16 = [-32768, 32767] as const;
const U16 = [0, 65535] as const;

/** Total: an op of `signatures` without a meaning does not compile. */
/** acc + Σ w·x of byte quads, x read as `view`; `pair` is what becomes of the sum of two products. */
export const dot4 =
  (view: "i8" | "u8", pair: (sum: number) => number = (sum) => sum): Meaning =>
  (f, out, acc, w, x) => {
    for (let i = 0; i < 4; i++) {
      let sum = f.i32[acc * 4 + i]!;
      for (let j = 4 * i; j < 4 * i + 4; j += 2) {
        const [u, v] = [w * 16 + j, x * 16 + j];
        sum += pair(f.i8[u]! * f[view][v]! + f.i8[u + 1]! * f[view][v + 1]!);
      }
      f.i32[out * 4 + i] = sum;
    }
  };

export const semantics: { readonly [K in OpName]: Meaning } = {
  "add.i32": scalar32("i32", (x, y) => x + y),
  "sub.i32": scalar32("i32", (x, y) => x - y),
  "mul.i32": scalar32("i32", (x, y) => Math.imul(x, y)),
  "and.i32": scalar32("i32", (x, y) => x & y),
  "or.i32": scalar32("i32", (x, y) => x | y),
  "xor.i32": scalar32("i32", (x, y) => x ^ y),
  "add.i64": scalar64("i64", (x, y) => x + y),
  "sub.i64": scalar64("i64", (x, y) => x - y),
  "mul.i64": scalar64("i64", (x, y) => x * y),
  "and.i64": scalar64("i64", (x, y) => x & y),
  "or.i64": scalar64("i64", (x, y) => x | y),
  "xor.i64": scalar64("i64", (x, y) => x ^ y),
  "div_s.i32": scalar32("i32", quotient),
  "div_u.i32": scalar32("u32", (x, y) => Math.trunc(x / nonzero(y))),
  "rem_s.i32": scalar32("i32", (x, y) => x % nonzero(y)),
  "rem_u.i32": scalar32("u32", (x, y) => x % nonzero(y)),
  "div_s.i64": scalar64("i64", quotient64),
  "div_u.i64": scalar64("u64", (x, y) => x / nonzero64(y)),
  "rem_s.i64": scalar64("i64", (x, y) => x % nonzero64(y)),
  "rem_u.i64": scalar64("u64", (x, y) => x % nonzero64(y)),
  // A variable count is taken modulo the width.
  "shl_v.i32": scalar32("i32", (x, n) => x << (n & 31)),
  "shr_s_v.i32": scalar32("i32", (x, n) => x >> (n & 31)),
  "shr_u_v.i32": scalar32("i32", (x, n) => x >>> (n & 31)),
  "shl_v.i64": scalar64("i64", (x, n) => x << (n & 63n)),
  "shr_s_v.i64": scalar64("i64", (x, n) => x >> (n & 63n)),
  "shr_u_v.i64": scalar64("u64", (x, n) => x >> (n & 63n)),
  "eq.i32": compare32("i32", (x, y) => x === y),
  "ne.i32": compare32("i32", (x, y) => x !== y),
  "lt_s.i32": compare32("i32", (x, y) => x < y),
  "lt_u.i32": compare32("u32", (x, y) => x < y),
  "le_s.i32": compare32("i32", (x, y) => x <= y),
  "gt_s.i32": compare32("i32", (x, y) => x > y),
  "ge_s.i32": compare32("i32", (x, y) => x >= y),
  "eq.i64": compare64("i64", (x, y) => x === y),
  "ne.i64": compare64("i64", (x, y) => x !== y),
  "lt_s.i64": compare64("i64", (x, y) => x < y),
  "lt_u.i64": compare64("u64", (x, y) => x < y),
  "le_s.i64": compare64("i64", (x, y) => x <= y),
  "gt_s.i64": compare64("i64", (x, y) => x > y),
  "ge_s.i64": compare64("i64", (x, y) => x >= y),
  "clz.i32": scalar32("i32", (x) => Math.clz32(x)),
  "ctz.i32": scalar32("i32", (x) => (x === 0 ? 32 : 31 - Math.clz32(x & -x))),
  "clz.i64": scalar64("u64", leadingZeros64),
  "ctz.i64": scalar64("u64", trailingZeros64),
  // The first argument where the i32 condition is not zero.
  "select.i32": (f, out, a, b, c) => {
    f.i32[out * 4] = f.i32[(f.i32[c * 4] !== 0 ? a : b) * 4]!;
  },
  "select.i64": (f, out, a, b, c) => {
    f.i64[out * 2] = f.i64[(f.i32[c * 4] !== 0 ? a : b) * 2]!;
  },
  "min_s.i32": scalar32("i32", min),
  "max_s.i32": scalar32("i32", max),
  "wrap.i64": (f, out, a) => {
    f.i32[out * 4] = f.i32[a * 4]!;
  },
  "extend_s.i32": (f, out, a) => {
    f.i64[out * 2] = BigInt(f.i32[a * 4]!);
  },
  "extend_u.i32": (f, out, a) => {
    f.i64[out * 2] = BigInt(f.u32[a * 4]!);
  },

  "add.i8x16": lanes("i8", (x, y) => x + y),
  "add.i16x8": lanes("i16", (x, y) => x + y),
  "add.i32x4": lanes("i32", (x, y) => x + y),
  "add.i64x2": lanes64("i64", (x, y) => x + y),
  "sub.i8x16": lanes("i8", (x, y) => x - y),
  "sub.i16x8": lanes("i16", (x, y) => x - y),
  "sub.i32x4": lanes("i32", (x, y) => x - y),
  "sub.i64x2": lanes64("i64", (x, y) => x - y),
  "mul.i16x8": lanes("i16", (x, y) => x * y),
  "mul.i32x4": lanes("i32", Math.imul),
  "mul.i64x2": lanes64("i64", (x, y) => x * y),
  "neg.i8x16": lanes("i8", (x) => -x),
  "neg.i16x8": lanes("i16", (x) => -x),
  "neg.i32x4": lanes("i32", (x) => -x),
  "neg.i64x2": lanes64("i64", (x) => -x),
  "and.i8x16": bitwise.and,
  "and.i16x8": bitwise.and,
  "and.i32x4": bitwise.and,
  "and.i64x2": bitwise.and,
  "or.i8x16": bitwise.or,
  "or.i16x8": bitwise.or,
  "or.i32x4": bitwise.or,
  "or.i64x2": bitwise.or,
  "xor.i8x16": bitwise.xor,
  "xor.i16x8": bitwise.xor,
  "xor.i32x4": bitwise.xor,
  "xor.i64x2": bitwise.xor,
  "andnot.i8x16": bitwise.andnot,
  "andnot.i16x8": bitwise.andnot,
  "andnot.i32x4": bitwise.andnot,
  "andnot.i64x2": bitwise.andnot,
  "bitselect.i8x16": bitwise.bitselect,
  "bitselect.i16x8": bitwise.bitselect,
  "bitselect.i32x4": bitwise.bitselect,
  "bitselect.i64x2": bitwise.bitselect,
  "min_s.i8x16": lanes("i8", min),
  "min_s.i16x8": lanes("i16", min),
  "min_s.i32x4": lanes("i32", min),
  "min_u.i8x16": lanes("u8", min),
  "min_u.i16x8": lanes("u16", min),
  "min_u.i32x4": lanes("u32", min),
  "max_s.i8x16": lanes("i8", max),
  "max_s.i16x8": lanes("i16", max),
  "max_s.i32x4": lanes("i32", max),
  "max_u.i8x16": lanes("u8", max),
  "max_u.i16x8": lanes("u16", max),
  "max_u.i32x4": lanes("u32", max),
  "add_sat_s.i8x16": lanes("i8", (x, y) => clamp(x + y, ...S8)),
  "add_sat_s.i16x8": lanes("i16", (x, y) => clamp(x + y, ...S16)),
  "add_sat_u.i8x16": lanes("u8", (x, y) => clamp(x + y, ...U8)),
  "add_sat_u.i16x8": lanes("u16", (x, y) => clamp(x + y, ...U16)),
  "sub_sat_s.i8x16": lanes("i8", (x, y) => clamp(x - y, ...S8)),
  "sub_sat_s.i16x8": lanes("i16", (x, y) => clamp(x - y, ...S16)),
  "sub_sat_u.i8x16": lanes("u8", (x, y) => clamp(x - y, ...U8)),
  "sub_sat_u.i16x8": lanes("u16", (x, y) => clamp(x - y, ...U16)),
  // A true lane has all bits set.
  "eq.i8x16": lanes("i8", (x, y) => ones(x === y)),
  "eq.i16x8": lanes("i16", (x, y) => ones(x === y)),
  "eq.i32x4": lanes("i32", (x, y) => ones(x === y)),
  "ne.i8x16": lanes("i8", (x, y) => ones(x !== y)),
  "ne.i16x8": lanes("i16", (x, y) => ones(x !== y)),
  "ne.i32x4": lanes("i32", (x, y) => ones(x !== y)),
  "gt_s.i8x16": lanes("i8", (x, y) => ones(x > y)),
  "gt_s.i16x8": lanes("i16", (x, y) => ones(x > y)),
  "gt_s.i32x4": lanes("i32", (x, y) => ones(x > y)),
  "lt_s.i8x16": lanes("i8", (x, y) => ones(x < y)),
  "lt_s.i16x8": lanes("i16", (x, y) => ones(x < y)),
  "lt_s.i32x4": lanes("i32", (x, y) => ones(x < y)),
  "shl.i8x16": shifts("i8", (x, n) => x << n),
  "shl.i16x8": shifts("i16", (x, n) => x << n),
  "shl.i32x4": shifts("i32", (x, n) => x << n),
  "shl.i64x2": shifts64("i64", (x, n) => x << n),
  "shr_s.i8x16": shifts("i8", (x, n) => x >> n),
  "shr_s.i16x8": shifts("i16", (x, n) => x >> n),
  "shr_s.i32x4": shifts("i32", (x, n) => x >> n),
  "shr_s.i64x2": shifts64("i64", (x, n) => x >> n),
  "shr_u.i8x16": shifts("u8", (x, n) => x >>> n),
  "shr_u.i16x8": shifts("u16", (x, n) => x >>> n),
  "shr_u.i32x4": shifts("u32", (x, n) => x >>> n),
  "shr_u.i64x2": shifts64("u64", (x, n) => x >> n),
  "splat.i8x16": splat("i8"),
  "splat.i16x8": splat("i16"),
  "splat.i32x4": splat("i32"),
  "splat.i64x2": (f, out, a) => {
    f.i64.fill(f.i64[a * 2]!, out * 2, out * 2 + 2);
  },
  "lane_s.i8x16": lane("i8"),
  "lane_s.i16x8": lane("i16"),
  "lane_u.i8x16": lane("u8"),
  "lane_u.i16x8": lane("u16"),
  "lane.i32x4": lane("i32"),
  "lane.i64x2": (f, out, a, _b, _c, imm) => {
    f.i64[out * 2] = f.i64[a * 2 + imm[0]!]!;
  },
  "shuffle.i8x16": shuffle,
  "shuffle.i16x8": shuffle,
  "shuffle.i32x4": shuffle,
  "shuffle.i64x2": shuffle,
  "swizzle.i8x16": (f, out, a, b) => {
    for (let i = 0; i < 16; i++) {
      const index = f.u8[b * 16 + i]!;
      f.u8[out * 16 + i] = index < 16 ? f.u8[a * 16 + index]! : 0;
    }
  },
  "popcnt.i8x16": lanes("u8", popcount),

  "extend_low_s.i16x8": widen("i8", "i16", false, (x) => x),
  "extend_high_s.i16x8": widen("i8", "i16", true, (x) => x),
  "extend_low_u.i16x8": widen("u8", "i16", false, (x) => x),
  "extend_high_u.i16x8": widen("u8", "i16", true, (x) => x),
  "extend_low_s.i32x4": widen("i16", "i32", false, (x) => x),
  "extend_high_s.i32x4": widen("i16", "i32", true, (x) => x),
  "extend_low_u.i32x4": widen("u16", "i32", false, (x) => x),
  "extend_high_u.i32x4": widen("u16", "i32", true, (x) => x),
  "extend_low_s.i64x2": widen("i32", "i64", false, (x) => x),
  "extend_high_s.i64x2": widen("i32", "i64", true, (x) => x),
  "extmul_low_s.i64x2": extmul64(false),
  "extmul_high_s.i64x2": extmul64(true),
  "extmul_low_s.i32x4": widen("i16", "i32", false, (x, y) => x * y),
  "extmul_high_s.i32x4": widen("i16", "i32", true, (x, y) => x * y),
  "extmul_low_s.i16x8": widen("i8", "i16", false, (x, y) => x * y),
  "extmul_high_s.i16x8": widen("i8", "i16", true, (x, y) => x * y),
  "extadd_pairs_s.i32x4": pairs("i16", "i32"),
  "extadd_pairs_s.i16x8": pairs("i8", "i16"),
  "extadd_pairs_u.i16x8": pairs("u8", "i16"),
  "narrow_s.i8x16": narrow("i16", "i8", ...S8),
  "narrow_u.i8x16": narrow("i16", "i8", ...U8),
  "narrow_s.i16x8": narrow("i32", "i16", ...S16),
  "narrow_u.i16x8": narrow("i32", "i16", ...U16),
  "truncate.i32x4": (f, out, a, b) => {
    for (let i = 0; i < 2; i++) {
      f.i32[out * 4 + i] = f.i32[a * 4 + 2 * i]!;
      f.i32[out * 4 + 2 + i] = f.i32[b * 4 + 2 * i]!;
    }
  },

  "dot2.i32x4": (f, out, a, b) => {
    for (let i = 0; i < 4; i++) {
      const x = a * 8 + 2 * i;
      const y = b * 8 + 2 * i;
      f.i32[out * 4 + i] = f.i16[x]! * f.i16[y]! + f.i16[x + 1]! * f.i16[y + 1]!;
    }
  },
  "dot4_s8u8.i32x4": dot4("u8"),
  "dot4_s8s8.i32x4": dot4("i8"),
  "mulhi_s.i32x4": (f, out, a, b) => {
    for (let i = 0; i < 4; i++)
      f.i32[out * 4 + i] = Number((BigInt(f.i32[a * 4 + i]!) * BigInt(f.i32[b * 4 + i]!)) >> 32n);
  },
  ...floatMeanings,
};

/**
 * What engines make of both dot4s, one instruction for them. `s8s8-wrap`: sums of two products wrap at 16 bits, as V8 computes
 * on ARM until it optimizes; `pairs16`: they saturate.
 */
const engineDots = {
  u8s8: dot4("u8"),
  s8s8: dot4("i8"),
  "s8s8-wrap": dot4("i8", (sum) => (sum << 16) >> 16),
  pairs16: dot4("u8", (sum) => Math.min(Math.max(sum, -32768), 32767)),
} as const;
export type EngineDot = keyof typeof engineDots;

/** The meaning of an op, or of the instruction an engine has for it. */
export const meaningOf = (op: OpName, dot?: EngineDot): Meaning =>
  dot !== undefined && (op === "dot4_s8u8.i32x4" || op === "dot4_s8s8.i32x4")
    ? engineDots[dot]
    : semantics[op];
