/** Blocks of networks: what fusion, folding and layout make of several ops. */
import { f, type GraphCase, graphCase, pool, x, y } from "./case.ts";

export const blockCases: readonly GraphCase[] = [
  graphCase("residual block, one grid and relu", (g) => {
    const a = x(g, [1, 8, 6, 6]);
    const c = g.fq(
      g.op("Relu", [g.op("Conv", [a, g.weights([8, 8, 3, 3])], { pads: [1, 1, 1, 1] })]),
      0.3,
      0,
    );
    const d = g.fq(g.op("Conv", [c, g.weights([8, 8, 1, 1])]), 0.4, 120);
    const s = g.fq(g.op("Relu", [g.op("Add", [d, a])]), 0.25, 0);
    return [...y(g, g.op("GlobalAveragePool", [s]), 0.11, 3), g.q(d, 0.4, 120)];
  }),
  graphCase("residual of two convs without quantizers between", (g) => {
    const a = x(g, [1, 8, 6, 6]);
    const c = g.op("Conv", [a, g.weights([8, 8, 1, 1])]);
    const d = g.op("Conv", [a, g.weights([8, 8, 3, 3])], { pads: [1, 1, 1, 1] });
    return y(g, g.op("Add", [c, d]), 0.9);
  }),
  graphCase("residual of a conv without quantizer", (g) => {
    const a = x(g, [1, 8, 6, 6]);
    return y(g, g.op("Add", [g.op("Conv", [a, g.weights([8, 8, 1, 1])]), a]), 0.9);
  }),
  graphCase("inverted residual, strides, odd channels", (g) => {
    const a = x(g, [1, 5, 9, 9]);
    const e = g.fq(g.op("Clip", [g.op("Conv", [a, g.weights([23, 5, 1, 1])]), f(g, 0), f(g, 6)]), 6 / 255, 0);
    const d = g.fq(
      g.op("Clip", [
        g.op("Conv", [e, g.weights([23, 1, 3, 3])], { group: 23, pads: [1, 1, 1, 1] }),
        f(g, 0),
        f(g, 6),
      ]),
      6 / 255,
      0,
    );
    const p = g.fq(g.op("Conv", [d, g.weights([5, 23, 1, 1])]), 0.2, 111);
    return y(g, g.op("Add", [p, a]), 0.3, 99);
  }),
  graphCase("squeeze and excite", (g) => {
    const a = x(g, [1, 8, 6, 6]);
    const p = g.fq(g.op("GlobalAveragePool", [a]), 0.05, 128);
    const r = g.fq(g.op("Relu", [g.op("Conv", [p, g.weights([3, 8, 1, 1])])]), 0.05, 0);
    const e = g.fq(
      g.op("HardSigmoid", [g.fq(g.op("Conv", [r, g.weights([8, 3, 1, 1])]), 0.04, 127)]),
      1 / 255,
      0,
    );
    return y(g, g.op("Mul", [a, e]), 0.05, 128);
  }),
  graphCase("dead relu channels and constant channels", (g) => {
    const c = g.fq(
      g.op("Relu", [
        g.op("Conv", [x(g), g.weights([8, 4, 1, 1], 0.001), g.floats([8], [-99, 99, 0, -99, 1, 2, 99, -5])]),
      ]),
      0.02,
      0,
    );
    const d = g.fq(g.op("Conv", [c, g.weights([8, 1, 3, 3])], { group: 8, pads: [1, 1, 1, 1] }), 0.2, 99);
    return y(g, g.op("Conv", [d, g.weights([3, 8, 3, 3])], { pads: [1, 1, 1, 1] }), 0.4, 99);
  }),
  graphCase("concat of conv outputs, one also used alone", (g) => {
    const a = x(g);
    const p = g.fq(g.op("Relu", [g.op("Conv", [a, g.weights([6, 4, 1, 1])])]), 0.1, 0);
    const q = g.fq(
      g.op("Relu", [g.op("Conv", [p, g.weights([10, 6, 3, 3])], { pads: [1, 1, 1, 1] })]),
      0.3,
      0,
    );
    const c = g.fq(g.op("Concat", [p, q, p], { axis: 1 }), 0.3, 0);
    return [...y(g, g.op("Conv", [c, g.weights([4, 22, 1, 1])]), 0.5), g.q(q, 0.3, 0)];
  }),
  graphCase("upsample and concat", (g) => {
    const a = x(g, [1, 4, 4, 4]);
    const p = pool(g, "MaxPool", a, { kernel_shape: [2, 2] });
    const u = g.op("Resize", [p, "", g.floats([4], [1, 1, 2, 2])], {
      mode: "nearest",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    });
    const c = g.fq(g.op("Concat", [u, a], { axis: 1 }), 0.1, 128);
    return y(g, g.op("Conv", [c, g.weights([3, 8, 3, 3])], { pads: [1, 1, 1, 1] }), 0.4);
  }),
  graphCase("int8 chain, stride 2 downsampling with 1×1", (g) => {
    const o = { type: "int8" } as const;
    const a = g.dq(g.input([2, 7, 7, 7], "int8"), 0.1, -3, o);
    const c = g.fq(g.op("Conv", [a, g.weights([9, 7, 1, 1])], { strides: [2, 2] }), 0.2, 5, o);
    return [g.q(g.op("Conv", [c, g.weights([5, 9, 4, 4])]), 0.5, -9, o)];
  }),
  graphCase("dense layers of odd sizes, batch 5", (g) => {
    const h = g.fq(g.op("Relu", [g.op("Gemm", [x(g, [5, 33]), g.weights([33, 17])])]), 0.1, 0);
    return y(g, g.op("Gemm", [h, g.weights([17, 1])]), 0.3);
  }),
];
