/** Scales along every axis, broadcasts along every axis, and exact ties. */
import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, many, x } from "./case.ts";

const shape = [2, 3, 6, 5];
const scales = (n: number) => many(n, (i) => Math.fround(0.1 * (i + 1)));
const along = (g: GraphBuilder, axis: number) =>
  g.fq(
    x(g, shape),
    scales(shape[axis]!),
    many(shape[axis]!, () => 9),
    { axis },
  );
const axes = [0, 1, 2, 3];
const twoByTwo = { kernel_shape: [2, 2] };
const int16 = { type: "int16" } as const;

export const axisCases: readonly GraphCase[] = [
  ...axes.map((axis) =>
    graphCase(`scales along axis ${axis}: requantized, relu, sum, output`, (g) => {
      const a = along(g, axis);
      return [
        a,
        g.q(a, 0.1, 3),
        g.q(g.op("Relu", [a]), 0.1, 3),
        g.q(g.op("Add", [a, x(g, shape)]), 0.2, 3),
        g.q(g.op("ReduceMean", [a, g.ints([axis === 0 ? 1 : 0])], { keepdims: 0 }), 0.1, 3),
      ];
    }),
  ),
  ...[0, 1].map((axis) =>
    graphCase(`scales along axis ${axis} under a max pool`, (g) => [
      g.q(g.op("MaxPool", [along(g, axis)], twoByTwo), 0.1, 4),
    ]),
  ),
  ...[2, 3].map((axis) =>
    graphCase(
      `scales along axis ${axis} under a max pool that keeps the shape`,
      (g) => [g.q(g.op("MaxPool", [along(g, axis)], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }), 0.1, 4)],
      { errors: ["QC2103"] },
    ),
  ),
  graphCase("concat into a quantizer per channel", (g) => [
    g.q(
      g.op("Concat", [x(g, [2, 3, 6, 5]), along(g, 1), x(g, [2, 2, 6, 5], 0.03, 7)], { axis: 1 }),
      scales(8),
      many(8, () => 9),
      { axis: 1 },
    ),
    g.q(g.op("Concat", [x(g, shape), x(g, shape)], { axis: 2 }), scales(3), [9, 9, 9], { axis: 1 }),
  ]),
  graphCase("gemm into scales per column", (g) => [
    g.q(g.op("Gemm", [x(g, [4, 8]), g.weights([8, 3])]), scales(3), [9, 9, 9], { axis: 1 }),
  ]),
  graphCase("outputs in float, moved, scales per channel", (g) => {
    const c = () => g.op("Conv", [x(g, [2, 8, 6, 5]), g.weights([3, 8, 1, 1], scales(3))]);
    return [g.op("Transpose", [c()], { perm: [0, 2, 3, 1] }), g.op("Reshape", [c(), g.ints([2, 3, 30])])];
  }),
  ...[[2, 1, 1, 1], [1, 3, 1, 1], [1, 1, 6, 1], [1, 1, 1, 5], [6, 5], [3, 6, 5], [1], [2, 3, 1, 5]].map((s) =>
    graphCase(`[${s}] broadcast to [${shape}]`, (g) => {
      const a = x(g, shape);
      const c = g.fq(g.op("Conv", [a, g.weights([3, 3, 1, 1])]), 0.3, 7);
      return [a, c].flatMap((t) => [
        g.q(g.op("Mul", [x(g, s, 0.03, 7), t]), 0.1, 9),
        g.q(g.op("Add", [t, x(g, s, 0.03, 7)]), 0.1, 9),
      ]);
    }),
  ),
  ...[[0], [1], [2], [3], [0, 1], [1, 2], [0, 3], [1, 2, 3]].map((over) =>
    graphCase(`mean and sum over ${over}`, (g) => {
      const c = g.fq(g.op("Conv", [x(g, shape), g.weights([5, 3, 1, 1])]), 0.3, 7);
      return [x(g, shape), c].flatMap((t) => [
        g.q(g.op("ReduceMean", [t, g.ints(over)], { keepdims: 1 }), 0.1, 3),
        g.q(g.op("ReduceSum", [t, g.ints(over)], { keepdims: 0 }), 0.1, 3),
      ]);
    }),
  ),
  graphCase("ties of both parities in sums, products and convs", (g) => {
    const a = (scale: number, zero: number) => x(g, [1, 8, 6, 6], scale, zero);
    return [
      g.q(g.op("Add", [a(0.5, 3), a(0.5, 4)]), 1, 1),
      g.q(g.op("Add", [a(0.5, 3), a(0.25, 4)]), 0.5, 2),
      g.q(g.op("Add", [a(0.75, 3), a(0.25, 4)]), 1.5, 2),
      g.q(g.op("Mul", [a(0.5, 3), a(0.5, 4)]), 0.5, 2),
      g.q(g.op("Conv", [a(0.5, 3), g.weights([3, 8, 1, 1], 0.5)]), 0.5, 1),
      g.q(g.op("Conv", [a(0.5, 3), g.weights([3, 8, 3, 3], [0.5, 0.25, 0.75])]), 8, 1),
    ];
  }),
  graphCase("ties in averages", (g) =>
    [6, 10, 12, 36, 49, 100].map((n) => g.q(g.op("GlobalAveragePool", [x(g, [1, 5, 1, n], 0.1, 3)]), 0.1, 4)),
  ),
  graphCase("ties of 16-bit tensors", (g) => {
    const a = g.dq(g.input([1, 50], "int16"), 0.5, 3, int16);
    const b = g.dq(g.input([1, 50], "int16"), 0.25, -3, int16);
    return [
      g.q(g.op("Add", [a, b]), 0.5, 1, int16),
      g.q(a, 1, 1, int16),
      g.q(g.op("ReduceMean", [a, g.ints([1])]), 0.5, 1, int16),
      g.q(g.op("Mul", [a, b]), 8192, 1, int16),
    ];
  }),
  graphCase("clips beyond the quantizer's range", (g) => [
    g.q(g.op("Clip", [x(g), f(g, 100), f(g, 200)]), 0.1, 8),
    g.q(g.op("Clip", [x(g), f(g, -300), f(g, -200)]), 0.1, 8),
    g.q(g.op("Clip", [x(g), f(g, 0.04), f(g, 0.06)]), 0.001, 8),
  ]),
  graphCase("biases and scales at the ends of float32 and int32", (g) => {
    const b = g.dq(g.constant("int32", [3], [1, 2147483647, -2147483648]), 0.0013, 0, { type: "int32" });
    const w = () => g.weights([3, 4, 1, 1]);
    return [
      g.q(g.op("Conv", [x(g), w(), b]), 2, 9),
      g.q(g.op("Conv", [x(g), w(), g.floats([3], [1e30, -1e38, 1e-40])]), 2, 9),
      g.q(g.op("Conv", [x(g, [1, 4, 6, 6], 1e-30), g.weights([3, 4, 1, 1], 1e-8)]), 1e-38, 9),
      g.q(g.op("Conv", [x(g, [1, 4, 6, 6], 1e30), g.weights([3, 4, 1, 1], 1e8)]), 1e38, 9),
    ];
  }),
  graphCase("batch norm whose scale is quantized, and its bias in 32 bits", (g) => {
    const scale = g.dq(g.constant("int8", [4], [64, -100, 127, 3]), 0.011, 0, { type: "int8" });
    const bias = g.dq(g.constant("int32", [4], [1000, -999_999, 0, 123_456_789]), 1e-6, 0, { type: "int32" });
    const statistics = [g.floats([4], [0.1, -0.2, 0.3, 0]), g.floats([4], [0.5, 1, 1.5, 2])];
    return [g.q(g.op("Relu", [g.op("BatchNormalization", [x(g), scale, bias, ...statistics])]), 0.07, 9)];
  }),
];
