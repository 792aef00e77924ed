/** What shares a kernel or a buffer: tables, residuals, pools, parts of a concatenation, results in place. */
import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, x } from "./case.ts";

const eight = [1, 8, 6, 6];
const conv = (g: GraphBuilder, t: string, o = 8, i = 8) =>
  g.fq(g.op("Conv", [t, g.weights([o, i, 1, 1])]), 0.3, 120);
const hardSwish = (g: GraphBuilder, t: string) => g.fq(g.op("HardSwish", [t]), 0.3, 20);

export const fusedCases: readonly GraphCase[] = [
  graphCase("conv, table, residual, table, average", (g) => {
    const a = x(g, eight);
    const s = hardSwish(g, g.fq(g.op("Add", [hardSwish(g, conv(g, a)), a]), 0.3, 99));
    return [g.q(g.op("GlobalAveragePool", [s]), 0.2, 9)];
  }),
  graphCase("conv, table, residual", (g) => {
    const a = x(g, eight);
    return [g.q(g.op("Add", [hardSwish(g, conv(g, a)), a]), 0.3, 99)];
  }),
  graphCase("conv, residual, table", (g) => {
    const a = x(g, eight);
    return [g.q(g.op("HardSwish", [g.fq(g.op("Add", [conv(g, a), a]), 0.3, 99)]), 0.2, 9)];
  }),
  graphCase("gemm, table, residual", (g) => {
    const a = x(g, [3, 8]);
    const m = g.fq(g.op("Gemm", [a, g.weights([8, 8])]), 0.2, 99);
    return [g.q(g.op("Add", [hardSwish(g, m), a]), 0.3, 99)];
  }),
  graphCase("conv, table, pools", (g) => {
    const t = hardSwish(g, conv(g, x(g, eight)));
    const u = hardSwish(g, conv(g, x(g, eight)));
    const p = g.fq(g.op("GlobalAveragePool", [u]), 0.1, 9);
    return [
      g.q(g.op("MaxPool", [t], { kernel_shape: [2, 2], strides: [2, 2] }), 0.2, 9),
      g.q(g.op("HardSwish", [p]), 0.2, 9),
    ];
  }),
  ...(["int8", "int16", "uint16"] as const).map((type) =>
    graphCase(`residuals of ${type}`, (g) => {
      const a = g.dq(g.input(eight, type), 0.01, 5, { type });
      const wide = g.fq(g.op("Conv", [a, g.weights([8, 8, 1, 1])]), 0.001, 9, { type });
      return [g.q(g.op("Add", [conv(g, a), a]), 0.3, 99), g.q(g.op("Add", [a, wide]), 0.03, 99, { type })];
    }),
  ),
  ...[3, 17].map((n) =>
    graphCase(`concat of what every kernel family makes, ${n} channels`, (g) => {
      const [a, b] = [x(g, [1, n, 6, 6]), x(g, [1, n, 6, 6], 0.07, 3)];
      const fq = (t: string) => g.fq(t, 0.25, 77);
      const pool = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
      const depthwise = { group: n, pads: [1, 1, 1, 1] };
      const average = fq(g.op("GlobalAveragePool", [a]));
      const parts = [
        g.op("Add", [a, b]),
        g.op("Mul", [a, b]),
        g.op("HardSwish", [a]),
        g.op("Softmax", [a], { axis: 1 }),
        g.op("MaxPool", [a], pool),
        g.op("AveragePool", [a], pool),
        g.op("Conv", [a, g.weights([n, 1, 3, 3])], depthwise),
        g.op("Conv", [a, g.weights([n + 1, n, 1, 1])]),
        g.op("Conv", [b, g.weights([2, n, 3, 3])], { pads: [1, 1, 1, 1] }),
        g.op("Add", [fq(g.op("Conv", [a, g.weights([n, n, 1, 1])])), b]),
        g.op("Expand", [average, g.ints([1, n, 6, 6])]),
      ].map(fq);
      const c = fq(g.op("Concat", parts, { axis: 1 }));
      const w = g.weights([3, 10 * n + 3, 3, 3]);
      return [g.q(g.op("Conv", [c, w], { pads: [1, 1, 1, 1] }), 0.9, 99), g.q(c, 0.5, 1)];
    }),
  ),
  graphCase("concat as output", (g) => {
    const a = x(g, eight);
    const parts = [conv(g, a), conv(g, x(g, eight, 0.07, 3)), conv(g, a, 5)];
    return [g.q(g.op("Concat", parts, { axis: 1 }), 0.3, 120)];
  }),
  graphCase("concat in a batch of 2, one part a residual", (g) => {
    const a = x(g, [2, 6, 5, 5]);
    const parts = [conv(g, a, 3, 6), conv(g, a, 4, 6), g.fq(g.op("Add", [a, conv(g, a, 6, 6)]), 0.3, 120)];
    return [g.q(g.op("Concat", parts, { axis: 1 }), 0.3, 120)];
  }),
  graphCase("residuals in place, one after another", (g) => {
    let t = g.fq(x(g, eight), 0.2, 99);
    for (let i = 0; i < 4; i++) t = g.fq(g.op("Relu", [g.op("Add", [conv(g, conv(g, t)), t])]), 0.2, 0);
    return [g.q(g.op("GlobalAveragePool", [t]), 0.1, 4)];
  }),
  ...[1, 2].map((batch) =>
    graphCase(`residual, then a mean that drops its axes, batch ${batch}`, (g) => {
      const t = g.fq(x(g, [batch, 8, 5, 6]), 0.2, 99);
      const sum = g.fq(g.op("Relu", [g.op("Add", [conv(g, t), t])]), 0.2, 0);
      return [g.q(g.op("ReduceMean", [sum], { axes: [2, 3], keepdims: 0 }), 0.1, 4)];
    }),
  ),
  ...[
    [2, 8, 6, 6],
    [1, 8, 7, 9],
  ].map((shape) =>
    graphCase(`residuals in place around padded convs, ${shape.join("×")}`, (g) => {
      const same = { pads: [1, 1, 1, 1] };
      let t = g.fq(x(g, shape), 0.2, 99);
      for (let i = 0; i < 3; i++) {
        const c = g.fq(g.op("Conv", [t, g.weights([8, 8, 3, 3])], same), 0.4, 90);
        const d = g.fq(g.op("Conv", [c, g.weights([8, 8, 3, 3])], same), 0.9, 90);
        t = g.fq(g.op("Add", [d, t]), 0.2, 99);
      }
      return [g.q(g.op("Conv", [t, g.weights([2, 8, 3, 3])]), 0.6, 4)];
    }),
  ),
  graphCase("residual of a pool and of what it pools", (g) => {
    const a = conv(g, x(g, eight));
    const p = g.op("MaxPool", [a], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
    return [g.q(g.op("Add", [conv(g, p), a]), 0.4, 99), g.q(g.op("Add", [p, a]), 0.4, 99)];
  }),
  graphCase("convs into windows wider than a tile, with gaps, of one pixel, ragged", (g) => {
    const c = () => conv(g, x(g, [1, 8, 15, 16]), 11);
    return [
      g.q(g.op("MaxPool", [c()], { kernel_shape: [5, 7], strides: [5, 8] }), 0.3, 120),
      g.q(g.op("AveragePool", [c()], { kernel_shape: [2, 3], strides: [3, 3] }), 0.3, 120),
      g.q(g.op("MaxPool", [c()], { kernel_shape: [1, 1], strides: [2, 2] }), 0.3, 120),
      g.q(g.op("MaxPool", [c()], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }), 0.3, 120),
    ];
  }),
  graphCase("channels that are constant, moved and joined", (g) => {
    const dead = () =>
      g.fq(
        g.op("Relu", [
          g.op("Conv", [
            x(g),
            g.weights([8, 4, 1, 1], 0.001),
            g.floats([8], [-99, 99, 0, -99, 1, 2, 99, -5]),
          ]),
        ]),
        0.02,
        0,
      );
    const backwards = g.op("Slice", [dead(), g.ints([7]), g.ints([-99]), g.ints([1]), g.ints([-2])]);
    const picked = g.op("Gather", [dead(), g.ints([5, 0, 0, 1])], { axis: 1 });
    const joined = g.fq(g.op("Concat", [dead(), dead()], { axis: 1 }), 0.03, 1);
    const padded = g.op("Pad", [dead(), g.ints([0, 1, 1, 2, 0, 0, 0, 1]), f(g, Math.fround(0.02) * 4)]);
    const same = { pads: [1, 1, 1, 1] };
    return [
      g.q(g.op("Conv", [backwards, g.weights([3, 4, 3, 3])], same), 0.4, 99),
      g.q(g.op("Conv", [picked, g.weights([3, 4, 3, 3])], same), 0.4, 99),
      g.q(g.op("Conv", [joined, g.weights([3, 16, 3, 3])], same), 0.4, 99),
      g.q(g.op("AveragePool", [padded], { kernel_shape: [3, 3], ...same }), 0.05, 9),
      g.q(g.op("Gemm", [g.op("Flatten", [dead()]), g.weights([288, 3])]), 2, 99),
      g.q(g.op("Conv", [dead(), g.weights([6, 4, 3, 3])], { group: 2, ...same }), 0.4, 99),
      g.q(g.op("Add", [dead(), dead()]), 0.05, 9),
    ];
  }),
  graphCase("residual that is an accumulator of 32 bits, or a constant", (g) => {
    const a = x(g, eight);
    const wide = g.op("Conv", [a, g.weights([8, 8, 1, 1])]);
    const flat = g.fq(g.op("MatMul", [x(g, [7, 8]), g.weights([8, 5])]), 0.5, 99);
    return [
      g.q(g.op("Add", [conv(g, a), wide]), 0.7, 100),
      g.q(g.op("Add", [flat, g.weights([7, 5], 0.9)]), 0.7, 100),
    ];
  }),
];
