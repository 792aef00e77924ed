/** Normalizations written out as means, squares and roots become `float.normalize`, which has an integer form. */
import type { Dense, Op, Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { definePass } from "../ir/pass.ts";
import type { Rule, RuleContext } from "../ir/rewriter.ts";
import { sameShape } from "../ir/types.ts";

/** The one number that a value is everywhere, if it is a constant. */
function scalarOf(v: Value, ctx: RuleContext): number | undefined {
  const def = ctx.def(v);
  if (def?.name !== "const") return undefined;
  const { data } = attr<Dense>(def, "value");
  return data.length > 0 && data.every((x) => x === data[0]) ? data[0] : undefined;
}

const named = (v: Value, name: string, ctx: RuleContext): Op | undefined => {
  const def = ctx.def(v);
  return def?.name === name ? def : undefined;
};

/** Both orders of a commutative op's operands. */
const orders = ([a, b]: readonly Value[]): readonly (readonly [Value, Value])[] => [
  [a!, b!],
  [b!, a!],
];

/** Mean over axes that are kept with size 1. */
function meanOf(
  v: Value,
  ctx: RuleContext,
): { readonly of: Value; readonly axes: readonly number[] } | undefined {
  const mean = named(v, "float.reduce_mean", ctx);
  if (mean === undefined || !attr<boolean>(mean, "keepdims")) return undefined;
  const rank = mean.operands[0]!.type.shape.length;
  const axes = attr<readonly number[]>(mean, "axes").map((a) => (a < 0 ? a + rank : a));
  return { of: mean.operands[0]!, axes: axes.toSorted((a, b) => a - b) };
}

/** a, where v is a·a. */
function squareOf(v: Value, ctx: RuleContext): Value | undefined {
  const product = named(v, "float.mul", ctx);
  if (product !== undefined)
    return product.operands[0] === product.operands[1] ? product.operands[0] : undefined;
  const power = named(v, "float.pow", ctx);
  return power && scalarOf(power.operands[1]!, ctx) === 2 ? power.operands[0] : undefined;
}

interface Deviation {
  /** What is squared. */
  readonly of: Value;
  readonly axes: readonly number[];
  readonly epsilon: number;
}

/** mean(a²) + ε */
function varianceOf(v: Value, ctx: RuleContext): Deviation | undefined {
  const sum = named(v, "float.add", ctx);
  for (const [m, e] of sum ? orders(sum.operands) : [[v, undefined] as const]) {
    const epsilon = e === undefined ? 0 : scalarOf(e, ctx);
    const mean = meanOf(m, ctx);
    const of = mean && squareOf(mean.of, ctx);
    if (epsilon === undefined || !(epsilon >= 0) || !Number.isFinite(epsilon) || of === undefined) continue;
    return { of, axes: mean!.axes, epsilon };
  }
  return undefined;
}

/** √(mean(a²) + ε) */
function deviationOf(v: Value, ctx: RuleContext): Deviation | undefined {
  const root = named(v, "float.sqrt", ctx);
  if (root !== undefined) return varianceOf(root.operands[0]!, ctx);
  const power = named(v, "float.pow", ctx);
  return power && scalarOf(power.operands[1]!, ctx) === 0.5 ? varianceOf(power.operands[0]!, ctx) : undefined;
}

/** 1 / √(mean(a²) + ε) */
function reciprocalOf(v: Value, ctx: RuleContext): Deviation | undefined {
  const reciprocal = named(v, "float.reciprocal", ctx);
  if (reciprocal !== undefined) return deviationOf(reciprocal.operands[0]!, ctx);
  const quotient = named(v, "float.div", ctx);
  if (quotient !== undefined)
    return scalarOf(quotient.operands[0]!, ctx) === 1 ? deviationOf(quotient.operands[1]!, ctx) : undefined;
  const power = named(v, "float.pow", ctx);
  return power && scalarOf(power.operands[1]!, ctx) === -0.5
    ? varianceOf(power.operands[0]!, ctx)
    : undefined;
}

/** x, where v is x − mean(x) over `axes`. */
function centredOf(v: Value, axes: readonly number[], ctx: RuleContext): Value | undefined {
  const difference = named(v, "float.sub", ctx);
  const mean = difference && meanOf(difference.operands[1]!, ctx);
  return mean?.of === difference?.operands[0] && mean?.axes.join() === axes.join() ? mean?.of : undefined;
}

/** a / √(mean(a²) + ε) as an op: of x with its mean where a = x − mean(x). The axes are moved to the end where they are not. */
function normalizeOf(op: Op, { of, axes, epsilon }: Deviation, ctx: RuleContext): Value | undefined {
  const x = centredOf(of, axes, ctx);
  const source = x ?? of;
  const rank = source.type.shape.length;
  const rest = source.type.shape.flatMap((_, a) => (axes.includes(a) ? [] : [a]));
  const perm = [...rest, ...axes];
  const axis = rest.length;
  if (axes.length === 0 || !sameShape(source.type.shape, of.type.shape)) return undefined;
  const still = perm.every((p, i) => p === i);
  const options = { loc: op.loc };
  const moved = still ? source : ctx.b.add1("layout.transpose", [source], { perm }, options);
  const attrs = { axis, centre: x !== undefined, epsilon };
  const unit = ctx.b.add1("float.normalize", [moved], attrs, options);
  const back = Array.from({ length: rank }, (_, a) => perm.indexOf(a));
  return still ? unit : ctx.b.add1("layout.transpose", [unit], { perm: back }, options);
}

/** a / √(mean(a²) + ε) = normalize(a) */
const quotient: Rule = {
  name: "normalize-quotient",
  ops: ["float.div"],
  rewrite: (op, [a, root], ctx) => {
    const deviation = deviationOf(root!, ctx);
    if (deviation === undefined || deviation.of !== a) return undefined;
    const unit = normalizeOf(op, deviation, ctx);
    return unit && [unit];
  },
};

/** a · (1 / √(mean(a²) + ε)) = normalize(a), with a constant factor on either side. */
const product: Rule = {
  name: "normalize-product",
  ops: ["float.mul"],
  rewrite: (op, operands, ctx) => {
    for (const [a, r] of orders(operands)) {
      const scaled = scaledReciprocal(r, ctx);
      if (scaled === undefined || scaled.deviation.of !== a) continue;
      const unit = normalizeOf(op, scaled.deviation, ctx);
      if (unit === undefined) return undefined;
      return [scaled.gain ? ctx.b.add1("float.mul", [unit, scaled.gain], {}, { loc: op.loc }) : unit];
    }
    return undefined;
  },
};

/** γ / √(mean(a²) + ε) with γ a constant, or without one. */
function scaledReciprocal(
  v: Value,
  ctx: RuleContext,
): { readonly deviation: Deviation; readonly gain?: Value } | undefined {
  const plain = reciprocalOf(v, ctx);
  if (plain !== undefined) return { deviation: plain };
  const scaled = named(v, "float.mul", ctx);
  for (const [r, gain] of scaled ? orders(scaled.operands) : []) {
    const deviation = reciprocalOf(r, ctx);
    if (deviation !== undefined && isConstant(gain, ctx)) return { deviation, gain };
  }
  return undefined;
}

/** A float constant, or a dequantized one. */
function isConstant(v: Value, ctx: RuleContext): boolean {
  const def = ctx.def(v);
  return def?.name === "const" || (def?.name === "quant.dequantize" && isConstant(def.operands[0]!, ctx));
}

/** x·g + (β − mean(x)·g) = normalize(x)·γ + β for g = γ / √(mean((x − mean(x))²) + ε) */
const affine: Rule = {
  name: "normalize-affine",
  ops: ["float.add"],
  rewrite: (op, operands, ctx) => {
    for (const [p, q] of orders(operands)) {
      const [scaled, shift] = [named(p, "float.mul", ctx), named(q, "float.sub", ctx)];
      const offset = shift && named(shift.operands[1]!, "float.mul", ctx);
      if (scaled === undefined || offset === undefined) continue;
      for (const [x, g] of orders(scaled.operands)) {
        const mean = offset.operands.find((v) => v !== g);
        const found = scaledReciprocal(g, ctx);
        if (found === undefined || mean === undefined || !offset.operands.includes(g)) continue;
        const { deviation, gain } = found;
        const centre = meanOf(mean, ctx);
        if (centre?.of !== x || centre.axes.join() !== deviation.axes.join()) continue;
        if (centredOf(deviation.of, deviation.axes, ctx) !== x) continue;
        const unit = normalizeOf(op, deviation, ctx);
        if (unit === undefined) return undefined;
        const options = { loc: op.loc };
        const y = gain ? ctx.b.add1("float.mul", [unit, gain], {}, options) : unit;
        return [ctx.b.add1("float.add", [y, shift!.operands[0]!], {}, options)];
      }
    }
    return undefined;
  },
};

export const recognizeNormalizations = definePass({
  name: "recognize-normalizations",
  summary: "x − mean over the root of the variance, in any of its spellings, becomes float.normalize.",
  rules: [quotient, product, affine],
});
