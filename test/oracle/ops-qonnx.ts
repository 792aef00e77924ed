/**
 * Quantizers of QONNX, from their published formulae:
 *
 *     Quant         q = R(clip(x / s + z, lo, hi)),            y = (q − z)·s
 *     BipolarQuant  q = [x ≥ 0],                               y = (2q − 1)·s
 *     Trunc v1      q = R(rne(x / s + z) / 2^(in − out)),      y = (q − z)·s
 *     Trunc v2      t = 2^rne(log2(s' / s)), q = R(clip(rne(x / s + z) / t)), y = (q − z / t)·s'
 *
 * One signed bit is bipolar. Constants and graph inputs: x / s and x / s + z are float32 operations.
 */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { intOf, stringOf } from "./attributes.ts";
import { broadcastIndex } from "./gather.ts";
import { floatQuant } from "./ops-float-quant.ts";
import { multiThreshold } from "./ops-threshold.ts";
import { clamp, rne } from "./quantize.ts";
import {
  add,
  divide,
  floor,
  fromNumber,
  multiply,
  negate,
  ONE,
  type Rational,
  rational,
  roundHalfEven,
  toNumber,
} from "./rational.ts";
import { exactAt, type RealTensor, reals, sizeOf, type Tensor, TINY, toReal, ULP } from "./tensor.ts";

