/** Layers of random networks: convolutions, dense layers, pools, curves, sums, movement. */
import {
  biasOf,
  type Dice,
  list,
  loose,
  type Net,
  operand,
  requantized,
  sizeOf,
  type Value,
  weightsOf,
} from "./networks-values.ts";

export interface Layer {
  readonly kind: string;
  /** How often, relative to the others. */
  readonly weight: number;
  readonly fits: (shape: readonly number[]) => boolean;
  /** What it makes of `v`, or nothing where it turns out not to fit. */
  readonly build: (net: Net, d: Dice, v: Value) => readonly Value[];
}

const MOST = 2500;
const MOST_MACS = 150_000;

export const made = (name: string, shape: readonly number[], reach: number): Value => ({
  name,
  shape,
  reach: Math.max(reach, 1e-20),
  quantized: false,
});
export const rank =
  (...ranks: readonly number[]) =>
  (shape: readonly number[]) =>
    ranks.includes(shape.length);
const fits = (shape: readonly number[]) => sizeOf(shape) <= MOST && shape.every((n) => n > 0);

const channelsOf = (net: Net, d: Dice) => 1 + d.below(net.channels);
const float = (value: number) => ({ kind: "float", value }) as const;

function conv(net: Net, d: Dice, v: Value, depthwise: boolean): readonly Value[] {
  const [n, c, ...image] = v.shape as [number, number, ...number[]];
  const divisors = list(c, (i) => i + 1).filter((k) => c % k === 0);
  const group = depthwise ? c : d.chance(0.2) ? d.one(divisors) : 1;
  const each = depthwise ? d.one([1, 1, 2]) : Math.max(1, Math.round(channelsOf(net, d) / group));
  const o = each * group;
  const kernel = image.map((size) => Math.min(size + 1, d.one([1, 3, 3, 2, 5])));
  const dilations = image.map(() => d.one([1, 1, 1, 2]));
  const strides = image.map(() => d.one([1, 1, 2, 3]));
  const begin = kernel.map((k) => d.below(k));
  const end = kernel.map((k, i) => (d.chance(0.3) ? d.below(k) : begin[i]!));
  const out = image.map((size, i) =>
    Math.floor((size + begin[i]! + end[i]! - (kernel[i]! - 1) * dilations[i]! - 1) / strides[i]! + 1),
  );
  const shape = [n, o, ...out];
  const sum = (c / group) * sizeOf(kernel);
  if (!fits(shape) || sizeOf(shape) * sum > MOST_MACS) return [];
  const w = weightsOf(net, d, [o, c / group, ...kernel], 0);
  const reach = v.reach * w.typical * Math.sqrt(sum);
  const x = operand(net, d, v);
  const bias = biasOf(net, d, o, reach);
  const attributes = { group, strides, dilations, pads: [...begin, ...end] };
  return [made(net.g.op("Conv", [x, w.name, ...bias], attributes), shape, reach)];
}

function dense(net: Net, d: Dice, v: Value): readonly Value[] {
  const k = v.shape.at(-1)!;
  const n = channelsOf(net, d);
  const shape = [...v.shape.slice(0, -1), n];
  if (!fits(shape) || sizeOf(shape) * k > MOST_MACS) return [];
  const gemm = v.shape.length === 2 && d.chance(0.5);
  const transposed = gemm && d.chance(0.5);
  const w = weightsOf(net, d, transposed ? [n, k] : [k, n], transposed ? 0 : 1);
  const reach = v.reach * w.typical * Math.sqrt(k);
  const x = operand(net, d, v);
  const bias = biasOf(net, d, n, reach);
  if (gemm)
    return [made(net.g.op("Gemm", [x, w.name, ...bias], { transB: transposed ? 1 : 0 }), shape, reach)];
  const y = net.g.op("MatMul", [x, w.name]);
  return [made(bias.length > 0 ? net.g.op("Add", [y, bias[0]!]) : y, shape, reach)];
}

