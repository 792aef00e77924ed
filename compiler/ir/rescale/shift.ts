/**
 * A certified rescale of operands and results that are stored moved by constants: a′ = a + s, y′ = y + k. Constants absorb
 * both, so that every step computes the same bits as before, and the proof carries over word for word.
 */
import { add, mul, type Rational, rational, sub } from "../rational.ts";
import { isInt32, narrowFor, productRange } from "./lanes.ts";
import type { RequantSpec, Rescale, RescaleWide } from "./types.ts";
import { limbsOf } from "./wide.ts";

/** The certificate that goes with a rescale: widths, reachable ranges and the exact map, each per channel. */
export interface RescaleProof {
  readonly mBits: number;
  readonly windowBits: number;
  readonly accBits: number;
  readonly ties: boolean;
  /** [channel][operand] [min, max] */
  readonly ranges: readonly (readonly (readonly [number, number])[])[];
  readonly scales: readonly (readonly Rational[])[];
  readonly offsets: readonly Rational[];
  readonly zero_point: Rational;
  readonly rounding: RequantSpec["rounding"];
  readonly order: RequantSpec["order"];
}

/** [channel][operand]: by how much operands are moved; as many channels as the shifted rescale gets, 1 for all alike. */
export type OperandShifts = readonly (readonly number[])[];

/** The same entries for more channels: lists of one entry serve all. */
const spread = <T>(list: readonly T[], n: number): readonly T[] =>
  list.length === n || list.length === 0 ? list : Array.from({ length: n }, () => list[0]!);

/** Whether the exact sum of moved operands still fits its limbs. */
const sumFits = (r: RescaleWide, ranges: RescaleProof["ranges"], shifts: OperandShifts): boolean => {
  const m = spread(r.m, shifts.length);
  return shifts.every((row, c) => {
    const ends = row.map((s, i) => Math.max(...ranges[c]![i]!.map((bound) => Math.abs(bound + s))));
    const size = ends.reduce((sum, a, i) => sum + Math.abs(m[c]![i]!) * a, 0);
    return size < 2 ** (30 * r.mLimbs.length - 1) && ends.reduce((sum, a) => sum + a, 0) <= 2 ** 32;
  });
};

/** Whether the moved operands still fit int32 where the rescale needs that. */
export function shiftable(r: Rescale, proof: RescaleProof | null, shifts: OperandShifts): boolean {
  if (r.class !== "wide" && (r.class !== "limb" || r.width === 32)) return true;
  if (proof === null) return false;
  const ranges = spread(proof.ranges, shifts.length);
  if (r.class === "wide" && !sumFits(r, ranges, shifts)) return false;
  return shifts.every((row, c) =>
    row.every((s, i) =>
      ranges[c]![i]!.every((bound) => isInt32(bound + s) || ranges[c]![i]![0] > ranges[c]![i]![1]),
    ),
  );
}