const DOMAINS = new Set(["qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "finn"]);
const OPERATORS = new Set(["Quant", "IntQuant", "BipolarQuant", "Trunc", "MultiThreshold", "FloatQuant"]);

export const isQonnx = ({ op, domain }: OnnxNode): boolean => DOMAINS.has(domain) && OPERATORS.has(op);

export interface QonnxResult {
  readonly shape: readonly number[];
  readonly integers: Float64Array;
  readonly undecided: ReadonlyMap<number, readonly [number, number]>;
  /** The real numbers that integers stand for. */
  readonly read: (integers: Float64Array) => RealTensor;
}

type Mode = (floor: bigint, twice: -1 | 0 | 1, x: Rational) => bigint;
const away: Mode = (below, _, x) => (x.num > 0n ? below + 1n : below);
const toward: Mode = (below, _, x) => (x.num > 0n ? below : below + 1n);
/** For a number between two integers: the one below it, how its fraction compares with ½, the number. */
const MODES: Readonly<Record<string, Mode>> = {
  CEIL: (below) => below + 1n,
  FLOOR: (below) => below,
  UP: away,
  DOWN: toward,
  ROUND_TO_ZERO: toward,
  HALF_UP: (below, half, x) => (half === 0 ? away(below, half, x) : half > 0 ? below + 1n : below),
  HALF_DOWN: (below, half, x) => (half === 0 ? toward(below, half, x) : half > 0 ? below + 1n : below),
};

function roundAs(mode: string, x: Rational): bigint {
  if (mode === "ROUND" || mode === "HALF_EVEN") return roundHalfEven(x);
  const below = floor(x);
  const twice = 2n * (x.num - below * x.den);
  if (twice === 0n) return below;
  return MODES[mode]!(below, twice < x.den ? -1 : twice > x.den ? 1 : 0, x);
}

function modeOf(node: OnnxNode, fallback: string): string {
  const mode = (stringOf(node, "rounding_mode") ?? fallback).toUpperCase();
  if (mode !== "ROUND" && mode !== "HALF_EVEN" && !(mode in MODES)) throw new Error(`rounding mode ${mode}`);
  return mode;
}

interface Numbers {
  readonly values: ArrayLike<number>;
  readonly index: Int32Array | undefined;
}

function numbers(tensor: Tensor | undefined, shape: readonly number[]): Numbers {
  const values = tensor?.kind === "real" ? tensor.literal : tensor?.kind === "int" ? tensor.data : undefined;
  if (values === undefined) throw new Error("a parameter is not constant");
  return { values, index: values.length === 1 ? undefined : broadcastIndex(tensor!.shape, shape) };
}

const of = ({ values, index }: Numbers, i: number): number => values[index === undefined ? 0 : index[i]!]!;
const one = ({ values }: Numbers): number => {
  if (values.length !== 1) throw new Error("one number is needed");
  return values[0]!;
};

/**
 * f of x[i] / s + z for every i, f being constant between neighbouring multiples of ½: decided by float64 where its
 * error bound stays clear of them, exactly elsewhere. Of irrational values both ends of the bound.
 */
function stepOf(
  x: Tensor,
  scale: Numbers,
  zero: Numbers,
  f: (v: Rational) => number,
  inFloat32: boolean,
): { readonly integers: Float64Array; readonly undecided: Map<number, readonly [number, number]> } {
  const size = sizeOf(x.shape);
  const integers = new Float64Array(size);
  const undecided = new Map<number, readonly [number, number]>();
  const known = new Map<number, number>();
  /** f on an open interval between multiples of ½, by its middle. */
  const between = (v: number): number => {
    const middle = Math.floor(v * 2) / 2 + 0.25;
    const before = known.get(middle);
    if (before !== undefined) return before;
    const q = f(fromNumber(middle));
    known.set(middle, q);
    return q;
  };
  const real = x.kind === "approx" ? undefined : toReal(x);
  if (inFloat32 && real?.literal instanceof Float32Array) {
    for (let i = 0; i < size; i++) {
      const v = Math.fround(Math.fround(real.literal[i]! / of(scale, i)) + of(zero, i));
      const finite = Number.isNaN(v) ? -(2 ** 127) : clamp(v, -(2 ** 127), 2 ** 127);
      integers[i] = f(fromNumber(finite));
    }
    return { integers, undecided };
  }
  if (x.kind === "approx") {
    for (let i = 0; i < size; i++) {
      const s = of(scale, i);
      const v = x.value[i]! / s + of(zero, i);
      const bound = (x.error[i]! / s) * (1 + 4 * ULP) + (Math.abs(x.value[i]! / s) + Math.abs(v)) * 4 * ULP;
      integers[i] = f(fromNumber(v));
      const ends = [f(fromNumber(v - bound)), f(fromNumber(v + bound))] as const;
      if (ends[0] !== ends[1]) undecided.set(i, ends);
    }
    return { integers, undecided };
  }
  const terms = real!.terms();
  const factors = terms.map(() => new Map<number, number>());
  const relative = (terms.length + 3) * ULP;
  for (let i = 0; i < size; i++) {
    const s = of(scale, i);
    const z = of(zero, i);
    const c = scale.index === undefined ? 0 : scale.index[i]!;
    let sum = z;
    let magnitude = Math.abs(z);
    for (const [t, { num, units, index }] of terms.entries()) {
      const u = index === undefined ? 0 : index[i]!;
      const key = c * units.length + u;
      const factor = factors[t]!.get(key) ?? toNumber(divide(units[u]!, fromNumber(s)));
      factors[t]!.set(key, factor);
      sum += num[i]! * factor;
      magnitude += Math.abs(num[i]! * factor);
    }
    const bound = magnitude * relative * 2 + TINY;
    const clear = Math.abs(sum * 2 - Math.round(sum * 2)) / 2 > bound;
    integers[i] = clear ? between(sum) : f(add(divide(exactAt(terms, i), fromNumber(s)), fromNumber(z)));
  }
  return { integers, undecided };
}

const clampBig = (q: bigint, lo: number, hi: number): number =>
  q < BigInt(lo) ? lo : q > BigInt(hi) ? hi : Number(q);

function rangeOf(node: OnnxNode, bits: number): readonly [lo: number, hi: number] {
  const [signed, narrow] = [intOf(node, "signed"), intOf(node, "narrow")];
  if (signed === undefined || narrow === undefined) throw new Error("signed and narrow must be given");
  return signed === 1 ? [-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1 - narrow];
}

/** (q − z)·s. */
function grid(shape: readonly number[], scale: Numbers, zero: Numbers) {
  return (q: Float64Array): RealTensor => {
    const units = Array.from(scale.values, fromNumber);
    const ofQ = { num: q, units, index: scale.index };
    if (Array.from(zero.values).every((z) => z === 0)) return reals(shape, [ofQ]);
    const num = new Float64Array(q.length).fill(1);
    const shifts = Array.from(q, (_, i) =>
      negate(multiply(fromNumber(of(zero, i)), fromNumber(of(scale, i)))),
    );
    return reals(shape, [ofQ, { num, units: shifts, index: Int32Array.from(q, (_, i) => i) }]);
  };
}

function bipolar(x: Tensor, scale: Numbers): QonnxResult {
  const unit: Numbers = { values: [1], index: undefined };
  const none: Numbers = { values: [0], index: undefined };
  const { shape } = x;
  const found = stepOf(x, unit, none, (v) => (v.num >= 0n ? 1 : 0), true);
  return { shape, ...found, read: (q) => grid(shape, scale, none)(q.map((b) => 2 * b - 1)) };
}

function quant(node: OnnxNode, x: Tensor, inputs: readonly (Tensor | undefined)[]): QonnxResult {
  const { shape } = x;
  const [scale, zero, width] = inputs.slice(1, 4).map((t) => numbers(t, shape)) as [
    Numbers,
    Numbers,
    Numbers,
  ];
  const bits = one(width);
  if (bits === 1 && intOf(node, "signed") === 1) {
    if (one(zero) !== 0) throw new Error("one signed bit with a zero point is not covered");
    return bipolar(x, scale);
  }
  const mode = modeOf(node, "ROUND");
  const [lo, hi] = rangeOf(node, bits);
  const found = stepOf(x, scale, zero, (v) => clampBig(roundAs(mode, v), lo, hi), true);
  return { shape, ...found, read: grid(shape, scale, zero) };
}

function trunc(
  node: OnnxNode,
  x: Tensor,
  inputs: readonly (Tensor | undefined)[],
  version: number,
): QonnxResult {
  const { shape } = x;
  const [s, z, from, fifth, sixth] = inputs.slice(1).map((t) => one(numbers(t, shape))) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const to = version === 1 ? s : fifth;
  const k = version === 1 ? from - fifth : rne(Math.log2(to / s));
  const [lo, hi] = version === 1 ? [-(2 ** 52), 2 ** 52] : rangeOf(node, sixth);
  const power = k >= 0 ? rational(2n ** BigInt(k)) : divide(ONE, rational(2n ** BigInt(-k)));
  const mode = modeOf(node, "FLOOR");
  const single = (value: number): Numbers => ({ values: [value], index: undefined });
  const f = (v: Rational): number =>
    clampBig(roundAs(mode, divide(rational(roundHalfEven(v)), power)), lo, hi);
  const found = stepOf(x, single(s), single(z), f, false);
  const back = version === 1 ? z : z / 2 ** k;
  return { shape, ...found, read: grid(shape, single(to), single(back)) };
}

/** `version`: of the node's domain. Throws an Error that names what is not covered. */
export function evaluateQonnx(
  node: OnnxNode,
  inputs: readonly (Tensor | undefined)[],
  version: number,
): QonnxResult {
  const x = inputs[0]!;
  if (node.op === "FloatQuant") {
    const mode = modeOf(node, "ROUND");
    return floatQuant(inputs, (v) => roundAs(mode, v));
  }
  if (node.op === "MultiThreshold") return multiThreshold(node, inputs);
  if (node.op === "BipolarQuant") return bipolar(x, numbers(inputs[1], x.shape));
  return node.op === "Trunc" ? trunc(node, x, inputs, version) : quant(node, x, inputs);
}