function curve(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const op = d.one([
    "Relu",
    "Relu",
    "Relu",
    "Clip",
    "LeakyRelu",
    "HardSwish",
    "Sigmoid",
    "Tanh",
    "Silu",
    "Neg",
    "Abs",
    "HardSigmoid",
    "Softplus",
    "Elu",
  ]);
  const exact = ["Relu", "Clip"].includes(op);
  const x = exact ? loose(net, d, v) : operand(net, d, v);
  const of = (name: string, reach = v.reach) => [made(name, v.shape, reach)];
  if (op === "Clip") {
    const [lo, hi] = d.one([
      [0, 0.7],
      [-0.3, 0.4],
      [0, 6 / v.reach],
      [-5, 0.1],
    ] as const);
    return of(g.op("Clip", [x, g.floats([], lo * v.reach), g.floats([], hi * v.reach)]));
  }
  if (op === "Silu") return of(g.op("Mul", [x, g.op("Sigmoid", [x])]));
  const reach = ["Sigmoid", "Tanh", "HardSigmoid"].includes(op) ? 1 : v.reach;
  return of(g.op(op, [x], op === "LeakyRelu" ? { alpha: float(d.one([0.1, -0.25, 0.5])) } : {}), reach);
}

function batchNorm(net: Net, d: Dice, v: Value): readonly Value[] {
  const c = v.shape[1]!;
  const of = (f: () => number) => net.g.floats([c], list(c, f));
  const parts = [
    of(() => d.one([1, 0.3, -0.7, 0, 1.5]) * (0.5 + d.real())),
    of(() => (d.real() - 0.5) * v.reach),
    of(() => (d.real() - 0.5) * v.reach),
    of(() => 0.3 + d.real()),
  ];
  return [made(net.g.op("BatchNormalization", [loose(net, d, v), ...parts]), v.shape, v.reach * 1.5)];
}

/** Whether `b` broadcasts to the shape of `a`. */
const broadcasts = (a: readonly number[], b: readonly number[]) =>
  b.length <= a.length && b.every((n, i) => n === 1 || n === a[a.length - b.length + i]);

function partner(net: Net, d: Dice, v: Value, ok: (w: Value) => boolean): Value | undefined {
  const found = net.values.filter((w) => ok(w));
  const same = found.filter((w) => w.name !== v.name);
  return d.chance(0.15) || same.length === 0 ? found[0] && d.one(found) : d.one(same);
}

function binary(op: "Add" | "Mul" | "Sub"): Layer["build"] {
  return (net, d, v) => {
    const w = partner(net, d, v, (w) => broadcasts(v.shape, w.shape) && w.reach < 1e6 * v.reach);
    if (w === undefined) return [];
    const names = [op === "Add" ? loose(net, d, v) : operand(net, d, v), operand(net, d, w)];
    if (op !== "Sub" && d.chance(0.4)) names.reverse();
    const reach = op === "Mul" ? v.reach * w.reach : Math.max(v.reach, w.reach);
    const y = made(net.g.op(op, names), v.shape, reach);
    return [op === "Add" && d.chance(0.4) ? made(net.g.op("Relu", [y.name]), y.shape, reach) : y];
  };
}

function withConstant(net: Net, d: Dice, v: Value): readonly Value[] {
  const op = d.one(["Add", "Mul", "Sub", "Div"]);
  const r = v.shape.length;
  const shape = d.one([
    [],
    r > 1 ? [v.shape[1]!, ...v.shape.slice(2).map(() => 1)] : [],
    v.shape.slice(-1),
    v.shape.slice(1),
  ]);
  const scale = op === "Mul" || op === "Div" ? 1 : v.reach;
  const value = () => (d.chance(0.1) ? 0.001 : (d.real() - (op === "Div" ? -0.3 : 0.4)) * scale);
  const c =
    !net.qonnx && d.chance(0.4) && op !== "Div"
      ? net.g.dq(
          net.g.constant(
            "int8",
            shape,
            list(sizeOf(shape), () => Math.floor(d.real() * 256) - 128),
          ),
          Math.fround(scale / 100),
          0,
          { type: "int8" },
        )
      : net.g.floats(shape, list(sizeOf(shape), value));
  return [made(net.g.op(op, [loose(net, d, v), c]), v.shape, op === "Div" ? v.reach * 2 : v.reach)];
}

