/** Elementwise float ops: affine ones stay affine, curves over one small integer tensor become expressions. */
import type { Diagnostic } from "../../ir/diagnostics.ts";
import { inputTooWide, noQuantizer, noWeightQuantizer } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { div, fromNumber, neg, ONE, rational, sign, ZERO } from "../../ir/rational.ts";
import { liftConstants } from "./constants.ts";
import { type Context, poison } from "./context.ts";
import { extremeOf, liftExtreme } from "./extreme.ts";
import { liftInput } from "./input.ts";
import { broadcast, liftAdd, liftProduct } from "./linear.ts";
import { boundsOf, materialize } from "./materialize.ts";
import { liftNormalized } from "./normalize.ts";
import { intElem } from "./ranges.ts";
import {
  type Constant,
  channelsOf,
  clamped,
  clip,
  type Linear,
  type Mapped,
  offsetBy,
  perTensor,
  type RealExpr,
  type Rep,
  scaleBy,
} from "./rep.ts";
import { integerConst } from "./weights.ts";

/** Curves are tabulated over inputs of at most this many bits. */
export const TABLE_BITS = 16;

export function liftElementwise(ctx: Context, op: Op): Rep {
  const shape = op.results[0]!.type.shape;
  const reps = op.operands.map(ctx.rep);
  if (reps.some((r) => r.kind === "poison")) return poison(shape);
  const known = liftConstants(op, reps);
  if (known !== undefined) return known;
  const affine = liftInput(op, reps) ?? liftNormalized(op, reps) ?? liftAffine(ctx, op, reps);
  if (affine !== undefined) return affine;
  const mapped = liftMapped(op, reps, shape);
  if (mapped !== undefined) return { ...mapped, input: broadcast(ctx, mapped.input, shape) };
  const each = (rs: readonly Rep[]): Rep | undefined =>
    liftConstants(op, rs) ?? liftAffine(ctx, op, rs) ?? liftMapped(op, rs, shape);
  const extreme = liftExtreme(op, reps, each) ?? extremeOf(ctx, op, reps);
  if (extreme !== undefined) return extreme;
  const table = op.operands.find((_, i) => {
    const r = reps[i]!;
    return r.kind === "constant" && r.grid === undefined && channelsOf(r, shape) === undefined;
  });
  if (table !== undefined && BY_TABLE.has(op.name)) {
    ctx.report(noWeightQuantizer(ctx, op, table, false));
    return poison(shape);
  }
  const open = op.operands.filter((_, i) => reps[i]!.kind !== "constant");
  const v = open.find((x) => ctx.definition(x)?.name !== "quant.dequantize") ?? open[0] ?? op.operands[0]!;
  const rep = ctx.rep(v);
  const bits = rep.kind === "linear" && rep.terms.length === 1 ? intElem(rep.terms[0]!.value).bits : 0;
  ctx.report(bits > TABLE_BITS ? tooWide(ctx, op, v, bits, rep) : noQuantizer(ctx, op, v, boundsOf(rep)));
  return poison(shape);
}

/** Ops that take a quantized constant of any shape. */
const BY_TABLE: ReadonlySet<string> = new Set(["float.add", "float.sub", "float.mul"]);

/** Either the quantizer in front is too fine for a table, or there is none and the integers are an accumulator's. */
export function tooWide(ctx: Context, op: Op, v: Value, bits: number, rep: Rep): Diagnostic {
  const quantized = ctx.definition(v)?.name === "quant.dequantize";
  return quantized ? inputTooWide(ctx, op, v, bits) : noQuantizer(ctx, op, v, boundsOf(rep));
}

const bound = (x: number) => (Number.isFinite(x) ? fromNumber(x) : undefined);

