/** Layer, root-mean-square, instance and group normalization, as operators and as what exporters make of them. */
import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, many, x, y } from "./case.ts";

const gains = (n: number) => many(n, (i) => 0.5 + ((i * 7) % 11) / 8);
const biases = (n: number) => many(n, (i) => ((i * 5) % 9) / 10 - 0.4);
const vector = (g: GraphBuilder, list: readonly number[], shape = [list.length]) => g.floats(shape, list);
const layerNorm = (g: GraphBuilder, t: string, n: number, attributes = {}) =>
  g.op("LayerNormalization", [t, vector(g, gains(n)), vector(g, biases(n))], attributes);

/** (x − μ) / √(mean((x − μ)²) + ε), as PyTorch writes it. */
function decomposed(g: GraphBuilder, t: string, axes: readonly number[] = [-1]): string {
  const mean = g.op("ReduceMean", [t, g.ints(axes)]);
  const centred = g.op("Sub", [t, mean]);
  const variance = g.op("ReduceMean", [g.op("Pow", [centred, f(g, 2)]), g.ints(axes)]);
  return g.op("Div", [centred, g.op("Sqrt", [g.op("Add", [variance, f(g, 1e-5)])])]);
}

const affine = (g: GraphBuilder, t: string, n: number, shape = [n]) =>
  g.op("Add", [g.op("Mul", [t, vector(g, gains(n), shape)]), vector(g, biases(n), shape)]);

