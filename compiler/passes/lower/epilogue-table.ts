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
 * modulo 256 exactly one of them is in 0 … 15. Costs three ops per 16 entries, 48 for a full table. Entries are kept as their
 * difference (`xor`) to the value that fills the most chunks, whose lookups are left out.
 */
export function vectorLookup(
  outer: Block,
  { entries, min }: Lookup,
  out: Container,
  pool: ConstantPool,
): VectorLookup {
  const planes = Array.from({ length: CONTAINER_BYTES[out] }, (_, b) => {
    const bytes = Array.from(entries.data, (v) => (v >> (8 * b)) & 255);
    const base = commonest(bytes);
    const chunks = chunksOf(bytes.map((v) => v ^ base));
    const data = outer.constant(bytesOf(chunks.flat(), "u8"), "table");
    return { base, data, used: chunks.map((c) => c.some((v) => v !== 0)) };
  });
  return (block, x) => {
    let at = block.bind((min & 255) === 0 ? x : op("sub.i8x16", [x, pool.splat(min, "i8x16")]), "index");
    const found: (Expr | undefined)[] = planes.map(() => undefined);
    let skipped = 0;
    planes[0]!.used.forEach((_, chunk) => {
      if (planes.some((p) => p.used[chunk])) {
        if (skipped > 0) at = block.bind(op("sub.i8x16", [at, pool.splat(skipped, "i8x16")]), "index");
        skipped = 0;
        planes.forEach(({ data, used }, b) => {
          if (!used[chunk]) return;
          const part = op("swizzle.i8x16", [load("i8x16", data, c32(0), chunk * CHUNK), at]);
          const before = found[b];
          found[b] = block.bind(before ? op("or.i8x16", [before, part]) : part, "entry");
        });
      }
      skipped += CHUNK;
    });
    const whole = planes.map(({ base }, b) => {
      const difference = found[b];
      if (difference === undefined) return pool.splat(base, "i8x16");
      return base === 0
        ? difference
        : block.bind(op("xor.i8x16", [difference, pool.splat(base, "i8x16")]), "entry");
    });
    return interleaved(block, whole);
  };
}

/** Entries that one swizzle covers. */
const CHUNK = 16;

/** Swizzles that a table of bytes needs. */
export function usedChunks({ data }: Dense): number {
  const bytes = Array.from(data, (v) => v & 255);
  const base = commonest(bytes);
  return chunksOf(bytes.map((v) => v ^ base)).filter((c) => c.some((v) => v !== 0)).length;
}

/** Chunks of 16 bytes, the last one filled up with zeros. */
const chunksOf = (bytes: readonly number[]): number[][] =>
  Array.from({ length: Math.ceil(bytes.length / CHUNK) }, (_, c) =>
    Array.from({ length: CHUNK }, (_, i) => bytes[c * CHUNK + i] ?? 0),
  );

/** The byte that alone fills the most chunks; 0 if none does. Entries that do not exist may be anything. */
function commonest(bytes: readonly number[]): number {
  const counts = new Map<number, number>();
  for (let i = 0; i < bytes.length; i += CHUNK) {
    const chunk = bytes.slice(i, i + CHUNK);
    if (chunk.every((v) => v === chunk[0])) counts.set(chunk[0]!, (counts.get(chunk[0]!) ?? 0) + 1);
  }
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best), [0, 0])[0];
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
