/** Multiply-accumulates of integer linear ops: products of one activation and one weight, padding included. */
import type { Func, Op } from "./module.ts";
import { sizeOf } from "./types.ts";

/** MACs of one op; 0 for ops that multiply nothing. */
export function opMacs(op: Op): number {
  const out = op.results[0]?.type.shape ?? [];
  if (op.name === "qc.conv") {
    const [, kh, kw, perGroup] = op.operands[1]!.type.shape as [number, number, number, number];
    return sizeOf(out) * kh * kw * perGroup;
  }
  if (op.name === "qc.matmul") return sizeOf(out) * op.operands[0]!.type.shape.at(-1)!;
  return 0;
}

export const macsOf = (func: Func): number => func.ops.reduce((n, op) => n + opMacs(op), 0);