function concat(net: Net, d: Dice, v: Value): readonly Value[] {
  const axis = Math.min(v.shape.length - 1, d.one([1, 1, 1, 0, 2, 3]));
  const ok = (w: Value) =>
    w.shape.length === v.shape.length && w.shape.every((n, i) => i === axis || n === v.shape[i]);
  const parts = [v, ...list(1 + d.below(2), (i) => i).flatMap(() => partner(net, d, v, ok) ?? [])];
  if (d.chance(0.3)) parts.reverse();
  const shape = v.shape.map((n, i) => (i === axis ? parts.reduce((s, p) => s + p.shape[axis]!, 0) : n));
  if (parts.length < 2 || !fits(shape)) return [];
  const names = parts.map((p) => loose(net, d, p));
  return [made(net.g.op("Concat", names, { axis }), shape, Math.max(...parts.map((p) => p.reach)))];
}

const moved = (v: Value, name: string, shape: readonly number[]): Value => ({
  ...made(name, shape, v.reach),
  quantized: v.quantized,
});

function split(net: Net, d: Dice, v: Value): readonly Value[] {
  const axis = Math.min(v.shape.length - 1, d.one([1, 1, 2, 3]));
  const n = v.shape[axis]!;
  if (n < 2) return [];
  const first = 1 + d.below(n - 1);
  const x = loose(net, d, v);
  const names = net.g.ops("Split", [x, net.g.ints([first, n - first])], 2, { axis });
  const sizes = [first, n - first];
  const q = { ...v, quantized: false };
  return names.map((name, i) =>
    moved(
      q,
      name,
      v.shape.map((m, a) => (a === axis ? sizes[i]! : m)),
    ),
  );
}

function slice(net: Net, d: Dice, v: Value): readonly Value[] {
  const axis = d.below(v.shape.length);
  const n = v.shape[axis]!;
  const start = d.below(n);
  const step = d.one([1, 1, 2]);
  const end = d.chance(0.4) ? start + 1 : start + 1 + d.below(n - start);
  const shape = v.shape.map((m, a) => (a === axis ? Math.ceil((end - start) / step) : m));
  const { g } = net;
  const x = loose(net, d, v);
  return [
    made(g.op("Slice", [x, g.ints([start]), g.ints([end]), g.ints([axis]), g.ints([step])]), shape, v.reach),
  ];
}

function gather(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const axis = d.below(v.shape.length);
  const n = v.shape[axis]!;
  if (v.shape.length > 2 && d.chance(0.4)) {
    const index = g.constant("int64", [], d.below(n));
    const shape = v.shape.filter((_, a) => a !== axis);
    return [made(g.op("Gather", [loose(net, d, v), index], { axis }), shape, v.reach)];
  }
  const first = d.below(n);
  const count = 1 + d.below(Math.min(n + 2, 9));
  const indices = list(count, (i) => (d.chance(0.4) ? d.below(n) : (first + i) % n));
  const shape = v.shape.map((m, a) => (a === axis ? count : m));
  return [made(g.op("Gather", [loose(net, d, v), g.ints(indices)], { axis }), shape, v.reach)];
}

function sum(net: Net, d: Dice, v: Value): readonly Value[] {
  const same = (w: Value) => w.shape.join() === v.shape.join();
  const others = Array.from({ length: 1 + d.below(3) }, () => partner(net, d, v, same)).flatMap(
    (w) => w ?? [],
  );
  const parts = [v, ...others];
  const op = d.one(["Sum", "Sum", "Mean"]);
  const names = parts.map((w) => operand(net, d, w));
  return [made(net.g.op(op, names), v.shape, Math.max(...parts.map((w) => w.reach)))];
}

function shuffle(net: Net, d: Dice, v: Value): readonly Value[] {
  const [n, c, h, w] = v.shape as [number, number, number, number];
  const group = d.one(list(c, (i) => i + 1).filter((k) => c % k === 0));
  const { g } = net;
  const five = g.op("Reshape", [loose(net, d, v), g.ints([n, group, c / group, h, w])]);
  const turned = g.op("Transpose", [five], { perm: [0, 2, 1, 3, 4] });
  return [made(g.op("Reshape", [turned, g.ints([n, c, h, w])]), v.shape, v.reach)];
}

