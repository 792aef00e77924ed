/** Elementwise ops on real numbers, computed in float64. */
import { toFloat64 } from "../dense.ts";
import type { Attrs } from "../module.ts";
import { type AttrDef, defineOp, type OpDef, type Trait } from "../op.ts";
import { F32, F64, type FloatType } from "../types.ts";
import { broadcastShapes, broadcastTo } from "./axes.ts";
import { allOf, floatOf, floats, optional, required } from "./define.ts";
import { erf, geluErf, geluTanh, roundHalfEven, sigmoid, softplus } from "./real-functions.ts";

type Unary = (x: number) => number;

/** An elementwise op of one operand; `make` gets the attributes and returns the function of one element. */
const unary = (
  name: string,
  summary: string,
  make: (attrs: Attrs) => Unary,
  attrs: { readonly [name: string]: AttrDef } = {},
  traits: readonly Trait[] = [],
): OpDef =>
  defineOp({
    name: `float.${name}`,
    summary,
    operands: ["x"],
    attrs,
    traits: ["elementwise", "float", ...traits],
    infer: ([x]) => allOf("float", [x!]) ?? [x!],
    evaluate: ([x], a, [type]) => {
      const f = make(a);
      const out = new Float64Array(x!.data.length);
      for (let i = 0; i < out.length; i++) out[i] = f(x!.data[i]!);
      return [floats(type!, out)];
    },
  });

const plain = (name: string, summary: string, f: Unary, ...traits: Trait[]): OpDef =>
  unary(name, summary, () => f, {}, traits);

const real = (attrs: Attrs, name: string): number => attrs[name] as number;

const binary = (
  name: string,
  summary: string,
  f: (a: number, b: number) => number,
  ...traits: Trait[]
): OpDef =>
  defineOp({
    name: `float.${name}`,
    summary: `${summary} Numpy broadcasting.`,
    operands: ["a", "b"],
    attrs: {},
    traits: ["elementwise", "float", ...traits],
    infer: (types) => {
      const bad = allOf("float", types);
      if (bad) return bad;
      const shape = broadcastShapes(types[0]!.shape, types[1]!.shape);
      return shape ? [{ shape, elem: floatOf(types) }] : "the operands' shapes do not broadcast";
    },
    evaluate: ([a, b], _, [type]) => {
      const x = toFloat64(broadcastTo(a!, type!.shape));
      const y = toFloat64(broadcastTo(b!, type!.shape));
      const out = new Float64Array(x.length);
      for (let i = 0; i < out.length; i++) out[i] = f(x[i]!, y[i]!);
      return [floats(type!, out)];
    },
  });

const binaryOps: readonly OpDef[] = [
  binary("add", "a + b.", (a, b) => a + b, "commutative"),
  binary("sub", "a − b.", (a, b) => a - b),
  binary("mul", "a · b.", (a, b) => a * b, "commutative"),
  binary("div", "a / b.", (a, b) => a / b),
  binary("pow", "a to the power b.", (a, b) => a ** b),
  binary("min", "The lesser of a and b.", Math.min, "commutative"),
  binary("max", "The greater of a and b.", Math.max, "commutative"),
  binary("prelu", "a where a ≥ 0, else a · b.", (a, b) => (a < 0 ? a * b : a)),
];

