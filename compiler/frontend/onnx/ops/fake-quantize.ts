/**
 * Quantizers that TensorFlow and OpenVINO leave in a graph under their own names: bounds of real numbers instead of scale
 * and zero point.
 */
import { emptyQuantRange, quantizerShape } from "../../../ir/messages.ts";
import { zeroPointSnapped } from "../../../ir/messages-quant.ts";
import { indexAlong } from "../../../ir/ops/axes.ts";
import { roundReal } from "../../../ir/ops/rounding.ts";
import { int, intTypeFor, type QuantType, type Scheme } from "../../../ir/types.ts";
import { real, realConstant } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import { flagAttr, floatAttr, input, intAttr, type NodeImport, reject } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { quantized, stored } from "./qonnx.ts";
import { at, type Parameter, parameter, quantType, schemeOf } from "./qonnx-parameters.ts";

const channels = (...list: readonly Parameter[]): number => Math.max(...list.map((p) => p.values.length));

/** A parameter computed for each channel of others. */
function each(list: readonly Parameter[], f: (c: number) => number): Parameter {
  const axis = list.find((p) => p.axis !== undefined)?.axis;
  const values = Array.from({ length: channels(...list) }, (_, c) => f(c));
  return { name: list[0]!.name, values, ...(axis !== undefined && { axis }) };
}

function ordered(n: NodeImport, lo: Parameter, hi: Parameter): void {
  for (let c = 0; c < channels(lo, hi); c++)
    if (!(at(lo, c) < at(hi, c))) reject(emptyQuantRange(n.loc, at(lo, c), at(hi, c)));
}

/**
 * TensorFlow: s = (max − min) / (hi − lo), z = round(lo − min / s) within lo … hi, q = ⌊clamp(x) / s + z + ½⌋, all in
 * float32; lo is 1 with `narrow_range`, hi = 2^num_bits − 1.
 */
function minMaxVars(n: NodeImport, min: Parameter, max: Parameter): Operand {
  const x = input(n, 0);
  const bits = intAttr(n, "num_bits", 8);
  if (bits < 2 || bits > 16) reject(quantizerShape(n.loc, x.name, `has num_bits ${bits}, not 2 to 16`));
  const [lo, hi] = [flagAttr(n, "narrow_range", false) ? 1 : 0, 2 ** bits - 1];
  ordered(n, min, max);
  const f = Math.fround;
  const scale = each([min, max], (c) => f(f(at(max, c) - at(min, c)) / (hi - lo)));
  const zero = each([min, max], (c) => {
    const z = f(lo - f(at(min, c) / at(scale, c)));
    return Math.min(Math.max(roundReal("half_up", z), lo), hi);
  });
  const type = quantType({ storage: int(false, bits), lo, hi }, schemeOf(n, scale, zero));
  // What is floored is never negative, so that half up is half away from zero.
  if (x.kind !== "constant") return quantized(n, x, "half_up", type);
  const channel = indexAlong(x.shape, scale.axis);
  const data = Float64Array.from(x.constant.dense.data as ArrayLike<number>, (v, i) => {
    const [s, z] = [at(scale, channel(i)), at(zero, channel(i))];
    const least = f(f(lo - z) * s);
    const clamped = Math.min(Math.max(v, least), f(f(hi - z) * s));
    return Math.min(Math.floor(f(f(f(clamped - least) * f(1 / s)) + 0.5)) + lo, hi);
  });
  return stored(n, x, data, type);
}

const attributed = (n: NodeImport, name: string, fallback: number): Parameter => ({
  name,
  values: [floatAttr(n, name, fallback)],
});

/** How far a zero point may be from an integer for float32 bounds to have meant the integer. */
const SNAP = 1e-3;

/** The grid of `levels` points from lo to hi, its zero point at an integer; undefined where there is none near. */
function gridOf(n: NodeImport, lo: Parameter, hi: Parameter, levels: number): Scheme | undefined {
  const f = Math.fround;
  const scale = each([lo, hi], (c) => f(f(at(hi, c) - at(lo, c)) / (levels - 1)));
  const zero = each([lo, hi], (c) => -at(lo, c) / at(scale, c));
  const off = Math.max(...zero.values.map((z) => Math.abs(z - Math.round(z))));
  if (off > SNAP) return undefined;
  if (off > 0) n.graph.diagnostics.push(zeroPointSnapped(n.loc, lo.name, off));
  return schemeOf(n, scale, { ...zero, values: zero.values.map((z) => Math.round(z) + 0) });
}

