/** Random small fake-quant graphs, from a seed. */
import type { OnnxModel } from "../../compiler/frontend/onnx/model.ts";
import { randomSource } from "../zoo.ts";
import { type ModelBuilder, modelBuilder } from "./build.ts";

interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

export interface RandomModel {
  readonly model: OnnxModel;
  readonly inputs: ReadonlyMap<string, Int8Array | Uint8Array | Float32Array>;
}

const TYPES = { uint8: [0, 255], int8: [-128, 127], uint16: [0, 65535], int16: [-32768, 32767] } as const;
type Type = keyof typeof TYPES;

/** Scales with many exact ties between them, and ordinary ones. */
const SCALES = [0.5, 0.25, 1, 0.125, 1.5, 0.1, 0.0373, 0.003921569, 0.75, 7.25e-3].map(Math.fround);

export function randomModel(seed: number, steps: number): RandomModel {
  const random = randomSource(seed);
  const below = (n: number) => Math.floor(random() * n);
  const one = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;
  const many = (n: number, f: () => number) => Array.from({ length: n }, f);
  const float = () =>
    Math.fround(one([random() - 0.5, below(9) - 4, (random() - 0.5) * 2 ** (below(40) - 20)]));
  const g: ModelBuilder = modelBuilder();
  const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
  const floats = (shape: readonly number[]) => g.constant("float32", shape, many(size(shape), float));
  const positive = (shape: readonly number[]) =>
    g.constant(
      "float32",
      shape,
      many(size(shape), () => random() + 0.01),
    );

  const quantizer = (channels: number | undefined): { names: [string, string]; type: Type } => {
    const type = one(Object.keys(TYPES) as Type[]);
    const [lo, hi] = TYPES[type];
    const count = channels ?? 1;
    const dims = channels === undefined ? one([[], [1]]) : [count];
    const zero = () =>
      type.startsWith("u") ? one([0, 3, (hi + 1) / 2, below(hi)]) : one([0, 0, -1, lo + below(hi - lo)]);
    return {
      type,
      names: [
        g.constant(
          "float32",
          dims,
          many(count, () => one(SCALES)),
        ),
        g.constant(type, dims, many(count, zero)),
      ],
    };
  };
  const requantize = ({ name, shape }: Value): Value => {
    const axis = below(shape.length);
    const { names } = quantizer(random() < 0.3 ? shape[axis] : undefined);
    const q = g.node("QuantizeLinear", [name, ...names], { axis });
    return { name: g.node("DequantizeLinear", [q, ...names], { axis }), shape };
  };
  const weights = (shape: readonly number[]): string => {
    const kind = below(3);
    if (kind === 0) return requantize({ name: floats(shape), shape }).name;
    const { names, type } = quantizer(kind === 1 ? shape[0] : undefined);
    const [lo, hi] = TYPES[type];
    const data = g.constant(
      type,
      shape,
      many(size(shape), () => lo + below(hi - lo + 1)),
    );
    return g.node("DequantizeLinear", [data, ...names], { axis: 0 });
  };

  const inputs = new Map<string, Int8Array | Uint8Array | Float32Array>();
  const shape = [1 + below(2), 1 + below(3), 2 + below(3), 2 + below(3)];
  const pixels = many(size(shape), () => below(256));
  g.input("a", "uint8", shape);
  inputs.set("a", Uint8Array.from(pixels));
  g.input("b", "float32", shape);
  inputs.set(
    "b",
    Float32Array.from(pixels, () => Math.fround((random() - 0.5) * 20)),
  );
  const { names } = quantizer(undefined);
  const first = g.constant("uint8", [], [below(256)]);
  const values: Value[] = [
    { name: g.node("DequantizeLinear", ["a", g.constant("float32", [], [one(SCALES)]), first]), shape },
    { name: g.node("DequantizeLinear", [g.node("QuantizeLinear", ["b", ...names]), ...names]), shape },
  ];

  const unary = (op: string, x: Value, attributes = {}): Value => ({
    name: g.node(op, [x.name], attributes),
    shape: x.shape,
  });
  const same = (x: Value) => one(values.filter((v) => v.shape.join() === x.shape.join()));
  const STEPS: readonly ((x: Value) => Value | undefined)[] = [
    requantize,
    (x) => unary("Relu", x),
    (x) => unary(one(["Neg", "Abs", "HardSwish"]), x),
    (x) => unary("LeakyRelu", x, { alpha: { float: one([0.01, 0.5, -0.25]) } }),
    (x) => unary("HardSigmoid", x, { alpha: { float: 0.2 }, beta: { float: 0.5 } }),
    (x) => ({
      name: g.node(one(["Add", "Sub", "Mul", "Max", "Min"]), [x.name, same(x).name]),
      shape: x.shape,
    }),
    (x) => ({
      name: g.node(one(["Add", "Mul", "Sub", "Div", "PRelu"]), [x.name, positive([x.shape.at(-1)!])]),
      shape: x.shape,
    }),
    (x) => ({
      name: g.node(one(["Add", "Mul", "Sub"]), [
        x.name,
        floats([x.shape[1]!, ...x.shape.slice(2).map(() => 1)]),
      ]),
      shape: x.shape,
    }),
    (x) => {
      const lo = float();
      const limits = [g.constant("float32", [], [lo]), g.constant("float32", [], [lo + random() * 4])];
      return { name: g.node("Clip", [x.name, ...limits]), shape: x.shape };
    },
    (x) => {
      if (x.shape.length !== 4) return undefined;
      const [n, c, h, w] = x.shape as [number, number, number, number];
      const depthwise = random() < 0.4;
      const out = depthwise ? c * (1 + below(2)) : 1 + below(3);
      const kernel = [1 + below(Math.min(3, h)), 1 + below(Math.min(3, w))] as const;
      const pads = many(4, () => below(2));
      const strides = [1 + below(2), 1 + below(2)] as const;
      const w0 = weights([out, depthwise ? 1 : c, ...kernel]);
      const attributes = { pads, strides, group: depthwise ? c : 1, kernel_shape: kernel };
      const oh = Math.floor((h + pads[0]! + pads[2]! - kernel[0]) / strides[0]) + 1;
      const ow = Math.floor((w + pads[1]! + pads[3]! - kernel[1]) / strides[1]) + 1;
      const bias = random() < 0.5 ? [floats([out])] : [];
      return { name: g.node("Conv", [x.name, w0, ...bias], attributes), shape: [n, out, oh, ow] };
    },
    (x) => {
      if (x.shape.length !== 4 || x.shape[2]! < 2 || x.shape[3]! < 2) return undefined;
      const [n, c, h, w] = x.shape as [number, number, number, number];
      const pads = many(4, () => below(2));
      const attributes = { kernel_shape: [2, 2], strides: [1, 2], pads, count_include_pad: below(2) };
      const shape = [n, c, h + pads[0]! + pads[2]! - 1, Math.floor((w + pads[1]! + pads[3]! - 2) / 2) + 1];
      if (random() < 0.5) return { name: g.node("AveragePool", [x.name], attributes), shape };
      return { name: g.node("MaxPool", [x.name], { kernel_shape: [2, 2], strides: [1, 2], pads }), shape };
    },
    (x) => {
      if (x.shape.length !== 4 || random() < 0.5) return undefined;
      return { name: g.node("GlobalAveragePool", [x.name]), shape: [x.shape[0]!, x.shape[1]!, 1, 1] };
    },
    (x) => {
      const c = [x.shape[1]!];
      const parts = [floats(c), floats(c), floats(c), positive(c)];
      return {
        name: g.node("BatchNormalization", [x.name, ...parts], { epsilon: { float: 1e-5 } }),
        shape: x.shape,
      };
    },
    (x) => {
      const other = same(x);
      const axis = below(x.shape.length);
      if (x.shape[axis]! > 5) return undefined;
      return {
        name: g.node("Concat", [x.name, other.name], { axis }),
        shape: x.shape.map((d, i) => (i === axis ? 2 * d : d)),
      };
    },
    (x) => {
      if (x.shape.length !== 4) return undefined;
      const perm = one([
        [0, 2, 3, 1],
        [0, 1, 3, 2],
        [1, 0, 2, 3],
      ]);
      return { name: g.node("Transpose", [x.name], { perm }), shape: perm.map((p) => x.shape[p]!) };
    },
    (x) => {
      if (x.shape.length !== 4) return undefined;
      const pads = [0, 0, below(2), below(2), 0, 0, below(2), below(2)];
      const fill = random() < 0.5 ? [g.constant("float32", [], [float()])] : [];
      const name = g.node("Pad", [x.name, g.constant("int64", [8], pads), ...fill]);
      return { name, shape: x.shape.map((d, i) => d + pads[i]! + pads[i + 4]!) };
    },
    (x) => {
      if (x.shape.length !== 4) return undefined;
      return { name: g.node("Flatten", [x.name]), shape: [x.shape[0]!, size(x.shape.slice(1))] };
    },
    (x) => {
      const k = x.shape.at(-1)!;
      const n = 1 + below(4);
      if (x.shape.length === 2 && random() < 0.7) {
        const attributes = {
          transB: 1,
          alpha: { float: one([1, 0.5, 0.3]) },
          beta: { float: one([1, 2, 0.7]) },
        };
        return {
          name: g.node("Gemm", [x.name, weights([n, k]), floats([n])], attributes),
          shape: [x.shape[0]!, n],
        };
      }
      return { name: g.node("MatMul", [x.name, weights([k, n])]), shape: [...x.shape.slice(0, -1), n] };
    },
  ];
  for (let s = 0; s < steps; s++) {
    const at = random() < 0.6 ? values.length - 1 : below(values.length);
    const next = one(STEPS)(values[at]!);
    if (next !== undefined && size(next.shape) > 0 && size(next.shape) < 300) values.push(next);
  }
  const outputs = values.slice(-3).map((value) => requantize(value).name);
  return { model: g.finish(outputs), inputs };
}
