/** Softmax in integers: exponentials by table, one division per row, one high product per element. */
import type { Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { sizeOf } from "../types.ts";
import { axisIn } from "./axes.ts";
import { allOf, required, storeInts } from "./define.ts";

/** Fraction bits of exponentials. */
export const EXP_BITS = 30;

const isTable = ({ shape, elem }: Dense): boolean =>
  shape.length === 1 && shape[0]! > 0 && elem.kind === "int" && elem.bits <= 32;

const softmax = defineOp({
  name: "qc.softmax",
  summary:
    "With d = max(x) − x, E = ⌊coarse[⌊d / 2^bits⌋]·exp[d mod 2^bits] / 2^30⌋, Σ the sum of E along `axis` and m = ⌊numerator / Σ⌋: y = clamp(⌊(⌊E·m / 2^32⌋ + offset) / 2^shift⌋ + zero_point, lo, hi). Within `error` of the real softmax before rounding, in output steps.",
  operands: ["x"],
  attrs: {
    axis: required("int", "counted from the front"),
    exp: required("dense", "rank 1: exp(−scale·d) for d = 0, 1, … with 30 fraction bits"),
    coarse: required(
      "dense",
      "rank 1: exp(−scale·d) for d = 0, 2^bits, 2·2^bits …; [2^30] where exp covers every d",
    ),
    bits: required("int", "0 … 31"),
    numerator: required("bigint", "2^(32 + shift) / output scale, rounded; m stays below 2^31"),
    offset: required("int", "the rounding, in units of 2^-shift"),
    shift: required("int", "0 … 31"),
    zero_point: required("int", "added after the shift"),
    lo: required("int", "least result"),
    hi: required("int", "greatest result"),
    error: required("float", "bound on the distance from the real softmax before rounding, in output steps"),
  },
  traits: [],
  infer: ([x], attrs, declared) => {
    const bad = allOf("int", [x!]);
    if (bad) return bad;
    const [bits, shift] = [attrs.bits as number, attrs.shift as number];
    const numerator = attrs.numerator as bigint;
    if (!axisIn(attrs.axis as number, x!.shape.length)) return `axis ${attrs.axis} is not an axis of x`;
    if (!isTable(attrs.exp as Dense) || !isTable(attrs.coarse as Dense))
      return "exp and coarse must be rank 1 integer constants";
    if (!(bits >= 0 && bits <= 31 && shift >= 0 && shift <= 31)) return "bits and shift must lie in 0 … 31";
    // Σ is at least 2^30, the exponential of the greatest element.
    if (numerator < 0n || numerator >= 1n << 61n) return "the numerator must lie between 0 and 2^61 − 1";
    if ((attrs.lo as number) > (attrs.hi as number)) return "lo must not exceed hi";
    const elem = declared?.[0]?.elem;
    if (elem?.kind !== "int") return "the result must be declared with a plain integer element type";
    return [{ shape: x!.shape, elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const [exp, coarse] = [(attrs.exp as Dense).data, (attrs.coarse as Dense).data];
    const bits = attrs.bits as number;
    const [offset, shift] = [attrs.offset as number, attrs.shift as number];
    const [z, lo, hi] = [attrs.zero_point as number, attrs.lo as number, attrs.hi as number];
    const axis = attrs.axis as number;
    const n = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const out = new Float64Array(x!.data.length);
    for (let r = 0; r * n < out.length; r++) {
      const base = Math.floor(r / inner) * n * inner + (r % inner);
      const at = Array.from({ length: n }, (_, j) => base + j * inner);
      const top = at.reduce((m, i) => Math.max(m, x!.data[i]!), Number.NEGATIVE_INFINITY);
      const e = at.map((i) => {
        const d = top - x!.data[i]!;
        const high = Math.floor(d / 2 ** bits);
        const [a, b] = [coarse[high], exp[d - high * 2 ** bits]];
        if (a === undefined || b === undefined) throw new RangeError(`max − x = ${d} is outside exp`);
        return (BigInt(a) * BigInt(b)) >> BigInt(EXP_BITS);
      });
      const sum = e.reduce((s, v) => s + v, 0n);
      const m = sum === 0n ? 0n : (attrs.numerator as bigint) / sum;
      at.forEach((i, j) => {
        const y = (Number((e[j]! * m) >> 32n) + offset) >> shift;
        out[i] = Math.min(Math.max(y + z, lo), hi);
      });
    }
    return [storeInts(out, type!)];
  },
});

export const softmaxOps: readonly OpDef[] = [softmax];
