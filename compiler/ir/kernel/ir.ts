/**
 * Kernel IR: structured loops over fixed-width integer vectors, byte-addressed buffers, immutable lets and explicit
 * accumulators. One lowering, many readers (interpreter, WASM, later C and WGSL). Lanes are signless; ops carry the
 * signedness, and whether lanes are floats: ops that start with `f` read i32 lanes as IEEE binary32.
 */

export type Lane = "i8" | "i16" | "i32" | "i64";
/** A scalar (`i32`, `i64`) or a vector (`i8x16`, `i16x8`, `i32x4`, `i64x2`; other lane counts on other targets). */
export type KType = "i32" | "i64" | `${Lane}x${number}`;

/** Role of a buffer. Only `const` buffers have data; the memory plan gives every buffer its place. */
export type Role = "input" | "output" | "temp" | "const";

/** A byte-addressed piece of memory. Kernels may read up to `SLACK` bytes past either end, never write there. */
export interface Buffer {
  readonly name: string;
  readonly role: Role;
  /** Size in bytes. */
  readonly bytes: number;
  /** Start is a multiple of this power of two. */
  readonly align: number;
  /** Exactly `bytes` long; present iff role is `const`. */
  readonly data?: Uint8Array;
}

/** Bytes that may be read, with unspecified value, before and after any buffer. */
export const SLACK = 64;

export type Expr =
  /** One number for all lanes, or one per lane. i64 lanes hold safe integers. */
  | { readonly k: "const"; readonly type: KType; readonly value: number | readonly number[] }
  | { readonly k: "var"; readonly type: KType; readonly name: string }
  /**
   * Reads `buf` at byte `addr + offset`. `addr` is never negative, `offset` may be: targets add offsets to unsigned
   * addresses without wrapping. The same holds for every address below.
   */
  | {
      readonly k: "load";
      readonly type: KType;
      readonly op: LoadOp;
      readonly buf: string;
      readonly addr: Expr;
      readonly offset: number;
    }
  | {
      readonly k: "op";
      readonly type: KType;
      readonly op: OpName;
      readonly args: readonly Expr[];
      /** Immediates: shift count, lane index, shuffle indices. */
      readonly imm: readonly number[];
    };

export type LoadOp =
  | "load" // a whole vector, or a whole i32 / i64
  | "load8_u" // scalar i32 from a byte / half word
  | "load8_s"
  | "load16_u"
  | "load16_s"
  | "load8_splat" // one element to all lanes
  | "load16_splat"
  | "load32_splat"
  | "load64_splat"
  | "load32_zero" // low 4 / 8 bytes, rest zero
  | "load64_zero"
  | "load8x8_u" // 8 bytes widened to i16x8
  | "load8x8_s"
  | "load16x4_u" // 4 half words widened to i32x4
  | "load16x4_s";

export type StoreOp =
  | "store" // whole value
  | "store8" // low byte / half word of a scalar i32
  | "store16"
  | "store8_lane" // one lane of a vector of that width
  | "store16_lane"
  | "store32_lane"
  | "store64_lane";

export type Stmt =
  /** Immutable binding, visible to the end of the enclosing block. Names are unique in a kernel. */
  | { readonly k: "let"; readonly name: string; readonly value: Expr }
  /** Mutable variable (accumulator, pointer) and its assignment. */
  | { readonly k: "var"; readonly name: string; readonly value: Expr }
  | { readonly k: "set"; readonly name: string; readonly value: Expr }
  /**
   * i = start; do { body; i += step } while (i < end). The body runs at least once: start < end must hold. step > 0.
   * `parallel`: the turns may run in any order, or at once on several threads; the verifier proves it.
   */
  | {
      readonly k: "for";
      readonly parallel?: true;
      readonly i: string;
      readonly start: Expr;
      readonly end: Expr;
      readonly step: number;
      readonly body: readonly Stmt[];
    }
  | { readonly k: "if"; readonly cond: Expr; readonly then: readonly Stmt[]; readonly else: readonly Stmt[] }
  /** `lane` only for `store*_lane`. */
  | {
      readonly k: "store";
      readonly op: StoreOp;
      readonly buf: string;
      readonly addr: Expr;
      readonly offset: number;
      readonly value: Expr;
      readonly lane: number;
    }
  /** Sets `bytes` bytes at addr + offset to `byte`. */
  | {
      readonly k: "fill";
      readonly buf: string;
      readonly addr: Expr;
      readonly offset: number;
      readonly byte: number;
      readonly bytes: number;
    }
  /** Copies `bytes` bytes between buffers; the ranges do not overlap. */
  | {
      readonly k: "copy";
      readonly to: string;
      readonly toAddr: Expr;
      readonly from: string;
      readonly fromAddr: Expr;
      readonly bytes: number;
    }
  | { readonly k: "comment"; readonly text: string };

