/** Sums, products, clamps and curves. */
import { f, type GraphCase, graphCase, image, many, x, y } from "./case.ts";

/** Max and Min of two quantized tensors. */
const extremes: readonly GraphCase[] = ["Max", "Min"].flatMap((pick) => [
  graphCase(`${pick} of two grids`, (g) => y(g, g.op(pick, [x(g), x(g, image, 0.33, 7)]))),
  graphCase(`${pick} on one grid, before a convolution`, (g) => {
    const w = g.weights([3, 4, 3, 3]);
    return y(g, g.op("Conv", [g.op(pick, [x(g), x(g)]), w]), 0.3);
  }),
  graphCase(`${pick} on one grid, as it is`, (g) => [g.op(pick, [x(g), x(g, [4, 1, 6])])]),
  graphCase(`${pick} of three, broadcast, with a constant per channel`, (g) => {
    const c = g.floats([4, 1, 1], [-1, 0.5, 2, 7]);
    return y(g, g.op(pick, [x(g), x(g, [1, 4, 1, 1], 0.33, 7), c]));
  }),
  graphCase(`${pick} of accumulators and curves, then what keeps order`, (g) => {
    const conv = g.op("Conv", [x(g), g.weights([4, 4, 1, 1])]);
    const e = g.op(pick, [g.op("Relu", [conv]), g.op("HardSwish", [x(g, image, 0.03, 90)])]);
    const t = g.op("Transpose", [g.op("Mul", [g.op("Add", [e, f(g, 0.3)]), f(g, 1.7)])], {
      perm: [0, 2, 3, 1],
    });
    return [...y(g, t, 0.31), g.q(g.op("Sigmoid", [g.op(pick, [x(g), x(g, image, 0.02, 5)])]), 1 / 255, 0)];
  }),
  graphCase(`${pick} to a grid per channel, of sixteen bits`, (g) => {
    const e = g.op(pick, [x(g), g.fq(x(g, image, 0.01, 5), 0.0007, -3, { type: "int16" })]);
    return [g.q(e, 0.0009, 11, { type: "int16" })];
  }),
  graphCase(
    `${pick} of two grids without a quantizer`,
    (g) => {
      const w = g.weights([3, 4, 3, 3]);
      return y(g, g.op("Conv", [g.op(pick, [x(g), x(g, image, 0.33, 7)]), w]), 0.3);
    },
    { errors: ["QC2101"] },
  ),
]);

