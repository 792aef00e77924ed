/** The certified integer form of a requantization. */
import type { Attr, Attrs } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { evaluateRescale, type Rescale } from "../rescale/index.ts";
import type { RescaleProof } from "../rescale/shift.ts";
import { optional, required } from "./define.ts";
import { requantType } from "./integer-requant.ts";
import { mapChannels } from "./per-channel.ts";

/** The rescale of a `qc.rescale`, from its attributes. */
export const rescaleOf = (attrs: Attrs): Rescale => attrs.rescale as unknown as Rescale;

/** A rescale as an attribute; it is plain data already. */
export const rescaleAttr = (rescale: Rescale): Attr => rescale as unknown as Attr;

/** What was proved of a `qc.rescale`; null in hand-written graphs. */
export const proofOf = (attrs: Attrs): RescaleProof | null =>
  (attrs.proof ?? null) as unknown as RescaleProof | null;

export const proofAttr = (proof: RescaleProof): Attr => proof as unknown as Attr;

/** What every class has, each with one entry per channel. */
const perChannel = (r: Rescale): readonly (readonly unknown[])[] => {
  const both = r.form === "tie" ? [r.cUp] : [];
  switch (r.class) {
    case "i32":
      return [r.m, r.c, ...both, r.c32];
    case "hi32":
      return [r.m, r.c, ...both, r.a0];
    case "limb":
      return [r.m, r.c, ...both, r.m1, r.m0, r.c1, r.c0];
    case "wide":
      return [r.m, r.c, ...both, r.w, ...r.mLimbs, ...r.wLimbs, ...r.cLimbs];
  }
};

const rescale = defineOp({
  name: "qc.rescale",
  summary:
    "clamp(⌊(Σ aᵢ·m[c][i] + c[c]) / 2ⁿ⌋, lo, hi) per channel c, step by step as the kernels do it, or its tie form; class wide multiplies the exact sum by w[c]; certified equal to the `qc.requant` it replaces on the reachable range. The author chooses the result's integer type.",
  operands: ["a", "b…"],
  attrs: {
    axis: required("int", "channel axis, counted from the front of the result"),
    rescale: required(
      "dict",
      "`Rescale` of compiler/ir/rescale/types.ts: class, form, n, lo, hi, h, narrow, m, c …; lists of one entry serve all channels",
    ),
    proof: optional("any", "`RescaleManifest`: the certificate, with the reachable ranges", null),
  },
  traits: ["elementwise"],
  infer: (types, attrs, declared) => {
    const result = requantType(types, attrs, declared);
    if (typeof result === "string") return result;
    const r = rescaleOf(attrs);
    if (!["i32", "hi32", "limb", "wide"].includes(r.class)) return "rescale has no known class";
    const lists = perChannel(r);
    if (!lists.every(Array.isArray)) return "rescale lacks a list of its class";
    const channels = result[0]!.shape[attrs.axis as number] ?? 1;
    if (![1, channels].includes(r.m.length) || !lists.every((l) => l.length === r.m.length))
      return `rescale needs 1 or ${channels} entries per list`;
    if (!r.m.every((m) => Array.isArray(m) && m.length === types.length))
      return "rescale needs one multiplier per operand";
    return result;
  },
  evaluate: (operands, attrs, [type]) => {
    const r = rescaleOf(attrs);
    return [
      mapChannels(operands, attrs.axis as number, type!, (c, a) =>
        evaluateRescale(r, r.m.length === 1 ? 0 : c, a),
      ),
    ];
  },
});

export const rescaleOps: readonly OpDef[] = [rescale];