export interface Kernel {
  readonly name: string;
  /** Names of the buffers it may touch; `store`, `fill` and `copy` only to those in `writes`. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** Scratch buffers of which every thread has a copy of its own. */
  readonly private?: readonly string[];
  /**
   * Without parallel loops, one thread runs it. With them, every thread does, each with its share of their turns: outside of
   * them only private buffers are written.
   */
  readonly body: readonly Stmt[];
}

/** Everything that runs for one inference: the kernels in order. */
export interface Program {
  readonly buffers: readonly Buffer[];
  readonly kernels: readonly Kernel[];
}

type Sig = { readonly args: readonly KType[]; readonly out: KType; readonly imm: number };
const sig = (args: readonly KType[], out: KType, imm = 0): Sig => ({ args, out, imm });
const vectors = ["i8x16", "i16x8", "i32x4", "i64x2"] as const;
type Vec = (typeof vectors)[number];

/** `add.i8x16` … one row per vector type. */
function each<const N extends string, const T extends KType>(
  names: readonly N[],
  types: readonly T[],
  f: (t: T) => Sig,
): { readonly [K in `${N}.${T}`]: Sig } {
  const table: Record<string, Sig> = {};
  for (const n of names) for (const t of types) table[`${n}.${t}`] = f(t);
  return table as { readonly [K in `${N}.${T}`]: Sig };
}

const same2 = <T extends KType>(t: T): Sig => sig([t, t], t);
const same1 = <T extends KType>(t: T): Sig => sig([t], t);
const shift = <T extends KType>(t: T): Sig => sig([t], t, 1);

/** Signature of every op: argument types, result type, number of immediates. Meanings: `semantics.ts`. */
export const signatures = {
  ...each(["add", "sub", "mul", "and", "or", "xor"], ["i32", "i64"], same2),
  ...each(["div_s", "div_u", "rem_s", "rem_u", "shl_v", "shr_s_v", "shr_u_v"], ["i32", "i64"], same2),
  ...each(["eq", "ne", "lt_s", "lt_u", "le_s", "gt_s", "ge_s"], ["i32", "i64"], (t) => sig([t, t], "i32")),
  ...each(["clz", "ctz"], ["i32", "i64"], same1),
  ...each(["select"], ["i32", "i64"], (t) => sig([t, t, "i32"], t)),
  ...each(["min_s", "max_s"], ["i32"], same2),
  "wrap.i64": sig(["i64"], "i32"),
  "extend_s.i32": sig(["i32"], "i64"),
  "extend_u.i32": sig(["i32"], "i64"),

  ...each(["add", "sub"], vectors, same2),
  ...each(["mul"], ["i16x8", "i32x4", "i64x2"], same2),
  ...each(["neg"], vectors, same1),
  ...each(["and", "or", "xor", "andnot"], vectors, same2),
  ...each(["bitselect"], vectors, (t) => sig([t, t, t], t)),
  ...each(["min_s", "min_u", "max_s", "max_u"], ["i8x16", "i16x8", "i32x4"], same2),
  ...each(["add_sat_s", "add_sat_u", "sub_sat_s", "sub_sat_u"], ["i8x16", "i16x8"], same2),
  ...each(["eq", "ne", "gt_s", "lt_s"], ["i8x16", "i16x8", "i32x4"], same2),
  ...each(["shl", "shr_s", "shr_u"], vectors, shift),
  ...each(["splat"], ["i8x16", "i16x8", "i32x4"], (t) => sig(["i32"], t)),
  "splat.i64x2": sig(["i64"], "i64x2"),
  ...each(["lane_s", "lane_u"], ["i8x16", "i16x8"], (t) => sig([t], "i32", 1)),
  "lane.i32x4": sig(["i32x4"], "i32", 1),
  "lane.i64x2": sig(["i64x2"], "i64", 1),

  /** Byte shuffle of two vectors: 16 indices 0..31. */
  ...each(["shuffle"], vectors, (t) => sig([t, t], t, 16)),
  /** table[index], 0 where index > 15. */
  "swizzle.i8x16": sig(["i8x16", "i8x16"], "i8x16"),
  "popcnt.i8x16": sig(["i8x16"], "i8x16"),

  "extend_low_s.i16x8": sig(["i8x16"], "i16x8"),
  "extend_high_s.i16x8": sig(["i8x16"], "i16x8"),
  "extend_low_u.i16x8": sig(["i8x16"], "i16x8"),
  "extend_high_u.i16x8": sig(["i8x16"], "i16x8"),
  "extend_low_s.i32x4": sig(["i16x8"], "i32x4"),
  "extend_high_s.i32x4": sig(["i16x8"], "i32x4"),
  "extend_low_u.i32x4": sig(["i16x8"], "i32x4"),
  "extend_high_u.i32x4": sig(["i16x8"], "i32x4"),
  "extend_low_s.i64x2": sig(["i32x4"], "i64x2"),
  "extend_high_s.i64x2": sig(["i32x4"], "i64x2"),
  "extmul_low_s.i64x2": sig(["i32x4", "i32x4"], "i64x2"),
  "extmul_high_s.i64x2": sig(["i32x4", "i32x4"], "i64x2"),
  "extmul_low_s.i32x4": sig(["i16x8", "i16x8"], "i32x4"),
  "extmul_high_s.i32x4": sig(["i16x8", "i16x8"], "i32x4"),
  "extmul_low_s.i16x8": sig(["i8x16", "i8x16"], "i16x8"),
  "extmul_high_s.i16x8": sig(["i8x16", "i8x16"], "i16x8"),
  "extadd_pairs_s.i32x4": sig(["i16x8"], "i32x4"),
  "extadd_pairs_s.i16x8": sig(["i8x16"], "i16x8"),
  "extadd_pairs_u.i16x8": sig(["i8x16"], "i16x8"),
  /** Two vectors to one of half the lane width; saturating to signed / unsigned; inputs read as signed. */
  "narrow_s.i8x16": sig(["i16x8", "i16x8"], "i8x16"),
  "narrow_u.i8x16": sig(["i16x8", "i16x8"], "i8x16"),
  "narrow_s.i16x8": sig(["i32x4", "i32x4"], "i16x8"),
  "narrow_u.i16x8": sig(["i32x4", "i32x4"], "i16x8"),
  /** The low 32 bits of the lanes of two vectors. */
  "truncate.i32x4": sig(["i64x2", "i64x2"], "i32x4"),

  /** out[i] = a[2i]·b[2i] + a[2i+1]·b[2i+1], signed i16 lanes. */
  "dot2.i32x4": sig(["i16x8", "i16x8"], "i32x4"),
  /** out[i] = acc[i] + Σ_{j<4} w[4i+j]·x[4i+j]; args (acc, w signed, x unsigned). */
  "dot4_s8u8.i32x4": sig(["i32x4", "i8x16", "i8x16"], "i32x4"),
  /** The same with x signed. */
  "dot4_s8s8.i32x4": sig(["i32x4", "i8x16", "i8x16"], "i32x4"),
  /** High 32 bits of the signed 64-bit product, lane by lane. */
  "mulhi_s.i32x4": sig(["i32x4", "i32x4"], "i32x4"),

  // Lanes as binary32.
  ...each(["fadd", "fsub", "fmul", "fdiv", "fmin", "fmax", "feq", "fne", "flt", "fle"], ["i32x4"], same2),
  ...each(["fsqrt", "fabs", "fneg", "fceil", "ffloor", "ftrunc", "fnearest"], ["i32x4"], same1),
  /** Signed integers to floats, and back: toward zero, saturating, NaN to 0. */
  ...each(["fconvert_s", "ftrunc_sat_s"], ["i32x4"], same1),
} as const satisfies Record<string, Sig>;

