/**
 * From rounded i32 lanes to vectors of the result's container: add h, saturate, clamp. In the i16 recipe h may be added in either
 * width, because v + h fits int32 on the certified range and saturation twice is saturation once.
 */
import { type Expr, type OpName, op } from "../../ir/kernel/ir.ts";
import { type Constant, type ConstantPool, type Site, uniform } from "./epilogue-constants.ts";
import { CONTAINER_BYTES, type Container } from "./layout.ts";

/** The end of a recipe: y = clamp(v + h[channel], lo, hi), saturating on the way as `narrow` says. */
export interface Finish {
  readonly h: readonly number[];
  readonly lo: number;
  readonly hi: number;
  readonly narrow: "i16" | "i32";
}

/** v of four channels, and which group of its row it is. */
export interface Group {
  readonly v: Expr;
  readonly j: number;
}

export const CONTAINER_RANGE: { readonly [c in Container]: readonly [number, number] } = {
  u8: [0, 255],
  i8: [-128, 127],
  i16: [-32768, 32767],
  u16: [0, 65535],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  f32: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
};

const VECTOR = { 1: "i8x16", 2: "i16x8", 4: "i32x4" } as const;
/** Vector type that holds elements of a container. */
export const vectorOf = (c: Container): "i8x16" | "i16x8" | "i32x4" =>
  VECTOR[CONTAINER_BYTES[c] as 1 | 2 | 4];
/** Groups of four elements per vector. */
export const groupsPerVector = (c: Container): number => 4 / CONTAINER_BYTES[c];

const unsigned = (c: Container): boolean => c === "u8" || c === "u16";

/** min(max(x, lo), hi) on packed elements, without the bounds the container already keeps. */
export function clampPacked(x: Expr, c: Container, lo: number, hi: number, pool: ConstantPool): Expr {
  const type = vectorOf(c);
  const s = unsigned(c) ? "u" : "s";
  const [least, greatest] = CONTAINER_RANGE[c];
  let y = x;
  if (lo > least) y = op(`max_${s}.${type}`, [y, pool.splat(lo, type)]);
  if (hi < greatest) y = op(`min_${s}.${type}`, [y, pool.splat(hi, type)]);
  return y;
}

/** Packs exactly the groups of one vector. Values outside [lo, hi] saturate. */
export type Packer = (site: Site, groups: readonly Group[]) => Expr;

export function packerFor(c: Container, finish: Finish, pool: ConstantPool): Packer {
  const { h, lo, hi } = finish;
  const still = h.every((x) => x === 0);
  const same = uniform(h);
  let h32: Constant | undefined;
  const added = (site: Site, { v, j }: Group): Expr => {
    if (still) return v;
    h32 ??= pool.table32(h, "h");
    return op("add.i32x4", [v, h32(site, j)]);
  };
  if (c === "i32") {
    return (site, [g]) => site.block.bind(clampPacked(added(site, g!), c, lo, hi, pool), "y");
  }
  const h16 = finish.narrow === "i16" && c !== "u16" && !still ? pool.table16(h, "h16") : undefined;
  const narrow16: OpName = c === "u16" ? "narrow_u.i16x8" : "narrow_s.i16x8";
  /** Two groups as i16 lanes with h added, after narrowing where the groups are neighbours. */
  const pair = (site: Site, a: Group, b: Group): Expr => {
    if (h16 && (same || b.j === a.j + 1))
      return op("add_sat_s.i16x8", [op(narrow16, [a.v, b.v]), h16(site, a.j)]);
    return op(narrow16, [added(site, a), added(site, b)]);
  };
  if (CONTAINER_BYTES[c] === 2)
    return (site, [a, b]) => site.block.bind(clampPacked(pair(site, a!, b!), c, lo, hi, pool), "y");
  const narrow8: OpName = c === "u8" ? "narrow_u.i8x16" : "narrow_s.i8x16";
  return (site, [g0, g1, g2, g3]) => {
    const halves = [pair(site, g0!, g1!), pair(site, g2!, g3!)];
    return site.block.bind(clampPacked(op(narrow8, halves), c, lo, hi, pool), "y");
  };
}
