/** Softmax. */
import { f, type GraphCase, graphCase, S, x, y } from "./case.ts";

export const softmaxCases: readonly GraphCase[] = [
  graphCase("softmax, last axis", (g) => y(g, g.op("Softmax", [x(g, [3, 10])]), 1 / 256, 0)),
  graphCase("softmax, int8", (g) => [
    g.q(g.op("Softmax", [x(g, [3, 10], S)]), 1 / 256, -128, { type: "int8" }),
  ]),
  graphCase("softmax, axis 1 of rank 4", (g) => y(g, g.op("Softmax", [x(g)], { axis: 1 }), 1 / 256, 0)),
  graphCase("softmax, axis 2 of rank 4", (g) => y(g, g.op("Softmax", [x(g)], { axis: 2 }), 1 / 256, 0)),
  graphCase(
    "softmax, opset 11 flattens",
    (g) => y(g, g.op("Softmax", [x(g, [2, 3, 4])], { axis: 1 }), 1 / 256, 0),
    { opset: 11 },
  ),
  graphCase("softmax of negated", (g) => y(g, g.op("Softmax", [g.op("Neg", [x(g, [3, 10])])]), 1 / 256, 0), {
    errors: ["QC2101"],
  }),
  graphCase(
    "softmax, then matmul (attention)",
    (g) => {
      const a = g.fq(
        g.op("MatMul", [x(g, [1, 2, 5, 8]), g.op("Transpose", [x(g, [1, 2, 5, 8])], { perm: [0, 1, 3, 2] })]),
        0.3,
        128,
      );
      const s = g.fq(g.op("Softmax", [g.op("Mul", [a, f(g, 0.35)])], { axis: -1 }), 1 / 255, 0);
      return y(g, g.op("MatMul", [s, x(g, [1, 2, 5, 8])]), 0.1, 128);
    },
    { saturates: true },
  ),
  graphCase("softmax, then reshape, then quantizer", (g) =>
    y(g, g.op("Reshape", [g.op("Softmax", [x(g, [3, 10])]), g.ints([30])]), 1 / 256, 0),
  ),
  graphCase("softmax as output", (g) => [g.op("Softmax", [x(g, [3, 10])])], { errors: ["QC2107"] }),
  graphCase("log softmax", (g) => y(g, g.op("LogSoftmax", [x(g, [3, 10])]), 0.1, 255), {
    errors: ["QC2111"],
  }),
  graphCase("argmax", (g) => [g.op("ArgMax", [x(g, [3, 10])], { axis: 1 })], { errors: ["QC2111"] }),
  graphCase("softmax over one element, and over many", (g) => [
    g.q(g.op("Softmax", [x(g, [3, 1])]), 1 / 256, 0),
    g.q(g.op("Softmax", [x(g, [1, 3000])]), 1 / 25600, 0),
  ]),
  graphCase("softmax, 16 bits in and out", (g) => {
    const t = g.dq(g.input([3, 70], "int16"), 0.0005, 40, { type: "int16" });
    return [g.q(g.op("Softmax", [t]), 1 / 65536, 0, { type: "uint16" })];
  }),
  graphCase("softmax, uint16 in, 8 bits out, axis 1", (g) => {
    const t = g.dq(g.input([2, 9, 5], "uint16"), 0.0001, 40, { type: "uint16" });
    return y(g, g.op("Softmax", [t], { axis: 1 }), 1 / 256, 0);
  }),
  graphCase("softmax, 8 bits in, 16 bits out", (g) => [
    g.q(g.op("Softmax", [x(g, [3, 40])]), 1 / 32768, 0, { type: "int16" }),
  ]),
  graphCase(
    "softmax whose output grid is too fine",
    (g) => [g.q(g.op("Softmax", [x(g, [3, 40])]), 2 ** -31, 0, { type: "int16" })],
    { errors: ["QC2112"] },
  ),
  graphCase(
    "attention in one operator has no quantizers inside",
    (g) => {
      const [q, k, v] = [x(g, [1, 2, 5, 8]), x(g, [1, 2, 5, 8]), x(g, [1, 2, 5, 8])];
      return y(g, g.op("Attention", [q, k, v]), 0.1, 128);
    },
    { opset: 23, errors: ["QC2101"] },
  ),
  graphCase("masked softmax behind a quantizer", (g) => {
    const mask = g.floats(
      [5, 5],
      Array.from({ length: 25 }, (_, i) => (i % 5 <= i / 5 ? 0 : -100)),
    );
    const scores = g.fq(
      g.op("Add", [g.op("Mul", [x(g, [1, 2, 5, 5]), f(g, 0.3)]), g.fq(mask, 0.4, 250)]),
      0.06,
      200,
    );
    return y(g, g.op("Softmax", [scores], { axis: -1 }), 1 / 255, 0);
  }),
];
