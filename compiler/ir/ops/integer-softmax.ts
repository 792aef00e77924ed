/** Softmax in integers: a table of exponentials and one exact division per element. */
import type { Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { sizeOf } from "../types.ts";
import { axisIn } from "./axes.ts";
import { allOf, required, storeInts } from "./define.ts";

const softmax = defineOp({
  name: "qc.softmax",
  summary:
    "With d = max(x) − x, E = exp[d] and Σ the sum of E, along `axis`: y = clamp(⌊(2·E·p + Σ·q) / (2·Σ·q)⌋ + zero_point, lo, hi), p/q being the reciprocal of the output scale. Within `error` of the real softmax before rounding, in output steps.",
  operands: ["x"],
  attrs: {
    axis: required("int", "counted from the front"),
    exp: required("dense", "rank 1: fixed-point exp(−scale·d) for d = 0, 1, …"),
    p: required("bigint", "numerator of 1 / output scale, p > 0"),
    q: required("bigint", "its denominator, q > 0"),
    zero_point: required("int", "added after the division"),
    lo: required("int", "least result"),
    hi: required("int", "greatest result"),
    error: required("float", "bound on the distance from the real softmax before rounding, in output steps"),
  },
  traits: [],
  infer: ([x], attrs, declared) => {
    const bad = allOf("int", [x!]);
    if (bad) return bad;
    const exp = attrs.exp as Dense;
    if (!axisIn(attrs.axis as number, x!.shape.length)) return `axis ${attrs.axis} is not an axis of x`;
    if (exp.shape.length !== 1 || exp.elem.kind !== "int") return "exp must be a rank 1 integer constant";
    if (!((attrs.p as bigint) > 0n && (attrs.q as bigint) > 0n)) return "p and q must be positive";
    if ((attrs.lo as number) > (attrs.hi as number)) return "lo must not exceed hi";
    const elem = declared?.[0]?.elem;
    if (elem?.kind !== "int") return "the result must be declared with a plain integer element type";
    return [{ shape: x!.shape, elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const exp = (attrs.exp as Dense).data;
    const [p, q] = [attrs.p as bigint, attrs.q as bigint];
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
        const v = exp[top - x!.data[i]!];
        if (v === undefined) throw new RangeError(`max − x = ${top - x!.data[i]!} is outside exp`);
        return v;
      });
      const sum = BigInt(e.reduce((s, v) => s + v, 0)) * q;
      at.forEach((i, j) => {
        const y = Number((2n * BigInt(e[j]!) * p + sum) / (2n * sum));
        out[i] = Math.min(Math.max(y + z, lo), hi);
      });
    }
    return [storeInts(out, type!)];
  },
});

export const softmaxOps: readonly OpDef[] = [softmax];
