import { storageOf } from "../dense.ts";
import type { Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { sameElem, sameShape } from "../types.ts";
import { required } from "./define.ts";

const constant = defineOp({
  name: "const",
  summary:
    "The constant `value`. Its type is the value's own, or a declared quantised type whose storage is the value's element type.",
  operands: [],
  attrs: { value: required("dense", "the elements; stored integers if the result is quantised") },
  traits: ["constant"],
  infer: (_, attrs, declared) => {
    const d = attrs.value as Dense;
    const want = declared?.[0];
    if (want?.elem.kind !== "quant") return [{ shape: d.shape, elem: d.elem }];
    if (!sameElem(storageOf(want.elem), d.elem)) return "the value's element type is not the storage type";
    if (!sameShape(want.shape, d.shape)) return "the value's shape is not the result's";
    const { lo, hi } = want.elem;
    for (let i = 0; i < d.data.length; i++)
      if (d.data[i]! < lo || d.data[i]! > hi) return `the value has elements outside ${lo} … ${hi}`;
    return [want];
  },
  evaluate: (_, attrs) => [attrs.value as Dense],
});

export const constOps: readonly OpDef[] = [constant];