/** The ops that keep Σ S·t + B affine (with a pending clamp); undefined where the rule does not apply. */
function liftAffine(ctx: Context, op: Op, reps: readonly Rep[]): Rep | undefined {
  const shape = op.results[0]!.type.shape;
  const [a, b] = reps as [Rep, Rep | undefined];
  switch (op.name) {
    case "float.relu":
      return a.kind === "linear" ? clip(a, rational(0n), undefined) : undefined;
    case "float.clip":
      return a.kind === "linear" ? clip(a, bound(attr(op, "lo")), bound(attr(op, "hi"))) : undefined;
    case "float.neg":
      return a.kind === "linear" ? scaleBy(a, [neg(ONE)], 1) : undefined;
    case "float.min":
    case "float.max": {
      const [r, c] = a.kind === "linear" ? [a, b] : [b, a];
      if (r?.kind !== "linear" || c?.kind !== "constant") return undefined;
      const k = channelsOf(c, shape);
      if (k === undefined || k.list.length !== 1) return undefined;
      return op.name === "float.max" ? clip(r, k.list[0], undefined) : clip(r, undefined, k.list[0]);
    }
    case "float.add":
    case "float.sub": {
      const minus = op.name === "float.sub";
      if (a.kind === "linear" && b?.kind === "constant")
        return shifted(ctx, shape, a, b, minus) ?? joinConstant(ctx, op, a, b, 1);
      if (a.kind === "constant" && b?.kind === "linear") {
        const negated = minus ? scaleBy(b, [neg(ONE)], 1) : b;
        return negated && (shifted(ctx, shape, negated, a, false) ?? joinConstant(ctx, op, negated, a, 0));
      }
      if (a.kind !== "linear" || b?.kind !== "linear") return undefined;
      const [x, y] = [plain(ctx, op, a, 0), plain(ctx, op, b, 1)];
      if (x === undefined || y === undefined) return undefined;
      const right = minus ? scaleBy(y, [neg(ONE)], 1) : y;
      return right && liftAdd(ctx, op, x, right);
    }
    case "float.mul":
    case "float.div": {
      if (a.kind === "linear" && b?.kind === "constant")
        return scaled(ctx, shape, a, b, op.name === "float.div") ?? byTable(ctx, op, a, b, 1);
      if (op.name === "float.mul" && a.kind === "constant" && b?.kind === "linear")
        return scaled(ctx, shape, b, a, false) ?? byTable(ctx, op, b, a, 0);
      if (op.name === "float.div" || a.kind !== "linear" || b?.kind !== "linear") return undefined;
      // A product of one tensor with itself is a curve.
      if (a.terms.length === 1 && b.terms.length === 1 && a.terms[0]!.value === b.terms[0]!.value)
        return undefined;
      const [x, y] = [plain(ctx, op, a, 0), plain(ctx, op, b, 1)];
      return x && y && liftProduct(ctx, op, x, y);
    }
    default:
      return undefined;
  }
}

/** A linear operand without clamp, without complaint when it may still be part of a curve. */
function plain(ctx: Context, op: Op, r: Linear, index: number): Linear | undefined {
  if (!clamped(r)) return r;
  return couldBeCurve(op, op.operands.map(ctx.rep))
    ? undefined
    : materialize(ctx, op, r, op.operands[index]!);
}

const couldBeCurve = (op: Op, reps: readonly Rep[]): boolean =>
  liftMapped(op, reps, op.results[0]!.type.shape) !== undefined;

/** A quantized constant of one scale as a tensor of integers, negated on demand. */
function tableOf(ctx: Context, op: Op, c: Constant, index: number, minus = false): Linear | undefined {
  if (c.grid === undefined || c.grid.scale.length > 1) return undefined;
  const value = integerConst(ctx, c.grid.q, c.shape, op.operands[index]!.name);
  const scale = minus ? [neg(c.grid.scale[0]!)] : c.grid.scale;
  return { kind: "linear", shape: c.shape, terms: [{ value, scale }], offset: [ZERO], axis: 1 };
}

