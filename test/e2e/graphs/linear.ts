/** Convolutions, matmuls and dense layers. */
import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, image, many, x, y } from "./case.ts";

const conv3 = (g: GraphBuilder, t: string, attributes = {}) =>
  g.op("Conv", [t, g.weights([5, 4, 3, 3])], { pads: [1, 1, 1, 1], ...attributes });

/** Weights of so many bits on bytes: one product each of a few rows, of one row, and convolutions. */
const wide = (bits: number, errors?: readonly string[]): GraphCase =>
  graphCase(
    `weights of ${bits} bits`,
    (g) => {
      const weights = (shape: readonly number[]): string => {
        const size = shape.reduce((a, b) => a * b, 1);
        const most = 2 ** (bits - 1) - 1;
        const q = many(size, (i) => Math.floor(Math.sin(7 * i + 1) * most));
        return g.dq(g.constant("int32", shape, q), 2 ** -bits, 0, { type: "int32" });
      };
      const pixels = x(g);
      return [
        ...y(g, g.op("MatMul", [x(g, [9, 16]), weights([16, 12])])),
        ...y(g, g.op("MatMul", [x(g, [1, 64]), weights([64, 12])])),
        ...y(g, g.op("Conv", [pixels, weights([5, 4, 3, 3])])),
        ...y(g, g.op("Conv", [pixels, weights([4, 1, 3, 3])], { group: 4 })),
      ];
    },
    errors ? { errors } : { saturates: bits < 10 },
  );

