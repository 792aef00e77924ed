/** The certified recipes of compiler/ir/rescale/types.ts as vector code: accumulators → the rounded i32 lane v. */
import { type Expr, type OpName, op } from "../../ir/kernel/ir.ts";
import type { Rescale, RescaleI32, RescaleLimb, RescaleWide, TieSelect } from "../../ir/rescale/types.ts";
import type { Constant, ConstantPool, Site } from "./epilogue-constants.ts";

/** v of group j from one i32x4 per operand; in class hi32 the accumulator includes a0. */
export type Recipe = (site: Site, j: number, acc: readonly Expr[]) => Expr;

export function recipeOf(r: Rescale, pool: ConstantPool): Recipe {
  switch (r.class) {
    case "i32":
      return tied(r, recipeI32(r, pool, r.c32, "c"), () => recipeI32(r, pool, r.cUp32, "c_up"));
    case "hi32": {
      const m = pool.table32(
        r.m.map((row) => row[0]!),
        "m",
      );
      return (site, j, [a]) => shiftRight(op("mulhi_s.i32x4", [a!, m(site, j)]), r.k);
    }
    case "limb": {
      const build = r.width === 32 ? recipeLimb32 : recipeLimb64;
      return tied(r, build(r, pool, r.c1, r.c0, ""), () => build(r, pool, r.c1Up, r.c0Up, "_up"));
    }
    case "wide": {
      const sum = exactSum(r, pool);
      const down = wideQuotient(r, pool, r.cLimbs, "");
      const up = r.form === "floor" ? down : wideQuotient(r, pool, r.cUpLimbs, "_up");
      return (site, j, acc) => {
        const limbs = sum(site, j, acc);
        const d = site.block.bind(down(site, j, limbs), "down");
        return r.form === "floor" ? d : select(site, d, up(site, j, limbs), r.select ?? "odd");
      };
    }
  }
}

const shiftRight = (a: Expr, n: number): Expr => (n === 0 ? a : op("shr_s.i32x4", [a], [n]));

/** down + ((up − down) & mask); up − down is 0 or 1. */
function select(site: Site, down: Expr, up: Expr, how: TieSelect): Expr {
  const step = op("sub.i32x4", [up, down]);
  const taken: { readonly [K in TieSelect]: () => Expr } = {
    odd: () => op("and.i32x4", [step, down]),
    negative: () => op("and.i32x4", [step, op("shr_s.i32x4", [down], [31])]),
    nonnegative: () => op("andnot.i32x4", [step, op("shr_s.i32x4", [down], [31])]),
  };
  return site.block.bind(op("add.i32x4", [down, taken[how]()]), "v");
}

function tied(r: Rescale, down: Recipe, up: () => Recipe): Recipe {
  if (r.form === "floor") return down;
  const second = up();
  return (site, j, acc) => {
    const bound = acc.map((a) => site.block.bind(a, "a"));
    const d = site.block.bind(down(site, j, bound), "down");
    return select(site, d, second(site, j, bound), r.select ?? "odd");
  };
}

const column = (m: readonly (readonly number[])[], i: number): number[] => m.map((row) => row[i]!);
const allAre = <T>(values: readonly T[], x: T): boolean => values.every((v) => v === x);

/** Σ aᵢ·mᵢ in i32 lanes; undefined if all multipliers are zero. */
function products(
  m: readonly (readonly number[])[],
  pool: ConstantPool,
  hint: string,
): (site: Site, j: number, acc: readonly Expr[]) => Expr | undefined {
  const factors = (m[0] ?? []).map((_, i): Constant | 0 | 1 => {
    const values = column(m, i);
    if (allAre(values, 0)) return 0;
    return allAre(values, 1) ? 1 : pool.table32(values, `${hint}${i || ""}`);
  });
  return (site, j, acc) => {
    let sum: Expr | undefined;
    factors.forEach((f, i) => {
      if (f === 0) return;
      const term = f === 1 ? acc[i]! : op("mul.i32x4", [acc[i]!, f(site, j)]);
      sum = sum ? op("add.i32x4", [sum, term]) : term;
    });
    return sum;
  };
}

function recipeI32(r: RescaleI32, pool: ConstantPool, constants: readonly number[], hint: string): Recipe {
  const sum = products(r.m, pool, "m");
  const c = allAre(constants, 0) ? undefined : pool.table32(constants, hint);
  return (site, j, acc) => shiftRight(total(pool, sum(site, j, acc), c?.(site, j)), r.n);
}

const total = (pool: ConstantPool, a: Expr | undefined, b: Expr | undefined): Expr =>
  a && b ? op("add.i32x4", [a, b]) : (a ?? b ?? pool.splat(0));

const wrap32 = (x: bigint): number => Number(BigInt.asIntN(32, x));

function recipeLimb32(
  r: RescaleLimb,
  pool: ConstantPool,
  c1: readonly bigint[],
  c0: readonly bigint[],
  suffix: string,
): Recipe {
  const highs = products(r.m1, pool, "m1_");
  const lows = products(r.m0, pool, "m0_");
  const high = c1.map(wrap32);
  const low = c0.map(wrap32);
  const kHigh = allAre(high, 0) ? undefined : pool.table32(high, `c1${suffix}`);
  const kLow = allAre(low, 0) ? undefined : pool.table32(low, `c0${suffix}`);
  return (site, j, acc) => {
    const bound = acc.map((a) => site.block.bind(a, "a"));
    let sum = total(pool, highs(site, j, bound), kHigh?.(site, j));
    if (r.L > 0) {
      const carry = total(pool, lows(site, j, bound), kLow?.(site, j));
      sum = op("add.i32x4", [sum, shiftRight(carry, r.L)]);
    }
    return shiftRight(sum, r.n - r.L);
  };
}

