/** Table lookup on vectors of bytes: one swizzle per 16 entries and result byte. */
import { c32, type Expr, load, op } from "../../ir/kernel/ir.ts";
import type { Dense } from "../../ir/module.ts";
import { type Block, bytesOf } from "./block.ts";
import type { ConstantPool } from "./epilogue-constants.ts";
import { CONTAINER_BYTES, type Container } from "./layout.ts";

/** y = entries[x − min] for x in a one-byte container; at most 256 entries. */
export interface Lookup {
  readonly entries: Dense;
  readonly min: number;
}

/** Maps 16 bytes to the vectors of `out` that hold the 16 results. */
export type VectorLookup = (block: Block, x: Expr) => readonly Expr[];

/**
 * A swizzle returns 0 for indices above 15, so the partial lookups of index, index − 16, index − 32 … combine by `or`:
 * modulo 256 exactly one of them is in 0 … 15. Costs three ops per 16 entries, 48 for a full table.
 */
export function vectorLookup(
  outer: Block,
  { entries, min }: Lookup,
  out: Container,
  pool: ConstantPool,
): VectorLookup {
  const bytes = CONTAINER_BYTES[out];
  const chunks = Math.ceil(entries.data.length / 16);
  const planes = Array.from({ length: bytes }, (_, b) =>
    outer.constant(
      bytesOf(
        Array.from({ length: chunks * 16 }, (_, i) => ((entries.data[i] ?? 0) >> (8 * b)) & 255),
        "u8",
      ),
      "table",
    ),
  );
  return (block, x) => {
    let at = block.bind((min & 255) === 0 ? x : op("sub.i8x16", [x, pool.splat(min, "i8x16")]), "index");
    const found: (Expr | undefined)[] = planes.map(() => undefined);
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (chunk > 0) at = block.bind(op("sub.i8x16", [at, pool.splat(16, "i8x16")]), "index");
      planes.forEach((plane, b) => {
        const part = op("swizzle.i8x16", [load("i8x16", plane, c32(0), chunk * 16), at]);
        const before = found[b];
        found[b] = block.bind(before ? op("or.i8x16", [before, part]) : part, "entry");
      });
    }
    return interleaved(block, found as Expr[]);
  };
}

const unit = (bytes: number, high: boolean): number[] =>
  Array.from({ length: 16 }, (_, i) => {
    const element = Math.floor(i / bytes);
    const source = Math.floor(element / 2) * bytes + (i % bytes) + (high ? 8 : 0);
    return element % 2 === 0 ? source : source + 16;
  });

/** Byte planes, least significant first, to vectors of whole elements; as i16x8 or i32x4. */
function interleaved(block: Block, planes: readonly Expr[]): readonly Expr[] {
  if (planes.length === 1) return planes;
  const pair = (a: Expr, b: Expr, bytes: number): Expr[] =>
    [false, true].map((high) => block.bind(op("shuffle.i8x16", [a, b], unit(bytes, high)), "entry"));
  const [low0, low1] = pair(planes[0]!, planes[1]!, 1);
  if (planes.length === 2) return [low0!, low1!];
  const [high0, high1] = pair(planes[2]!, planes[3]!, 1);
  return [...pair(low0!, high0!, 2), ...pair(low1!, high1!, 2)];
}