export const elementwiseCases: readonly GraphCase[] = [
  ...extremes,
  graphCase("add, differing scales, ties", (g) =>
    y(g, g.op("Add", [x(g, image, 0.5, 3), x(g, image, 0.25, 9)]), 1, 7),
  ),
  graphCase("add, [1,C,1,1] activation as second operand", (g) =>
    y(g, g.op("Add", [x(g), x(g, [1, 4, 1, 1], 0.3, 4)])),
  ),
  graphCase("add, [C,1,1] activation as first operand", (g) =>
    y(g, g.op("Add", [x(g, [4, 1, 1], 0.3, 4), x(g)])),
  ),
  graphCase("mul, [1,C,1,1] activation (squeeze and excite)", (g) =>
    y(g, g.op("Mul", [x(g), x(g, [1, 4, 1, 1], 0.003, 0)])),
  ),
  graphCase("add, both operands broadcast", (g) =>
    y(g, g.op("Add", [x(g, [1, 4, 1, 6]), x(g, [1, 1, 6, 1], 0.3, 4)])),
  ),
  graphCase("sub, scalar activation on the left", (g) => y(g, g.op("Sub", [x(g, [1], 0.3, 4), x(g)]))),
  graphCase("sub, constants on either side", (g) => {
    const a = x(g);
    return [
      g.q(g.op("Sub", [f(g, 1.3), a]), 0.1, 100),
      g.q(g.op("Sub", [a, g.floats([4, 1, 1], [1, 2, 3, -4])]), 0.1, 100),
      g.q(g.op("Sub", [g.floats([1, 4, 1, 1], [1, 2, 3, -4]), a]), 0.1, 100),
    ];
  }),
  graphCase("div by constants", (g) => {
    const a = x(g);
    return [
      g.q(g.op("Div", [a, f(g, -3)]), 0.1, 100),
      g.q(g.op("Div", [a, g.floats([6], [1, 2, 3, -4, 0.1, 1000])]), 0.1, 100),
    ];
  }),
  graphCase("constant divided by activation", (g) =>
    y(g, g.op("Div", [f(g, 3), g.op("Add", [g.op("Relu", [x(g)]), f(g, 0.01)])])),
  ),
  graphCase("div of two activations", (g) => y(g, g.op("Div", [x(g), x(g)])), { errors: ["QC2111"] }),
  graphCase("mul with itself, add to itself, less itself", (g) => {
    const a = x(g);
    return ["Mul", "Add", "Sub", "Max"].map((op) => g.q(g.op(op, [a, a]), 0.3, 99));
  }),
  graphCase("mul, scales negative and zero", (g) => {
    const a = x(g);
    return [
      g.q(g.op("Mul", [a, g.floats([4, 1, 1], [-1, 0, 2, -0.001])]), 0.1, 100),
      g.q(g.op("Mul", [a, f(g, 0)]), 0.1, 100),
      g.q(g.op("Mul", [g.op("Relu", [a]), f(g, -2)]), 0.1, 100),
      g.q(g.op("Mul", [g.op("Relu", [a]), f(g, 0)]), 0.1, 100),
    ];
  }),
  graphCase(
    "relu, then per-channel mul",
    (g) => y(g, g.op("Mul", [g.op("Relu", [x(g)]), g.floats([4, 1, 1], [-1, 0.5, 2, -0.001])])),
    { errors: ["QC2101"] },
  ),
  graphCase("relu before add, twice", (g) =>
    y(g, g.op("Add", [g.op("Relu", [x(g)]), g.op("Relu", [x(g, image, 0.03, 200)])])),
  ),
  graphCase("relu before add to itself", (g) => {
    const a = x(g);
    return y(g, g.op("Add", [g.op("Relu", [a]), a]));
  }),
  graphCase(
    "clip before add, off the grid",
    (g) => y(g, g.op("Add", [g.op("Clip", [x(g), f(g, -0.33), f(g, 1.17)]), x(g, image, 0.03, 200)])),
    { errors: ["QC2101"] },
  ),
  graphCase("clip with lo > hi", (g) => {
    const a = x(g);
    return [
      g.q(g.op("Clip", [a, f(g, 3), f(g, -2)]), 0.1, 100),
      g.q(g.op("Clip", [g.op("Relu", [a]), f(g, 3), f(g, -2)]), 0.1, 100),
      g.q(g.op("Clip", [g.op("Clip", [a, f(g, 3), f(g, 5)]), f(g, -2), f(g, 2)]), 0.1, 100),
      g.q(g.op("Relu", [g.op("Clip", [a, f(g, -5), f(g, -3)])]), 0.1, 100),
    ];
  }),
  graphCase("clip with one bound, with infinite bounds", (g) => {
    const a = x(g);
    return [
      g.q(g.op("Clip", [a, f(g, 3)]), 0.1, 100),
      g.q(g.op("Clip", [a, "", f(g, 3)]), 0.1, 100),
      g.q(g.op("Clip", [a, f(g, Number.NEGATIVE_INFINITY), f(g, 3)]), 0.1, 100),
      g.q(g.op("Clip", [a]), 0.1, 100),
    ];
  }),
  graphCase("min and max with constants", (g) => {
    const a = x(g);
    return [
      g.q(g.op("Max", [f(g, 0.77), a]), 0.1, 100),
      g.q(g.op("Min", [a, g.floats([1, 1, 1, 1], 0.77)]), 0.1, 100),
    ];
  }),
  graphCase("max with a constant per channel", (g) =>
    y(g, g.op("Max", [x(g), g.floats([4, 1, 1], [0, 1, 2, 3])])),
  ),
  graphCase("curves of positive numbers", (g) => {
    const a = g.op("Add", [g.op("Relu", [x(g, [1, 64], 0.06, 130)]), f(g, 0.01)]);
    return ["Sqrt", "Log", "Reciprocal"].map((op) => g.q(g.op(op, [a]), 0.02, 100));
  }),
  graphCase("constant broadcasts the activation", (g) => {
    const a = x(g, [1, 1, 4, 4]);
    return [
      g.q(g.op("Add", [a, g.floats([3, 1, 1], [1, 2, 3])]), 0.1, 100),
      g.q(g.op("Add", [a, g.floats([3, 1, 1], 2)]), 0.1, 100),
      g.q(g.op("Mul", [g.op("HardSwish", [a]), g.floats([3, 1, 1], 2)]), 0.1, 100),
    ];
  }),
  graphCase("constant broadcasts the activation before a pool, a conv, an output", (g) => {
    const a = g.op("Mul", [x(g, [1, 1, 4, 4]), g.floats([3, 1, 1], 2)]);
    return [
      g.q(g.op("MaxPool", [a], { kernel_shape: [2, 2] }), 0.1, 100),
      g.q(g.op("AveragePool", [a], { kernel_shape: [2, 2] }), 0.1, 100),
      g.q(g.op("Conv", [a, g.weights([2, 3, 2, 2])]), 0.1, 100),
      g.q(g.op("Softmax", [a], { axis: -1 }), 1 / 256, 0),
      g.op("Relu", [a]),
    ];
  }),
  graphCase("constant broadcasts the activation before matmul", (g) => {
    const a = g.op("Mul", [x(g, [1, 5]), g.floats([3, 1], 2)]);
    return [g.q(g.op("MatMul", [a, g.weights([5, 2])]), 0.1, 100)];
  }),
  graphCase("quantized constant tensor as an operand", (g) =>
    y(g, g.op("Add", [x(g, [1, 5, 8]), g.dq(g.noise("int8", [1, 5, 8]), 0.03, 4, { type: "int8" })])),
  ),
  graphCase(
    "float constant tensor as an operand",
    (g) =>
      y(
        g,
        g.op("Add", [
          x(g, [1, 5, 8]),
          g.floats(
            [5, 8],
            many(40, (i) => Math.sin(i)),
          ),
        ]),
      ),
    { errors: ["QC2102"] },
  ),
  graphCase("sum of three", (g) => y(g, g.op("Sum", [x(g), x(g, image, 0.3, 4), x(g, image, 0.5, 4)]))),
  graphCase("sum of six, one subtracted, with relu", (g) => {
    const terms = Array.from({ length: 5 }, (_, i) => x(g, image, 0.013 + 0.0171 * i, 9 * i));
    return y(g, g.op("Relu", [g.op("Sub", [g.op("Sum", [x(g), ...terms.slice(0, 4)]), terms[4]!])]), 0.31, 7);
  }),
  graphCase("sum of three into 16 bits", (g) => [
    g.q(g.op("Sum", [x(g), x(g, image, 0.3, 4), x(g, image, 0.5, 4)]), 0.0007, 0, { type: "int16" }),
  ]),
  graphCase("sums chained with one operand twice", (g) => {
    const a = x(g);
    const b = x(g, image, 0.3, 4);
    return y(g, g.op("Sub", [g.op("Add", [a, b]), a]));
  }),
  graphCase("curves", (g) => {
    const a = x(g, [1, 64], 0.06, 130);
    return [
      ...["HardSwish", "Sigmoid", "Tanh", "Abs", "Exp", "Softplus", "Erf", "Elu", "Selu", "Neg", "Floor"],
      ...["Ceil", "Sign", "Round", "Softsign", "LeakyRelu", "Celu", "HardSigmoid", "Mish", "Sin", "Cos"],
    ].map((op) => g.q(g.op(op, [a]), 0.02, 100));
  }),
  graphCase("silu as exported; gelu as exported", (g) => {
    const a = x(g, [1, 64], 0.06, 130);
    const erf = g.op("Erf", [g.op("Div", [a, f(g, Math.SQRT2)])]);
    return [
      g.q(g.op("Mul", [a, g.op("Sigmoid", [a])]), 0.02, 10),
      g.q(g.op("Mul", [g.op("Mul", [a, g.op("Add", [erf, f(g, 1)])]), f(g, 0.5)]), 0.02, 10),
    ];
  }),
  graphCase(
    "prelu per channel",
    (g) => y(g, g.op("PRelu", [x(g), g.floats([4, 1, 1], [0.1, 0.2, -0.3, 2])])),
    { errors: ["QC2111"] },
  ),
  graphCase("int16 add and mul", (g) => {
    const a = g.dq(g.input([1, 40], "int16"), 0.001, 5, { type: "int16" });
    const b = g.dq(g.input([1, 40], "uint16"), 0.0023, 20000, { type: "uint16" });
    return [
      g.q(g.op("Add", [a, b]), 0.003, -7, { type: "int16" }),
      g.q(g.op("Mul", [a, f(g, 0.77)]), 0.003, -7, { type: "int16" }),
    ];
  }),
  graphCase("int16 product", (g) => {
    const a = g.dq(g.input([1, 40], "int16"), 0.001, 0, { type: "int16" });
    const b = g.dq(g.input([1, 40], "int16"), 0.0023, 0, { type: "int16" });
    return [g.q(g.op("Mul", [a, b]), 0.05, 0, { type: "int16" })];
  }),
  graphCase("requantize between types and signs", (g) => {
    const a = x(g);
    return [
      g.q(a, 0.1, 0, { type: "int8" }),
      g.q(a, 0.1, 128),
      g.q(a, 0.05, 0, { type: "int16" }),
      g.q(a, 0.2, 3),
      g.q(a, 25.6, 3),
      g.q(a, 1e-4, 255),
    ];
  }),
  graphCase("requantize per channel", (g) => [
    g.q(x(g), [0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1], { axis: 1 }),
    g.q(
      x(g),
      [0.1, 0.2, 0.3, 0.4, 0.01, 7],
      many(6, () => 1),
      { axis: 3 },
    ),
  ]),
  graphCase(
    "requantize with zero points per channel",
    (g) => [g.q(x(g), [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4], { axis: 1 })],
    { errors: ["QC2105"] },
  ),
  graphCase(
    "relu, then quantizers per channel",
    (g) => [g.q(g.op("Clip", [x(g), f(g, 0), f(g, 6)]), [0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1], { axis: 1 })],
    { errors: ["QC2105"] },
  ),
];
