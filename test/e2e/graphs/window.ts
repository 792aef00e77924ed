/** Pools and means. */
import { f, type GraphCase, graphCase, image, pool, x, y } from "./case.ts";

export const windowCases: readonly GraphCase[] = [
  graphCase("max pool, padded, ceil_mode, dilated", (g) => {
    const a = x(g, [1, 4, 7, 8]);
    return [
      g.q(pool(g, "MaxPool", a, { pads: [1, 1, 1, 1] }), 0.1, 128),
      g.q(pool(g, "MaxPool", a, { ceil_mode: 1 }), 0.2, 128),
      g.q(pool(g, "MaxPool", a, { ceil_mode: 1, pads: [0, 1, 0, 1] }), 0.1, 120),
      g.q(pool(g, "MaxPool", a, { dilations: [2, 2], pads: [2, 2, 2, 2] }), 0.1, 128),
      g.q(pool(g, "MaxPool", a, { auto_pad: "SAME_UPPER" }), 0.1, 128),
    ];
  }),
  graphCase("max pool of a curve", (g) => y(g, pool(g, "MaxPool", g.op("HardSwish", [x(g)]))), {
    errors: ["QC2101"],
  }),
  graphCase("relu and clip around max pool", (g) => {
    const a = x(g, [1, 4, 7, 8]);
    return [
      g.q(pool(g, "MaxPool", g.op("Relu", [a]), { pads: [1, 1, 1, 1] }), 0.1, 0),
      g.q(pool(g, "MaxPool", g.op("Clip", [a, f(g, -0.33), f(g, 1.17)])), 0.1, 30),
      g.q(g.op("Clip", [pool(g, "MaxPool", a), f(g, -0.33), f(g, 1.17)]), 0.1, 30),
    ];
  }),
  graphCase("max pool of negated", (g) => y(g, pool(g, "MaxPool", g.op("Neg", [x(g)]))), {
    errors: ["QC2103"],
  }),
  graphCase("max pool of a conv without quantizer, per channel", (g) =>
    y(
      g,
      pool(
        g,
        "MaxPool",
        g.op("Conv", [x(g), g.weights([3, 4, 1, 1], [0.1, 0.2, 0.3]), g.floats([3], [1, -9, 3])]),
      ),
      2,
    ),
  ),
  graphCase("max pool of quantized tensors without dequantizer", (g) => {
    const q = g.q(g.input([1, 4, 7, 8], "float32"), 0.1, 128);
    return [g.dq(pool(g, "MaxPool", q, { pads: [1, 1, 1, 1] }), 0.1, 128)];
  }),
  graphCase("average pool, padded, count_include_pad, ceil_mode", (g) => {
    const a = x(g, [1, 4, 7, 8]);
    const of = (attributes: object) => g.q(pool(g, "AveragePool", a, attributes), 0.1, 128);
    return [
      of({}),
      of({ pads: [1, 1, 1, 1] }),
      of({ pads: [1, 1, 1, 1], count_include_pad: 1 }),
      of({ ceil_mode: 1 }),
      of({ ceil_mode: 1, pads: [0, 1, 0, 1], count_include_pad: 1 }),
      of({ ceil_mode: 1, pads: [1, 1, 1, 1] }),
      of({ auto_pad: "SAME_LOWER" }),
    ];
  }),
  graphCase("average pool with ties", (g) =>
    y(g, g.op("AveragePool", [x(g, image, 0.5, 0)], { kernel_shape: [2, 3] }), 0.5, 1),
  ),
  graphCase(
    "clip off the grid before average pool",
    (g) => y(g, pool(g, "AveragePool", g.op("Clip", [x(g), f(g, -0.33), f(g, 1.17)]))),
    { errors: ["QC2101"] },
  ),
  graphCase("relu before average pool", (g) =>
    y(g, pool(g, "AveragePool", g.op("Relu", [x(g)]), { pads: [1, 1, 1, 1], count_include_pad: 1 })),
  ),
  graphCase("relu6 of a quantized tensor before a global average", (g) => {
    const a = g.fq(g.op("Clip", [x(g), f(g, 0), f(g, 6)]), 0.023, 0);
    return y(g, g.op("GlobalAveragePool", [a]), 0.02, 5);
  }),
  graphCase("1-D pools", (g) => {
    const a = x(g, [1, 4, 11]);
    return [
      g.q(g.op("MaxPool", [a], { kernel_shape: [3], strides: [2], ceil_mode: 1 }), 0.1, 128),
      g.q(g.op("AveragePool", [a], { kernel_shape: [3], strides: [2], pads: [1, 1] }), 0.1, 128),
      g.q(g.op("GlobalAveragePool", [a]), 0.1, 128),
      g.q(g.op("GlobalMaxPool", [a]), 0.1, 128),
    ];
  }),
  graphCase(
    "3-D max pool",
    (g) => y(g, g.op("MaxPool", [x(g, [1, 2, 4, 4, 4])], { kernel_shape: [2, 2, 2] })),
    { errors: ["QC2156"] },
  ),
  graphCase(
    "3-D average pool",
    (g) => y(g, g.op("AveragePool", [x(g, [1, 2, 4, 4, 4])], { kernel_shape: [2, 2, 2] })),
    { errors: ["QC2156"] },
  ),
  graphCase(
    "average pool of a very large window, padded by half",
    (g) =>
      y(g, g.op("AveragePool", [x(g, [1, 1, 40, 40])], { kernel_shape: [31, 31], pads: [15, 15, 15, 15] })),
    { errors: ["QC3001"] },
  ),
  graphCase(
    "average pool of an extremely large window",
    (g) =>
      y(
        g,
        g.op("AveragePool", [x(g, [1, 1, 200, 200])], { kernel_shape: [151, 151], pads: [75, 75, 75, 75] }),
      ),
    { errors: ["QC3001"] },
  ),
  graphCase("average pool, stride 1 same, per pixel counts, equal scale", (g) =>
    y(g, g.op("AveragePool", [x(g)], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }), 0.1, 128),
  ),
  graphCase("reduce mean and sum, axes of all kinds", (g) => {
    const a = x(g, [2, 4, 5, 6]);
    const of = (op: string, axes: readonly number[], keepdims: number) =>
      g.q(g.op(op, [a, g.ints(axes)], { keepdims }), 0.2, 100);
    return [
      of("ReduceMean", [2, 3], 1),
      of("ReduceMean", [-1], 0),
      of("ReduceMean", [1], 0),
      of("ReduceMean", [0], 1),
      of("ReduceSum", [1, 3], 0),
      of("ReduceMean", [0, 1, 2, 3], 0),
    ];
  }),
  graphCase("reduce mean of a conv, per channel", (g) => {
    const c = g.op("Conv", [x(g), g.weights([3, 4, 1, 1], [0.1, 0.2, 0.3]), g.floats([3], [1, -9, 3])]);
    return [
      g.q(g.op("ReduceMean", [c, g.ints([2, 3])], { keepdims: 0 }), 2, 100),
      g.q(g.op("ReduceMean", [c, g.ints([2])], { keepdims: 0 }), 2, 100),
      g.q(g.op("GlobalAveragePool", [c]), 2, 100),
    ];
  }),
  graphCase(
    "reduce mean over channels of a conv per channel",
    (g) => {
      const c = g.op("Conv", [x(g), g.weights([3, 4, 1, 1], [0.1, 0.2, 0.3])]);
      return y(g, g.op("ReduceMean", [c, g.ints([1])], { keepdims: 0 }), 2);
    },
    { errors: ["QC2103"] },
  ),
  graphCase("add, then average pool, fused or not", (g) => {
    const s = g.fq(g.op("Add", [x(g), x(g, image, 0.3, 7)]), 0.4, 99);
    return [g.q(g.op("GlobalAveragePool", [s]), 0.1, 128), g.q(pool(g, "MaxPool", s), 0.4, 99)];
  }),
  graphCase("conv, then pools with and without other users", (g) => {
    const c = g.fq(
      g.op("Relu", [g.op("Conv", [x(g), g.weights([8, 4, 3, 3])], { pads: [1, 1, 1, 1] })]),
      0.2,
      0,
    );
    const p = pool(g, "MaxPool", c, { kernel_shape: [2, 2] });
    const q = g.fq(g.op("Conv", [p, g.weights([8, 8, 1, 1])]), 0.3, 100);
    return [g.q(g.op("AveragePool", [q], { kernel_shape: [2, 2] }), 0.3, 100), g.q(q, 0.3, 100)];
  }),
];