export const normalizeCases: readonly GraphCase[] = [
  graphCase("layer normalization", (g) => y(g, layerNorm(g, x(g, [2, 5, 24]), 24), 0.03, 120)),
  graphCase("layer normalization without bias, epsilon 0.1", (g) =>
    y(g, g.op("LayerNormalization", [x(g, [3, 7]), vector(g, gains(7))], { epsilon: 0.1 }), 0.03, 120),
  ),
  graphCase("layer normalization over two axes", (g) => {
    const parameters = [vector(g, gains(30), [5, 6]), vector(g, biases(30), [5, 6])];
    return y(g, g.op("LayerNormalization", [x(g, [3, 5, 6]), ...parameters], { axis: 1 }), 0.03, 120);
  }),
  graphCase("layer normalization of an image, channels last", (g) =>
    y(g, layerNorm(g, g.op("Transpose", [x(g)], { perm: [0, 2, 3, 1] }), 4), 0.03, 120),
  ),
  graphCase("layer normalization of a convolution, channels last", (g) => {
    const conv = g.fq(g.op("Conv", [x(g), g.weights([8, 4, 3, 3])]), 0.05, 110);
    return y(g, layerNorm(g, g.op("Transpose", [conv], { perm: [0, 2, 3, 1] }), 8), 0.03, 120);
  }),
  graphCase("layer normalization with quantized parameters", (g) => {
    const gain = g.weights([16], 0.011);
    const bias = g.dq(g.noise("int8", [16]), 0.004, 0, { type: "int8" });
    return y(g, g.op("LayerNormalization", [x(g, [4, 16]), gain, bias]), 0.03, 120);
  }),
  graphCase("layer normalization, 16 bits in and out", (g) => {
    const t = g.dq(g.input([3, 40], "uint16"), 0.0007, 31000, { type: "uint16" });
    return [g.q(layerNorm(g, t, 40), 0.0001, -300, { type: "int16" })];
  }),
  graphCase("layer normalization, int16 in", (g) => {
    const t = g.dq(g.input([3, 40], "int16"), 0.0007, 0, { type: "int16" });
    return y(g, layerNorm(g, t, 40), 0.03, 120);
  }),
  graphCase("layer normalization, then Relu and reshape", (g) =>
    y(g, g.op("Reshape", [g.op("Relu", [layerNorm(g, x(g, [4, 6]), 6)]), g.ints([2, 12])]), 0.03, 20),
  ),
  graphCase("layer normalization between matrix products", (g) => {
    const a = g.fq(g.op("MatMul", [x(g, [1, 5, 16]), g.weights([16, 32])]), 0.2, 130);
    const n = g.fq(layerNorm(g, a, 32), 0.02, 128);
    return y(g, g.op("MatMul", [n, g.weights([32, 8])]), 0.1, 128);
  }),
  graphCase(
    "layer normalization of what has no quantizer",
    (g) => y(g, layerNorm(g, g.op("MatMul", [x(g, [1, 5, 16]), g.weights([16, 32])]), 32), 0.03, 120),
    { errors: ["QC2103"] },
  ),
  graphCase("layer normalization without a quantizer behind it", (g) => [layerNorm(g, x(g, [3, 7]), 7)], {
    errors: ["QC2107"],
  }),
  graphCase(
    "layer normalization whose output grid is too fine",
    (g) => [g.q(layerNorm(g, g.dq(g.input([2, 30]), 0.1, 3), 30), 1e-9, 0, { type: "int16" })],
    { errors: ["QC2112"] },
  ),
  graphCase("layer normalization, decomposed", (g) =>
    y(g, affine(g, decomposed(g, x(g, [2, 5, 24])), 24), 0.03, 120),
  ),
  graphCase("layer normalization, decomposed over two axes", (g) =>
    y(g, affine(g, decomposed(g, x(g, [2, 3, 4, 6]), [2, 3]), 3, [3, 1, 1]), 0.03, 120),
  ),
  graphCase("layer normalization over the second of three axes, decomposed", (g) =>
    y(g, affine(g, decomposed(g, x(g, [2, 8, 5]), [1]), 8, [8, 1]), 0.03, 120),
  ),
  graphCase("layer normalization, as Keras writes it", (g) => {
    const t = x(g, [3, 12]);
    const mean = g.op("ReduceMean", [t, g.ints([1])]);
    const d = g.op("Sub", [t, mean]);
    const variance = g.op("ReduceMean", [g.op("Mul", [d, d]), g.ints([1])]);
    const root = g.op("Reciprocal", [g.op("Sqrt", [g.op("Add", [variance, f(g, 1e-3)])])]);
    const gain = g.op("Mul", [root, vector(g, gains(12))]);
    const shift = g.op("Sub", [vector(g, biases(12)), g.op("Mul", [mean, gain])]);
    return y(g, g.op("Add", [g.op("Mul", [t, gain]), shift]), 0.03, 120);
  }),
  graphCase(
    "RMS normalization",
    (g) => y(g, g.op("RMSNormalization", [x(g, [4, 20]), vector(g, gains(20))]), 0.03, 120),
    { opset: 23 },
  ),
  graphCase("RMS normalization, decomposed", (g) => {
    const t = x(g, [4, 20]);
    const mean = g.op("ReduceMean", [g.op("Pow", [t, f(g, 2)]), g.ints([-1])]);
    const root = g.op("Sqrt", [g.op("Add", [mean, f(g, 1e-6)])]);
    return y(g, g.op("Mul", [vector(g, gains(20)), g.op("Mul", [t, g.op("Reciprocal", [root])])]), 0.03, 120);
  }),
  graphCase("RMS normalization by 1 / root", (g) => {
    const t = x(g, [4, 20]);
    const mean = g.op("ReduceMean", [g.op("Mul", [t, t]), g.ints([-1])]);
    const root = g.op("Div", [f(g, 1), g.op("Sqrt", [g.op("Add", [f(g, 1e-6), mean])])]);
    return y(g, g.op("Mul", [root, t]), 0.03, 120);
  }),
  graphCase("RMS normalization by power −1/2", (g) => {
    const t = x(g, [4, 20]);
    const mean = g.op("ReduceMean", [g.op("Pow", [t, f(g, 2)]), g.ints([-1])]);
    return y(g, g.op("Mul", [t, g.op("Pow", [g.op("Add", [mean, f(g, 1e-6)]), f(g, -0.5)])]), 0.03, 120);
  }),
  graphCase(
    "RMS normalization of an int16 input, fractional grid",
    (g) => {
      const t = g.dq(g.input([3, 33], "int16"), 0.0003, 12, { type: "int16" });
      return [g.q(g.op("RMSNormalization", [t, vector(g, gains(33))]), 0.0001, 0, { type: "int16" })];
    },
    { opset: 23 },
  ),
  graphCase("instance normalization", (g) =>
    y(g, g.op("InstanceNormalization", [x(g), vector(g, gains(4)), vector(g, biases(4))]), 0.03, 120),
  ),
  graphCase("instance normalization of a convolution", (g) => {
    const conv = g.fq(g.op("Conv", [x(g), g.weights([8, 4, 3, 3])]), 0.05, 110);
    return y(g, g.op("InstanceNormalization", [conv, vector(g, gains(8)), vector(g, biases(8))]), 0.03, 120);
  }),
  graphCase("group normalization", (g) => {
    const parameters = [vector(g, gains(8)), vector(g, biases(8))];
    return y(
      g,
      g.op("GroupNormalization", [x(g, [2, 8, 3, 5]), ...parameters], { num_groups: 2 }),
      0.03,
      120,
    );
  }),
  graphCase(
    "group normalization, parameters per group",
    (g) => {
      const parameters = [vector(g, gains(2)), vector(g, biases(2))];
      return y(
        g,
        g.op("GroupNormalization", [x(g, [2, 8, 3, 5]), ...parameters], { num_groups: 2 }),
        0.03,
        120,
      );
    },
    { opset: 18 },
  ),
  graphCase("group normalization as PyTorch writes it", (g) => {
    const rows = g.op("Reshape", [x(g, [2, 8, 3, 5]), g.ints([0, 2, -1])]);
    const unit = g.op("InstanceNormalization", [rows, vector(g, [1, 1]), vector(g, [0, 0])]);
    return y(g, affine(g, g.op("Reshape", [unit, g.ints([2, 8, 3, 5])]), 8, [8, 1, 1]), 0.03, 120);
  }),
  graphCase("mean of a layer normalization without a quantizer", (g) =>
    y(g, g.op("ReduceMean", [layerNorm(g, x(g, [1, 16, 48]), 48), g.ints([1])]), 0.02, 120),
  ),
];
