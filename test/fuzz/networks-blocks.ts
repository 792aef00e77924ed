/** Blocks of random networks, of several layers each: residuals, squeeze-and-excite, attention, normalizations. */
import { type Layer, layers, made, rank } from "./networks-layers.ts";
import {
  biasOf,
  type Dice,
  diceOf,
  list,
  loose,
  type Net,
  operand,
  quantized,
  requantized,
  sizeOf,
  type Value,
  weightsOf,
} from "./networks-values.ts";

/** A convolution with the kernel given, padded so that stride 1 keeps the image; quantized. */
function conv(net: Net, d: Dice, v: Value, o: number, k: number, relu: boolean): Value {
  const [n, c, ...image] = v.shape as [number, number, ...number[]];
  const w = weightsOf(net, d, [o, c, ...image.map(() => k)], 0);
  const reach = v.reach * w.typical * Math.sqrt(c * k ** image.length);
  const before = Math.floor((k - 1) / 2);
  const pads = [...image.map(() => before), ...image.map(() => k - 1 - before)];
  const y = net.g.op("Conv", [operand(net, d, v), w.name, ...biasOf(net, d, o, reach)], { pads });
  return quantized(net, d, made(relu ? net.g.op("Relu", [y]) : y, [n, o, ...image], reach));
}

function residual(net: Net, d: Dice, v: Value): readonly Value[] {
  const c = v.shape[1]!;
  if (sizeOf(v.shape) * c > 40_000) return [];
  const x = quantized(net, d, v);
  const inner = conv(net, d, x, 1 + d.below(net.channels), 1, d.chance(0.7));
  const y = conv(net, d, inner, c, d.one([1, 3, 2]), false);
  const names = [operand(net, d, y), operand(net, d, x)];
  if (d.chance(0.5)) names.reverse();
  const sum = net.g.op("Add", names);
  const reach = Math.max(x.reach, y.reach);
  return [made(d.chance(0.6) ? net.g.op("Relu", [sum]) : sum, v.shape, reach)];
}

/** Two branches of `v`, the same movement or reduction on both, and what joins them. */
function branches(net: Net, d: Dice, v: Value): readonly Value[] {
  if (sizeOf(v.shape) * net.channels > 20_000) return [];
  const x = quantized(net, d, v);
  const c = v.shape[1]!;
  const o = d.chance(0.5) ? c : 1 + d.below(net.channels);
  const ends = [conv(net, d, x, o, d.one([1, 3]), d.chance(0.5))];
  ends.push(o === c && d.chance(0.4) ? x : conv(net, d, x, o, d.one([1, 2]), d.chance(0.5)));
  const seed = d.below(2 ** 31);
  const kind = d.one(["reduce", "pool", "reshape", "transpose", "slice", "curve", "gather", "grow", "none"]);
  const layer = layers.find((l) => l.kind === kind);
  const moved = ends.map((e) => layer?.build(net, diceOf(seed), e)[0] ?? e);
  const [a, b] = moved as [Value, Value];
  net.values.push(...moved.filter((m) => !net.values.includes(m)));
  if (a.shape.join() !== b.shape.join()) return [];
  const join = d.one(["Add", "Add", "Add", "Mul", "Concat", "Sub"]);
  const names = moved.map((m) =>
    join === "Add" || join === "Concat" ? loose(net, d, m) : operand(net, d, m),
  );
  const axis = Math.min(1, a.shape.length - 1);
  const y = net.g.op(join, names, join === "Concat" ? { axis } : {});
  const shape = join === "Concat" ? a.shape.map((n, i) => (i === axis ? 2 * n : n)) : a.shape;
  const reach = join === "Mul" ? a.reach * b.reach : Math.max(a.reach, b.reach);
  return [made(d.chance(0.3) ? net.g.op("Relu", [y]) : y, shape, reach)];
}

function squeezeExcite(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const [n, c, ...image] = v.shape as [number, number, ...number[]];
  const x = quantized(net, d, v);
  const ones = image.map(() => 1);
  const kept = d.chance(0.6);
  const axes = image.map((_, i) => i + 2);
  const mean = kept
    ? g.op("GlobalAveragePool", [operand(net, d, x)])
    : g.op("ReduceMean", [operand(net, d, x), g.ints(axes)], { keepdims: 0 });
  const squeezed = quantized(net, d, made(mean, kept ? [n, c, ...ones] : [n, c], x.reach));
  const inner = 1 + d.below(8);
  const dense = (t: Value, to: number, relu: boolean): Value => {
    if (kept) return conv(net, d, t, to, 1, relu);
    const w = weightsOf(net, d, [t.shape[1]!, to], 1);
    const reach = t.reach * w.typical * Math.sqrt(t.shape[1]!);
    const y = g.op("Gemm", [operand(net, d, t), w.name, ...biasOf(net, d, to, reach)]);
    return quantized(net, d, made(relu ? g.op("Relu", [y]) : y, [n, to], reach));
  };
  const gates = dense(dense(squeezed, inner, true), c, false);
  const sigmoid = g.op(d.one(["Sigmoid", "HardSigmoid"]), [operand(net, d, gates)]);
  let gate = quantized(net, d, made(sigmoid, gates.shape, 1));
  if (!kept)
    gate = quantized(
      net,
      d,
      made(g.op("Reshape", [operand(net, d, gate), g.ints([n, c, ...ones])]), [n, c, ...ones], 1),
    );
  const names = [operand(net, d, x), operand(net, d, gate)];
  if (d.chance(0.3)) names.reverse();
  return [made(g.op("Mul", names), v.shape, x.reach)];
}

