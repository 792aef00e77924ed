/** Layer and root-mean-square normalization in integers. */
import type { Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { sizeOf } from "../types.ts";
import { axisIn, broadcastShapes, broadcastTo } from "./axes.ts";
import { allOf, required, storeInts } from "./define.ts";
import { headroom, highProduct, rootShift, rowMultiplier } from "./normalize-arithmetic.ts";

const fitsInt32 = (d: Dense): boolean => d.elem.kind === "int" && d.elem.signed && d.elem.bits <= 32;

const normalize = defineOp({
  name: "qc.normalize",
  summary:
    "Rows are the axes from `axis` on, of n elements. With D = n·x − Σx, V = n·Σx² − (Σx)² (where not `centre`: D = n·(x − zero), V = n·Σ(x − zero)²) and E = epsilon / 2^epsilon_bits: y = clamp(⌊(⌊u·factor / 2^32⌋ + offset) / 2^shift⌋ + zero_point, lo, hi), u being D / √(V + E) in fixed point with 29 − ⌈log2(n) / 2⌉ fraction bits, as `normalize-arithmetic.ts` says. Within `error` of the real normalization before rounding, in output steps.",
  operands: ["x"],
  attrs: {
    axis: required("int", "first axis of a row, counted from the front"),
    centre: required("bool", "subtract the row's mean"),
    zero: required("int", "subtracted where the mean is not; 0 with `centre`"),
    epsilon: required("bigint", "0 ≤ epsilon < 2^62"),
    epsilon_bits: required("int", "even; takes max(⌊E⌋, 1) to [2^60, 2^62)"),
    factor: required("dense", "i32, broadcastable to x"),
    offset: required("dense", "i32, of factor's shape"),
    shift: required("int", "0 … 31"),
    zero_point: required("int", "added after the shift"),
    lo: required("int", "least result"),
    hi: required("int", "greatest result"),
    error: required("float", "bound on the distance from the real result before rounding, in output steps"),
  },
  traits: [],
  infer: ([x], attrs, declared) => {
    const bad = allOf("int", [x!]);
    if (bad) return bad;
    const factor = attrs.factor as Dense;
    const offset = attrs.offset as Dense;
    const shift = attrs.shift as number;
    const epsilon = attrs.epsilon as bigint;
    const bits = attrs.epsilon_bits as number;
    if (!axisIn(attrs.axis as number, x!.shape.length)) return `axis ${attrs.axis} is not an axis of x`;
    if (!fitsInt32(factor) || !fitsInt32(offset)) return "factor and offset must hold signed integers";
    if (factor.shape.join() !== offset.shape.join()) return "factor and offset must have one shape";
    if (broadcastShapes(factor.shape, x!.shape)?.join() !== x!.shape.join())
      return "factor must broadcast to x";
    if (!(shift >= 0 && shift <= 31)) return "shift must lie between 0 and 31";
    if (epsilon < 0n || epsilon >= 1n << 62n) return "epsilon must lie between 0 and 2^62 − 1";
    if (!(bits >= 0 && bits <= 60) || bits !== rootShift(epsilon >> BigInt(bits)))
      return "epsilon_bits must take max(⌊E⌋, 1) to [2^60, 2^62)";
    if ((attrs.lo as number) > (attrs.hi as number)) return "lo must not exceed hi";
    const elem = declared?.[0]?.elem;
    if (elem?.kind !== "int") return "the result must be declared with a plain integer element type";
    return [{ shape: x!.shape, elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const n = sizeOf(x!.shape.slice(attrs.axis as number));
    const centre = attrs.centre as boolean;
    const zero = attrs.zero as number;
    const e = { epsilon: attrs.epsilon as bigint, bits: attrs.epsilon_bits as number };
    const factor = broadcastTo(attrs.factor as Dense, x!.shape);
    const offset = broadcastTo(attrs.offset as Dense, x!.shape);
    const shift = attrs.shift as number;
    const [z, lo, hi] = [attrs.zero_point as number, attrs.lo as number, attrs.hi as number];
    const g = headroom(n);
    const out = new Float64Array(x!.data.length);
    for (let start = 0; start < out.length; start += n) {
      const row = x!.data.subarray(start, start + n);
      let sum = 0n;
      let squares = 0n;
      for (const t of row) {
        sum += BigInt(t - zero);
        squares += BigInt((t - zero) ** 2);
      }
      const v = BigInt(n) * squares - (centre ? sum * sum : 0n);
      const { m, left } = rowMultiplier(v, e, g);
      const mean = centre ? Number(sum) : n * zero;
      row.forEach((t, i) => {
        const u = highProduct((n * t - mean) * 2 ** left, m);
        const y = (highProduct(u, factor[start + i]!) + offset[start + i]!) >> shift;
        out[start + i] = Math.min(Math.max(y + z, lo), hi);
      });
    }
    return [storeInts(out, type!)];
  },
});

export const normalizeOps: readonly OpDef[] = [normalize];
