/** 64-bit scalars. */
import { type Expr, konst, op } from "../../ir/kernel/ir.ts";

export const k64 = (x: number): Expr => konst("i64", x);

/** A constant of up to 64 bits: those of the kernel IR end at 2^53. */
export const wide64 = (x: bigint): Expr =>
  x < 1n << 53n
    ? k64(Number(x))
    : op("or.i64", [op("shl_v.i64", [k64(Number(x >> 32n)), k64(32)]), k64(Number(x & 0xffff_ffffn))]);