/**
 * OpenVINO: q = rne(clamp((x − il) / (ih − il)) · (levels − 1)), y = q / (levels − 1) · (oh − ol) + ol. With equal bounds
 * on both sides, a quantizer of scale (ih − il) / (levels − 1).
 */
function fakeQuantize(n: NodeImport): Operand {
  const x = input(n, 0);
  const levels = intAttr(n, "levels");
  if (!(levels >= 2 && levels <= 65536))
    reject(quantizerShape(n.loc, x.name, `has ${levels} levels, not 2 to 65536`));
  const [il, ih, ol, oh] = [1, 2, 3, 4].map((i) => parameter(n, x, i, "bound")) as [
    Parameter,
    Parameter,
    Parameter,
    Parameter,
  ];
  ordered(n, il, ih);
  ordered(n, ol, oh);
  const range = { storage: intTypeFor(0, levels - 1)!, lo: 0, hi: levels - 1 };
  const same = (a: Parameter, b: Parameter): boolean =>
    Array.from({ length: channels(a, b) }, (_, c) => at(a, c) === at(b, c)).every(Boolean);
  const grid = same(il, ol) && same(ih, oh) ? gridOf(n, il, ih, levels) : undefined;
  if (grid !== undefined) return onGrid(n, x, { kind: "quant", ...range, scheme: grid });
  // Unequal bounds, or no integer stands for zero: the map before and after, in real numbers.
  const shape = (p: Parameter): readonly number[] => x.shape.map((d, i) => (i === p.axis ? d : 1));
  const constant = (p: Parameter): Operand => realConstant(p.axis === undefined ? [] : shape(p), p.values);
  const before = each([il, ih], (c) => (at(ih, c) - at(il, c)) / (levels - 1));
  const after = each([ol, oh], (c) => (at(oh, c) - at(ol, c)) / (levels - 1));
  const steps = real(n, "float.div", [real(n, "float.sub", [x, constant(il)]), constant(before)]);
  const unit: QuantType = { kind: "quant", ...range, scheme: { kind: "tensor", scale: 1, zeroPoint: 0 } };
  const q = quantized(n, steps, "half_even", unit);
  return real(n, "float.add", [real(n, "float.mul", [q, constant(after)]), constant(ol)]);
}

/** Activations by the IR's quantizer; constants in float32. */
function onGrid(n: NodeImport, x: Operand, type: QuantType): Operand {
  if (x.kind !== "constant") return quantized(n, x, "half_even", type);
  const { scheme, lo, hi } = type;
  const axis = scheme.kind === "axis" ? scheme.axis : undefined;
  const { scales, zeroPoints } =
    scheme.kind === "axis" ? scheme : { scales: [scheme.scale], zeroPoints: [scheme.zeroPoint] };
  const channel = indexAlong(x.shape, axis);
  const data = Float64Array.from(x.constant.dense.data as ArrayLike<number>, (v, i) => {
    const c = channel(i);
    const q = roundReal("half_even", Math.fround(v / scales[c]!)) + zeroPoints[c]!;
    return Math.min(Math.max(q, lo), hi);
  });
  return stored(n, x, data, type);
}

const TENSORFLOW = ["", "ai.onnx.converters.tensorflow"];
const bounds = { num_bits: "int", narrow_range: "int" } as const;

export const fakeQuantizeImporters: readonly Importer[] = [
  ...forOps(["FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"], () => ({
    domains: TENSORFLOW,
    inputs: [3, 3],
    attributes: bounds,
    run: (n) => minMaxVars(n, parameter(n, input(n, 0), 1, "min"), parameter(n, input(n, 0), 2, "max")),
  })),
  {
    op: "FakeQuantWithMinMaxArgs",
    domains: TENSORFLOW,
    inputs: [1, 1],
    attributes: { ...bounds, min: "float", max: "float" },
    run: (n) => minMaxVars(n, attributed(n, "min", -6), attributed(n, "max", 6)),
  },
  {
    op: "FakeQuantize",
    domains: ["org.openvinotoolkit"],
    inputs: [5, 5],
    attributes: { levels: "int", auto_broadcast: "string" },
    run: fakeQuantize,
  },
];
