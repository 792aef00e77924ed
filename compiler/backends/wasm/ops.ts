/** Kernel IR op → WASM instruction, one row each. */
import type { OpName, Vec } from "../../ir/kernel/ir.ts";
import type { Binaryen, Builder, Ref } from "./assemble.ts";

/** Builds the instruction from its operands. An operand that is a function may be called several times. */
export interface OpContext {
  readonly b: Binaryen;
  readonly m: Builder;
  readonly relaxed: boolean;
}
export type Emit = (cx: OpContext, args: readonly (() => Ref)[], imm: readonly number[]) => Ref;

/** Relaxed SIMD has no typed builders in binaryen's JavaScript; its C entry points are exported. */
interface RawCalls {
  _BinaryenSIMDTernary(module: number, op: number, a: Ref, b: Ref, c: Ref): Ref;
}
const rawModule = (m: Builder): number => (m as unknown as { readonly ptr: number }).ptr;

type B1 = (m: Builder, a: Ref) => Ref;
type B2 = (m: Builder, a: Ref, b: Ref) => Ref;
const un =
  (f: B1): Emit =>
  ({ m }, [a]) =>
    f(m, a!());
const bin =
  (f: B2): Emit =>
  ({ m }, [a, b]) => {
    const left = a!();
    return f(m, left, b!());
  };
const shift =
  (f: B2): Emit =>
  ({ m }, [a], [n]) =>
    f(m, a!(), m.i32.const(n!));
const lane =
  (f: (m: Builder, a: Ref, index: number) => Ref): Emit =>
  ({ m }, [a], [n]) =>
    f(m, a!(), n!);

/** The smaller / larger of two scalars, by select. */
const extremum =
  (f: B2): Emit =>
  ({ m }, [a, b]) => {
    const x = a!();
    const y = b!();
    return m.select(f(m, a!(), b!()), x, y);
  };

const rows = <const N extends string>(name: N, f: Emit): { readonly [K in `${N}.${Vec}`]: Emit } =>
  Object.fromEntries(["i8x16", "i16x8", "i32x4", "i64x2"].map((t) => [`${name}.${t}`, f])) as {
    readonly [K in `${N}.${Vec}`]: Emit;
  };

/** Even and odd 32-bit lanes of two vectors: the low and high halves of four 64-bit lanes. */
const LOW_HALVES = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const HIGH_HALVES = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];

const select: Emit = ({ m }, [a, b, cond]) => {
  const x = a!();
  const y = b!();
  return m.select(cond!(), x, y);
};
const bitselect: Emit = ({ m }, [a, b, mask]) => {
  const x = a!();
  const y = b!();
  return m.v128.bitselect(x, y, mask!());
};
const shuffle: Emit = ({ m }, [a, b], imm) => {
  const left = a!();
  return m.i8x16.shuffle(left, b!(), imm);
};
/** One instruction for both: whether it takes its second operand as signed is the engine's choice, on which the module depends. */
const dot4: Emit = ({ b, m, relaxed }, [acc, w, x]) => {
  if (!relaxed) throw new Error("dot4 needs relaxed SIMD: legalize first");
  const raw = b as unknown as RawCalls;
  const weights = w!();
  const activations = x!();
  return raw._BinaryenSIMDTernary(
    rawModule(m),
    b.RelaxedDotI8x16I7x16AddSToVecI32x4,
    weights,
    activations,
    acc!(),
  );
};
const mulhi: Emit = ({ m }, [a, b]) => {
  const left = a!();
  const low = m.i64x2.extmul_low_i32x4_s(left, b!());
  const again = a!();
  const high = m.i64x2.extmul_high_i32x4_s(again, b!());
  return m.i8x16.shuffle(low, high, HIGH_HALVES);
};

/** Ops whose operands are used twice; the emitter keeps those in locals. */
export const usesOperandsTwice: ReadonlySet<OpName> = new Set(["mulhi_s.i32x4", "min_s.i32", "max_s.i32"]);

