/** Turning a representation into plain affine integers, for ops that cannot look through a clamp or a curve. */
import { noQuantizer } from "../../ir/messages-quant.ts";
import type { Op, Value } from "../../ir/module.ts";
import { cmp, div, eq, isInteger, type Rational, rational, sign, sub } from "../../ir/rational.ts";
import { type Context, replay } from "./context.ts";
import { intervalOf } from "./ranges.ts";
import {
  at,
  clamped,
  type Joined,
  type Linear,
  maxRational,
  minRational,
  perTensor,
  type Rep,
  withBounds,
} from "./rep.ts";

/** `rep` as an affine map of integers without pending clamp; otherwise reports that `operand` needs a quantizer. */
export function materialize(ctx: Context, op: Op, rep: Rep, operand: Value): Linear | undefined {
  if (rep.kind === "poison") return undefined;
  if (rep.kind === "linear") {
    const done = clamped(rep) ? applyClamp(ctx, rep) : rep;
    if (done !== undefined) return done;
  }
  if (rep.kind === "joined") {
    const done = join(ctx, op, rep, operand);
    if (done !== undefined) return done;
  }
  ctx.report(noQuantizer(ctx, op, operand, boundsOf(rep)));
  return undefined;
}

/** Drops a clamp that the range already satisfies, or emits it where its bounds are grid points. */
export function applyClamp(ctx: Context, r: Linear): Linear | undefined {
  const bounds = boundsOf(withBounds(r, undefined, undefined));
  if (bounds === undefined) return undefined;
  const idleLo = r.lo === undefined || cmp(bounds.lo, r.lo) >= 0;
  const idleHi = r.hi === undefined || cmp(bounds.hi, r.hi) <= 0;
  if (idleLo && idleHi) return withBounds(r, undefined, undefined);
  const term = r.terms[0];
  if (r.terms.length !== 1 || term === undefined || !perTensor(r) || sign(term.scale[0]!) === 0)
    return undefined;
  const range = intervalOf(term.value);
  const step = (bound: Rational | undefined, idle: boolean): Rational | undefined =>
    idle || bound === undefined ? undefined : div(sub(bound, r.offset[0]!), term.scale[0]!);
  const a = step(r.lo, idleLo);
  const b = step(r.hi, idleHi);
  const [lo, hi] = sign(term.scale[0]!) > 0 ? [a, b] : [b, a];
  if ((lo && !isInteger(lo)) || (hi && !isInteger(hi))) return undefined;
  const clampLo = lo ? Math.min(Number(lo.num), range.max) : range.min;
  const clampHi = hi ? Math.max(Number(hi.num), range.min) : range.max;
  const value = ctx.emit(
    "qc.clamp",
    [term.value],
    { lo: clampLo, hi: clampHi },
    { type: term.value.type, ...(r.loc ? { loc: r.loc } : {}) },
  );
  return withBounds({ ...r, terms: [{ value, scale: term.scale }] }, undefined, undefined);
}

/** Parts on one grid concatenate as integers. */
function join(ctx: Context, op: Op, rep: Joined, operand: Value): Linear | undefined {
  const parts = rep.parts.map((p) =>
    p.kind === "linear" && (!clamped(p) || p.terms.length === 1)
      ? clamped(p)
        ? applyClamp(ctx, p)
        : p
      : undefined,
  );
  const first = parts[0];
  if (first === undefined || !perTensor(first) || first.terms.length !== 1) return undefined;
  const values: Value[] = [];
  for (const p of parts) {
    if (p === undefined || p.terms.length !== 1 || !perTensor(p)) return undefined;
    if (!eq(p.terms[0]!.scale[0]!, first.terms[0]!.scale[0]!) || !eq(p.offset[0]!, first.offset[0]!))
      return undefined;
    values.push(p.terms[0]!.value);
  }
  const options = { hint: operand.name, ...(op.loc ? { loc: op.loc } : {}) };
  const joined = ctx.emit("layout.concat", values, { axis: rep.axis }, options);
  const value = replay(ctx, rep.moves, joined, operand.name);
  return { ...first, shape: rep.shape, terms: [{ value, scale: first.terms[0]!.scale }] };
}

/** Real interval that contains every value of `rep`, where it is known. */
export function boundsOf(rep: Rep): { lo: Rational; hi: Rational } | undefined {
  if (rep.kind === "extreme") {
    const all = rep.parts.map(boundsOf);
    const known = all.flatMap((b) => (b ? [b] : []));
    const pick = rep.pick === "max" ? maxRational : minRational;
    const ends = (side: "lo" | "hi") => known.map((b) => b[side]).reduce((x, y) => pick(x, y)!);
    return known.length === all.length ? { lo: ends("lo"), hi: ends("hi") } : undefined;
  }
  if (rep.kind !== "linear") return undefined;
  let lo: Rational | undefined;
  let hi: Rational | undefined;
  const channels = Math.max(rep.offset.length, ...rep.terms.map((t) => t.scale.length));
  for (let c = 0; c < channels; c++) {
    let a = at(rep.offset, c);
    let b = a;
    for (const t of rep.terms) {
      const { min, max } = intervalOf(t.value);
      const s = at(t.scale, c);
      const [x, y] = sign(s) >= 0 ? [min, max] : [max, min];
      a = addScaled(a, s, x);
      b = addScaled(b, s, y);
    }
    if (lo === undefined || cmp(a, lo) < 0) lo = a;
    if (hi === undefined || cmp(b, hi) > 0) hi = b;
  }
  if (lo === undefined || hi === undefined) return undefined;
  const clampTo = (x: Rational) =>
    rep.lo && cmp(x, rep.lo) < 0 ? rep.lo : rep.hi && cmp(x, rep.hi) > 0 ? rep.hi : x;
  return { lo: clampTo(lo), hi: clampTo(hi) };
}

const addScaled = (a: Rational, s: Rational, x: number): Rational =>
  rational(a.num * s.den + s.num * BigInt(x) * a.den, a.den * s.den);
