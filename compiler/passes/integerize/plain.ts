/**
 * Ops on integers that no quantizer has made: they stay as they are, on integer tensors. Where one of them also works on real
 * numbers it has no integer form, unless it only moves elements of one grid.
 */
import { noQuantizer } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { ONE, ZERO } from "../../ir/rational.ts";
import { type Context, poison } from "./context.ts";
import { boundsOf } from "./materialize.ts";
import type { Rep } from "./rep.ts";

/** Whether the op belongs here. */
export const isPlain = (op: Op): boolean =>
  op.name.startsWith("int.") ||
  op.name.startsWith("index.") ||
  op.name === "float.compare" ||
  op.name === "float.where";

/** The integers of an operand of an integer type; undefined for real numbers. */
export function integersOf(ctx: Context, v: Value): Value | undefined {
  const rep = ctx.rep(v);
  return rep.kind === "integer" && v.type.elem.kind !== "float" ? rep.value : undefined;
}

export function liftPlain(ctx: Context, op: Op): Rep {
  const { type, name } = op.results[0]!;
  const reps = op.operands.map(ctx.rep);
  if (reps.some((r) => r.kind === "poison")) return poison(type.shape);
  const integers = op.operands.map((v) => integersOf(ctx, v));
  if (integers.every((v) => v !== undefined)) {
    const { elem } = type;
    const plain = elem.kind === "quant" ? elem.storage : elem;
    const options = { hint: name, type: { ...type, elem: plain }, ...(op.loc ? { loc: op.loc } : {}) };
    return { kind: "integer", shape: type.shape, value: ctx.emit(op.name, integers, op.attrs, options) };
  }
  const open = op.operands.find((_, i) => integers[i] === undefined)!;
  ctx.report(noQuantizer(ctx, op, open, boundsOf(ctx.rep(open))));
  return poison(type.shape);
}

/** The integers themselves as real numbers. */
export function liftFromInt(ctx: Context, op: Op): Rep {
  const { shape } = op.results[0]!.type;
  const value = integersOf(ctx, op.operands[0]!);
  if (value === undefined) return poison(shape);
  return {
    kind: "linear",
    shape,
    terms: [{ value, scale: [ONE] }],
    offset: [ZERO],
    axis: 1,
    ...(op.loc ? { loc: op.loc } : {}),
  };
}

/** Real numbers to integers without a quantizer: they have no integer form. */
export function liftToInt(ctx: Context, op: Op): Rep {
  const [x] = op.operands as [Value];
  const rep = ctx.rep(x);
  if (rep.kind !== "poison") ctx.report(noQuantizer(ctx, op, x, boundsOf(rep)));
  return poison(op.results[0]!.type.shape);
}
