/** What random networks are made of: dice, tensors with a guess of their range, quantizers and weights of every kind. */
import type { DataType } from "../../compiler/frontend/onnx/data-types.ts";
import type { GraphBuilder } from "../e2e/graphs/builder.ts";
import { randomSource } from "../zoo.ts";

export interface Dice {
  /** An integer of 0 … n − 1; the smaller, the simpler. */
  readonly below: (n: number) => number;
  /** The first of `choices` is the simplest. */
  readonly one: <T>(choices: readonly T[]) => T;
  readonly chance: (p: number) => boolean;
  /** In [0, 1). */
  readonly real: () => number;
}

/** Deterministic. `plain`: always the simplest choice. */
export function diceOf(seed: number, plain = false): Dice {
  const random = randomSource(seed);
  const next = plain ? () => 0 : random;
  return {
    below: (n) => Math.floor(next() * n),
    one: (choices) => choices[Math.floor(next() * choices.length)]!,
    chance: (p) => next() > 1 - p,
    real: random,
  };
}

export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
  /** Guess of the greatest absolute value: quantizers are scaled by it. */
  readonly reach: number;
  /** Comes out of a quantizer. */
  readonly quantized: boolean;
  /** The integers, where there is such a tensor. */
  readonly integers?: string;
}

/** A network that is being built. */
export interface Net {
  readonly g: GraphBuilder;
  /** Every tensor that may be read again. */
  readonly values: Value[];
  /** Names of what somebody reads. */
  readonly read: Set<string>;
  /** The usual quantizer of a tensor, shared by its readers. */
  readonly quantizers: Map<string, Value>;
  /** QONNX `Quant` instead of QuantizeLinear and DequantizeLinear. */
  readonly qonnx: boolean;
  /** Weights stay in −64 … 63, so that pairs of products never leave 16 bits. */
  readonly narrow: boolean;
  /** Greatest number of channels of new tensors. */
  readonly channels: number;
  readonly scales: number[];
  /** What activations are stored as. */
  readonly bits: Bits;
  /** Products of two activations: pairs of them may leave 16 bits. */
  products: boolean;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const list = (n: number, f: (i: number) => number): number[] =>
  Array.from({ length: n }, (_, i) => f(i));
const QONNX = "qonnx.custom_op.general";

const RANGES = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  uint4: [0, 15],
  int4: [-8, 7],
} as const satisfies Partial<Record<DataType, readonly [number, number]>>;
type Stored = keyof typeof RANGES;

export interface GridChoice {
  readonly type: Stored;
  readonly scale: number;
  readonly zero: number;
}

const MIXED: readonly Stored[] = [
  ...Array<Stored>(9).fill("uint8"),
  ...Array<Stored>(5).fill("int8"),
  "uint4",
  "int4",
  "uint16",
  "int16",
];

/** What activations are stored as: what most networks do, or all alike. */
const ACTIVATIONS = {
  mixed: MIXED,
  uint8: ["uint8"],
  int8: ["int8"],
  "4": ["uint4", "int4", "uint8"],
  "16": ["int16", "uint16", "int16", "uint8"],
} as const satisfies Record<string, readonly Stored[]>;
export type Bits = keyof typeof ACTIVATIONS;

/** A grid on which values up to `reach` are neither all saturated nor all zero. */
export function gridFor(
  net: Net,
  d: Dice,
  reach: number,
  types: readonly Stored[] = ACTIVATIONS[net.bits],
): GridChoice {
  const type = d.one(types);
  const [lo, hi] = RANGES[type];
  const middle = Math.ceil((lo + hi) / 2);
  const zero = d.one([middle, middle, lo, middle, hi, lo + d.below(hi - lo + 1)]);
  const span = Math.max(hi - zero, zero - lo);
  let scale = (reach * d.one([1, 0.5, 1.3, 0.2])) / span;
  if (d.chance(0.15)) scale = 2 ** Math.round(Math.log2(scale));
  const near = net.scales.filter((s) => s > scale / 3 && s < scale * 3);
  if (near.length > 0 && d.chance(0.2)) scale = d.one(near) * d.one([1, 2, 0.5, 1.5]);
  scale = Math.max(Math.fround(scale), 1e-30);
  net.scales.push(scale);
  return { type, scale, zero };
}

function qonnxQuant(net: Net, d: Dice, v: Value): Value {
  const { g } = net;
  const bits = d.one([8, 8, 4, 8, 3, 2, 6, 12]);
  const signed = d.one([1, 0]);
  const levels = 2 ** (bits - signed) - 1;
  const scale = Math.fround((v.reach * d.one([1, 0.5, 1.3])) / levels);
  const zero = signed === 0 && d.chance(0.3) ? d.below(levels + 1) : 0;
  const mode = d.one(["ROUND", "ROUND", "ROUND", "FLOOR", "CEIL", "HALF_UP", "UP", "DOWN", "HALF_DOWN"]);
  const parts = [scale, zero, bits].map((x) => g.floats([], x));
  const attributes = {
    signed,
    narrow: signed === 1 && d.chance(0.3) ? 1 : 0,
    rounding_mode: { kind: "string", value: mode },
  } as const;
  const name = g.op("Quant", [v.name, ...parts], attributes, QONNX);
  return { name, shape: v.shape, reach: v.reach, quantized: true };
}