export type OpName = keyof typeof signatures;
export type { Vec };

// Constructors. Types come from the tables, so a wrong lane width is caught where it is written.

export const c32 = (value: number): Expr => ({ k: "const", type: "i32", value });
export const konst = (type: KType, value: number | readonly number[]): Expr => ({ k: "const", type, value });
export const ref = (name: string, type: KType = "i32"): Expr => ({ k: "var", type, name });

/** Throws on a type error: a bug in the lowering. */
export function op(name: OpName, args: readonly Expr[], imm: readonly number[] = []): Expr {
  const s: Sig = signatures[name];
  const bad =
    args.length !== s.args.length || imm.length !== s.imm || args.some((a, i) => a.type !== s.args[i]);
  if (bad)
    throw new Error(
      `${name}(${args.map((a) => a.type).join(", ")}; ${imm.length} immediates) expects (${s.args.join(", ")}; ${s.imm})`,
    );
  return { k: "op", type: s.out, op: name, args, imm };
}

export const load = (type: KType, buf: string, addr: Expr, offset = 0, op: LoadOp = "load"): Expr => ({
  k: "load",
  type,
  op,
  buf,
  addr,
  offset,
});

export const store = (
  buf: string,
  addr: Expr,
  value: Expr,
  { offset = 0, op = "store" as StoreOp, lane = 0 } = {},
): Stmt => ({ k: "store", op, buf, addr, offset, value, lane });

/** i32 sum with constants folded. */
export function add(a: Expr, b: Expr | number): Expr {
  const bb = typeof b === "number" ? c32(b) : b;
  if (bb.k === "const" && bb.value === 0) return a;
  if (a.k === "const" && a.value === 0) return bb;
  if (a.k === "const" && bb.k === "const") return c32(Number(a.value) + Number(bb.value));
  return op("add.i32", [a, bb]);
}

/** i32 product with a constant, folded where trivial. */
export function scale(a: Expr, factor: number): Expr {
  if (factor === 1) return a;
  if (factor === 0) return c32(0);
  if (a.k === "const") return c32(Number(a.value) * factor);
  return op("mul.i32", [a, c32(factor)]);
}
