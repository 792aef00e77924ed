/**
 * What `integerize` knows about a real tensor of the imported graph: how its exact values are built from integers.
 * Float ops map representations to representations; only a quantizer, or an op that must see integers, emits code.
 */
import type { Loc } from "../../ir/diagnostics.ts";
import type { Elements, Op, Port, Value } from "../../ir/module.ts";
import type { Epsilon } from "../../ir/ops/normalize-arithmetic.ts";
import { add, cmp, div, eq, isInteger, mul, neg, type Rational, sign, ZERO } from "../../ir/rational.ts";
import type { IntType } from "../../ir/types.ts";

/** One rational for the whole tensor, or one per index of the representation's axis. */
export type PerChannel = readonly Rational[];

export interface Term {
  /** Integer tensor, broadcastable to the representation's shape. */
  readonly value: Value;
  readonly scale: PerChannel;
}

/** Limits of a clamp that has not been carried out. Absent: unbounded. */
export interface Bounded {
  readonly lo?: Rational;
  readonly hi?: Rational;
}

/** min(max(Σ_i scale_i·t_i + offset, lo), hi), exactly. */
export interface Linear extends Bounded {
  readonly kind: "linear";
  readonly shape: readonly number[];
  readonly terms: readonly Term[];
  readonly offset: PerChannel;
  /** Axis along which `scale` and `offset` vary, counted from the END of the shape (1 = last). */
  readonly axis: number;
  readonly loc?: Loc;
}

/** A real constant; exact. */
export interface Constant {
  readonly kind: "constant";
  readonly shape: readonly number[];
  /** Row-major integers q and the grid (q − zero[c])·scale[c] they stand for; a float constant has `scale` [1] and `reals`. */
  readonly at: (index: number) => Rational;
  /** Present for quantized constants: the integers minus their zero points. */
  readonly grid?: { readonly q: Elements; readonly scale: PerChannel; readonly axis: number };
  /** Present for constants quantized in blocks. */
  readonly blocks?: GridBlocks;
  readonly loc?: Loc;
}

/** Element i stands for (q[element(i)] − zeros[b])·scales[b], b = block(i); elements of a block share the number. */
export interface GridBlocks {
  readonly q: Elements;
  readonly elem: IntType;
  readonly scales: readonly Rational[];
  readonly zeros: readonly Rational[];
  readonly element: (i: number) => number;
  readonly block: (i: number) => number;
}

/** A real function of one small integer tensor, element by element. */
export interface Mapped {
  readonly kind: "mapped";
  readonly shape: readonly number[];
  readonly input: Value;
  readonly expr: RealExpr;
  readonly loc?: Loc;
}

/** Softmax of scale·t along an axis. */
export interface Softmax {
  readonly kind: "softmax";
  readonly shape: readonly number[];
  readonly input: Value;
  readonly scale: Rational;
  /** Axis of `input`. */
  readonly axis: number;
  /** Data movement since, to be replayed on the quantized integers. */
  readonly moves: readonly Op[];
  readonly loc?: Loc;
}

/** Rationals, row-major, that broadcast to a tensor. */
export interface Rationals {
  readonly shape: readonly number[];
  readonly list: readonly Rational[];
}

/**
 * gain·D / √(V + E) + bias over rows of integers, clamped: with n the length of a row, D = n·t − Σt and V = n·Σt² − (Σt)², or
 * n·(t − zero) and n·Σ(t − zero)² where not `centre`.
 */
export interface Normalized extends Bounded {
  readonly kind: "normalized";
  readonly shape: readonly number[];
  readonly input: Value;
  /** First axis of a row of `input`. */
  readonly axis: number;
  readonly centre: boolean;
  readonly zero: number;
  readonly epsilon: Epsilon;
  /** Both broadcast to `input`. */
  readonly gain: Rationals;
  readonly bias: Rationals;
  /** Data movement since, to be replayed on the quantized integers. */
  readonly moves: readonly Op[];
  readonly loc?: Loc;
}