function pool(net: Net, d: Dice, v: Value): readonly Value[] {
  const [n, c, ...image] = v.shape as [number, number, ...number[]];
  const kernel_shape = image.map((size) => Math.min(size, d.one([2, 3, 1])));
  const strides = image.map(() => d.one([1, 2, 2, 3]));
  const begin = kernel_shape.map((k) => d.below(k));
  const end = kernel_shape.map((k, i) => (d.chance(0.3) ? d.below(k) : begin[i]!));
  const average = d.chance(0.5);
  const shape = [
    n,
    c,
    ...image.map((size, i) => Math.floor((size + begin[i]! + end[i]! - kernel_shape[i]!) / strides[i]!) + 1),
  ];
  if (!fits(shape)) return [];
  const attributes = { kernel_shape, strides, pads: [...begin, ...end] };
  const more = average ? { count_include_pad: d.below(2) } : {};
  const x = loose(net, d, v);
  return [
    made(net.g.op(average ? "AveragePool" : "MaxPool", [x], { ...attributes, ...more }), shape, v.reach),
  ];
}

function reduce(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const r = v.shape.length;
  const op = d.one([
    "ReduceMean",
    "ReduceMean",
    "ReduceMax",
    "ReduceSum",
    "GlobalAveragePool",
    "GlobalMaxPool",
  ]);
  if (op.startsWith("Global")) {
    if (r < 3) return [];
    return [
      made(
        g.op(op, [loose(net, d, v)]),
        v.shape.map((n, i) => (i < 2 ? n : 1)),
        v.reach,
      ),
    ];
  }
  const candidates =
    r === 4 ? [[2, 3], [2, 3], [3], [1], [-1, -2], [2]] : r === 3 ? [[1], [2], [-1]] : [[r - 1]];
  const axes = d.one(candidates);
  const gone = new Set(axes.map((a) => (a + r) % r));
  const keepdims = d.below(2);
  const shape = v.shape.flatMap((n, i) => (gone.has(i) ? (keepdims ? [1] : []) : [n]));
  const count = sizeOf([...gone].map((a) => v.shape[a]!));
  const reach = op === "ReduceSum" ? v.reach * Math.sqrt(count) : v.reach;
  return [made(g.op(op, [loose(net, d, v), g.ints(axes)], { keepdims }), shape, reach)];
}

function reshape(net: Net, d: Dice, v: Value): readonly Value[] {
  const { g } = net;
  const x = () => loose(net, d, v);
  const [n = 1] = v.shape;
  const rest = sizeOf(v.shape) / n;
  const ones = v.shape.flatMap((m, i) => (m === 1 && i > 0 ? [i] : []));
  const kind = d.one(["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Reshape"]);
  if (kind === "Squeeze" && ones.length > 0)
    return [
      made(
        g.op("Squeeze", [x(), g.ints(ones)]),
        v.shape.filter((m, i) => i === 0 || m !== 1),
        v.reach,
      ),
    ];
  if (kind === "Unsqueeze" && v.shape.length < 4) {
    const axis = 1 + d.below(v.shape.length);
    return [
      made(
        g.op("Unsqueeze", [x(), g.ints([axis])]),
        [...v.shape.slice(0, axis), 1, ...v.shape.slice(axis)],
        v.reach,
      ),
    ];
  }
  if (kind === "Reshape" && v.shape.length > 2) {
    const [a, b, c] = [v.shape[1]!, v.shape[2]!, sizeOf(v.shape.slice(3))];
    const shape = d.one([
      [n, a, b * c],
      [n, a * b, c],
      [n, b, c, a],
      [n, a, 1, b * c],
      [n * a, b, c],
    ]);
    return [made(g.op("Reshape", [x(), g.ints(shape)]), shape, v.reach)];
  }
  return v.shape.length > 2 ? [made(g.op("Flatten", [x()]), [n, rest], v.reach)] : [];
}

const PERMS: Readonly<Record<number, readonly (readonly number[])[]>> = {
  2: [[1, 0]],
  3: [
    [0, 2, 1],
    [1, 0, 2],
    [2, 0, 1],
  ],
  4: [
    [0, 2, 3, 1],
    [0, 3, 1, 2],
    [0, 1, 3, 2],
    [1, 0, 2, 3],
    [3, 2, 1, 0],
  ],
};