/** Quantizes whatever `v` is, with parameters of its own. */
export function requantized(net: Net, d: Dice, v: Value): Value {
  net.read.add(v.name);
  if (net.qonnx) return qonnxQuant(net, d, v);
  const { type, scale, zero } = gridFor(net, d, v.reach);
  const integers = net.g.q(v.name, scale, zero, { type });
  const name = net.g.dq(integers, scale, zero, { type });
  return { name, shape: v.shape, reach: v.reach, quantized: true, integers };
}

/** `v` out of a quantizer: mostly the one its other readers have too. */
export function quantized(net: Net, d: Dice, v: Value): Value {
  if (v.quantized) return v;
  const known = net.quantizers.get(v.name);
  if (known !== undefined && !d.chance(0.15)) return known;
  const made = requantized(net, d, v);
  if (known === undefined) net.quantizers.set(v.name, made);
  net.values.push(made);
  return made;
}

/** Reads `v`, quantized; the name of the tensor. */
export function operand(net: Net, d: Dice, v: Value): string {
  const { name } = quantized(net, d, v);
  net.read.add(name);
  return name;
}

/** Reads `v`, now and then as it is: without a quantizer between two operators. */
export function loose(net: Net, d: Dice, v: Value): string {
  if (!v.quantized && !d.chance(0.12)) return operand(net, d, v);
  net.read.add(v.name);
  return v.name;
}

export interface Weights {
  readonly name: string;
  /** Guess of the usual absolute value. */
  readonly typical: number;
}

type Pattern = "noise" | "extreme" | "dead" | "sparse" | "one sign";
const PATTERNS: readonly Pattern[] = ["noise", "noise", "noise", "dead", "extreme", "sparse", "one sign"];

/** Integers of `shape` in lo … hi, with channels along `axis` that are dead, extreme or of one sign. */
function integersOf(d: Dice, shape: readonly number[], axis: number, lo: number, hi: number, zero: number) {
  const pattern = d.one(PATTERNS);
  const inner = sizeOf(shape.slice(axis + 1));
  const dead = new Set(list(shape[axis]!, (c) => c).filter(() => d.chance(0.3)));
  return list(sizeOf(shape), (i) => {
    const channel = Math.floor(i / inner) % shape[axis]!;
    const free = lo + Math.floor(d.real() * (hi - lo + 1));
    if (pattern === "dead" && dead.has(channel)) return zero;
    if (pattern === "extreme") return d.real() < 0.5 ? lo : hi;
    if (pattern === "sparse") return d.real() < 0.7 ? zero : free;
    if (pattern === "one sign" && dead.has(channel)) return Math.max(free, zero);
    return free;
  });
}

/** Weights of `shape` whose output channels are `axis`. `sum`: how many of them meet in one result. */
export function weightsOf(net: Net, d: Dice, shape: readonly number[], axis: number): Weights {
  const { g } = net;
  const base = d.one([0.01, 0.05, 0.003]) * (0.5 + d.real());
  if (net.qonnx) {
    const bits = d.one([8, 4, 2, 3]);
    const levels = 2 ** (bits - 1) - 1;
    const per = d.chance(0.5);
    const along = shape.map((n, a) => (a === axis ? n : 1));
    const step = (base * 64) / levels;
    const scale = per
      ? g.floats(
          along,
          list(shape[axis]!, () => step * (0.5 + d.real())),
        )
      : g.floats([], step);
    const data = g.floats(
      shape,
      list(sizeOf(shape), () => (2 * d.real() - 1) * levels * step),
    );
    const attributes = { signed: 1, narrow: 1, rounding_mode: { kind: "string", value: "ROUND" } } as const;
    const name = g.op("Quant", [data, scale, g.floats([], 0), g.floats([], bits)], attributes, QONNX);
    return { name, typical: (step * levels) / 2 };
  }
  const type = net.narrow
    ? "int8"
    : d.one<Stored>(["int8", "int8", "int8", "uint8", "int4", "uint8", "uint4"]);
  const [lo, hi] = net.narrow ? [-64, 63] : RANGES[type];
  const unsigned = type.startsWith("u");
  const middle = unsigned ? Math.ceil((hi + lo) / 2) : 0;
  const zeroOf = () =>
    net.narrow || d.chance(0.7) ? middle : d.one([lo, hi, lo + Math.floor(d.real() * (hi - lo + 1))]);
  const per = d.chance(0.5);
  const zero = zeroOf();
  const count = shape[axis]!;
  const sameZero = !d.chance(0.1);
  const scales = per ? list(count, () => Math.fround(base * (0.3 + d.real()))) : base;
  const zeros = per ? list(count, () => (sameZero ? zero : zeroOf())) : zero;
  const data = integersOf(d, shape, axis, lo, hi, zero);
  const name = g.dq(g.constant(type, shape, data), scales, zeros, { type, axis });
  return { name, typical: (base * (hi - lo)) / 4 };
}

/** None, a float bias, or one of int32 integers. */
export function biasOf(net: Net, d: Dice, channels: number, reach: number): readonly string[] {
  const kind = d.one(["none", "float", "int32"]);
  const values = list(channels, () => (2 * d.real() - 1) * reach * d.one([0.3, 3, 1e-6]));
  if (kind === "none") return [];
  if (kind === "float" || net.qonnx) return [net.g.floats([channels], values)];
  const scale = Math.fround(reach / 3000);
  const data = net.g.constant(
    "int32",
    [channels],
    values.map((v) => Math.round(v / scale)),
  );
  return [net.g.dq(data, scale, 0, { type: "int32" })];
}
