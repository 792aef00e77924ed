import type { Expr } from "../../ir/kernel/ir.ts";
import type { Builder, Ref } from "./assemble.ts";

type Const = Expr & { readonly k: "const" };

export const emitScalarConst = (m: Builder, e: Const): Ref =>
  e.type === "i32" ? m.i32.const(Number(e.value) | 0) : m.i64.const(BigInt(Number(e.value)));

/** The 16 bytes of a vector constant, little endian. */
export function bytesOfConst(e: Const): number[] {
  const [lane = "", lanes] = e.type.split("x");
  const n = Number(lanes);
  const width = Number(lane.slice(1)) / 8;
  const bytes: number[] = [];
  for (let i = 0; i < n; i++) {
    let v = BigInt(typeof e.value === "number" ? e.value : e.value[i]!);
    for (let j = 0; j < width; j++, v >>= 8n) bytes.push(Number(v & 255n));
  }
  return bytes;
}

/** All zeros or all ones: engines make these with one instruction, a register would be wasted on them. */
export function isCheapConst(e: Const): boolean {
  const bytes = bytesOfConst(e);
  return bytes.every((x) => x === 0) || bytes.every((x) => x === 255);
}