/** Parts side by side along `axis`, each with its own representation. */
export interface Joined {
  readonly kind: "joined";
  readonly shape: readonly number[];
  readonly parts: readonly Rep[];
  /** Axis of the parts. */
  readonly axis: number;
  /** Data movement since, to be replayed on the joined integers. */
  readonly moves: readonly Op[];
  readonly loc?: Loc;
}

/**
 * The greatest or the smallest of parts of one shape. Q is monotone, so that Q(max(a, b)) = max(Q(a), Q(b)): the parts meet as
 * integers behind the quantizer.
 */
export interface Extreme {
  readonly kind: "extreme";
  readonly shape: readonly number[];
  readonly pick: "max" | "min";
  readonly parts: readonly Rep[];
  readonly loc?: Loc;
}

/** x ↦ scale·x + offset. */
export interface Affine {
  readonly scale: Rational;
  readonly offset: Rational;
}

/** A float graph input before its quantizer. Its elements are mapped first, then moved; the moves are replayed on integers. */
export interface Input {
  readonly kind: "input";
  readonly shape: readonly number[];
  readonly port: Port;
  /** Absent: no arithmetic. */
  readonly map?: Affine;
  /** `fill`: the real number that a pad brings in, as it reaches the quantizer. */
  readonly moves: readonly { readonly op: Op; readonly fill?: Rational }[];
  readonly loc?: Loc;
}

/** An integer tensor: the result of a quantizer, or an integer constant. */
export interface Integer {
  readonly kind: "integer";
  readonly shape: readonly number[];
  readonly value: Value;
}

/** A float32 tensor of a float island. */
export interface Float {
  readonly kind: "float";
  readonly shape: readonly number[];
  readonly value: Value;
}

/** Reported already; silences what depends on it. */
export interface Poison {
  readonly kind: "poison";
  readonly shape: readonly number[];
}

export type Rep =
  | Linear
  | Constant
  | Mapped
  | Softmax
  | Normalized
  | Joined
  | Extreme
  | Input
  | Integer
  | Float
  | Poison;

/** Expression over the reals: `x` is the integer input itself. `op` names a row of the float op table. */
export type RealExpr =
  | { readonly k: "x" }
  | { readonly k: "const"; readonly value: Rational }
  | {
      readonly k: "op";
      readonly op: string;
      readonly args: readonly RealExpr[];
      readonly attrs: Op["attrs"];
    };

export const at = (list: PerChannel, c: number): Rational => (list.length === 1 ? list[0]! : list[c]!);
export const uniform = (list: PerChannel): boolean => list.every((r) => eq(r, list[0]!));
export const collapse = (list: PerChannel): PerChannel =>
  list.length > 1 && uniform(list) ? [list[0]!] : list;

/** Channel-wise combination of two lists. */
export function zip(a: PerChannel, b: PerChannel, f: (x: Rational, y: Rational) => Rational): PerChannel {
  const n = Math.max(a.length, b.length);
  return Array.from({ length: n }, (_, c) => f(at(a, c), at(b, c)));
}

export const perTensor = (r: Linear): boolean =>
  r.offset.length === 1 && r.terms.every((t) => t.scale.length === 1);
export const clamped = (r: Bounded): boolean => r.lo !== undefined || r.hi !== undefined;

/** The integer z with scale·z + offset = 0, if the representation has one term, one scale and such a z exists. */
export function zeroPoint(r: Linear): number | undefined {
  if (r.terms.length !== 1 || !perTensor(r) || sign(r.terms[0]!.scale[0]!) === 0) return undefined;
  const z = neg(div(r.offset[0]!, r.terms[0]!.scale[0]!));
  return isInteger(z) ? Number(z.num) : undefined;
}

export const maxRational = (a: Rational | undefined, b: Rational | undefined): Rational | undefined =>
  a === undefined ? b : b === undefined ? a : cmp(a, b) >= 0 ? a : b;
