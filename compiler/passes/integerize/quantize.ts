/** Quantizers: each becomes one exact integer map of what its input is made of. */
import {
  noQuantizer,
  tableUndecided,
  unsignedTooWide,
  zeroPointPerChannel,
} from "../../ir/messages-quant.ts";
import type { Attr, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { add, div, fromNumber, type Rational } from "../../ir/rational.ts";
import type { Rounding } from "../../ir/rescale/types.ts";
import { intTypeFor, type QuantType, tensor } from "../../ir/types.ts";
import { type Context, poison, replay } from "./context.ts";
import { quantizeInput } from "./input.ts";
import { boundsOf } from "./materialize.ts";
import { quantizeNormalized } from "./normalize.ts";
import { type Quantizer, quantizeExact, storageOf } from "./quantizer.ts";
import { intervalOf } from "./ranges.ts";
import { evaluateReal } from "./real.ts";
import { evaluateReals } from "./reals.ts";
import { at, type Constant, type Extreme, type Linear, type Mapped, type Rep } from "./rep.ts";
import { quantizeSoftmax } from "./softmax.ts";

export function liftQuantize(ctx: Context, op: Op): Rep {
  const result = op.results[0]!;
  const q: Quantizer = {
    type: result.type.elem as QuantType,
    rounding: attr<string>(op, "rounding") as Rounding,
    order: attr<string>(op, "order") as Quantizer["order"],
  };
  const rep = ctx.rep(op.operands[0]!);
  if (q.type.hi <= INT32_MAX || rep.kind === "poison") return quantizeRep(ctx, op, q, rep, result);
  const reached = greatestOf(q, rep);
  if (reached !== undefined && reached <= INT32_MAX)
    return quantizeRep(ctx, op, { ...q, type: { ...q.type, hi: INT32_MAX } }, rep, result);
  ctx.report(unsignedTooWide(op, reached ?? q.type.hi));
  return poison(rep.shape);
}

/** What kernels hold an integer in. */
const INT32_MAX = 2 ** 31 - 1;

/** The greatest integer that the bounds of `rep` become; undefined where those are not known. */
function greatestOf(q: Quantizer, rep: Rep): number | undefined {
  const bounds = boundsOf(rep);
  if (bounds === undefined) return undefined;
  const zeros = zeroList(q.type);
  return Math.max(
    ...scaleList(q.type).map((s, c) =>
      quantizeExact(bounds.hi, fromNumber(s), fromNumber(zeros[c] ?? zeros[0]!), q),
    ),
  );
}

function quantizeRep(ctx: Context, op: Op, q: Quantizer, rep: Rep, result: Value): Rep {
  const shape = rep.shape;
  const done = (value: Value): Rep => ({ kind: "integer", shape, value });
  switch (rep.kind) {
    case "poison":
      return rep;
    case "linear":
      return requant(ctx, op, q, rep, result, done);
    case "mapped":
      return table(ctx, op, q, rep, result, done);
    case "softmax":
      return quantizeSoftmax(ctx, op, q, rep, result, done);
    case "normalized":
      return quantizeNormalized(ctx, op, q, rep, result, done);
    case "joined": {
      // Parts of a concatenation have one type.
      const whole = { ...q, elem: storageOf(q.type) };
      let from = 0;
      const parts = rep.parts.map((p) => {
        const to = from + p.shape[rep.axis]!;
        const part = { ...whole, type: restricted(q.type, rep.axis, from, to) };
        from = to;
        return quantizeRep(ctx, op, part, p, result);
      });
      const values = parts.flatMap((p) => (p.kind === "integer" ? [p.value] : []));
      if (values.length < parts.length) return poison(shape);
      if (rep.moves.length > 0 && q.type.scheme.kind === "axis") {
        ctx.report(zeroPointPerChannel(op));
        return poison(shape);
      }
      const options = { hint: result.name, ...(op.loc ? { loc: op.loc } : {}) };
      const joined = ctx.emit("layout.concat", values, { axis: rep.axis }, options);
      return done(replay(ctx, rep.moves, joined, result.name));
    }
    case "extreme":
      return quantizeExtreme(ctx, op, q, rep, result, done);
    case "constant":
      return quantizeConstant(ctx, op, q, rep, result, done);
    case "input":
      return quantizeInput(ctx, op, q, rep, result, done);
    default:
      ctx.report(noQuantizer(ctx, op, op.operands[0]!, undefined));
      return poison(shape);
  }
}

/** The greatest of what the parts become. */
function quantizeExtreme(
  ctx: Context,
  op: Op,
  q: Quantizer,
  rep: Extreme,
  result: Value,
  done: (v: Value) => Rep,
): Rep {
  const parts = rep.parts.map((p) => quantizeRep(ctx, op, q, p, result));
  const values = parts.flatMap((p) => (p.kind === "integer" ? [p.value] : []));
  const [first, ...rest] = values;
  if (first === undefined || values.length < parts.length) return poison(rep.shape);
  const type = tensor(rep.shape, storageOf(q.type));
  const options = { type, hint: result.name, ...(op.loc ? { loc: op.loc } : {}) };
  return done(rest.reduce((a, b) => ctx.emit(`qc.${rep.pick}`, [a, b], {}, options), first));
}

/** A constant among the parts of a concatenation. */
function quantizeConstant(
  ctx: Context,
  op: Op,
  q: Quantizer,
  c: Constant,
  result: Value,
  done: (v: Value) => Rep,
): Rep {
  const zero = zeroOf(ctx, op, q.type);
  const [step, ...more] = scaleList(q.type).map(fromNumber);
  if (zero === undefined || step === undefined || more.length > 0) {
    if (zero !== undefined) ctx.report(zeroPointPerChannel(op));
    return poison(c.shape);
  }
  const size = c.shape.reduce((a, b) => a * b, 1);
  const z = fromNumber(zero);
  const data = Int32Array.from({ length: size }, (_, i) => quantizeExact(c.at(i), step, z, q));
  const type = tensor(c.shape, storageOf(q.type));
  const value = { kind: "dense", elem: storageOf(q.type), shape: c.shape, data } satisfies Attr;
  return done(
    ctx.emit("const", [], { value }, { type, hint: result.name, ...(op.loc ? { loc: op.loc } : {}) }),
  );
}

/** The grid of the indices `from` … `to` − 1 of `axis`. */
function restricted(q: QuantType, axis: number, from: number, to: number): QuantType {
  const { scheme } = q;
  if (scheme.kind !== "axis" || scheme.axis !== axis) return q;
  const scales = scheme.scales.slice(from, to);
  return { ...q, scheme: { ...scheme, scales, zeroPoints: scheme.zeroPoints.slice(from, to) } };
}

const scaleList = (q: QuantType): readonly number[] =>
  q.scheme.kind === "tensor" ? [q.scheme.scale] : q.scheme.scales;

/** The one zero point of a quantizer; reports zero points that differ between channels. */
function zeroOf(ctx: Context, op: Op, q: QuantType): number | undefined {
  if (q.scheme.kind === "tensor") return q.scheme.zeroPoint;
  const [z, ...rest] = q.scheme.zeroPoints;
  if (z !== undefined && rest.every((x) => x === z)) return z;
  ctx.report(zeroPointPerChannel(op));
  return undefined;
}

const zeroList = (q: QuantType): readonly number[] =>
  q.scheme.kind === "tensor" ? [q.scheme.zeroPoint] : q.scheme.zeroPoints;

/** A zero point inside the rounding is one more offset, so that what comes after it can shift the integers at will. */
function requant(ctx: Context, op: Op, q: Quantizer, r: Linear, result: Value, done: (v: Value) => Rep): Rep {
  const inside = q.order === "shift_then_round";
  const outer = inside ? 0 : zeroOf(ctx, op, q.type);
  if (outer === undefined) return poison(r.shape);
  const zeros = zeroList(q.type).map(fromNumber);
  const steps = scaleList(q.type).map(fromNumber);
  const axisOfSteps = q.type.scheme.kind === "axis" ? r.shape.length - q.type.scheme.axis : 1;
  const varies = r.offset.length > 1 || r.terms.some((t) => t.scale.length > 1);
  if (steps.length > 1 && varies && axisOfSteps !== r.axis) {
    ctx.report(zeroPointPerChannel(op));
    return poison(r.shape);
  }
  const axis = steps.length > 1 ? axisOfSteps : r.axis;
  const divided = (list: readonly Rational[]): Rational[] =>
    Array.from({ length: Math.max(list.length, steps.length) }, (_, c) => div(at(list, c), at(steps, c)));
  // Q is monotone: clamping to [L, H] before it is clamping to [Q(L), Q(H)] after it. Per-channel steps keep the real clamp only
  // if it is the same integer for every channel.
  const bounds = (x: Rational | undefined, fallback: number): number | undefined => {
    if (x === undefined) return fallback;
    const all = steps.map((s, c) => quantizeExact(x, s, at(zeros, c), q));
    return all.every((v) => v === all[0]) ? all[0] : undefined;
  };
  const lo = bounds(r.lo, q.type.lo);
  const hi = bounds(r.hi, q.type.hi);
  if (lo === undefined || hi === undefined) {
    ctx.report(zeroPointPerChannel(op));
    return poison(r.shape);
  }
  const elem = intTypeFor(lo, Math.max(lo, hi)) ?? q.type.storage;
  const value = ctx.emit(
    "qc.requant",
    r.terms.map((t) => t.value),
    {
      axis: Math.max(0, r.shape.length - axis),
      scales: r.terms.map((t) => divided(t.scale)),
      offset: inside ? divided(r.offset).map((b, c) => add(b, at(zeros, c))) : divided(r.offset),
      zero_point: fromNumber(outer),
      lo,
      hi,
      rounding: q.rounding,
      order: "round_then_shift",
    },
    { type: tensor(r.shape, elem), hint: result.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  return done(value);
}

/** Tables of more entries are first evaluated as a whole, in float64. */
const LARGE = 256;

/** The integer of every real number within `error` of `near`, where float64 shows that there is only one. */
function decided(
  near: number,
  error: number,
  step: number,
  zero: number,
  { type: { lo, hi }, rounding }: Quantizer,
): number | undefined {
  if (!rounding.startsWith("half") || !Number.isInteger(zero)) return undefined;
  const w = near / step;
  const slack = error / step + (Math.abs(w) + 1) * 2 ** -48;
  if (w - slack > hi - zero + 1) return hi;
  if (w + slack < lo - zero - 1) return lo;
  const k = Math.round(w);
  return Math.abs(w - k) + slack < 0.5 ? Math.min(hi, Math.max(lo, k + zero)) : undefined;
}

/** A curve over a small integer tensor: one table entry per input value, each decided rigorously. */
function table(ctx: Context, op: Op, q: Quantizer, m: Mapped, result: Value, done: (v: Value) => Rep): Rep {
  const zero = zeroOf(ctx, op, q.type);
  const steps = scaleList(q.type);
  if (zero === undefined || steps.length > 1) {
    if (zero !== undefined) ctx.report(zeroPointPerChannel(op));
    return poison(m.shape);
  }
  const { min, max } = intervalOf(m.input);
  const data = new Int32Array(max - min + 1);
  const scale = fromNumber(steps[0]!);
  const z = fromNumber(zero);
  const near = data.length > LARGE ? evaluateReals(m.expr, min, data.length) : undefined;
  for (let t = min; t <= max; t++) {
    const known = near && decided(near.near[t - min]!, near.error[t - min]!, steps[0]!, zero, q);
    if (known !== undefined) {
      data[t - min] = known;
      continue;
    }
    const y = evaluateReal(m.expr, t);
    if (y.kind === "exact") {
      data[t - min] = quantizeExact(y.value, scale, z, q);
      continue;
    }
    if (Number.isNaN(y.near)) {
      data[t - min] = q.type.lo;
      continue;
    }
    if (!Number.isFinite(y.near)) {
      data[t - min] = y.near > 0 ? q.type.hi : q.type.lo;
      continue;
    }
    const ends = [y.near - y.error, y.near + y.error].map((x) => quantizeExact(fromNumber(x), scale, z, q));
    if (ends[0] !== ends[1]) {
      ctx.report(tableUndecided(op, t, y.near));
      return poison(m.shape);
    }
    data[t - min] = ends[0]!;
  }
  const elem = storageOf(q.type);
  const value = ctx.emit(
    "qc.table",
    [m.input],
    { table: { kind: "dense", elem, shape: [data.length], data } satisfies Attr, min },
    { type: tensor(m.shape, elem), hint: result.name, ...(op.loc ? { loc: op.loc } : {}) },
  );
  return done(value);
}