/** r ± a quantized constant that varies along several axes (a positional embedding): one more term of integers. */
function joinConstant(ctx: Context, op: Op, r: Linear, c: Constant, index: number): Rep | undefined {
  const x = plain(ctx, op, r, 1 - index);
  const term = x && tableOf(ctx, op, c, index, op.name === "float.sub" && index === 1);
  return x && term && liftAdd(ctx, op, x, term);
}

/** r · a quantized constant that varies along several axes (a rotary embedding): a product of integers. */
function byTable(ctx: Context, op: Op, r: Linear, c: Constant, index: number): Rep | undefined {
  const x = op.name === "float.mul" ? plain(ctx, op, r, 1 - index) : undefined;
  const table = x && tableOf(ctx, op, c, index);
  if (x === undefined || table === undefined) return undefined;
  return index === 1 ? liftProduct(ctx, op, x, table) : liftProduct(ctx, op, table, x);
}

/** `r` at a shape that a constant operand made larger. */
const widened = (ctx: Context, r: Linear, shape: readonly number[]): Linear => ({
  ...r,
  shape,
  terms:
    r.shape.length === shape.length && r.shape.every((d, i) => d === shape[i])
      ? r.terms
      : r.terms.map((t) => ({ ...t, value: broadcast(ctx, t.value, shape) })),
});

function shifted(
  ctx: Context,
  shape: readonly number[],
  r: Linear,
  c: Constant,
  minus: boolean,
): Linear | undefined {
  const k = channelsOf(c, shape);
  if (k === undefined) return undefined;
  const moved = offsetBy(r, minus ? k.list.map(neg) : k.list, k.axis);
  return moved && widened(ctx, moved, shape);
}

function scaled(
  ctx: Context,
  shape: readonly number[],
  r: Linear,
  c: Constant,
  divide: boolean,
): Linear | undefined {
  const k = channelsOf(c, shape);
  if (k === undefined || (divide && k.list.some((x) => sign(x) === 0))) return undefined;
  const moved = scaleBy(r, divide ? k.list.map((x) => div(ONE, x)) : k.list, k.axis);
  return moved && widened(ctx, moved, shape);
}

/** f(t) for one integer tensor t of at most TABLE_BITS bits, every other operand a scalar constant or a function of t too. */
function liftMapped(op: Op, reps: readonly Rep[], shape: readonly number[]): Mapped | undefined {
  let input: Value | undefined;
  const args: RealExpr[] = [];
  for (const r of reps) {
    if (r.kind === "constant") {
      const k = channelsOf(r, shape);
      if (k === undefined || k.list.length !== 1) return undefined;
      args.push({ k: "const", value: k.list[0]! });
      continue;
    }
    const curve = asCurve(r);
    if (curve === undefined || (input !== undefined && input !== curve.input)) return undefined;
    input = curve.input;
    args.push(curve.expr);
  }
  if (input === undefined) return undefined;
  return {
    kind: "mapped",
    shape,
    input,
    expr: { k: "op", op: op.name, args, attrs: op.attrs },
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

/** A representation as an expression over one small integer tensor. */
export function asCurve(r: Rep): { input: Value; expr: RealExpr } | undefined {
  if (r.kind === "mapped") return { input: r.input, expr: r.expr };
  if (r.kind !== "linear" || r.terms.length !== 1 || !perTensor(r)) return undefined;
  const t = r.terms[0]!;
  if (intElem(t.value).bits > TABLE_BITS) return undefined;
  const product: RealExpr = {
    k: "op",
    op: "float.mul",
    args: [{ k: "x" }, { k: "const", value: t.scale[0]! }],
    attrs: {},
  };
  let expr: RealExpr = {
    k: "op",
    op: "float.add",
    args: [product, { k: "const", value: r.offset[0]! }],
    attrs: {},
  };
  if (r.lo) expr = { k: "op", op: "float.max", args: [expr, { k: "const", value: r.lo }], attrs: {} };
  if (r.hi) expr = { k: "op", op: "float.min", args: [expr, { k: "const", value: r.hi }], attrs: {} };
  return { input: t.value, expr };
}
