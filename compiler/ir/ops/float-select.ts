/** Positions of elements among real numbers. */
import { defineOp, type OpDef } from "../op.ts";
import { I32, sizeOf } from "../types.ts";
import { axisIn, reducedShape } from "./axes.ts";
import { allOf, optional, required, storeInts } from "./define.ts";

const argMax = defineOp({
  name: "float.arg_max",
  summary:
    "Index of the greatest element along `axis`, which stays with size 1: the first of equal ones, or the `last`.",
  operands: ["x"],
  attrs: {
    axis: required("int", "counted from the front"),
    last: optional("bool", "of equal elements, the last", false),
  },
  traits: ["float"],
  infer: ([x], a) => {
    const axis = a.axis as number;
    if (!axisIn(axis, x!.shape.length)) return `axis ${axis} is not an axis of x`;
    return allOf("float", [x!]) ?? [{ shape: reducedShape(x!.shape, [axis], true), elem: I32 }];
  },
  evaluate: ([x], a, [type]) => {
    const axis = a.axis as number;
    const n = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const out = new Float64Array(sizeOf(type!.shape));
    for (let r = 0; r < out.length; r++) {
      const base = Math.floor(r / inner) * n * inner + (r % inner);
      let best = 0;
      for (let i = 1; i < n; i++) {
        const [v, top] = [x!.data[base + i * inner]!, x!.data[base + best * inner]!];
        if (v > top || (a.last === true && v === top)) best = i;
      }
      out[r] = best;
    }
    return [storeInts(out, type!)];
  },
});

export const floatSelectOps: readonly OpDef[] = [argMax];
