/** Quantizers with steps at any places: real thresholds become integer ones, exactly. */
import { inputQuantizerForm, noQuantizer, tableUndecided } from "../../ir/messages-quant.ts";
import { thresholdForm } from "../../ir/messages-thresholds.ts";
import type { Attr, Dense, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import {
  add,
  ceil,
  cmp,
  div,
  floor,
  fromNumber,
  isInteger,
  mul,
  type Rational,
  rational,
  sign,
  sub,
  toNumber,
  ZERO,
} from "../../ir/rational.ts";
import { intTypeFor, type QuantType, tensor } from "../../ir/types.ts";
import { type Context, poison, replay } from "./context.ts";
import { inputParam, MOST_THRESHOLDS } from "./input.ts";
import { storageOf } from "./quantizer.ts";
import { intervalOf } from "./ranges.ts";
import { evaluateReal } from "./real.ts";
import { at, type Input, type Linear, type Mapped, type Rep, type Term } from "./rep.ts";
import { thresholdsOf } from "./thresholds.ts";

/** x ≥ t, or x > t where `strict`. */
interface Threshold {
  readonly t: Rational;
  readonly strict: boolean;
}

interface Thresholds {
  readonly op: Op;
  readonly result: Value;
  readonly type: QuantType;
  /** One row, or one per channel; from the front. */
  readonly rows: readonly (readonly Threshold[])[];
  readonly axis: number;
  /** What an input without arithmetic is divided by, in float32. */
  readonly divisor: number;
  /** Empty: the counts themselves. */
  readonly levels: readonly number[];
}

const passed = (x: Rational, { t, strict }: Threshold): boolean => cmp(x, t) >= (strict ? 1 : 0);
const count = (x: Rational, row: readonly Threshold[]): number => row.filter((t) => passed(x, t)).length;
const levelOf = ({ levels }: Thresholds, n: number): number => (levels.length === 0 ? n : levels[n]!);

export function liftThreshold(ctx: Context, op: Op): Rep {
  const result = op.results[0]!;
  const { data, shape } = attr<Dense>(op, "thresholds");
  const [given, columns] = shape as [number, number];
  const strict = new Set(attr<readonly number[]>(op, "strict"));
  const scales = attr<readonly number[]>(op, "scales");
  // x / s ≥ T is x ≥ s·T.
  const rows = Array.from({ length: Math.max(given, scales.length) }, (_, c) => {
    const scale = fromNumber(scales.length === 1 ? scales[0]! : scales[c]!);
    const from = given === 1 ? 0 : c * columns;
    return Array.from({ length: columns }, (_, k) => ({
      t: mul(fromNumber(data[from + k]!), scale),
      strict: strict.has(k),
    }));
  });
  const levels = attr<readonly number[]>(op, "levels");
  const q: Thresholds = {
    op,
    result,
    type: result.type.elem as QuantType,
    rows,
    axis: attr<number>(op, "axis"),
    divisor: scales[0]!,
    levels,
  };
  return lift(ctx, q, ctx.rep(op.operands[0]!));
}

function lift(ctx: Context, q: Thresholds, rep: Rep): Rep {
  const { op } = q;
  switch (rep.kind) {
    case "poison":
      return rep;
    case "linear":
      return steps(ctx, q, rep);
    case "mapped":
      return table(ctx, q, rep);
    case "input":
      return boundary(ctx, q, rep);
    case "joined":
      return parts(ctx, q, rep);
    default:
      ctx.report(noQuantizer(ctx, op, op.operands[0]!, undefined));
      return poison(rep.shape);
  }
}

const place = ({ op, result }: Thresholds) => ({ hint: result.name, ...(op.loc ? { loc: op.loc } : {}) });

function refuse(ctx: Context, q: Thresholds, shape: readonly number[], reason: string): Rep {
  ctx.report(thresholdForm(q.op, reason));
  return poison(shape);
}

/** Parts of a concatenation, one after another. */
function parts(ctx: Context, q: Thresholds, rep: Rep & { readonly kind: "joined" }): Rep {
  let from = 0;
  const values: Value[] = [];
  for (const part of rep.parts) {
    const to = from + part.shape[rep.axis]!;
    const own = q.rows.length > 1 && q.axis === rep.axis ? { ...q, rows: q.rows.slice(from, to) } : q;
    from = to;
    const made = lift(ctx, own, part);
    if (made.kind !== "integer") return poison(rep.shape);
    values.push(made.value);
  }
  if (rep.moves.length > 0 && q.rows.length > 1)
    return refuse(ctx, q, rep.shape, "its thresholds differ per channel, and its input was joined and moved");
  const joined = ctx.emit("layout.concat", values, { axis: rep.axis }, place(q));
  const value = replay(ctx, rep.moves, joined, q.result.name);
  return { kind: "integer", shape: rep.shape, value };
}

const INT32 = { min: -(2n ** 31n), max: 2n ** 31n - 1n };

/** a ↦ base + #{k : v > thresholds[k]}, see `qc.threshold`. */
interface IntegerSteps {
  readonly base: number;
  readonly mirrored: boolean;
  readonly thresholds: readonly number[];
}

/**
 * The steps of #{k : clamp(S·a + B) ≥ t_k}: S·a + B ≥ t ⟺ a ≥ ⌈(t − B) / S⌉ for S > 0, a ≤ ⌊(t − B) / S⌋ for S < 0, where
 * v = −1 − a makes a ≤ u the same as v ≥ −1 − u. Every a of 32 bits.
 */
function integerSteps(row: readonly Threshold[], s: Rational, b: Rational, r: Linear): IntegerSteps {
  const mirrored = sign(s) < 0;
  const thresholds: number[] = [];
  let base = 0;
  for (const step of row) {
    const always = (r.lo !== undefined && passed(r.lo, step)) || (sign(s) === 0 && passed(b, step));
    const never = (r.hi !== undefined && !passed(r.hi, step)) || (sign(s) === 0 && !passed(b, step));
    // Where the bounds contradict each other the upper one counts.
    if (never) continue;
    if (always) {
      base++;
      continue;
    }
    const w = div(sub(step.t, b), s);
    const least = mirrored
      ? -1n - (step.strict ? ceil(w) - 1n : floor(w))
      : step.strict
        ? floor(w) + 1n
        : ceil(w);
    if (least <= INT32.min) base++;
    else if (least <= INT32.max) thresholds.push(Number(least - 1n));
  }
  return { base, mirrored, thresholds: thresholds.sort((x, y) => x - y) };
}

function steps(ctx: Context, q: Thresholds, rep: Linear): Rep {
  const single = oneTerm(ctx, q, rep);
  if (single === undefined)
    return refuse(ctx, q, rep.shape, "the tensors that it sums have no common grid of 32 bits");
  const [term] = single.terms as [Term];
  const varies = single.offset.length > 1 || term.scale.length > 1;
  const own = single.shape.length - single.axis;
  if (q.rows.length > 1 && varies && q.axis !== own)
    return refuse(ctx, q, rep.shape, "they follow another axis than the scales of what they compare");
  const axis = q.rows.length > 1 ? q.axis : Math.max(0, own);
  const n = Math.max(q.rows.length, single.offset.length, term.scale.length);
  const rows = Array.from({ length: n }, (_, c) =>
    integerSteps(
      q.rows.length === 1 ? q.rows[0]! : q.rows[c]!,
      at(term.scale, c),
      at(single.offset, c),
      single,
    ),
  );
  const columns = Math.max(...rows.map((r) => r.thresholds.length));
  const data = Int32Array.from({ length: n * columns }, (_, i) => {
    const { thresholds } = rows[Math.floor(i / columns)]!;
    // Nothing exceeds it.
    return thresholds[i % columns] ?? Number(INT32.max);
  });
  const counts = intTypeFor(0, Math.max(1, q.rows[0]!.length))!;
  const value = ctx.emit(
    "qc.threshold",
    [term.value],
    {
      thresholds: {
        kind: "dense",
        elem: { kind: "int", signed: true, bits: 32 },
        shape: [n, columns],
        data,
      } satisfies Attr,
      base: rows.map((r) => r.base),
      mirrored: rows.map((r) => (r.mirrored ? 1 : 0)),
      axis,
    },
    { type: tensor(rep.shape, q.levels.length === 0 ? storageOf(q.type) : counts), ...place(q) },
  );
  return { kind: "integer", shape: rep.shape, value: leveled(ctx, q, value) };
}

/** The levels of counts. */
function leveled(ctx: Context, q: Thresholds, counts: Value): Value {
  if (q.levels.length === 0) return counts;
  return tableOf(ctx, q, counts, q.levels, 0);
}

function tableOf(ctx: Context, q: Thresholds, x: Value, entries: readonly number[], min: number): Value {
  const elem = storageOf(q.type);
  const { max } = intervalOf(x);
  // Entries for every integer of x's type; those beyond the list cannot occur.
  const data = Int32Array.from({ length: max - min + 1 }, (_, i) => entries[i] ?? entries.at(-1)!);
  return ctx.emit(
    "qc.table",
    [x],
    { table: { kind: "dense", elem, shape: [data.length], data } satisfies Attr, min },
    { type: tensor(x.type.shape, elem), ...place(q) },
  );
}

const abs = (x: bigint): bigint => (x < 0n ? -x : x);
const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));