export const minRational = (a: Rational | undefined, b: Rational | undefined): Rational | undefined =>
  a === undefined ? b : b === undefined ? a : cmp(a, b) <= 0 ? a : b;

/** r·factor for a positive, negative or zero constant; bounds swap for a negative one. */
export function scaleBy(r: Linear, factor: PerChannel, axis: number): Linear | undefined {
  const factors = collapse(factor);
  const joined = joinAxes(r, factors, axis);
  if (joined === undefined) return undefined;
  if (clamped(r) && (factors.length > 1 || sign(factors[0]!) === 0)) return undefined;
  const base: Linear = {
    kind: "linear",
    shape: r.shape,
    terms: r.terms.map((t) => ({ value: t.value, scale: collapse(zip(t.scale, factors, mul)) })),
    offset: collapse(zip(r.offset, factors, mul)),
    axis: joined,
    ...(r.loc ? { loc: r.loc } : {}),
  };
  if (!clamped(r)) return base;
  const f = factors[0]!;
  const lo = r.lo === undefined ? undefined : mul(r.lo, f);
  const hi = r.hi === undefined ? undefined : mul(r.hi, f);
  return sign(f) > 0 ? withBounds(base, lo, hi) : withBounds(base, hi, lo);
}

/** r + constant. */
export function offsetBy(r: Linear, by: PerChannel, axis: number): Linear | undefined {
  const list = collapse(by);
  const joined = joinAxes(r, list, axis);
  if (joined === undefined || (clamped(r) && list.length > 1)) return undefined;
  const shift = (x: Rational | undefined) => (x === undefined ? undefined : add(x, list[0]!));
  const { lo, hi, ...rest } = r;
  return withBounds<Linear>(
    { ...rest, axis: joined, offset: collapse(zip(r.offset, list, add)) },
    shift(lo),
    shift(hi),
  );
}

/** The axis along which both vary, or undefined if they vary along different ones. */
export function joinAxes(r: Linear, list: PerChannel, axis: number): number | undefined {
  if (list.length === 1) return r.axis;
  if (perTensor(r)) return axis;
  return r.axis === axis ? axis : undefined;
}

export function withBounds<R extends Bounded>(r: R, lo: Rational | undefined, hi: Rational | undefined): R {
  const { lo: _lo, hi: _hi, ...rest } = r;
  return { ...(rest as R), ...(lo === undefined ? {} : { lo }), ...(hi === undefined ? {} : { hi }) };
}

/** clip(r, lo, hi): nested clips compose. */
export function clip<R extends Bounded>(r: R, lo: Rational | undefined, hi: Rational | undefined): R {
  const within = (x: Rational | undefined) => minRational(maxRational(x, lo), hi);
  const newLo = r.lo === undefined ? lo : within(r.lo);
  const newHi = r.hi === undefined ? hi : within(r.hi);
  // An unbounded side stays bounded by the new clip; lo > hi yields hi, as in ONNX.
  return withBounds(r, lo !== undefined && hi !== undefined && cmp(lo, hi) > 0 ? hi : newLo, newHi);
}

/**
 * How a constant of `shape` varies when broadcast to `target`: one value, or one per index of a single axis
 * (counted from the end); undefined if it varies along several.
 */
export function channelsOf(
  c: Constant,
  target: readonly number[],
): { list: PerChannel; axis: number } | undefined {
  const wide = c.shape.flatMap((d, i) => (d > 1 ? [i] : []));
  const n = c.shape.reduce((a, b) => a * b, 1);
  if (wide.length === 0) return { list: [c.at(0)], axis: 1 };
  const list = Array.from({ length: n }, (_, i) => c.at(i));
  if (uniform(list)) return { list: [list[0]!], axis: 1 };
  if (wide.length > 1) return undefined;
  const axis = c.shape.length - wide[0]!;
  return target[target.length - axis] === n ? { list, axis } : undefined;
}

export { ZERO };
