/**
 * Quantizers of QONNX (Brevitas, FINN): real numbers in, real numbers on a grid out. Each becomes quantize and dequantize.
 * Constants are quantized as the qonnx package does it, in float32.
 */
import { dense } from "../../../ir/dense.ts";
import { quantizerShape } from "../../../ir/messages.ts";
import type { Attrs } from "../../../ir/module.ts";
import { indexAlong } from "../../../ir/ops/axes.ts";
import { roundReal } from "../../../ir/ops/rounding.ts";
import type { Rounding } from "../../../ir/rational.ts";
import { int, intTypeFor, type QuantType, type Scheme, sameScheme, tensor } from "../../../ir/types.ts";
import type { Constant } from "../../constants.ts";
import { append, materialize } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import { input, type NodeImport, reject } from "../../node-import.ts";
import { type Operand, type ValueOperand, valueOperand } from "../../operand.ts";
import { reinterpret } from "../../qdq.ts";
import {
  at,
  type Integers,
  integersOf,
  type Parameter,
  parameter,
  quantType,
  roundingOf,
  scaleOf,
  schemeOf,
  ZERO,
} from "./qonnx-parameters.ts";

/** The names under which exporters write one and the same operators. */
export const QONNX_DOMAINS: readonly string[] = [
  "qonnx.custom_op.general",
  "onnx.brevitas",
  "finn.custom_op.general",
  "finn",
];

/** Whether it belongs to QONNX; those that no row imports have float semantics of their own. */
export const isQonnx = ({ domain }: { readonly domain: string }): boolean => QONNX_DOMAINS.includes(domain);

/** The integers carry the name of the tensor they stand for. */
function dequantized(
  n: NodeImport,
  x: Operand,
  op: "const" | "quant.quantize",
  attrs: Attrs,
  type: QuantType,
  name = n.node.outputs[0] ?? "",
): ValueOperand {
  const q = append(n, op, [x], op === "const" ? [] : [materialize(n, x)], attrs, tensor(x.shape, type));
  n.graph.names.set(q, name);
  return valueOperand(append(n, "quant.dequantize", [x], [q], {}), x.dtype);
}

/** dequantize(clamp(R(x / s + z))). */
export const quantized = (
  n: NodeImport,
  x: Operand,
  rounding: Rounding,
  type: QuantType,
  name?: string,
): ValueOperand => dequantized(n, x, "quant.quantize", { rounding, order: "shift_then_round" }, type, name);

/** Integers of a constant. */
export const stored = (n: NodeImport, x: Operand, data: ArrayLike<number>, type: QuantType): Operand =>
  dequantized(n, x, "const", { value: dense(type.storage, x.shape, data) }, type);

/** Index along the axis of each element; 0 without one. */
function channelOf(shape: readonly number[], ...parameters: readonly Parameter[]): (i: number) => number {
  return indexAlong(shape, parameters.find((p) => p.axis !== undefined)?.axis);
}

/** Least power of two that makes all of them integers. */
function denominator(values: readonly number[]): number {
  let d = 1;
  while (d < 2 ** 24 && values.some((v) => !Number.isInteger(v * d))) d *= 2;
  return d;
}

/**
 * R(clip(x / s + z)), x / s and the sum in float32, as integers of a quantised type; NaN gives the least. With a
 * fractional z the integers are d·(q − z) on the grid s / d.
 */
function storedConstant(
  n: NodeImport,
  x: Operand & { readonly constant: Constant },
  rounding: Rounding,
  integers: Integers,
  scale: Parameter,
  zero: Parameter,
): Operand {
  const { data, shape } = x.constant.dense;
  const { lo, hi } = integers;
  const channel = channelOf(shape, scale, zero);
  const q = Float64Array.from(data as ArrayLike<number>, (v, i) => {
    const c = channel(i);
    const y = Math.fround(Math.fround(v / at(scale, c)) + at(zero, c));
    return Number.isNaN(y) ? lo : roundReal(rounding, Math.min(Math.max(y, lo), hi)) + 0;
  });
  const d = denominator(zero.values);
  if (d === 1) return stored(n, x, q, quantType(integers, schemeOf(n, scale, zero)));
  const scaled = q.map((v, i) => d * (v - at(zero, channel(i))));
  const [least, most] = scaled.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [-1, 0]);
  const storage = intTypeFor(least, most);
  if (storage === undefined)
    return reject(
      quantizerShape(n.loc, zero.name, "(zero point) has a fraction too fine for 32-bit integers"),
    );
  const finer: Parameter = { ...scale, values: scale.values.map((s) => s / d) };
  const type = quantType({ storage, lo: least, hi: most }, schemeOf(n, finer, ZERO));
  return stored(n, x, scaled, type);
}

/** y = (R(clip(x / s + z)) − z)·s. */
function quant(n: NodeImport): Operand {
  const x = input(n, 0);
  const integers = integersOf(n, x, 3);
  const [scale, zero] = [scaleOf(n, x, 1), parameter(n, x, 2, "zero point")];
  const rounding = roundingOf(n, "ROUND");
  if (integers.storage.signed && integers.storage.bits === 1) {
    // One signed bit is the sign: the qonnx package quantizes to −1 and 1 there, whatever the range says.
    if (zero.values.some((z) => z !== 0))
      reject(quantizerShape(n.loc, zero.name, "(zero point) must be 0 for one signed bit"));
    return sign(n, x, scale);
  }
  if (x.kind === "constant") return storedConstant(n, x, rounding, integers, scale, zero);
  return quantized(n, x, rounding, quantType(integers, schemeOf(n, scale, zero)));
}

