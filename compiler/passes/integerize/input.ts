/** Float graph inputs: arithmetic before the first quantizer, and the quantizer itself, as a conversion outside the core. */
import { inputQuantizerForm } from "../../ir/messages-quant.ts";
import type { Boundary, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import {
  add,
  div,
  fromNumber,
  mul,
  neg,
  ONE,
  type Rational,
  round,
  sign,
  toNumber,
  ZERO,
} from "../../ir/rational.ts";
import { type IntType, sameShape, tensor } from "../../ir/types.ts";
import { type Context, poison } from "./context.ts";
import { type Quantizer, quantizeExact, storageOf } from "./quantizer.ts";
import { type Affine, channelsOf, type Input, type Rep } from "./rep.ts";
import { thresholdsOf } from "./thresholds.ts";

/** Thresholds of a conversion are listed one by one. */
export const MOST_THRESHOLDS = 255;

/** +, −, ·, / with one number stay affine; undefined for anything else. */
export function liftInput(op: Op, reps: readonly Rep[]): Input | undefined {
  const index = reps.findIndex((r) => r.kind === "input");
  const x = reps[index];
  if (x?.kind !== "input" || !sameShape(op.results[0]!.type.shape, x.shape)) return undefined;
  if (op.name === "float.neg") return mapped(x, neg(ONE), ZERO);
  const other = reps[1 - index];
  const list = other?.kind === "constant" ? channelsOf(other, x.shape)?.list : undefined;
  if (reps.length !== 2 || list?.length !== 1) return undefined;
  const [c] = list as [Rational];
  switch (op.name) {
    case "float.add":
      return mapped(x, ONE, c);
    case "float.sub":
      return index === 0 ? mapped(x, ONE, neg(c)) : mapped(x, neg(ONE), c);
    case "float.mul":
      return mapped(x, c, ZERO);
    case "float.div":
      return index === 0 && sign(c) !== 0 ? mapped(x, div(ONE, c), ZERO) : undefined;
    default:
      return undefined;
  }
}

function mapped(x: Input, scale: Rational, offset: Rational): Input {
  const then = (v: Rational): Rational => add(mul(v, scale), offset);
  const before = x.map ?? { scale: ONE, offset: ZERO };
  return {
    ...x,
    map: { scale: mul(before.scale, scale), offset: then(before.offset) },
    moves: x.moves.map((m) => (m.fill === undefined ? m : { ...m, fill: then(m.fill) })),
  };
}

/**
 * The quantizer's integer of an input that takes part in no arithmetic: as the runtimes that made the model have it, x / s
 * and x / s + z in float32. The sign, {0, 1} with z = ½, compares x itself.
 */
function quantizeFloat32(x: number, { type, rounding, order }: Quantizer): number {
  const { scheme, lo, hi } = type;
  if (scheme.kind !== "tensor") throw new Error("a quantizer per tensor is needed");
  const { scale, zeroPoint } = scheme;
  if (rounding === "half_up" && zeroPoint === 0.5 && lo === 0 && hi === 1) return x >= 0 ? 1 : 0;
  const before = order === "shift_then_round" ? zeroPoint : 0;
  const v = Math.fround(Math.fround(Math.fround(x) / scale) + before);
  if (Number.isNaN(v)) return lo;
  if (!Number.isFinite(v)) return v > 0 ? hi : lo;
  const q = Number(round(fromNumber(v), rounding)) + (zeroPoint - before);
  return Math.min(hi, Math.max(lo, q));
}

const zeroOf = ({ type }: Quantizer): number => (type.scheme.kind === "tensor" ? type.scheme.zeroPoint : 0);

/** The integer of one real number under the quantizer, exact after arithmetic and in float32 without. */
const quantizerOf =
  (q: Quantizer, scale: number, exact: boolean) =>
  (x: number, map: Affine): number =>
    exact
      ? quantizeExact(
          add(mul(fromNumber(x), map.scale), map.offset),
          fromNumber(scale),
          fromNumber(zeroOf(q)),
          q,
        )
      : quantizeFloat32(x, q);

function boundaryOf(q: Quantizer, x: Input): Boundary | undefined {
  const { scheme, lo, hi } = q.type;
  if (scheme.kind !== "tensor") return undefined;
  const { scale, zeroPoint } = scheme;
  const shifts = q.order === "round_then_shift" || zeroPoint === 0;
  if (!x.map && q.rounding === "half_even" && shifts && Number.isInteger(zeroPoint))
    return { kind: "quantize", scale, zeroPoint, lo, hi };
  if (hi - lo > MOST_THRESHOLDS) return undefined;
  const map = x.map ?? { scale: ONE, offset: ZERO };
  const s = sign(map.scale) < 0 ? -1 : 1;
  const at = quantizerOf(q, scale, x.map !== undefined);
  const found = thresholdsOf((v) => at(s * v, map), lo, hi, x.port.dtype === "float64" ? 64 : 32);
  return { kind: "thresholds", sign: s, ...found, hi: found.lo + found.thresholds.length };
}

/** A float graph input under a quantizer: an integer param, and the movement in between replayed on it. */
export function quantizeInput(
  ctx: Context,
  op: Op,
  q: Quantizer,
  rep: Input,
  result: Value,
  done: (v: Value) => Rep,
): Rep {
  const boundary = boundaryOf(q, rep);
  if (boundary === undefined) {
    ctx.report(inputQuantizerForm(op, rep.port.name));
    return poison(rep.shape);
  }
  const { scheme } = q.type;
  const scale = fromNumber(scheme.kind === "tensor" ? scheme.scale : 1);
  const value = inputParam(ctx, rep, result, storageOf(q.type), boundary, (fill) =>
    rep.map ? quantizeExact(fill, scale, fromNumber(zeroOf(q)), q) : quantizeFloat32(toNumber(fill), q),
  );
  return done(value);
}

/** The integer param behind a boundary, moved as the input was; `padding` makes integers of what pads bring in. */
export function inputParam(
  ctx: Context,
  rep: Input,
  result: Value,
  elem: IntType,
  boundary: Boundary,
  padding: (fill: Rational) => number,
): Value {
  let value: Value = {
    name: rep.moves.length === 0 ? result.name : rep.port.name,
    type: tensor(rep.port.value.type.shape, elem),
  };
  ctx.param({ value, name: rep.port.name, dtype: rep.port.dtype, boundary });
  for (const { op: move, fill } of rep.moves) {
    // Padding constants are real numbers; they go through the quantizer as the input's elements do.
    const attrs = fill === undefined ? move.attrs : { ...move.attrs, value: padding(fill) };
    value = ctx.emit(move.name, [value], attrs, {
      hint: result.name,
      ...(move.loc ? { loc: move.loc } : {}),
    });
  }
  return value;
}

/** The input after one more movement; a pad brings in a real number of its own. */
export const moveInput = (x: Input, op: Op, shape: readonly number[]): Input => ({
  ...x,
  shape,
  moves: [
    ...x.moves,
    op.name === "layout.pad" && attr<string>(op, "mode") === "constant"
      ? { op, fill: fromNumber(attr<number>(op, "value")) }
      : { op },
  ],
});
