/** Layers of random networks whose exact sum has many terms: sums of several grids, products with weights in blocks. */
import { type Layer, made, rank } from "./networks-layers.ts";
import {
  biasOf,
  type Dice,
  list,
  type Net,
  operand,
  quantized,
  requantized,
  sizeOf,
  type Value,
} from "./networks-values.ts";

const MOST_MACS = 100_000;

/** Three to six tensors of `v`'s shape, each on a grid of its own, before one quantizer. */
function sumOfMany(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const others = net.values.filter((w) => w.name !== v.name && w.shape.join() === v.shape.join());
  const parts = Array.from({ length: 3 + d.below(4) }, (_, i) => {
    const from = i === 0 || others.length === 0 || d.chance(0.5) ? v : d.one(others);
    return d.chance(0.6) ? requantized(net, d, from) : quantized(net, d, from);
  });
  const reach = Math.max(...parts.map((p) => p.reach));
  if (parts.some((p) => p.reach * 1e5 < reach)) return [];
  const names = parts.map((p) => operand(net, d, p));
  const y = d.chance(0.5)
    ? g.op("Sum", names)
    : names.reduce((a, b) => g.op(d.chance(0.3) ? "Sub" : "Add", [a, b]));
  return [made(d.chance(0.3) ? g.op("Relu", [y]) : y, v.shape, reach * 1.5)];
}

const STORED = { int4: [-8, 7], uint4: [0, 15], int2: [-2, 1], int8: [-64, 63], uint8: [0, 255] } as const;

/** Weights of 1 … 8 blocks along the sum, the last one ragged now and then, with or without zero points. */
function denseInBlocks(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const k = v.shape.at(-1)!;
  const n = 1 + d.below(net.channels);
  const shape = [...v.shape.slice(0, -1), n];
  if (net.qonnx || sizeOf(shape) * k > MOST_MACS) return [];
  const block = Math.ceil(k / (1 + d.below(Math.min(8, k))));
  const blocks = Math.ceil(k / block);
  const type = d.one(
    net.narrow ? (["int4", "int2", "uint4"] as const) : (["int4", "uint4", "int2", "int8", "uint8"] as const),
  );
  const [lo, hi] = STORED[type];
  const integer = (): number => lo + Math.floor(d.real() * (hi - lo + 1));
  const transposed = v.shape.length === 2 && d.chance(0.5);
  const of = (depth: number): readonly number[] => (transposed ? [n, depth] : [depth, n]);
  const base = d.one([0.01, 0.05, 0.003]);
  const scales = list(n * blocks, () => Math.fround(base * (0.3 + d.real()) * 2 ** d.below(5)));
  const middle = Math.ceil((lo + hi) / 2);
  const spread = d.chance(0.5);
  const zeros = list(n * blocks, () => (spread ? integer() : middle));
  const inputs = [g.constant(type, of(k), list(n * k, integer)), g.floats(of(blocks), scales)];
  if (spread || middle !== 0) inputs.push(g.constant(type, of(blocks), zeros));
  const w = g.op("DequantizeLinear", inputs, { axis: transposed ? 1 : 0, block_size: block });
  const reach = v.reach * base * (hi - lo) * Math.sqrt(k);
  const x = operand(net, d, v);
  const bias = biasOf(net, d, n, reach);
  if (transposed) return [made(g.op("Gemm", [x, w, ...bias], { transB: 1 }), shape, reach)];
  const y = g.op("MatMul", [x, w]);
  return [made(bias.length > 0 ? g.op("Add", [y, bias[0]!]) : y, shape, reach)];
}

export const sums: readonly Layer[] = [
  { kind: "sum of many", weight: 3, fits: rank(2, 3, 4), build: sumOfMany },
  { kind: "dense in blocks", weight: 5, fits: rank(2, 3, 4), build: denseInBlocks },
];