/** The i32 lanes of two i64x2 shifted right by n; exact where the shifted value fits int32. */
function truncated(first: Expr, last: Expr, n: number): Expr {
  // Up to 32 the bits wanted lie inside the lane: the unsigned shift, which is the fast one, will do.
  const wide = Math.min(n, 32);
  const shifted = (a: Expr): Expr => (wide === 0 ? a : op("shr_u.i64x2", [a], [wide]));
  return shiftRight(op("truncate.i32x4", [shifted(first), shifted(last)]), n - wide);
}

function recipeLimb64(
  r: RescaleLimb,
  pool: ConstantPool,
  c1: readonly bigint[],
  c0: readonly bigint[],
  suffix: string,
): Recipe {
  const tables = (m: readonly (readonly number[])[], hint: string): Constant[] =>
    (m[0] ?? []).map((_, i) => pool.table32(column(m, i), `${hint}${i || ""}`));
  const m1 = tables(r.m1, "m1_");
  const m0 = r.L > 0 ? tables(r.m0, "m0_") : [];
  const k1 = pool.table64(c1, `c1${suffix}`);
  const k0 = r.L > 0 ? pool.table64(c0, `c0${suffix}`) : undefined;
  return (site, j, acc) => {
    const bound = acc.map((a) => site.block.bind(a, "a"));
    const half = (h: 0 | 1): Expr => {
      const name: OpName = h === 0 ? "extmul_low_s.i64x2" : "extmul_high_s.i64x2";
      const dot = (m: readonly Constant[], start: Expr): Expr =>
        m.reduce((sum, f, i) => op("add.i64x2", [sum, op(name, [bound[i]!, f(site, j)])]), start);
      let sum = dot(m1, k1(site, j, h));
      if (k0) sum = op("add.i64x2", [sum, op("shr_s.i64x2", [dot(m0, k0(site, j, h))], [r.L])]);
      return site.block.bind(sum, "wide");
    };
    return truncated(half(0), half(1), r.n - r.L);
  };
}

/** The 30-bit limbs of a sum, least first, in i32 lanes. */
type Limbs = readonly Expr[];

const extmul = (h: 0 | 1): OpName => (h === 0 ? "extmul_low_s.i64x2" : "extmul_high_s.i64x2");
const add64 = (a: Expr, b: Expr): Expr => op("add.i64x2", [a, b]);
const carry30 = (a: Expr): Expr => op("shr_s.i64x2", [a], [30]);

/** Σ aᵢ·mᵢ in i64 lanes, a limb of the factors at a time. */
function exactSum(
  r: RescaleWide,
  pool: ConstantPool,
): (site: Site, j: number, acc: readonly Expr[]) => Limbs {
  const factors = r.mLimbs.map((m, l) =>
    (m[0] ?? []).map((_, i) => {
      const values = column(m, i);
      return allAre(values, 0) ? undefined : pool.table32(values, `m${l}_${i || ""}`);
    }),
  );
  const mask = pool.splat(2 ** 30 - 1);
  return (site, j, acc) => {
    const bound = acc.map((a) => site.block.bind(a, "a"));
    const half = (h: 0 | 1): Expr[] => {
      const sums: Expr[] = [];
      for (const row of factors) {
        const below = sums.at(-1);
        const terms = row.flatMap((f, i) => (f ? [op(extmul(h), [bound[i]!, f(site, j)])] : []));
        if (below) terms.push(carry30(below));
        if (terms.length === 0) terms.push(op(extmul(h), [pool.splat(0), pool.splat(0)]));
        sums.push(site.block.bind(terms.reduce(add64), "sum"));
      }
      return sums;
    };
    const [low, high] = [half(0), half(1)];
    return low.map((x, l) => {
      const limb = op("truncate.i32x4", [x, high[l]!]);
      return site.block.bind(l === low.length - 1 ? limb : op("and.i32x4", [limb, mask]), "limb");
    });
  };
}

/** ⌊(A·w + c) / 2ⁿ⌋, limb by limb. */
function wideQuotient(
  r: RescaleWide,
  pool: ConstantPool,
  constants: readonly (readonly bigint[])[],
  suffix: string,
): (site: Site, j: number, sum: Limbs) => Expr {
  const w = r.wLimbs.map((limb, l) => (allAre(limb, 0) ? undefined : pool.table32(limb, `w${l}_`)));
  const c = constants.map((limb, l) => (allAre(limb, 0n) ? undefined : pool.table64(limb, `c${l}${suffix}`)));
  return (site, j, sum) => {
    const half = (h: 0 | 1): Expr => {
      let t: Expr | undefined;
      for (let l = 0; l < c.length; l++) {
        const terms = sum.flatMap((a, i) => {
          const factor = w[l - i];
          return factor ? [op(extmul(h), [a, factor(site, j)])] : [];
        });
        const constant = c[l]?.(site, j, h);
        if (constant) terms.push(constant);
        if (t) terms.push(carry30(site.block.bind(t, "wide")));
        if (terms.length > 0) t = terms.reduce(add64);
      }
      return site.block.bind(t ?? op(extmul(h), [pool.splat(0), pool.splat(0)]), "wide");
    };
    return truncated(half(0), half(1), r.n - 30 * (c.length - 1));
  };
}
