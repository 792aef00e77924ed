/** What random networks (test/fuzz/networks.test.ts) once found wrong, as small as it goes. */
import { type GraphCase, graphCase, x, y } from "./case.ts";

export const networkCases: readonly GraphCase[] = [
  graphCase(
    "softmax of four bits before a product with any bytes",
    (g) => {
      const scores = g.fq(x(g, [2, 9]), 0.9, 7, { type: "uint4" });
      const p = g.fq(g.op("Softmax", [scores], { axis: -1 }), 1 / 255, 0);
      const w = g.dq(g.constant("int8", [9, 3], -128), 0.01, 0, { type: "int8" });
      return y(g, g.op("MatMul", [p, w]), 0.01);
    },
    { saturates: true },
  ),
  graphCase("16 bits of which a byte is used, before a conv", (g) => {
    const a = g.fq(x(g, [1, 4, 6, 6], 0.0001), 0.0002, 0, { type: "int16" });
    return y(g, g.op("Conv", [a, g.weights([5, 4, 3, 3])]), 0.0003);
  }),
  graphCase("a transposed view loses its last axis of size 1", (g) => {
    const t = g.op("Transpose", [x(g, [1, 3, 2, 1])], { perm: [0, 2, 1, 3] });
    return y(g, g.op("MatMul", [g.op("Reshape", [t, g.ints([1, 2, 3])]), g.weights([3, 1])]));
  }),
  graphCase("one column of a matrix as a row", (g) => {
    const column = g.op("Slice", [x(g, [4, 5, 3]), g.ints([1]), g.ints([2]), g.ints([2])]);
    const rows = g.op("Reshape", [column, g.ints([4, 5])]);
    return [g.q(g.op("MatMul", [rows, g.weights([5, 2])]), 0.1, 9), g.q(g.op("Relu", [rows]), 0.1, 9)];
  }),
  graphCase(
    "a curve of 16 bits that reaches a part of its table, before a product",
    (g) => {
      const a = g.fq(x(g, [2, 3], 0.00008, 5), 0.0000015, 0, { type: "int16" });
      const b = g.fq(g.op("LeakyRelu", [a], { alpha: { kind: "float", value: -0.25 } }), 0.0002, 128);
      return y(g, g.op("MatMul", [b, g.op("Transpose", [b], { perm: [1, 0] })]), 0.000001);
    },
    { saturates: true },
  ),
];
