/** Graph inputs and outputs, and types. */
import { type GraphCase, graphCase, image, x, y } from "./case.ts";

export const portCases: readonly GraphCase[] = [
  graphCase("input directly output", (g) => {
    const i = g.input([2, 3]);
    return [i];
  }),
  graphCase(
    "float input directly output",
    (g) => {
      const i = g.input([2, 3], "float32");
      return [i, g.q(i, 0.1, 3)];
    },
    { errors: ["QC2107"] },
  ),
  graphCase("input is output and used", (g) => {
    const i = g.input([2, 3]);
    return [i, g.q(g.dq(i, 0.1, 3), 0.2, 4)];
  }),
  graphCase("input dequantized is the output", (g) => [
    g.dq(g.input([2, 3], "int8"), 0.1, 3, { type: "int8" }),
  ]),
  graphCase("input dequantized per channel is the output", (g) => [
    g.dq(g.input([2, 3, 2], "int8"), [0.1, 0.2, 0.7], [1, 2, 3], { type: "int8", axis: 1 }),
  ]),
  graphCase("identity of an input", (g) => [g.op("Identity", [g.input([2, 3])])]),
  graphCase("one tensor is output in two forms, and used", (g) => {
    const c = g.q(g.op("Conv", [x(g), g.weights([5, 4, 3, 3])]), 0.3, 99);
    const d = g.dq(c, 0.3, 99);
    const e = g.op("Relu", [d]);
    return [
      c,
      d,
      e,
      g.q(g.op("GlobalAveragePool", [e]), 0.3, 9),
      g.op("Identity", [c]),
      g.op("Flatten", [d]),
    ];
  }),
  graphCase(
    "same output twice",
    (g) => {
      const c = g.q(x(g), 0.3, 99);
      return [c, c];
    },
    { errors: ["QC1109"] },
  ),
  graphCase("constant output", (g) => [
    g.dq(g.noise("int8", [3, 4]), 0.1, 3, { type: "int8" }),
    ...y(g, x(g)),
  ]),
  graphCase("float constant output", (g) => [g.op("Identity", [g.floats([3], [1, 2, 3])]), ...y(g, x(g))], {
    errors: ["QC2107"],
  }),
  graphCase("integer constant output", (g) => [g.op("Identity", [g.noise("int8", [3, 4])]), ...y(g, x(g))]),
  graphCase("quantized constant output", (g) => [
    g.q(g.floats([3], [1, -2, 0.33]), 0.1, 7),
    g.q(g.floats([3], [1, -2, 0.33]), [0.1, 0.2, 0.3], [7, 8, 9]),
    ...y(g, x(g)),
  ]),
  graphCase("int8, uint8, int16 and uint16 ports", (g) =>
    (["int8", "uint8", "int16", "uint16"] as const).map((type) =>
      g.q(g.dq(g.input([2, 9], type), 0.1, 3, { type }), 0.2, 5, { type }),
    ),
  ),
  graphCase("int32 dequantized", (g) => y(g, g.dq(g.input([2, 9], "int32"), 1e-7, 0, { type: "int32" }))),
  graphCase("four-bit quantizers", (g) => {
    const a = g.fq(x(g), 0.9, 7, { type: "uint4" });
    const b = g.fq(a, 0.9, -1, { type: "int4" });
    return y(g, g.op("Conv", [b, g.weights([5, 4, 3, 3])]), 0.9);
  }),
  graphCase("four-bit output", (g) => [g.q(x(g), 0.9, 7, { type: "uint4" })]),
  graphCase("a quantizer of an integer input dequantized twice", (g) => {
    const i = g.input(image);
    return y(g, g.op("Add", [g.dq(i, 0.1, 3), g.dq(i, 0.37, 200)]));
  }),
  graphCase("equal quantizers of one tensor", (g) => {
    const c = g.op("Conv", [x(g), g.weights([5, 4, 3, 3])]);
    return [g.q(c, 0.3, 99), g.q(c, 0.3, 99), g.q(c, 0.4, 99)];
  }),
  graphCase("scalar tensors", (g) => y(g, g.op("Relu", [x(g, [])]))),
  graphCase("empty tensor", (g) => y(g, g.op("Relu", [x(g, [0, 3])])), { errors: ["QC1140"] }),
  graphCase("rank 6", (g) => y(g, g.op("Add", [x(g, [1, 2, 1, 3, 2, 2]), x(g, [2, 1, 2, 1], 0.3, 9)]))),
  graphCase("cast at the ends", (g) => {
    const i = g.op("Cast", [g.input([2, 3])], { to: 1 });
    return y(g, g.fq(i, 1, 0));
  }),
];