function product(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const [m, k] = v.shape.slice(-2) as [number, number];
  const x = quantized(net, d, v);
  const r = v.shape.length;
  const perm = [...list(r - 2, (i) => i), r - 1, r - 2];
  const fits = (w: Value) =>
    w.shape.length === r &&
    w.shape.slice(0, -2).join() === v.shape.slice(0, -2).join() &&
    w.shape.at(-2) === k;
  const found = net.values.filter(fits);
  const w = found.length > 0 && d.chance(0.5) ? d.one(found) : undefined;
  const n = w === undefined ? m : w.shape.at(-1)!;
  if (sizeOf(v.shape) * n > 100_000) return [];
  const right = w === undefined ? g.op("Transpose", [operand(net, d, x)], { perm }) : operand(net, d, w);
  net.products = true;
  const y = g.op("MatMul", [operand(net, d, x), right]);
  return [made(y, [...v.shape.slice(0, -1), n], x.reach * (w?.reach ?? x.reach) * Math.sqrt(k) * 0.4)];
}

function attention(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const [n, t, width] = v.shape as [number, number, number];
  if (t > 16) return [];
  net.products = true;
  const heads = d.one([1, 2, 3]);
  const size = 1 + d.below(9);
  const x = quantized(net, d, v);
  const project = (from: Value, to: number): Value => {
    const w = weightsOf(net, d, [from.shape.at(-1)!, to], 1);
    const reach = from.reach * w.typical * Math.sqrt(from.shape.at(-1)!);
    return quantized(net, d, made(g.op("MatMul", [operand(net, d, from), w.name]), [n, t, to], reach));
  };
  const part = (perm: readonly number[]) => {
    const p = project(x, heads * size);
    const r = g.op("Reshape", [operand(net, d, p), g.ints([n, t, heads, size])]);
    return { name: g.op("Transpose", [r], { perm }), reach: p.reach };
  };
  const [q, k, values] = [part([0, 2, 1, 3]), part([0, 2, 3, 1]), part([0, 2, 1, 3])];
  const raw = g.op("MatMul", [q.name, k.name]);
  const scaled = d.chance(0.5) ? g.op("Mul", [raw, g.floats([], 1 / Math.sqrt(size))]) : raw;
  const scores = quantized(net, d, made(scaled, [n, heads, t, t], q.reach * k.reach));
  const soft = g.op("Softmax", [operand(net, d, scores)], { axis: -1 });
  const p = quantized(net, d, made(soft, [n, heads, t, t], 1));
  const mixed = quantized(
    net,
    d,
    made(g.op("MatMul", [operand(net, d, p), values.name]), [n, heads, t, size], values.reach),
  );
  const joined = g.op("Reshape", [
    g.op("Transpose", [operand(net, d, mixed)], { perm: [0, 2, 1, 3] }),
    g.ints([n, t, heads * size]),
  ]);
  const from = { ...made(joined, [n, t, heads * size], mixed.reach), quantized: true };
  const y = project(from, width);
  if (d.chance(0.4)) return [y];
  return [made(g.op("Add", [operand(net, d, y), operand(net, d, x)]), v.shape, Math.max(y.reach, x.reach))];
}

function softmax(net: Net, d: Dice, v: Value): readonly Value[] {
  const axis = d.chance(0.2) ? v.shape.length - 2 : -1;
  const y = net.g.op("Softmax", [operand(net, d, v)], { axis });
  return [requantized(net, d, made(y, v.shape, 1))];
}

function layerNorm(net: Net, d: Dice, v: Value): readonly Value[] {
  const n = v.shape.at(-1)!;
  const gain = net.g.floats(
    [n],
    list(n, () => 0.3 + d.real()),
  );
  const bias = net.g.floats(
    [n],
    list(n, () => d.real() - 0.5),
  );
  const y = net.g.op("LayerNormalization", [operand(net, d, v), gain, ...(d.chance(0.6) ? [bias] : [])], {
    axis: -1,
  });
  return [requantized(net, d, made(y, v.shape, 3))];
}

export const blocks: readonly Layer[] = [
  { kind: "residual", weight: 5, fits: rank(3, 4), build: residual },
  { kind: "branches", weight: 8, fits: rank(3, 4), build: branches },
  { kind: "squeeze and excite", weight: 3, fits: rank(3, 4), build: squeezeExcite },
  { kind: "product", weight: 3, fits: rank(2, 3, 4), build: product },
  { kind: "attention", weight: 5, fits: rank(3), build: attention },
  { kind: "softmax", weight: 1, fits: rank(2, 3, 4), build: softmax },
  { kind: "layer norm", weight: 1, fits: rank(2, 3, 4), build: layerNorm },
];
