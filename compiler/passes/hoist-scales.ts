/**
 * Scales that are computed at run time leave products: Σ (q·s)·w = (Σ q·w)·s for integers q and an s that is the same all along
 * the sum. What is left is a product of integers.
 */
import type { Op, Value } from "../ir/module.ts";
import { definePass } from "../ir/pass.ts";
import type { Rule, RuleContext } from "../ir/rewriter.ts";
import type { QuantType } from "../ir/types.ts";

const defined = (v: Value | undefined, name: string, ctx: RuleContext): Op | undefined => {
  const def = v && ctx.def(v);
  return def?.name === name ? def : undefined;
};

/** Integers of the run as they are: dequantized with scale 1. */
function isIntegers(v: Value, ctx: RuleContext): boolean {
  const stored = defined(v, "quant.dequantize", ctx)?.operands[0];
  if (stored === undefined || defined(stored, "const", ctx)) return false;
  const { scheme } = stored.type.elem as QuantType;
  return scheme.kind === "tensor" && scheme.scale === 1;
}

/** Neither a constant nor a quantized tensor, both of which integers express. */
const isComputed = (v: Value, ctx: RuleContext): boolean => {
  const def = ctx.def(v);
  return def === undefined || (def.name !== "const" && def.name !== "quant.dequantize");
};

interface Scaled {
  readonly op: "float.mul" | "float.div";
  readonly q: Value;
  readonly s: Value;
}

/** q·s or q / s with one s for every index of the axes from `first` on (counted from the end: 1 is the last). */
function scaledOf(v: Value, first: number, ctx: RuleContext): Scaled | undefined {
  const def = ctx.def(v);
  if (def?.name !== "float.mul" && def?.name !== "float.div") return undefined;
  const [a, b] = def.operands as [Value, Value];
  const orders: readonly (readonly [Value, Value])[] =
    def.name === "float.mul"
      ? [
          [a, b],
          [b, a],
        ]
      : [[a, b]];
  for (const [q, s] of orders) {
    const fits =
      q.type.shape.length === v.type.shape.length && s.type.shape.slice(-first).every((d) => d === 1);
    if (fits && s.type.shape.length <= q.type.shape.length && isIntegers(q, ctx) && isComputed(s, ctx))
      return { op: def.name, q, s };
  }
  return undefined;
}

const rescaled = (op: Op, q: Value, w: Value, { op: by, s }: Scaled, ctx: RuleContext): readonly Value[] => {
  const [result] = op.results as [Value];
  const acc = ctx.b.add1(op.name, [q, w], op.attrs, { loc: op.loc, types: [result.type] });
  return [ctx.b.add1(by, [acc, s], {}, { loc: op.loc, names: [result.name], types: [result.type] })];
};

/** (q·s)·w = (q·w)·s, one s per row of q. */
const outOfProduct: Rule = {
  name: "scale-out-of-product",
  ops: ["float.matmul"],
  rewrite: (op, [a, w], ctx) => {
    const found = scaledOf(a!, 1, ctx);
    return found && rescaled(op, found.q, w!, found, ctx);
  },
};

/** conv(q·s, w) = conv(q, w)·s, one s per image. */
const outOfConv: Rule = {
  name: "scale-out-of-convolution",
  ops: ["float.conv"],
  rewrite: (op, [x, w], ctx) => {
    const found = scaledOf(x!, x!.type.shape.length - 1, ctx);
    return found && rescaled(op, found.q, w!, found, ctx);
  },
};

export const hoistScales = definePass({
  name: "hoist-scales",
  summary: "Scales computed at run time leave matrix products and convolutions of integers.",
  rules: [outOfProduct, outOfConv],
});