/** Σ Sᵢ·aᵢ as S·a with a = Σ nᵢ·aᵢ for integers nᵢ; undefined where the scales differ per channel, or a leaves 32 bits. */
function oneTerm(ctx: Context, q: Thresholds, r: Linear): Linear | undefined {
  if (r.terms.length === 1) return r;
  if (r.terms.length !== 2 || r.terms.some((t) => t.scale.length > 1)) return undefined;
  const scales = r.terms.map((t) => t.scale[0]!);
  const den = scales.reduce((d, s) => d * s.den, 1n);
  const common = scales.map((s) => abs((s.num * den) / s.den)).reduce(gcd);
  if (common === 0n) return undefined;
  const unit = rational(common, den);
  const factors = scales.map((s) => div(s, unit));
  let [lo, hi] = [0n, 0n];
  r.terms.forEach((t, i) => {
    const { min, max } = intervalOf(t.value);
    const ends = [min, max].map((x) => factors[i]!.num * BigInt(x));
    lo += ends[0]! < ends[1]! ? ends[0]! : ends[1]!;
    hi += ends[0]! < ends[1]! ? ends[1]! : ends[0]!;
  });
  const elem = lo < INT32.min || hi > INT32.max ? undefined : intTypeFor(Number(lo), Number(hi));
  if (elem === undefined || !factors.every(isInteger)) return undefined;
  const value = ctx.emit(
    "qc.requant",
    r.terms.map((t) => t.value),
    {
      axis: Math.max(0, r.shape.length - 1),
      scales: factors.map((f) => [f]),
      offset: [ZERO],
      zero_point: ZERO,
      lo: Number(lo),
      hi: Number(hi),
      rounding: "floor",
      order: "round_then_shift",
    },
    { type: tensor(r.shape, elem), ...place(q) },
  );
  return { ...r, terms: [{ value, scale: [unit] }] };
}

