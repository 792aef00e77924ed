/** Data movement commutes with everything elementwise: it is applied to the integers a real tensor is made of. */
import { noQuantizer, notUniform } from "../../ir/messages-quant.ts";
import type { Attrs, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { div, fromNumber, isInteger, sign, sub } from "../../ir/rational.ts";
import { moveBlocks } from "./blocks.ts";
import { type Context, poison } from "./context.ts";
import { moveInput } from "./input.ts";
import { broadcast } from "./linear.ts";
import { applyClamp, boundsOf } from "./materialize.ts";
import { moveNormalized } from "./normalize-moves.ts";
import { intervalOf } from "./ranges.ts";
import { clamped, type Linear, perTensor, type Rep } from "./rep.ts";
import { centred } from "./zero.ts";

export function liftMovement(ctx: Context, op: Op): Rep {
  const shape = op.results[0]!.type.shape;
  const reps = op.operands.map(ctx.rep);
  if (reps.some((r) => r.kind === "poison")) return poison(shape);
  if (op.name === "layout.concat") {
    const integers = reps.flatMap((r) => (r.kind === "integer" ? [r.value] : []));
    if (integers.length === reps.length)
      return { kind: "integer", shape, value: move(ctx, op, integers, op.attrs) };
    const parts = { parts: reps, axis: attr<number>(op, "axis"), moves: [] };
    return { kind: "joined", shape, ...parts, ...(op.loc ? { loc: op.loc } : {}) };
  }
  return moveRep(ctx, op, reps[0]!);
}

function moveRep(ctx: Context, op: Op, rep: Rep): Rep {
  const shape = op.results[0]!.type.shape;
  const operand = op.operands[0]!;
  switch (rep.kind) {
    case "integer":
      return { kind: "integer", shape, value: move(ctx, op, [rep.value], op.attrs) };
    case "input":
      return moveInput(rep, op, shape);
    case "mapped":
      if (op.name === "layout.pad") break;
      return { ...rep, shape, input: move(ctx, op, [rep.input], op.attrs) };
    case "normalized":
      if (op.name === "layout.pad") break;
      return moveNormalized(ctx, rep, op);
    case "softmax":
    case "joined":
      if (op.name === "layout.pad") break;
      return { ...rep, shape, moves: [...rep.moves, op] };
    case "extreme": {
      const parts = rep.parts.map((p) => moveRep(ctx, op, p));
      return parts.some((p) => p.kind === "poison") ? poison(shape) : { ...rep, shape, parts };
    }
    case "linear":
      return moveLinear(ctx, op, rep, operand);
    case "constant": {
      const moved = rep.blocks && moveBlocks(op, rep, rep.blocks);
      if (moved) return moved;
      break;
    }
    default:
      break;
  }
  ctx.report(noQuantizer(ctx, op, operand, boundsOf(rep)));
  return poison(shape);
}

const move = (ctx: Context, op: Op, operands: readonly Value[], attrs: Attrs): Value =>
  ctx.emit(op.name, operands, attrs, { hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) });

function moveLinear(ctx: Context, op: Op, rep: Linear, operand: Value): Rep {
  const shape = op.results[0]!.type.shape;
  const axis = perTensor(rep) ? 1 : movedAxis(op, operand.type.shape, shape, rep.axis);
  if (axis === undefined) {
    ctx.report(notUniform(ctx, op, operand));
    return poison(shape);
  }
  if (op.name !== "layout.pad") {
    const terms = rep.terms.map((t) => ({
      ...t,
      value: move(ctx, op, [broadcast(ctx, t.value, operand.type.shape)], op.attrs),
    }));
    return { ...rep, shape, axis, terms };
  }
  // Padding with the real number v: the integer (v − B)/S, on a tensor without pending clamp.
  const plain = clamped(rep) ? applyClamp(ctx, rep) : rep;
  const zero = attr<string>(op, "mode") === "constant" && attr<number>(op, "value") === 0;
  const r = plain && zero ? centred(ctx, op, plain, true) : plain;
  const scale = r?.terms[0]?.scale[0];
  if (r === undefined || r.terms.length !== 1 || !perTensor(r) || scale === undefined || sign(scale) === 0) {
    ctx.report(noQuantizer(ctx, op, operand, boundsOf(rep)));
    return poison(shape);
  }
  const constant = attr<string>(op, "mode") === "constant";
  const q = constant ? div(sub(fromNumber(attr<number>(op, "value")), r.offset[0]!), scale) : undefined;
  const range = intervalOf(r.terms[0]!.value);
  if (q !== undefined && (!isInteger(q) || Number(q.num) < range.min || Number(q.num) > range.max)) {
    ctx.report(notUniform(ctx, op, operand));
    return poison(shape);
  }
  const attrs = q === undefined ? op.attrs : { ...op.attrs, value: Number(q.num) };
  return {
    ...r,
    shape,
    axis,
    terms: [{ value: move(ctx, op, [r.terms[0]!.value], attrs), scale: r.terms[0]!.scale }],
  };
}

/** Where the channel axis (from the end) goes; undefined if the op does not keep it whole. */
function movedAxis(op: Op, from: readonly number[], to: readonly number[], axis: number): number | undefined {
  const front = from.length - axis;
  switch (op.name) {
    case "layout.transpose":
      return to.length - attr<readonly number[]>(op, "perm").indexOf(front);
    case "layout.reshape": {
      // Kept if the same extent has the same number of elements before it.
      const before = from.slice(0, front).reduce((a, b) => a * b, 1);
      let n = 1;
      for (let i = 0; i < to.length; i++) {
        if (n === before && to[i] === from[front]) return to.length - i;
        n *= to[i]!;
      }
      return undefined;
    }
    case "layout.slice":
      return attr<readonly number[]>(op, "axes").includes(front) ? undefined : axis;
    case "layout.gather":
      return attr<number>(op, "axis") === front ? undefined : axis;
    case "layout.tile":
      return attr<readonly number[]>(op, "repeats")[front] === 1 ? axis : undefined;
    case "layout.pad":
      return undefined;
    default:
      return to[to.length - axis] === from[front] ? axis : undefined;
  }
}
