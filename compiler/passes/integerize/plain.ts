/**
 * Ops on integers that no quantizer has made: they stay as they are, on integer tensors. Where one of them also works on real
 * numbers it has no integer form, unless it only moves elements of one grid.
 */
import { noQuantizer } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { ONE, sign, ZERO } from "../../ir/rational.ts";
import { I32, tensor } from "../../ir/types.ts";
import { type Context, poison } from "./context.ts";
import { broadcast } from "./linear.ts";
import { boundsOf } from "./materialize.ts";
import { clamped, type Linear, perTensor, type Rep, type Term } from "./rep.ts";
import { integerConst } from "./weights.ts";

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
  const moved = moveGrid(ctx, op) ?? orderGrid(ctx, op);
  if (moved !== undefined) return moved;
  const open = op.operands.find((_, i) => integers[i] === undefined)!;
  ctx.report(noQuantizer(ctx, op, open, boundsOf(ctx.rep(open))));
  return poison(type.shape);
}

/** The one tensor of integers that a real tensor is made of, all of one grid; undefined if there is none. */
function gridOf(ctx: Context, v: Value): Linear | undefined {
  const rep = ctx.rep(v);
  if (rep.kind === "linear") return rep.terms.length === 1 && perTensor(rep) ? rep : undefined;
  if (rep.kind !== "constant" || rep.grid?.scale.length !== 1) return undefined;
  const value = integerConst(ctx, rep.grid.q, rep.shape, v.name);
  return {
    kind: "linear",
    shape: rep.shape,
    terms: [{ value, scale: rep.grid.scale }],
    offset: [ZERO],
    axis: 1,
  };
}

/** Elements picked from a tensor of one grid stay on it. */
function moveGrid(ctx: Context, op: Op): Rep | undefined {
  const [x, indices] = op.operands as [Value, Value];
  if (!op.name.startsWith("index.gather")) return undefined;
  const picks = integersOf(ctx, indices);
  const rep = picks && gridOf(ctx, x);
  if (picks === undefined || rep === undefined) return undefined;
  const { type, name } = op.results[0]!;
  const [term] = rep.terms as [Term];
  const from = broadcast(ctx, term.value, x.type.shape);
  const value = ctx.emit(op.name, [from, picks], op.attrs, {
    hint: name,
    ...(op.loc ? { loc: op.loc } : {}),
  });
  return { ...rep, shape: type.shape, axis: 1, terms: [{ ...term, value }] };
}

/** The order of real numbers on one grid is that of their integers. */
function orderGrid(ctx: Context, op: Op): Rep | undefined {
  if (op.name !== "index.top_k") return undefined;
  const [x] = op.operands as [Value];
  const rep = gridOf(ctx, x);
  if (rep === undefined || sign(rep.terms[0]!.scale[0]!) <= 0 || clamped(rep)) return undefined;
  const { type, name } = op.results[0]!;
  const loc = op.loc ? { loc: op.loc } : {};
  const from = broadcast(ctx, rep.terms[0]!.value, x.type.shape);
  const words = ctx.emit("int.cast", [from], {}, { type: tensor(x.type.shape, I32), hint: name, ...loc });
  return {
    kind: "integer",
    shape: type.shape,
    value: ctx.emit(op.name, [words], op.attrs, { hint: name, ...loc }),
  };
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