/** A curve over a small integer tensor: every count decided rigorously. */
function table(ctx: Context, q: Thresholds, m: Mapped): Rep {
  const [row, ...more] = q.rows as [readonly Threshold[]];
  if (more.length > 0) return refuse(ctx, q, m.shape, "they differ per channel behind a curve");
  const { min, max } = intervalOf(m.input);
  const entries: number[] = [];
  for (let a = min; a <= max; a++) {
    const y = evaluateReal(m.expr, a);
    let n: number;
    if (y.kind === "exact") n = count(y.value, row);
    else if (!Number.isFinite(y.near)) n = y.near > 0 ? row.length : 0;
    else {
      const ends = [y.near - y.error, y.near + y.error].map((x) => count(fromNumber(x), row));
      if (ends[0] !== ends[1]) {
        ctx.report(tableUndecided(q.op, a, y.near));
        return poison(m.shape);
      }
      n = ends[0]!;
    }
    entries.push(levelOf(q, n));
  }
  return { kind: "integer", shape: m.shape, value: tableOf(ctx, q, m.input, entries, min) };
}

/** A graph input: the conversion outside the core counts. */
function boundary(ctx: Context, q: Thresholds, rep: Input): Rep {
  const [row, ...more] = q.rows as [readonly Threshold[]];
  if (more.length > 0 || row.length > MOST_THRESHOLDS) {
    ctx.report(inputQuantizerForm(q.op, rep.port.name));
    return poison(rep.shape);
  }
  const { map } = rep;
  const s = map && sign(map.scale) < 0 ? -1 : 1;
  // Without arithmetic as the runtimes that made the model have it: x / s in float32.
  const divisor = fromNumber(q.divisor);
  const rounded = (x: number): Rational => {
    const v = Math.fround(x / q.divisor);
    return Number.isFinite(v) ? mul(fromNumber(v), divisor) : fromNumber(x);
  };
  const real = (x: number): Rational =>
    map ? add(mul(fromNumber(x), map.scale), map.offset) : q.divisor === 1 ? fromNumber(x) : rounded(x);
  const counted = (x: number): number => count(real(x), row);
  const width = rep.port.dtype === "float64" ? 64 : 32;
  const found = thresholdsOf((v) => counted(s * v), 0, row.length, width);
  const counts = intTypeFor(0, Math.max(1, row.length))!;
  const value = inputParam(
    ctx,
    rep,
    q.result,
    q.levels.length === 0 ? storageOf(q.type) : counts,
    { kind: "thresholds", sign: s, ...found, hi: found.lo + found.thresholds.length },
    (fill) => (map ? count(fill, row) : counted(toNumber(fill))),
  );
  return { kind: "integer", shape: rep.shape, value: leveled(ctx, q, value) };
}
