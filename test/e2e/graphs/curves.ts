/** Activation functions, as operators and as what exporters make of them: each is one table between its quantizers. */
import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, x, y } from "./case.ts";

type Curve = (g: GraphBuilder, x: string) => string;

const curves: { readonly [name: string]: Curve } = {
  Gelu: (g, x) => g.op("Gelu", [x]),
  "Gelu, tanh form": (g, x) => g.op("Gelu", [x], { approximate: "tanh" }),
  "Div, Erf, Add, Mul, Mul": (g, x) => {
    const one = g.op("Add", [g.op("Erf", [g.op("Div", [x, f(g, Math.SQRT2)])]), f(g, 1)]);
    return g.op("Mul", [g.op("Mul", [x, one]), f(g, 0.5)]);
  },
  "half before Erf's product": (g, x) => {
    const one = g.op("Add", [f(g, 1), g.op("Erf", [g.op("Mul", [x, f(g, Math.SQRT1_2)])])]);
    return g.op("Mul", [g.op("Mul", [f(g, 0.5), x]), one]);
  },
  "tanh form in parts": (g, x) => {
    const cube = g.op("Mul", [f(g, 0.044715), g.op("Pow", [x, f(g, 3)])]);
    const inner = g.op("Mul", [f(g, 0.79788456), g.op("Add", [x, cube])]);
    return g.op("Mul", [g.op("Mul", [f(g, 0.5), x]), g.op("Add", [f(g, 1), g.op("Tanh", [inner])])]);
  },
  "x times Sigmoid": (g, x) => g.op("Mul", [x, g.op("Sigmoid", [x])]),
  "x times Sigmoid of 1.702 x": (g, x) => g.op("Mul", [x, g.op("Sigmoid", [g.op("Mul", [x, f(g, 1.702)])])]),
  Swish: (g, x) => g.op("Swish", [x]),
  "Swish, alpha 1.5": (g, x) => g.op("Swish", [x], { alpha: 1.5 }),
  HardSwish: (g, x) => g.op("HardSwish", [x]),
  "x times Clip of x + 3, by 6": (g, x) => {
    const gate = g.op("Clip", [g.op("Add", [x, f(g, 3)]), f(g, 0), f(g, 6)]);
    return g.op("Div", [g.op("Mul", [x, gate]), f(g, 6)]);
  },
  "x times HardSigmoid": (g, x) => g.op("Mul", [x, g.op("HardSigmoid", [x], { alpha: 1 / 6 })]),
  Mish: (g, x) => g.op("Mish", [x]),
  "x times Tanh of Softplus": (g, x) => g.op("Mul", [x, g.op("Tanh", [g.op("Softplus", [x])])]),
  Softplus: (g, x) => g.op("Softplus", [x]),
  Elu: (g, x) => g.op("Elu", [x]),
  square: (g, x) => g.op("Pow", [x, f(g, 2)]),
};

const eight: readonly GraphCase[] = Object.entries(curves).map(([name, curve]) =>
  graphCase(`${name}, 8 bits`, (g) => y(g, curve(g, x(g, [2, 40], 0.05, 120)), 0.05, 20), { opset: 24 }),
);

const wide = (
  name: string,
  curve: Curve,
  input: "int16" | "uint16",
  output: "int16" | "uint16" | "int8",
): GraphCase =>
  graphCase(
    `${name}, ${input} to ${output}`,
    (g) => {
      const t = g.dq(g.input([2, 40], input), 0.0003, 5, { type: input });
      return [g.q(curve(g, t), output === "int8" ? 0.08 : 0.0003, 7, { type: output })];
    },
    { opset: 24 },
  );

export const curveCases: readonly GraphCase[] = [
  ...eight,
  wide("Gelu", curves.Gelu!, "int16", "int16"),
  wide("Sigmoid", (g, x) => g.op("Sigmoid", [x]), "uint16", "int8"),
  wide("HardSwish", curves.HardSwish!, "int16", "uint16"),
  graphCase("curve behind a convolution of 16 bits, then a convolution", (g) => {
    const t = g.dq(g.input([1, 4, 5, 5], "int16"), 0.001, 0, { type: "int16" });
    const conv = g.fq(g.op("Conv", [t, g.weights([6, 4, 3, 3])]), 0.0004, 12, { type: "int16" });
    const curve = g.fq(g.op("Mul", [conv, g.op("Sigmoid", [conv])]), 0.02, 30);
    return y(g, g.op("Conv", [curve, g.weights([3, 6, 2, 2])]), 0.1, 128);
  }),
  graphCase("curve of what a clip leaves of 16 bits", (g) => {
    const t = g.dq(g.input([1, 4, 5, 5], "int16"), 0.001, 0, { type: "int16" });
    const conv = g.op("Conv", [t, g.weights([6, 4, 3, 3])]);
    const part = g.fq(g.op("Clip", [conv, f(g, -0.1), f(g, 0.3)]), 0.0004, 12, { type: "int16" });
    return y(g, g.op("Sigmoid", [part]), 0.003, 0);
  }),
];