const unaryOps: readonly OpDef[] = [
  plain("neg", "−x.", (x) => -x),
  plain("abs", "|x|.", Math.abs),
  plain("sqrt", "√x.", Math.sqrt, "monotone"),
  plain("reciprocal", "1 / x.", (x) => 1 / x),
  plain("exp", "eˣ.", Math.exp, "monotone"),
  plain("log", "ln x.", Math.log, "monotone"),
  plain("erf", "erf x.", erf, "monotone"),
  plain("sigmoid", "1 / (1 + e⁻ˣ).", sigmoid, "monotone"),
  plain("tanh", "tanh x.", Math.tanh, "monotone"),
  plain("softplus", "ln(1 + eˣ).", softplus, "monotone"),
  plain("softsign", "x / (1 + |x|).", (x) => x / (1 + Math.abs(x)), "monotone"),
  plain("relu", "max(x, 0).", (x) => Math.max(x, 0), "monotone"),
  plain("floor", "⌊x⌋.", Math.floor, "monotone"),
  plain("ceil", "⌈x⌉.", Math.ceil, "monotone"),
  plain("round", "x to the nearest integer, ties to even.", roundHalfEven, "monotone"),
  plain("sign", "−1, 0 or 1.", Math.sign, "monotone"),
  plain("sin", "sin x.", Math.sin),
  plain("cos", "cos x.", Math.cos),
  plain("asin", "arcsin x.", Math.asin, "monotone"),
  plain("acos", "arccos x.", Math.acos),
  plain("atan", "arctan x.", Math.atan, "monotone"),
  plain("sinh", "sinh x.", Math.sinh, "monotone"),
  plain("asinh", "arsinh x.", Math.asinh, "monotone"),
  plain("acosh", "arcosh x.", Math.acosh, "monotone"),
  plain("atanh", "artanh x.", Math.atanh, "monotone"),
  plain("hard_swish", "x · max(0, min(1, x/6 + 1/2)).", (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5))),
  plain("mish", "x · tanh(softplus x).", (x) => x * Math.tanh(softplus(x))),
  plain("silu", "x · sigmoid x.", (x) => x * sigmoid(x)),
];

const alpha = (def: number): { readonly alpha: AttrDef } => ({ alpha: optional("float", "α", def) });

const attributedOps: readonly OpDef[] = [
  unary(
    "gelu",
    "x · Φ(x), Φ the normal distribution function; `tanh` is its usual approximation.",
    (a) => (a.approximate === "tanh" ? geluTanh : geluErf),
    { approximate: optional({ oneOf: ["none", "tanh"] }, "which formula", "none") },
  ),
  unary(
    "clip",
    "min(max(x, lo), hi).",
    (a) => (x) => Math.min(Math.max(x, real(a, "lo")), real(a, "hi")),
    {
      lo: optional("float", "lower bound", Number.NEGATIVE_INFINITY),
      hi: optional("float", "upper bound", Number.POSITIVE_INFINITY),
    },
    ["monotone"],
  ),
  unary(
    "leaky_relu",
    "x where x ≥ 0, else α·x.",
    (a) => (x) => (x < 0 ? real(a, "alpha") * x : x),
    alpha(0.01),
  ),
  unary(
    "elu",
    "x where x ≥ 0, else α(eˣ − 1).",
    (a) => (x) => (x < 0 ? real(a, "alpha") * Math.expm1(x) : x),
    alpha(1),
  ),
  unary(
    "selu",
    "γx where x > 0, else γα(eˣ − 1).",
    (a) => (x) => real(a, "gamma") * (x > 0 ? x : real(a, "alpha") * Math.expm1(x)),
    {
      ...alpha(Math.fround(1.6732632423543772)),
      gamma: optional("float", "γ", Math.fround(1.0507009873554805)),
    },
  ),
  unary(
    "celu",
    "max(0, x) + min(0, α(e^(x/α) − 1)).",
    (a) => (x) => Math.max(0, x) + Math.min(0, real(a, "alpha") * Math.expm1(x / real(a, "alpha"))),
    alpha(1),
  ),
  unary("thresholded_relu", "x where x > α, else 0.", (a) => (x) => (x > real(a, "alpha") ? x : 0), alpha(1)),
  unary(
    "hard_sigmoid",
    "max(0, min(1, αx + β)).",
    (a) => (x) => Math.max(0, Math.min(1, real(a, "alpha") * x + real(a, "beta"))),
    { ...alpha(Math.fround(0.2)), beta: optional("float", "β", 0.5) },
  ),
];

const FLOATS: { readonly [name: string]: FloatType } = {
  float16: { kind: "float", bits: 16 },
  float32: F32,
  float64: F64,
};

const cast = defineOp({
  name: "float.cast",
  summary: "The same real number under another float type: exact, no rounding.",
  operands: ["x"],
  attrs: { to: required({ oneOf: Object.keys(FLOATS) }, "the result's element type") },
  traits: ["elementwise", "float", "monotone"],
  infer: ([x], a) => allOf("float", [x!]) ?? [{ shape: x!.shape, elem: FLOATS[a.to as string]! }],
  evaluate: ([x], _, [type]) => [floats(type!, toFloat64(x!.data))],
});

export const floatElementwiseOps: readonly OpDef[] = [...binaryOps, ...unaryOps, ...attributedOps, cast];
