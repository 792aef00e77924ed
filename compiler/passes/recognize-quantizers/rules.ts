/** Local rules; each keeps the value of every element, in real numbers. */
import type { Dense, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { roundReal } from "../../ir/ops/rounding.ts";
import type { Rounding } from "../../ir/rational.ts";
import type { Rule, RuleContext } from "../../ir/rewriter.ts";
import { intTypeFor, type QuantType, sameShape, tensor } from "../../ir/types.ts";

const ROUNDS: { readonly [op: string]: Rounding } = {
  "float.round": "half_even",
  "float.floor": "floor",
  "float.ceil": "ceil",
};

const options = (op: Op) => ({
  loc: op.loc,
  names: op.results.map((r) => r.name),
  types: op.results.map((r) => r.type),
});

const isConstant = (v: Value, ctx: RuleContext): boolean => ctx.def(v)?.name === "const";

/** The number that all elements of a constant are. */
function scalarOf(v: Value, ctx: RuleContext): number | undefined {
  const op = ctx.def(v);
  if (op?.name !== "const") return undefined;
  const { data } = attr<Dense>(op, "value");
  return data.every((x) => x === data[0]) ? data[0] : undefined;
}

/** (a − b) + b = a: what straight-through estimators leave. */
const cancelDifference: Rule = {
  name: "cancel-difference",
  ops: ["float.add"],
  rewrite: (op, operands, ctx) => {
    for (const [i, v] of operands.entries()) {
      const inner = ctx.def(v);
      if (inner?.name !== "float.sub" || inner.operands[1] !== operands[1 - i]) continue;
      const [a] = inner.operands;
      if (sameShape(a!.type.shape, op.results[0]!.type.shape)) return [a!];
    }
    return undefined;
  },
};

/** min(x, c) = clip(x, −∞, c); max(x, c) = clip(x, c, ∞). */
const boundToClip: Rule = {
  name: "bound-to-clip",
  ops: ["float.min", "float.max"],
  rewrite: (op, operands, ctx) => {
    const at = operands.findIndex((v) => scalarOf(v, ctx) !== undefined);
    const x = operands[1 - at];
    if (at < 0 || x === undefined || isConstant(x, ctx)) return undefined;
    if (!sameShape(x.type.shape, op.results[0]!.type.shape)) return undefined;
    const c = scalarOf(operands[at]!, ctx)!;
    const bounds =
      op.name === "float.min"
        ? { lo: Number.NEGATIVE_INFINITY, hi: c }
        : { lo: c, hi: Number.POSITIVE_INFINITY };
    return [ctx.b.add1("float.clip", [x], bounds, options(op))];
  },
};

/** clip(clip(x, a, b), c, d) = clip(x, clip(a, c, d), clip(b, c, d)) for a ≤ b and c ≤ d. */
const mergeClips: Rule = {
  name: "merge-clips",
  ops: ["float.clip"],
  rewrite: (op, [x], ctx) => {
    const inner = ctx.def(x!);
    if (inner?.name !== "float.clip" || ctx.useCount(x!) > 1) return undefined;
    const [a, b] = [attr<number>(inner, "lo"), attr<number>(inner, "hi")];
    const [c, d] = [attr<number>(op, "lo"), attr<number>(op, "hi")];
    if (!(a <= b && c <= d)) return undefined;
    const within = (v: number): number => Math.min(Math.max(v, c), d);
    return [ctx.b.add1("float.clip", inner.operands, { lo: within(a), hi: within(b) }, options(op))];
  },
};

/** The integers lo … hi on a grid of scale 1; undefined beyond 32 bits. */
function unitGrid(lo: number, hi: number): QuantType | undefined {
  if (!(lo <= hi) || !Number.isSafeInteger(lo) || !Number.isSafeInteger(hi)) return undefined;
  const storage = intTypeFor(lo, hi);
  return storage && { kind: "quant", storage, lo, hi, scheme: { kind: "tensor", scale: 1, zeroPoint: 0 } };
}

/** dequantize(quantize(x)) of scale 1. */
function quantized(op: Op, x: Value, rounding: Rounding, type: QuantType, ctx: RuleContext): Value {
  const q = ctx.b.add1(
    "quant.quantize",
    [x],
    { rounding, order: "round_then_shift" },
    {
      loc: op.loc,
      names: [`${op.results[0]!.name}_q`],
      types: [tensor(x.type.shape, type)],
    },
  );
  return ctx.b.add1("quant.dequantize", [q], {}, options(op));
}

/** R(clip(x, lo, hi)) = clamp(R(x), R(lo), R(hi)). */
const roundOfClip: Rule = {
  name: "round-of-clip",
  ops: Object.keys(ROUNDS),
  rewrite: (op, [x], ctx) => {
    const inner = ctx.def(x!);
    if (inner?.name !== "float.clip") return undefined;
    const rounding = ROUNDS[op.name]!;
    const bound = (name: string): number => roundReal(rounding, attr<number>(inner, name)) + 0;
    const type = unitGrid(bound("lo"), bound("hi"));
    return type && [quantized(op, inner.operands[0]!, rounding, type, ctx)];
  },
};

/** clip(R(x) + c, lo, hi) = clamp(R(x), ⌈lo⌉ − c, ⌊hi⌋ − c) + c for an integer c and integer bounds. */
const clipOfRound: Rule = {
  name: "clip-of-round",
  ops: ["float.clip"],
  rewrite: (op, [x], ctx) => {
    const [lo, hi] = [attr<number>(op, "lo"), attr<number>(op, "hi")];
    if (!Number.isInteger(lo) || !Number.isInteger(hi)) return undefined;
    const shift = shiftOf(x!, ctx);
    const inner = ctx.def(shift?.x ?? x!);
    if (inner === undefined || !(inner.name in ROUNDS)) return undefined;
    const by = shift?.by ?? 0;
    const type = unitGrid(lo - by, hi - by);
    if (type === undefined) return undefined;
    const q = quantized(inner, inner.operands[0]!, ROUNDS[inner.name]!, type, ctx);
    if (shift === undefined) return [q];
    const operands = shift.op.operands.map((v) => (v === shift.x ? q : v));
    return [ctx.b.add1(shift.op.name, operands, {}, options(op))];
  },
};

/** x + c or x − c with one integer c. */
function shiftOf(v: Value, ctx: RuleContext): { op: Op; x: Value; by: number } | undefined {
  const op = ctx.def(v);
  if (op?.name !== "float.add" && op?.name !== "float.sub") return undefined;
  const at = op.name === "float.sub" ? 1 : op.operands.findIndex((o) => scalarOf(o, ctx) !== undefined);
  const c = at < 0 ? undefined : scalarOf(op.operands[at]!, ctx);
  const x = op.operands[1 - at];
  if (c === undefined || x === undefined || !Number.isSafeInteger(c)) return undefined;
  return sameShape(x.type.shape, v.type.shape) ? { op, x, by: op.name === "float.sub" ? -c : c } : undefined;
}

export const quantizerRules: readonly Rule[] = [
  cancelDifference,
  boundToClip,
  mergeClips,
  roundOfClip,
  clipOfRound,
];