export const linearCases: readonly GraphCase[] = [
  ...[9, 10, 12, 16].map((bits) => wide(bits)),
  wide(18, new Array<string>(4).fill("QC2114")),
  graphCase("conv, weights and outputs per channel", (g) => [
    g.q(
      g.op("Conv", [x(g), g.weights([5, 4, 3, 3], [0.01, 0.02, 0.001, 0.3, 0.005])]),
      [0.1, 0.2, 0.3, 0.05, 0.9],
      [7, 7, 7, 7, 7],
      { axis: 1 },
    ),
  ]),
  graphCase(
    "conv over an input with scales per channel is depthwise-exact or diagnosed",
    (g) => {
      const t = g.dq(g.input(image), [0.1, 0.2, 0.3, 0.05], [1, 2, 3, 4], { axis: 1 });
      return y(g, g.op("Conv", [t, g.weights([4, 1, 3, 3])], { group: 4 }), 1);
    },
    { errors: ["QC2103"] },
  ),
  graphCase("conv, float bias, relu", (g) =>
    y(
      g,
      g.op("Relu", [g.op("Conv", [x(g), g.weights([5, 4, 1, 1]), g.floats([5], [0.3, -2, 0, 7.7, 1e-9])])]),
      0.2,
    ),
  ),
  graphCase("conv, negative batch norm, clip", (g) => {
    const bn = g.op("BatchNormalization", [
      conv3(g, x(g)),
      g.floats([5], [-1, 0.5, -0.01, 0, 3]),
      g.floats([5], [0.2, -1, 3, 4, 0]),
      g.floats([5], [0.5, 0.1, 0, -3, 0]),
      g.floats([5], [1, 2, 3, 0.01, 9]),
    ]);
    return y(g, g.op("Clip", [bn, f(g, -1.5), f(g, 6)]));
  }),
  graphCase("relu before a quantizer before conv with padding", (g) =>
    y(g, conv3(g, g.fq(g.op("Relu", [x(g)]), 0.1, 0)), 0.5),
  ),
  graphCase("relu without quantizer before conv with padding", (g) =>
    y(g, conv3(g, g.op("Relu", [x(g)])), 0.5),
  ),
  graphCase(
    "clip off the grid before conv",
    (g) => y(g, conv3(g, g.op("Clip", [x(g), f(g, -0.123), f(g, 3.3)])), 0.5),
    { errors: ["QC2101"] },
  ),
  graphCase("1-D conv, dilated", (g) =>
    y(
      g,
      g.op("Conv", [x(g, [1, 4, 20]), g.weights([6, 4, 3])], { dilations: [2], pads: [3, 1], strides: [2] }),
      0.3,
    ),
  ),
  graphCase("1-D depthwise conv", (g) =>
    y(g, g.op("Conv", [x(g, [1, 4, 20]), g.weights([4, 1, 5])], { group: 4, pads: [2, 2] }), 0.3),
  ),
  graphCase("3-D conv", (g) => y(g, g.op("Conv", [x(g, [1, 2, 4, 4, 4]), g.weights([3, 2, 2, 2, 2])]), 0.3), {
    errors: ["QC2156"],
  }),
  graphCase(
    "conv by weights that are an activation",
    (g) => y(g, g.op("Conv", [x(g), g.dq(g.input([3, 4, 3, 3]), 0.05, 64)]), 0.5),
    { errors: ["QC2155"] },
  ),
  graphCase("2-D conv, dilated, strided, lopsided padding", (g) =>
    y(g, conv3(g, x(g, [1, 4, 9, 7]), { dilations: [2, 1], strides: [2, 3], pads: [0, 2, 3, 1] }), 0.3),
  ),
  graphCase("conv, auto_pad SAME_UPPER and SAME_LOWER", (g) => {
    const t = x(g);
    return ["SAME_UPPER", "SAME_LOWER", "VALID"].map((auto_pad) =>
      g.q(g.op("Conv", [t, g.weights([3, 4, 2, 3])], { auto_pad, strides: [2, 1] }), 0.4, 90),
    );
  }),
  graphCase("grouped conv", (g) =>
    y(g, g.op("Conv", [x(g, [1, 6, 5, 5]), g.weights([4, 3, 3, 3])], { group: 2 }), 0.3),
  ),
  graphCase("depth multiplier 2", (g) =>
    y(g, g.op("Conv", [x(g), g.weights([8, 1, 3, 3])], { group: 4, pads: [1, 1, 1, 1] }), 0.1),
  ),
  graphCase("depthwise, stride 2, dilated, int8", (g) => {
    const t = g.dq(g.input([1, 16, 9, 9], "int8"), 0.1, -3, { type: "int8" });
    const c = g.op("Conv", [t, g.weights([16, 1, 3, 3])], { group: 16, strides: [2, 2], dilations: [2, 2] });
    return [g.q(c, 0.1, -5, { type: "int8" })];
  }),
  graphCase("conv with uint8 weights of zero point 120", (g) => {
    const w = g.dq(
      g.constant(
        "uint8",
        [5, 4, 3, 3],
        many(180, (i) => 60 + ((i * 37) % 120)),
      ),
      0.02,
      120,
    );
    return y(g, g.op("Conv", [x(g), w], { pads: [1, 1, 1, 1] }), 0.5);
  }),
  graphCase("conv with weights whose zero points differ per channel", (g) => {
    const w = g.dq(
      g.constant(
        "uint8",
        [3, 4, 3, 3],
        many(108, (i) => [90, 0, 192][Math.floor(i / 36)]! + ((i * 37) % 64)),
      ),
      [0.02, 0.01, 0.03],
      [120, 0, 255],
      { axis: 0 },
    );
    return y(g, g.op("Conv", [x(g), w], { pads: [1, 1, 1, 1] }), 0.5);
  }),
  graphCase("conv from int16, into uint16", (g) => {
    const t = g.dq(g.input(image, "int16"), 0.001, 5, { type: "int16" });
    const c = g.op("Conv", [t, g.weights([3, 4, 2, 2])]);
    return [g.q(c, 0.0007, 30000, { type: "uint16" })];
  }),
  graphCase(
    "gemm whose accumulator fits 32 bits only while its operand is signed",
    (g) => {
      const w = g.dq(g.constant("int8", [70000, 2], 127), 0.01, 0, { type: "int8" });
      const t = g.dq(g.input([1, 70000], "int8"), 0.1, 0, { type: "int8" });
      return [g.q(g.op("MatMul", [t, w]), 900, 0, { type: "int8" })];
    },
    { errors: ["QC3001"] },
  ),
  graphCase("wide and deep conv of every tile remainder", (g) => {
    const t = x(g, [1, 19, 5, 7]);
    const c = g.fq(g.op("Conv", [t, g.weights([37, 19, 1, 1])]), 0.9, 128);
    return y(g, g.op("Conv", [c, g.weights([9, 37, 3, 3])], { pads: [1, 0, 1, 2] }), 1.7);
  }),
  graphCase("conv as output", (g) => [conv3(g, x(g))]),
  graphCase("conv with bias as output, per channel", (g) => [
    g.op("Conv", [
      x(g),
      g.weights([5, 4, 3, 3], [0.01, 0.02, 0.001, 0.3, 0.005]),
      g.floats([5], [0.3, -2, 0, 7.7, 1e-9]),
    ]),
  ]),
  graphCase("gemm as output", (g) => [
    g.op("Gemm", [x(g, [3, 8]), g.weights([5, 8]), g.floats([5], [0.1, 0.2, -0.7, 99, 0])], { transB: 1 }),
  ]),
  graphCase("relu of a conv as output", (g) => [g.op("Relu", [conv3(g, x(g))])], { errors: ["QC2107"] }),
  graphCase("relu as output", (g) => [g.op("Relu", [x(g)])]),
  graphCase("sum as output", (g) => [g.op("Add", [x(g), x(g, image, 0.33, 7)])], { errors: ["QC2107"] }),
  graphCase("sum of one grid as output", (g) => [g.op("Add", [x(g), x(g)])], { errors: ["QC2107"] }),
  graphCase("gemm: transA, alpha, beta, C matrix", (g) =>
    y(
      g,
      g.op("Gemm", [x(g, [8, 3]), g.weights([8, 5]), g.floats([1, 5], [0.1, 0.2, -0.7, 99, 0])], {
        transA: 1,
        alpha: { kind: "float", value: 0.3 },
        beta: { kind: "float", value: -1.5 },
      }),
      0.3,
    ),
  ),
  graphCase(
    "gemm with C per row",
    (g) => y(g, g.op("Gemm", [x(g, [3, 8]), g.weights([8, 5]), g.floats([3, 1], [1, -2, 3])]), 0.3),
    { errors: ["QC2111"] },
  ),
  graphCase("matmul, rank 3 by constant", (g) =>
    y(
      g,
      g.op("MatMul", [
        x(g, [2, 5, 8]),
        g.weights(
          [8, 7],
          many(7, (i) => 0.01 + i / 100),
          { axis: 1 },
        ),
      ]),
      0.3,
    ),
  ),
  graphCase("matmul, rank 4 by constant", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 3, 5, 8]), g.weights([8, 7])]), 0.3),
  ),
  graphCase("matmul, vector by matrix", (g) => y(g, g.op("MatMul", [x(g, [8]), g.weights([8, 7])]), 0.3)),
  graphCase("matmul, matrix by vector", (g) => y(g, g.op("MatMul", [x(g, [5, 8]), g.weights([8])]), 0.3)),
  graphCase(
    "matmul with scales along K is diagnosed",
    (g) =>
      y(
        g,
        g.op("MatMul", [
          x(g, [5, 8]),
          g.weights(
            [8, 7],
            many(8, (i) => 0.01 + i / 100),
            { axis: 0 },
          ),
        ]),
        0.3,
      ),
    { errors: ["QC2102"] },
  ),
  graphCase("batch 2", (g) => y(g, conv3(g, x(g, [2, 4, 6, 6])), 0.5)),
  graphCase(
    "symbolic batch of 2",
    (g) => {
      const t = g.dq(g.input(["N", 4, 6, 6]), 0.1, 128);
      const p = g.op("GlobalAveragePool", [g.fq(conv3(g, t), 0.5, 99)]);
      return y(g, g.op("Gemm", [g.op("Flatten", [p]), g.weights([5, 3])]), 0.3);
    },
    { batch: 2 },
  ),
  graphCase("zero weights", (g) => {
    const w = g.dq(g.constant("int8", [3, 4, 1, 1], 0), 0.1, 0, { type: "int8" });
    return y(g, g.op("Conv", [x(g), w, g.floats([3], [1, -2, 100])]), 0.3);
  }),
  graphCase("zero weights as output", (g) => {
    const w = g.dq(g.constant("int8", [3, 4, 1, 1], 0), 0.1, 0, { type: "int8" });
    return [g.op("Conv", [x(g), w, g.floats([3], [1, -2, 100])])];
  }),
  graphCase(
    "batch norm of gamma 0 as output",
    (g) => [
      g.op("BatchNormalization", [
        conv3(g, x(g)),
        g.floats([5], [-1, 0.5, 0, 0, 3]),
        g.floats([5], 1),
        g.floats([5], 0),
        g.floats([5], 1),
      ]),
    ],
    { errors: ["QC2107"] },
  ),
  graphCase(
    "conv → flatten → quantizer",
    (g) => y(g, g.op("Flatten", [g.op("Conv", [x(g), g.weights([3, 4, 1, 1], [0.1, 0.2, 0.3])])]), 2),
    { errors: ["QC2103"] },
  ),
  graphCase("flatten of NCHW before gemm", (g) => {
    const c = g.fq(g.op("Relu", [conv3(g, x(g))]), 0.5, 0);
    return y(g, g.op("Gemm", [g.op("Flatten", [c]), g.weights([180, 6])]), 3);
  }),
  graphCase("conv weights used twice, and transposed for gemm", (g) => {
    const w = g.weights([4, 4]);
    const a = g.fq(g.op("MatMul", [x(g, [3, 4]), w]), 0.2, 120);
    const t = g.op("Transpose", [w], { perm: [1, 0] });
    return y(g, g.op("MatMul", [a, t]), 0.3);
  }),
];
