/** Normalization of rows of real numbers. */
import { defineOp, type OpDef } from "../op.ts";
import { sizeOf } from "../types.ts";
import { axisIn } from "./axes.ts";
import { allOf, floats, required } from "./define.ts";

const normalize = defineOp({
  name: "float.normalize",
  summary:
    "(x − μ) / √(σ² + epsilon) with the mean and variance of each row, the axes from `axis` on; without `centre`: x / √(mean of x² + epsilon). 0 where the root is 0.",
  operands: ["x"],
  attrs: {
    axis: required("int", "first axis of a row, counted from the front"),
    centre: required("bool", "subtract the mean"),
    epsilon: required("float", "ε ≥ 0"),
  },
  traits: ["float"],
  infer: ([x], attrs) => {
    const bad = allOf("float", [x!]);
    if (bad) return bad;
    if (!axisIn(attrs.axis as number, x!.shape.length)) return `axis ${attrs.axis} is not an axis of x`;
    const epsilon = attrs.epsilon as number;
    return epsilon >= 0 && Number.isFinite(epsilon) ? [x!] : "epsilon must be finite and not negative";
  },
  evaluate: ([x], attrs, [type]) => {
    const n = sizeOf(x!.shape.slice(attrs.axis as number));
    const out = new Float64Array(x!.data.length);
    for (let start = 0; start < out.length; start += n) {
      const row = Float64Array.from(x!.data.subarray(start, start + n));
      const mean = attrs.centre ? row.reduce((s, v) => s + v, 0) / n : 0;
      const root = Math.sqrt(row.reduce((s, v) => s + (v - mean) ** 2, 0) / n + (attrs.epsilon as number));
      row.forEach((v, i) => {
        out[start + i] = root === 0 ? 0 : (v - mean) / root;
      });
    }
    return [floats(type!, out)];
  },
});

export const floatNormalizeOps: readonly OpDef[] = [normalize];
