/** Multiply-accumulates of linear ops, integer ones and those of float islands: products of one activation and one weight, padding included. */
import type { Func, Op } from "./module.ts";
import { attr } from "./op.ts";
import { sizeOf } from "./types.ts";

/** MACs of one op; 0 for ops that multiply nothing. */
export function opMacs(op: Op): number {
  const out = op.results[0]?.type.shape ?? [];
  if (op.name === "qc.conv") {
    const [, kh, kw, perGroup] = op.operands[1]!.type.shape as [number, number, number, number];
    return sizeOf(out) * kh * kw * perGroup;
  }
  if (op.name === "qc.conv_transpose") {
    const [o, kh, kw] = op.operands[1]!.type.shape as [number, number, number];
    return (sizeOf(op.operands[0]!.type.shape) * kh * kw * o) / attr<number>(op, "groups");
  }
  if (op.name === "float.conv_transpose")
    return sizeOf(op.operands[0]!.type.shape) * sizeOf(op.operands[1]!.type.shape.slice(1));
  if (op.name === "float.conv") return sizeOf(out) * sizeOf(op.operands[1]!.type.shape.slice(1));
  if (op.name === "qc.matmul" || op.name === "float.matmul" || op.name === "float.matmul_blocks")
    return sizeOf(out) * op.operands[0]!.type.shape.at(-1)!;
  return 0;
}

/** What runs in float32: ops, conversions from and to integers left out, and their MACs. */
export function floatShare(func: Func): { readonly ops: number; readonly macs: number } {
  const own = func.ops.filter(
    (op) => op.results[0]?.type.elem.kind === "float" && op.name !== "const" && op.name !== "float.from_int",
  );
  return { ops: own.length, macs: own.reduce((n, op) => n + opMacs(op), 0) };
}

export const macsOf = (func: Func): number => func.ops.reduce((n, op) => n + opMacs(op), 0);