function transpose(net: Net, d: Dice, v: Value): readonly Value[] {
  const perm = d.one(PERMS[v.shape.length]!);
  const x = loose(net, d, v);
  return [
    made(
      net.g.op("Transpose", [x], { perm }),
      perm.map((p) => v.shape[p]!),
      v.reach,
    ),
  ];
}

function pad(net: Net, d: Dice, v: Value): readonly Value[] {
  const r = v.shape.length;
  const pads = list(2 * r, (i) => (i % r < 1 ? 0 : d.below(3)));
  const shape = v.shape.map((n, i) => n + pads[i]! + pads[i + r]!);
  if (!fits(shape)) return [];
  const { g } = net;
  return [made(g.op("Pad", [loose(net, d, v), g.ints(pads)]), shape, v.reach)];
}

function grow(net: Net, d: Dice, v: Value): readonly Value[] {
  const [n, c, h, w] = v.shape as [number, number, number, number];
  const { g } = net;
  const kind = d.one(["Resize", "DepthToSpace", "SpaceToDepth", "Tile"]);
  const x = () => loose(net, d, v);
  if (kind === "Resize" && fits([n, c, 2 * h, 3 * w])) {
    const modes = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
    return [
      made(g.op("Resize", [x(), "", g.floats([4], [1, 1, 2, 3])], modes), [n, c, 2 * h, 3 * w], v.reach),
    ];
  }
  if (kind === "DepthToSpace" && c % 4 === 0) {
    const attributes = { blocksize: 2, mode: d.one(["DCR", "CRD"]) };
    return [made(g.op("DepthToSpace", [x()], attributes), [n, c / 4, h * 2, w * 2], v.reach)];
  }
  if (kind === "SpaceToDepth" && h % 2 === 0 && w % 2 === 0)
    return [made(g.op("SpaceToDepth", [x()], { blocksize: 2 }), [n, c * 4, h / 2, w / 2], v.reach)];
  if (kind === "Tile" && fits([n, 2 * c, h, w]))
    return [made(g.op("Tile", [x(), g.ints([1, 2, 1, 1])]), [n, 2 * c, h, w], v.reach)];
  return [];
}

const always = (shape: readonly number[]) => shape.length >= 2;

export const layers: readonly Layer[] = [
  { kind: "conv", weight: 8, fits: rank(3, 4), build: (net, d, v) => conv(net, d, v, false) },
  { kind: "depthwise", weight: 4, fits: rank(3, 4), build: (net, d, v) => conv(net, d, v, true) },
  { kind: "dense", weight: 4, fits: rank(2, 3, 4), build: dense },
  { kind: "curve", weight: 6, fits: always, build: curve },
  { kind: "batch norm", weight: 2, fits: rank(2, 3, 4), build: batchNorm },
  { kind: "add", weight: 8, fits: always, build: binary("Add") },
  { kind: "mul", weight: 3, fits: always, build: binary("Mul") },
  { kind: "sub", weight: 1, fits: always, build: binary("Sub") },
  { kind: "constant", weight: 3, fits: always, build: withConstant },
  { kind: "concat", weight: 5, fits: always, build: concat },
  { kind: "split", weight: 2, fits: always, build: split },
  { kind: "slice", weight: 2, fits: always, build: slice },
  { kind: "gather", weight: 2, fits: always, build: gather },
  { kind: "sum", weight: 2, fits: always, build: sum },
  { kind: "shuffle", weight: 1, fits: rank(4), build: shuffle },
  { kind: "pool", weight: 4, fits: rank(3, 4), build: pool },
  { kind: "reduce", weight: 4, fits: always, build: reduce },
  { kind: "reshape", weight: 3, fits: always, build: reshape },
  { kind: "transpose", weight: 2, fits: rank(2, 3, 4), build: transpose },
  { kind: "pad", weight: 1, fits: rank(3, 4), build: pad },
  { kind: "grow", weight: 2, fits: rank(4), build: grow },
  {
    kind: "requantize",
    weight: 2,
    fits: always,
    build: (net, d, v) => [requantized(net, d, v)],
  },
];