/** y′ = rescale(a′) for all a with y = r(a). Undefined if the result cannot be moved by `k`: then 0 always can. */
export function shiftRescale(
  r: Rescale,
  proof: RescaleProof | null,
  shifts: OperandShifts,
  k: number,
): Rescale | undefined {
  const n = shifts.length;
  const m = spread(r.m, n);
  const factor = (c: number): bigint => (r.class === "wide" ? spread(r.w, n)[c]! : 1n);
  /** Σ mᵢ·sᵢ of each channel for the multipliers of one limb. */
  const moved = (factors: readonly (readonly number[])[]): bigint[] =>
    spread(factors, n).map((row, c) =>
      row.reduce((sum, f, i) => sum + BigInt(f) * BigInt(shifts[c]![i]!), 0n),
    );
  const less = (list: readonly bigint[], by: readonly bigint[]): bigint[] =>
    spread(list, n).map((x, c) => x - by[c]!);
  const all = moved(m).map((sum, c) => sum * factor(c));
  const step = BigInt(k) << BigInt(r.n);
  const sums =
    proof &&
    spread(proof.ranges, n)
      .map((row, c) =>
        productRange(
          m[c]!,
          row.map(([min, max]) => ({ min, max })),
        ),
      )
      .map(({ lo, hi }, c) => ({ lo: lo * factor(c), hi: hi * factor(c) }));
  const fits = (x: bigint): boolean => BigInt.asIntN(32, x) === x;
  const h = spread(r.h, n);

  // Class i32 has room in its constant where the sum allows it; everywhere else k joins h.
  const inConstant =
    r.class === "i32" &&
    r.form === "floor" &&
    h.every((x) => x === 0) &&
    sums?.every((s, c) => {
      const constant = spread(r.c, n)[c]! + step;
      return fits(s.lo + constant) && fits(s.hi + constant);
    });
  const newH = inConstant ? h : h.map((x) => x + k);
  const common = {
    lo: r.lo + k,
    hi: r.hi + k,
    h: newH,
    narrow: narrowFor(r.lo + k, r.hi + k, newH),
    m,
    c: less(r.c, all).map((c) => (r.form === "floor" ? c + step : c)),
    cUp: less(r.cUp, all),
  };
  if (sums !== null && !inConstant && k !== 0) {
    const overflows = sums.some((s, c) => {
      const own = spread(r.c, n)[c]! - (r.form === "floor" ? BigInt(h[c]!) << BigInt(r.n) : 0n);
      const ups = r.form === "tie" ? [spread(r.cUp, n)[c]!] : [];
      return [s.lo + own, ...[own, ...ups].map((x) => s.hi + x)].some(
        (x) => !fits((x >> BigInt(r.n)) + BigInt(newH[c]!)),
      );
    });
    if (overflows) return undefined;
  }
  const wrap = (x: bigint): number => Number(BigInt.asIntN(32, x));
  switch (r.class) {
    case "i32":
      return {
        ...r,
        ...common,
        c32: inConstant ? common.c.map(wrap) : less(r.c32.map(BigInt), all).map(wrap),
        cUp32: less(r.cUp32.map(BigInt), all).map(wrap),
      };
    case "hi32":
      return {
        ...r,
        ...common,
        // A constant channel keeps its zero.
        a0: spread(r.a0, n).map((a, c) => (m[c]![0] === 0 ? a : a - shifts[c]![0]!)),
      };
    case "limb": {
      const [high, low] = [moved(r.m1), moved(r.m0)];
      return {
        ...r,
        ...common,
        m1: spread(r.m1, n),
        m0: spread(r.m0, n),
        c1: less(r.c1, high),
        c0: less(r.c0, low),
        c1Up: less(r.c1Up, high),
        c0Up: less(r.c0Up, low),
      };
    }
    case "wide": {
      const inner = (list: readonly bigint[], after: bigint): bigint[] =>
        list.map((c, i) => c - BigInt(spread(newH, n)[i]!) * after);
      const unit = r.form === "floor" ? 1n << BigInt(r.n) : 0n;
      return {
        ...r,
        ...common,
        mLimbs: r.mLimbs.map((limb) => spread(limb, n)),
        w: spread(r.w, n),
        wLimbs: r.wLimbs.map((limb) => spread(limb, n)),
        cLimbs: limbsOf(inner(common.c, unit), r.cLimbs.length),
        cUpLimbs: limbsOf(common.cUp, r.cUpLimbs.length),
      };
    }
  }
}

/** The certificate of the shifted rescale. */
export function shiftProof(p: RescaleProof, shifts: OperandShifts, k: number): RescaleProof {
  const n = shifts.length;
  const inside = p.order === "shift_then_round";
  const scales = spread(p.scales, n);
  return {
    ...p,
    ranges: spread(p.ranges, n).map((row, c) =>
      row.map(([min, max], i) => [min + shifts[c]![i]!, max + shifts[c]![i]!] as const),
    ),
    scales,
    // A zero point inside the rounding joins the offset: R(x + k) is not R(x) + k for every rule.
    offsets: spread(p.offsets, n).map((offset, c) =>
      scales[c]!.reduce(
        (sum, s, i) => sub(sum, mul(s, rational(BigInt(shifts[c]![i]!)))),
        inside ? add(offset, p.zero_point) : offset,
      ),
    ),
    zero_point: add(inside ? rational(0n) : p.zero_point, rational(BigInt(k))),
    order: "round_then_shift",
  };
}