export const emitOp: { readonly [K in OpName]: Emit } = {
  "add.i32": bin((m, a, b) => m.i32.add(a, b)),
  "sub.i32": bin((m, a, b) => m.i32.sub(a, b)),
  "mul.i32": bin((m, a, b) => m.i32.mul(a, b)),
  "and.i32": bin((m, a, b) => m.i32.and(a, b)),
  "or.i32": bin((m, a, b) => m.i32.or(a, b)),
  "xor.i32": bin((m, a, b) => m.i32.xor(a, b)),
  "div_s.i32": bin((m, a, b) => m.i32.div_s(a, b)),
  "div_u.i32": bin((m, a, b) => m.i32.div_u(a, b)),
  "rem_s.i32": bin((m, a, b) => m.i32.rem_s(a, b)),
  "rem_u.i32": bin((m, a, b) => m.i32.rem_u(a, b)),
  "shl_v.i32": bin((m, a, b) => m.i32.shl(a, b)),
  "shr_s_v.i32": bin((m, a, b) => m.i32.shr_s(a, b)),
  "shr_u_v.i32": bin((m, a, b) => m.i32.shr_u(a, b)),
  "eq.i32": bin((m, a, b) => m.i32.eq(a, b)),
  "ne.i32": bin((m, a, b) => m.i32.ne(a, b)),
  "lt_s.i32": bin((m, a, b) => m.i32.lt_s(a, b)),
  "lt_u.i32": bin((m, a, b) => m.i32.lt_u(a, b)),
  "le_s.i32": bin((m, a, b) => m.i32.le_s(a, b)),
  "gt_s.i32": bin((m, a, b) => m.i32.gt_s(a, b)),
  "ge_s.i32": bin((m, a, b) => m.i32.ge_s(a, b)),
  "clz.i32": un((m, a) => m.i32.clz(a)),
  "ctz.i32": un((m, a) => m.i32.ctz(a)),
  "select.i32": select,
  "add.i64": bin((m, a, b) => m.i64.add(a, b)),
  "sub.i64": bin((m, a, b) => m.i64.sub(a, b)),
  "mul.i64": bin((m, a, b) => m.i64.mul(a, b)),
  "and.i64": bin((m, a, b) => m.i64.and(a, b)),
  "or.i64": bin((m, a, b) => m.i64.or(a, b)),
  "xor.i64": bin((m, a, b) => m.i64.xor(a, b)),
  "div_s.i64": bin((m, a, b) => m.i64.div_s(a, b)),
  "div_u.i64": bin((m, a, b) => m.i64.div_u(a, b)),
  "rem_s.i64": bin((m, a, b) => m.i64.rem_s(a, b)),
  "rem_u.i64": bin((m, a, b) => m.i64.rem_u(a, b)),
  "shl_v.i64": bin((m, a, b) => m.i64.shl(a, b)),
  "shr_s_v.i64": bin((m, a, b) => m.i64.shr_s(a, b)),
  "shr_u_v.i64": bin((m, a, b) => m.i64.shr_u(a, b)),
  "eq.i64": bin((m, a, b) => m.i64.eq(a, b)),
  "ne.i64": bin((m, a, b) => m.i64.ne(a, b)),
  "lt_s.i64": bin((m, a, b) => m.i64.lt_s(a, b)),
  "lt_u.i64": bin((m, a, b) => m.i64.lt_u(a, b)),
  "le_s.i64": bin((m, a, b) => m.i64.le_s(a, b)),
  "gt_s.i64": bin((m, a, b) => m.i64.gt_s(a, b)),
  "ge_s.i64": bin((m, a, b) => m.i64.ge_s(a, b)),
  "clz.i64": un((m, a) => m.i64.clz(a)),
  "ctz.i64": un((m, a) => m.i64.ctz(a)),
  "select.i64": select,
  "min_s.i32": extremum((m, a, b) => m.i32.lt_s(a, b)),
  "max_s.i32": extremum((m, a, b) => m.i32.gt_s(a, b)),
  "wrap.i64": un((m, a) => m.i32.wrap(a)),
  "extend_s.i32": un((m, a) => m.i64.extend_s(a)),
  "extend_u.i32": un((m, a) => m.i64.extend_u(a)),
  "add.i8x16": bin((m, a, b) => m.i8x16.add(a, b)),
  "sub.i8x16": bin((m, a, b) => m.i8x16.sub(a, b)),
  "add.i16x8": bin((m, a, b) => m.i16x8.add(a, b)),
  "sub.i16x8": bin((m, a, b) => m.i16x8.sub(a, b)),
  "add.i32x4": bin((m, a, b) => m.i32x4.add(a, b)),
  "sub.i32x4": bin((m, a, b) => m.i32x4.sub(a, b)),
  "add.i64x2": bin((m, a, b) => m.i64x2.add(a, b)),
  "sub.i64x2": bin((m, a, b) => m.i64x2.sub(a, b)),
  "mul.i16x8": bin((m, a, b) => m.i16x8.mul(a, b)),
  "mul.i32x4": bin((m, a, b) => m.i32x4.mul(a, b)),
  "mul.i64x2": bin((m, a, b) => m.i64x2.mul(a, b)),
  "neg.i8x16": un((m, a) => m.i8x16.neg(a)),
  "neg.i16x8": un((m, a) => m.i16x8.neg(a)),
  "neg.i32x4": un((m, a) => m.i32x4.neg(a)),
  "neg.i64x2": un((m, a) => m.i64x2.neg(a)),
  ...rows(
    "and",
    bin((m, a, b) => m.v128.and(a, b)),
  ),
  ...rows(
    "or",
    bin((m, a, b) => m.v128.or(a, b)),
  ),
  ...rows(
    "xor",
    bin((m, a, b) => m.v128.xor(a, b)),
  ),
  ...rows(
    "andnot",
    bin((m, a, b) => m.v128.andnot(a, b)),
  ),
  ...rows("bitselect", bitselect),
  "min_s.i8x16": bin((m, a, b) => m.i8x16.min_s(a, b)),
  "min_s.i16x8": bin((m, a, b) => m.i16x8.min_s(a, b)),
  "min_s.i32x4": bin((m, a, b) => m.i32x4.min_s(a, b)),
  "min_u.i8x16": bin((m, a, b) => m.i8x16.min_u(a, b)),
  "min_u.i16x8": bin((m, a, b) => m.i16x8.min_u(a, b)),
  "min_u.i32x4": bin((m, a, b) => m.i32x4.min_u(a, b)),
  "max_s.i8x16": bin((m, a, b) => m.i8x16.max_s(a, b)),
  "max_s.i16x8": bin((m, a, b) => m.i16x8.max_s(a, b)),
  "max_s.i32x4": bin((m, a, b) => m.i32x4.max_s(a, b)),
  "max_u.i8x16": bin((m, a, b) => m.i8x16.max_u(a, b)),
  "max_u.i16x8": bin((m, a, b) => m.i16x8.max_u(a, b)),
  "max_u.i32x4": bin((m, a, b) => m.i32x4.max_u(a, b)),
  "add_sat_s.i8x16": bin((m, a, b) => m.i8x16.add_saturate_s(a, b)),
  "add_sat_s.i16x8": bin((m, a, b) => m.i16x8.add_saturate_s(a, b)),
  "add_sat_u.i8x16": bin((m, a, b) => m.i8x16.add_saturate_u(a, b)),
  "add_sat_u.i16x8": bin((m, a, b) => m.i16x8.add_saturate_u(a, b)),
  "sub_sat_s.i8x16": bin((m, a, b) => m.i8x16.sub_saturate_s(a, b)),
  "sub_sat_s.i16x8": bin((m, a, b) => m.i16x8.sub_saturate_s(a, b)),
  "sub_sat_u.i8x16": bin((m, a, b) => m.i8x16.sub_saturate_u(a, b)),
  "sub_sat_u.i16x8": bin((m, a, b) => m.i16x8.sub_saturate_u(a, b)),
  "eq.i8x16": bin((m, a, b) => m.i8x16.eq(a, b)),
  "eq.i16x8": bin((m, a, b) => m.i16x8.eq(a, b)),
  "eq.i32x4": bin((m, a, b) => m.i32x4.eq(a, b)),
  "ne.i8x16": bin((m, a, b) => m.i8x16.ne(a, b)),
  "ne.i16x8": bin((m, a, b) => m.i16x8.ne(a, b)),
  "ne.i32x4": bin((m, a, b) => m.i32x4.ne(a, b)),
  "gt_s.i8x16": bin((m, a, b) => m.i8x16.gt_s(a, b)),
  "gt_s.i16x8": bin((m, a, b) => m.i16x8.gt_s(a, b)),
  "gt_s.i32x4": bin((m, a, b) => m.i32x4.gt_s(a, b)),
  "lt_s.i8x16": bin((m, a, b) => m.i8x16.lt_s(a, b)),
  "lt_s.i16x8": bin((m, a, b) => m.i16x8.lt_s(a, b)),
  "lt_s.i32x4": bin((m, a, b) => m.i32x4.lt_s(a, b)),
  "shl.i8x16": shift((m, a, n) => m.i8x16.shl(a, n)),
  "shl.i16x8": shift((m, a, n) => m.i16x8.shl(a, n)),
  "shl.i32x4": shift((m, a, n) => m.i32x4.shl(a, n)),
  "shl.i64x2": shift((m, a, n) => m.i64x2.shl(a, n)),
  "shr_s.i8x16": shift((m, a, n) => m.i8x16.shr_s(a, n)),
  "shr_s.i16x8": shift((m, a, n) => m.i16x8.shr_s(a, n)),
  "shr_s.i32x4": shift((m, a, n) => m.i32x4.shr_s(a, n)),
  "shr_s.i64x2": shift((m, a, n) => m.i64x2.shr_s(a, n)),
  "shr_u.i8x16": shift((m, a, n) => m.i8x16.shr_u(a, n)),
  "shr_u.i16x8": shift((m, a, n) => m.i16x8.shr_u(a, n)),
  "shr_u.i32x4": shift((m, a, n) => m.i32x4.shr_u(a, n)),
  "shr_u.i64x2": shift((m, a, n) => m.i64x2.shr_u(a, n)),
  "splat.i8x16": un((m, a) => m.i8x16.splat(a)),
  "splat.i16x8": un((m, a) => m.i16x8.splat(a)),
  "splat.i32x4": un((m, a) => m.i32x4.splat(a)),
  "splat.i64x2": un((m, a) => m.i64x2.splat(a)),
  "lane_s.i8x16": lane((m, a, i) => m.i8x16.extract_lane_s(a, i)),
  "lane_s.i16x8": lane((m, a, i) => m.i16x8.extract_lane_s(a, i)),
  "lane_u.i8x16": lane((m, a, i) => m.i8x16.extract_lane_u(a, i)),
  "lane_u.i16x8": lane((m, a, i) => m.i16x8.extract_lane_u(a, i)),
  "lane.i32x4": lane((m, a, i) => m.i32x4.extract_lane(a, i)),
  "lane.i64x2": lane((m, a, i) => m.i64x2.extract_lane(a, i)),
  ...rows("shuffle", shuffle),
  "swizzle.i8x16": bin((m, a, b) => m.i8x16.swizzle(a, b)),
  "popcnt.i8x16": un((m, a) => m.i8x16.popcnt(a)),
  "extend_low_s.i16x8": un((m, a) => m.i16x8.extend_low_i8x16_s(a)),
  "extend_high_s.i16x8": un((m, a) => m.i16x8.extend_high_i8x16_s(a)),
  "extend_low_u.i16x8": un((m, a) => m.i16x8.extend_low_i8x16_u(a)),
  "extend_high_u.i16x8": un((m, a) => m.i16x8.extend_high_i8x16_u(a)),
  "extend_low_s.i32x4": un((m, a) => m.i32x4.extend_low_i16x8_s(a)),
  "extend_high_s.i32x4": un((m, a) => m.i32x4.extend_high_i16x8_s(a)),
  "extend_low_u.i32x4": un((m, a) => m.i32x4.extend_low_i16x8_u(a)),
  "extend_high_u.i32x4": un((m, a) => m.i32x4.extend_high_i16x8_u(a)),
  "extend_low_s.i64x2": un((m, a) => m.i64x2.extend_low_i32x4_s(a)),
  "extend_high_s.i64x2": un((m, a) => m.i64x2.extend_high_i32x4_s(a)),
  "extmul_low_s.i64x2": bin((m, a, b) => m.i64x2.extmul_low_i32x4_s(a, b)),
  "extmul_high_s.i64x2": bin((m, a, b) => m.i64x2.extmul_high_i32x4_s(a, b)),
  "extmul_low_s.i32x4": bin((m, a, b) => m.i32x4.extmul_low_i16x8_s(a, b)),
  "extmul_high_s.i32x4": bin((m, a, b) => m.i32x4.extmul_high_i16x8_s(a, b)),
  "extmul_low_s.i16x8": bin((m, a, b) => m.i16x8.extmul_low_i8x16_s(a, b)),
  "extmul_high_s.i16x8": bin((m, a, b) => m.i16x8.extmul_high_i8x16_s(a, b)),
  "extadd_pairs_s.i32x4": un((m, a) => m.i32x4.extadd_pairwise_i16x8_s(a)),
  "extadd_pairs_s.i16x8": un((m, a) => m.i16x8.extadd_pairwise_i8x16_s(a)),
  "extadd_pairs_u.i16x8": un((m, a) => m.i16x8.extadd_pairwise_i8x16_u(a)),
  "narrow_s.i8x16": bin((m, a, b) => m.i8x16.narrow_i16x8_s(a, b)),
  "narrow_s.i16x8": bin((m, a, b) => m.i16x8.narrow_i32x4_s(a, b)),
  "narrow_u.i8x16": bin((m, a, b) => m.i8x16.narrow_i16x8_u(a, b)),
  "narrow_u.i16x8": bin((m, a, b) => m.i16x8.narrow_i32x4_u(a, b)),
  "truncate.i32x4": bin((m, a, b) => m.i8x16.shuffle(a, b, LOW_HALVES)),
  "dot2.i32x4": bin((m, a, b) => m.i32x4.dot_i16x8_s(a, b)),
  "dot4_s8u8.i32x4": dot4,
  "dot4_s8s8.i32x4": dot4,
  "mulhi_s.i32x4": mulhi,
  "fadd.i32x4": bin((m, a, b) => m.f32x4.add(a, b)),
  "fsub.i32x4": bin((m, a, b) => m.f32x4.sub(a, b)),
  "fmul.i32x4": bin((m, a, b) => m.f32x4.mul(a, b)),
  "fdiv.i32x4": bin((m, a, b) => m.f32x4.div(a, b)),
  "fmin.i32x4": bin((m, a, b) => m.f32x4.min(a, b)),
  "fmax.i32x4": bin((m, a, b) => m.f32x4.max(a, b)),
  "feq.i32x4": bin((m, a, b) => m.f32x4.eq(a, b)),
  "fne.i32x4": bin((m, a, b) => m.f32x4.ne(a, b)),
  "flt.i32x4": bin((m, a, b) => m.f32x4.lt(a, b)),
  "fle.i32x4": bin((m, a, b) => m.f32x4.le(a, b)),
  "fsqrt.i32x4": un((m, a) => m.f32x4.sqrt(a)),
  "fabs.i32x4": un((m, a) => m.f32x4.abs(a)),
  "fneg.i32x4": un((m, a) => m.f32x4.neg(a)),
  "fceil.i32x4": un((m, a) => m.f32x4.ceil(a)),
  "ffloor.i32x4": un((m, a) => m.f32x4.floor(a)),
  "ftrunc.i32x4": un((m, a) => m.f32x4.trunc(a)),
  "fnearest.i32x4": un((m, a) => m.f32x4.nearest(a)),
  "fconvert_s.i32x4": un((m, a) => m.f32x4.convert_i32x4_s(a)),
  "ftrunc_sat_s.i32x4": un((m, a) => m.i32x4.trunc_sat_f32x4_s(a)),
};
