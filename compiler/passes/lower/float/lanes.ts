/** Shorthands for arithmetic on four float32 lanes. */
import { type Expr, konst, load, op } from "../../../ir/kernel/ir.ts";

type Fn = (...args: readonly Expr[]) => Expr;
const fn =
  (name: Parameters<typeof op>[0]): Fn =>
  (...args) =>
    op(name, args);

export const fadd: Fn = fn("fadd.i32x4");
export const fsub: Fn = fn("fsub.i32x4");
export const fmul: Fn = fn("fmul.i32x4");
export const fdiv: Fn = fn("fdiv.i32x4");
export const fmin: Fn = fn("fmin.i32x4");
export const fmax: Fn = fn("fmax.i32x4");
export const fsqrt: Fn = fn("fsqrt.i32x4");
export const fabs: Fn = fn("fabs.i32x4");
export const fneg: Fn = fn("fneg.i32x4");
export const fceil: Fn = fn("fceil.i32x4");
export const ffloor: Fn = fn("ffloor.i32x4");
export const ftrunc: Fn = fn("ftrunc.i32x4");
export const fnearest: Fn = fn("fnearest.i32x4");
export const feq: Fn = fn("feq.i32x4");
export const fne: Fn = fn("fne.i32x4");
export const flt: Fn = fn("flt.i32x4");
export const fle: Fn = fn("fle.i32x4");
export const toFloat: Fn = fn("fconvert_s.i32x4");
export const toInt: Fn = fn("ftrunc_sat_s.i32x4");
export const and: Fn = fn("and.i32x4");
export const or: Fn = fn("or.i32x4");
export const iadd: Fn = fn("add.i32x4");
export const isub: Fn = fn("sub.i32x4");
export const imul: Fn = fn("mul.i32x4");
export const shl = (x: Expr, n: number): Expr => op("shl.i32x4", [x], [n]);
export const sar = (x: Expr, n: number): Expr => op("shr_s.i32x4", [x], [n]);

/** Lanes of `a` where the mask is set, else of `b`. */
export const select = (mask: Expr, a: Expr, b: Expr): Expr => op("bitselect.i32x4", [a, b, mask]);

const scratch = new Float32Array(1);
const view = new Int32Array(scratch.buffer);

/** The bits of a float32. */
export function bitsOf(x: number): number {
  scratch[0] = x;
  return view[0]!;
}

/** A float32 in all lanes. */
export const f = (x: number): Expr => konst("i32x4", bitsOf(x));
/** One integer in all lanes. */
export const i = (x: number): Expr => konst("i32x4", x);

/** `lanes[k] = 4k` as a byte shuffle of two vectors, lanes 0 … 7. */
export const shuffle = (a: Expr, b: Expr, lanes: readonly [number, number, number, number]): Expr =>
  op(
    "shuffle.i32x4",
    [a, b],
    lanes.flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]),
  );

/** The first float of memory in all lanes. */
export const splatLoad = (buf: string, addr: Expr, offset: number): Expr =>
  load("i32x4", buf, addr, offset, "load32_splat");

/** Four floats `step` bytes apart. Reads up to 16 bytes from the last one on. */
export function loadStrided(buf: string, addr: Expr, offset: number, step: number): Expr {
  if (step === 4) return load("i32x4", buf, addr, offset);
  if (step === 0) return splatLoad(buf, addr, offset);
  if (step === 8)
    return shuffle(load("i32x4", buf, addr, offset), load("i32x4", buf, addr, offset + 16), [0, 2, 4, 6]);
  const one = (k: number): Expr => load("i32x4", buf, addr, offset + k * step, "load32_zero");
  const pair = (k: number): Expr => shuffle(one(k), one(k + 1), [0, 4, 1, 1]);
  return shuffle(pair(0), pair(2), [0, 1, 4, 5]);
}