/**
 * y = (x ≥ 0 ? 1 : −1)·s. Of constants the integers −1 and 1; of activations q ∈ {0, 1} with y = (q − ½)·2s, where
 * q = clamp(R(x / 2s + ½), 0, 1) is [x ≥ 0] for R = half away from zero.
 */
function sign(n: NodeImport, x: Operand, scale: Parameter): Operand {
  if (x.kind === "constant") {
    const data = Float64Array.from(x.constant.dense.data as ArrayLike<number>, (v) => (v >= 0 ? 1 : -1));
    const type = quantType({ storage: int(true, 2), lo: -1, hi: 1 }, schemeOf(n, scale, ZERO));
    return stored(n, x, data, type);
  }
  const twice: Parameter = { ...scale, values: scale.values.map((s) => 2 * s) };
  const type = quantType(
    { storage: int(false, 1), lo: 0, hi: 1 },
    schemeOf(n, twice, { name: "", values: [0.5] }),
  );
  return quantized(n, x, "half_up", type);
}

/** Ops that keep a tensor's elements on the grid of its integers. */
const KEEPS_GRID = /^(layout\.(?!pad|concat)|float\.max_pool$)/;

/** Whether every element of x is (q − z)·s for an integer q. */
export function isOnGrid(n: NodeImport, x: Operand, scheme: Scheme): boolean {
  let value = x.kind === "value" ? x.value : undefined;
  for (;;) {
    const op = value && n.graph.definitions.get(value);
    value = op?.operands[0];
    const elem = value?.type.elem;
    if (op?.name === "quant.dequantize")
      return elem?.kind === "quant" && elem.scheme.kind === "tensor" && sameScheme(elem.scheme, scheme);
    if (op === undefined || !KEEPS_GRID.test(op.name)) return false;
  }
}

const one = (n: NodeImport, p: Parameter): number =>
  p.values.length === 1
    ? p.values[0]!
    : reject(quantizerShape(n.loc, p.name, "must be one number for the whole tensor"));

/**
 * t = 2^k; q = R(clip(rne(x / s + z) / t)), y = (q − z')·s'. A quantizer to the grid of x, where it is not on it yet, and
 * one of scale s·t and zero point z / t. `range`: bounds of q.
 */
function truncate(
  n: NodeImport,
  k: number,
  rounding: Rounding,
  range: Integers,
  read: (z: number) => Scheme,
): Operand {
  const x = input(n, 0);
  const [s, z] = [one(n, scaleOf(n, x, 1)), one(n, parameter(n, x, 2, "zero point"))];
  const grid: Scheme = { kind: "tensor", scale: s, zeroPoint: z };
  const all: Integers = { storage: int(true, 32), lo: -(2 ** 31), hi: 2 ** 31 - 1 };
  const fine = isOnGrid(n, x, grid)
    ? x
    : quantized(n, x, "half_even", quantType(all, grid), `${n.node.outputs[0]}/grid`);
  const made: Scheme = { kind: "tensor", scale: s * 2 ** k, zeroPoint: z / 2 ** k };
  const y = quantized(n, fine, rounding, quantType(range, made));
  const wanted = read(z);
  if (sameScheme(made, wanted)) return y;
  const q = n.graph.definitions.get(y.value)!.operands[0]!;
  return reinterpret(n, valueOperand(q, y.dtype), made, wanted);
}

const bits = (n: NodeImport, i: number, role: string): number => {
  const width = one(n, parameter(n, input(n, 0), i, role));
  return Number.isInteger(width) && width >= 1 && width <= 32
    ? width
    : reject(quantizerShape(n.loc, input(n, i).name, `(${role}) must be an integer from 1 to 32`));
};

const roundingMode = { rounding_mode: "string" } as const;
const range = { signed: "int", narrow: "int" } as const;

const truncs: readonly Importer[] = [
  {
    op: "Trunc",
    domains: QONNX_DOMAINS,
    until: 1,
    inputs: [5, 5],
    attributes: { ...roundingMode, signed: "int" },
    // No bounds on q, and the scale stays that of x.
    run: (n) => {
      const k = bits(n, 3, "input bit width") - bits(n, 4, "output bit width");
      const wide: Integers = { storage: int(true, 32), lo: -(2 ** 31), hi: 2 ** 31 - 1 };
      const s = one(n, scaleOf(n, input(n, 0), 1));
      return truncate(n, k, roundingOf(n, "FLOOR"), wide, (z) => ({
        kind: "tensor",
        scale: s,
        zeroPoint: z,
      }));
    },
  },
  {
    op: "Trunc",
    domains: QONNX_DOMAINS,
    since: 2,
    inputs: [6, 6],
    attributes: { ...roundingMode, ...range },
    run: (n) => {
      const x = input(n, 0);
      const to = one(n, scaleOf(n, x, 4));
      const k = roundReal("half_even", Math.log2(to / one(n, scaleOf(n, x, 1))));
      return truncate(n, k, roundingOf(n, "FLOOR"), integersOf(n, x, 5), (z) => ({
        kind: "tensor",
        scale: to,
        zeroPoint: z / 2 ** k,
      }));
    },
  },
];

export const qonnxImporters: readonly Importer[] = [
  ...forOps(["Quant", "IntQuant"], () => ({
    domains: QONNX_DOMAINS,
    inputs: [4, 4],
    attributes: { ...roundingMode, ...range },
    run: quant,
  })),
  {
    op: "BipolarQuant",
    domains: QONNX_DOMAINS,
    inputs: [2, 2],
    run: (n) => sign(n, input(n, 0), scaleOf(n, input(n, 0), 1)),
  },
  ...truncs,
];
