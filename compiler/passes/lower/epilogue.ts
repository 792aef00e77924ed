/** What follows an accumulator: certified rescale, clamp, table, and packing into the result's container. */
import type { Expr } from "../../ir/kernel/ir.ts";
import type { Rescale } from "../../ir/rescale/types.ts";
import type { Block } from "./block.ts";
import { type ChannelAxis, type Constant, constantPool, type Site, siteAt } from "./epilogue-constants.ts";
import { CONTAINER_RANGE, type Finish, groupsPerVector, type Packer, packerFor } from "./epilogue-pack.ts";
import { type Recipe, recipeOf } from "./epilogue-recipe.ts";
import { type Lookup, type VectorLookup, vectorLookup } from "./epilogue-table.ts";
import type { Container } from "./layout.ts";

export interface EpilogueOptions {
  /** Where splats are bound and constants kept: a block that encloses every `emit`, outside of the loops. */
  readonly block: Block;
  /** Null: the accumulators are the result. */
  readonly rescale: Rescale | null;
  readonly channels: number;
  /** Constant tables are zero up to a multiple of this many channels. A multiple of 4. */
  readonly pad: number;
  readonly container: Container;
  readonly post?: Post | undefined;
  /** Default `lanes`. */
  readonly axis?: ChannelAxis;
}

/** Steps after the rescale, in this order. A table needs results of at most 8 bits. */
export interface Post {
  readonly clamp?: { readonly lo: number; readonly hi: number };
  readonly table?: Lookup;
}

export interface Epilogue {
  readonly container: Container;
  /** What accumulators start from, per channel: a0 of class hi32, else zeros. `channels` rounded up to `pad` entries. */
  readonly init: Int32Array;
  /** Whether `init` has an entry other than 0. */
  readonly hasInit: boolean;
  /** Whether constants differ between channels; if not, `channel` is not looked at. */
  readonly perChannel: boolean;
  /** The i32x4 of `init` for channels channel + 4j …; undefined without `hasInit`. */
  initial(block: Block, channel: Expr, j: number): Expr | undefined;
  /**
   * rows[r][operand][j]: i32x4 accumulators of channels channel + 4j … +3, `channel` (i32) a multiple of 4. Returns packed
   * vectors of the container that hold the groups in the order row 0 group 0, row 0 group 1, …; missing groups of the last
   * one repeat. Per-channel constants are read once per j and shared by all rows.
   */
  emit(block: Block, rows: readonly (readonly (readonly Expr[])[])[], channel: Expr): readonly Expr[];
}

export function createEpilogue(options: EpilogueOptions): Epilogue {
  const { block, rescale, channels, pad, container, post = {}, axis = "lanes" } = options;
  const pool = constantPool(block, channels, pad, axis);
  const recipe: Recipe = rescale ? recipeOf(rescale, pool) : (_, __, [a]) => a!;
  const finish = finishOf(rescale, container, post);
  const middle: Container = post.table ? (finish.lo >= 0 ? "u8" : "i8") : container;
  const pack = packerFor(middle, finish, pool);
  const lookup: VectorLookup | undefined = post.table && vectorLookup(block, post.table, container, pool);
  const a0 = rescale?.class === "hi32" ? rescale.a0 : [];
  const hasInit = a0.some((a) => a !== 0);
  const initial: Constant | undefined = hasInit ? pool.table32(a0, "a0") : undefined;
  const size = Math.ceil(channels / pad) * pad;
  const one = a0.every((a) => a === a0[0]);
  return {
    container,
    init: Int32Array.from({ length: size }, (_, c) => (one ? a0[0] : a0[c]) ?? 0),
    hasInit,
    perChannel: rescale !== null && !isUniform(rescale),
    initial: (inner, channel, j) => initial?.(siteAt(inner, channel), j),
    emit: (inner, rows, channel) => {
      const site = siteAt(inner, channel);
      const packed = packRows(site, rows, groupsPerVector(middle), recipe, pack);
      if (!lookup) return packed;
      const vectors = packed.flatMap((x) => lookup(inner, x));
      const groups = rows.reduce((n, row) => n + row[0]!.length, 0);
      return vectors.slice(0, Math.ceil(groups / groupsPerVector(container)));
    },
  };
}

/** Whether all channels have the same constants. */
function isUniform(r: Rescale): boolean {
  const same = (list: readonly unknown[]): boolean => list.every((x) => x === list[0]);
  const rows = r.m.every((row) => row.every((m, i) => m === r.m[0]![i]));
  const own = r.class === "hi32" ? r.a0 : r.class === "wide" ? r.w : [];
  return rows && same(r.c) && same(r.cUp) && same(r.h) && same(own);
}

/** Computes and packs groups so that the constants of one j are used by all rows one after another. */
function packRows(
  site: Site,
  rows: readonly (readonly (readonly Expr[])[])[],
  perVector: number,
  recipe: Recipe,
  pack: Packer,
): Expr[] {
  const flat = rows.flatMap((row) =>
    (row[0] ?? []).map((_, j) => ({ acc: row.map((operand) => operand[j]!), j })),
  );
  const chunks: { acc: readonly Expr[]; j: number }[][] = [];
  for (let i = 0; i < flat.length; i += perVector) chunks.push(flat.slice(i, i + perVector));
  const order = chunks.map((_, i) => i).sort((a, b) => chunks[a]![0]!.j - chunks[b]![0]!.j || a - b);
  const out = new Array<Expr>(chunks.length);
  for (const i of order) {
    const groups = chunks[i]!.map(({ acc, j }) => ({ v: site.block.bind(recipe(site, j, acc), "v"), j }));
    while (groups.length < perVector) groups.push(groups.at(-2) ?? groups[0]!);
    out[i] = pack(site, groups);
  }
  return out;
}

/** The recipe's end joined with a clamp after it: clamp(clamp(v, lo, hi), lo2, hi2) is one clamp. */
function finishOf(r: Rescale | null, container: Container, { clamp, table }: Post): Finish {
  const { h, narrow } = r ?? { h: [0], narrow: "i32" as const };
  const [least, greatest]: readonly [number, number] = table
    ? [table.min, table.min + table.entries.data.length - 1]
    : CONTAINER_RANGE[container];
  const lo: number = r ? r.lo : least;
  const hi: number = r ? r.hi : greatest;
  if (!clamp) return { h, narrow, lo, hi };
  const to = (x: number): number => Math.min(Math.max(x, clamp.lo), clamp.hi);
  return { h, narrow, lo: to(lo), hi: to(hi) };
}
