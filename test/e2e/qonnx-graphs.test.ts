/** QONNX operators, one construct each, through the whole compiler against the exact oracle; and what they are refused for. */
import { describe, expect, test } from "vitest";
import { f32, model, type Node, node, type Tensor, value } from "../onnx-writer.ts";
import { randomSource } from "../zoo.ts";
import { differential } from "./differential.ts";

const DOMAIN = "qonnx.custom_op.general";

/** A graph from a float input [1, 3, 6, 6] to the tensor that `build` returns. */
function graphOf(
  build: (g: Graph) => string,
  { domain = DOMAIN, version = 1 as number | undefined, shape = [1, 3, 6, 6] as readonly number[] } = {},
): Uint8Array {
  const nodes: Node[] = [];
  const initializers: Record<string, Tensor> = {};
  const random = randomSource(7);
  const constant = (shape: readonly number[], values: ArrayLike<number>): string => {
    const name = `c${Object.keys(initializers).length}`;
    initializers[name] = f32(shape, Float32Array.from(values));
    return name;
  };
  const op = (name: string, inputs: readonly string[], attributes = {}, vendor = ""): string => {
    const out = `t${nodes.length}`;
    nodes.push(node(name, inputs, [out], attributes, vendor === "" ? {} : { domain: vendor }));
    return out;
  };
  const g: Graph = {
    x: "x",
    constant,
    number: (v) => constant([], [v]),
    noise: (shape) =>
      constant(
        shape,
        Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random() - 1),
      ),
    op,
    own: (name, inputs, attributes = {}) => op(name, inputs, attributes, domain),
    quant: (x, { s, z = 0, bits = 4, signed = 1, narrow = 0, mode = "ROUND", op: name = "Quant" }) => {
      const parameter = (p: number | string): string => (typeof p === "string" ? p : constant([], [p]));
      const attributes = { signed, narrow, rounding_mode: mode };
      return op(name, [x, parameter(s), parameter(z), parameter(bits)], attributes, domain);
    },
  };
  const y = build(g);
  return model({
    inputs: [value("x", "float32", shape)],
    outputs: [value(y)],
    initializers,
    nodes,
    opset: 13,
    opsets: version === undefined ? {} : { [domain]: version },
  });
}

interface Graph {
  readonly x: string;
  readonly constant: (shape: readonly number[], values: ArrayLike<number>) => string;
  readonly number: (v: number) => string;
  /** Between −1 and 1. */
  readonly noise: (shape: readonly number[]) => string;
  readonly op: (name: string, inputs: readonly string[], attributes?: object) => string;
  readonly own: (name: string, inputs: readonly string[], attributes?: object) => string;
  readonly quant: (
    x: string,
    grid: {
      readonly s: number | string;
      readonly z?: number | string;
      readonly bits?: number | string;
      readonly signed?: number;
      readonly narrow?: number;
      readonly mode?: string;
      readonly op?: string;
    },
  ) => string;
}

async function exact(bytes: Uint8Array): Promise<void> {
  const verdict = await differential(bytes, { samples: 2 });
  if (verdict.kind === "diagnosed") throw new Error(`${verdict.codes}: ${verdict.messages.join("; ")}`);
  expect(verdict.wrong).toEqual([]);
  expect(verdict.elements).toBeGreaterThan(0);
}

const input = (g: Graph): string => g.quant(g.x, { s: 0.03, bits: 8 });
const weights = (g: Graph, out = 5, inner = 3, bits = 4): string =>
  g.quant(g.noise([out, inner, 3, 3]), {
    s: g.constant(
      [out, 1, 1, 1],
      Float64Array.from({ length: out }, (_, i) => 0.13 + i / 40),
    ),
    bits,
    narrow: 1,
  });
const conv = (g: Graph, x: string, w = weights(g)): string => g.op("Conv", [x, w], { pads: [1, 1, 1, 1] });
const norm = (g: Graph, x: string, channels = 5): string => {
  const list = (f: (i: number) => number) =>
    g.constant(
      [channels],
      Float64Array.from({ length: channels }, (_, i) => f(i)),
    );
  const parameters = [
    list((i) => (i % 2 ? -1 : 1) * (0.5 + i / 9)),
    list((i) => i / 7 - 0.3),
    list((i) => i / 11 - 0.2),
    list((i) => 0.4 + i / 5),
  ];
  return g.op("BatchNormalization", [x, ...parameters]);
};

const MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "half_down"];

describe("Quant", () => {
  test.each(MODES)("%s behind a convolution and a batch norm, with zero points", async (mode) => {
    for (const z of [0, 3, 0.5, -1.25])
      await exact(graphOf((g) => g.quant(norm(g, conv(g, input(g))), { s: 0.37, z, mode })));
  });

  test.each(MODES)("%s of the graph input and of constants", async (mode) => {
    for (const z of [0, 3, 0.5])
      await exact(
        graphOf((g) => {
          const x = g.quant(g.x, { s: 0.11, z, mode, bits: 5 });
          const w = g.quant(g.noise([108, 4]), { s: 0.2, z, mode, bits: 4 });
          return g.quant(g.op("MatMul", [g.op("Flatten", [x]), w]), { s: 0.9, bits: 8, mode });
        }),
      );
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])("%i bits, signed, unsigned, narrow", async (bits) => {
    for (const [signed, narrow] of [[1, 0], [1, 1], [0, 0], ...(bits > 1 ? [[0, 1]] : [])] as const)
      await exact(
        graphOf((g) => {
          const w = bits === 1 ? weights(g) : weights(g, 5, 3, bits);
          const y = conv(g, g.quant(g.x, { s: 0.2, bits: 4 }), w);
          return g.quant(g.op("Relu", [y]), { s: 0.2, bits, signed, narrow });
        }),
      );
  });

  test("per channel along any axis of weights, and a bias of 32 bits", async () => {
    await exact(
      graphOf((g) => {
        const scales = g.constant([1, 6], [0.1, 0.2, 0.3, 0.15, 0.25, 0.35]);
        const w = g.quant(g.noise([108, 6]), { s: scales, bits: 3 });
        const b = g.quant(g.noise([6]), {
          s: g.constant([6], [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]),
          bits: 32,
        });
        const y = g.op("Add", [g.op("MatMul", [g.op("Flatten", [input(g)]), w]), b]);
        return g.quant(y, { s: 0.2, bits: 8 });
      }),
    );
    await exact(
      graphOf((g) => {
        const scales = g.constant([6, 1], [0.1, 0.2, 0.3, 0.15, 0.25, 0.35]);
        const w = g.op("Transpose", [g.quant(g.noise([6, 108]), { s: scales, bits: 3 })], { perm: [1, 0] });
        return g.quant(g.op("MatMul", [g.op("Flatten", [input(g)]), w]), { s: 0.2, bits: 8 });
      }),
    );
  });

  test("scales and bit widths from folded expressions, activations with a scale per channel", async () => {
    await exact(
      graphOf((g) => {
        const scale = g.op("Abs", [g.constant([1, 5, 1, 1], [-0.1, 0.2, -0.3, 0.4, 0.5])]);
        const bits = g.op("Add", [g.number(2), g.number(3)]);
        return g.quant(conv(g, input(g)), { s: scale, bits });
      }),
    );
  });

  test("one signed bit is the sign", async () => {
    await exact(
      graphOf((g) => {
        const w = g.quant(g.noise([5, 3, 3, 3]), { s: 0.3, bits: 1 });
        const y = g.op("Conv", [input(g), w], { pads: [1, 1, 1, 1] });
        return g.quant(y, { s: 0.7, bits: 1 });
      }),
    );
  });

  test.each(["onnx.brevitas", "finn.custom_op.general", "finn", DOMAIN])("domain %s", async (domain) => {
    for (const version of [undefined, 1, 2])
      await exact(
        graphOf((g) => g.quant(conv(g, input(g)), { s: 0.3, op: "IntQuant" }), { domain, version }),
      );
  });

  test("quantizers in a row, one grid in two places", async () => {
    await exact(
      graphOf((g) => {
        const a = g.quant(conv(g, input(g)), { s: 0.3 });
        const b = g.quant(a, { s: 0.5, z: 1, signed: 0 });
        return g.quant(g.op("Add", [g.op("MaxPool", [b], { kernel_shape: [1, 1] }), a]), { s: 0.6, bits: 5 });
      }),
    );
  });
});

describe("arithmetic on the input", () => {
  const quantized = (build: (g: Graph) => string): Promise<void> =>
    exact(graphOf((g) => g.quant(conv(g, g.quant(build(g), { s: 0.07, bits: 8 })), { s: 0.3, bits: 8 })));
  test("x·2 − 1", () => quantized((g) => g.op("Sub", [g.op("Mul", [g.x, g.number(2)]), g.number(1)])));
  test("(x − mean) / deviation", () =>
    quantized((g) => g.op("Div", [g.op("Sub", [g.x, g.number(0.1307)]), g.number(0.3081)])));
  test("1 − x", () => quantized((g) => g.op("Sub", [g.number(1), g.x])));
  test("−x after a reshape and a transpose", () =>
    quantized((g) => {
      const turned = g.op("Transpose", [g.x], { perm: [0, 1, 3, 2] });
      return g.op("Neg", [g.op("Add", [turned, g.constant([1], [0.25])])]);
    }));
});

describe("BipolarQuant", () => {
  test("of the input, weights and activations", async () => {
    await exact(
      graphOf((g) => {
        const x = g.own("BipolarQuant", [g.op("Flatten", [g.x]), g.number(1)]);
        const scale = g.constant([1, 7], [0.5, 1, 1.5, 0.1, 0.2, 0.3, 1]);
        const w = g.own("BipolarQuant", [g.noise([108, 7]), scale]);
        const h = g.own("BipolarQuant", [norm(g, g.op("MatMul", [x, w]), 7), g.number(0.3)]);
        return g.op("MatMul", [h, g.own("BipolarQuant", [g.noise([7, 4]), g.number(0.7)])]);
      }),
    );
  });

  test("as the output", () =>
    exact(graphOf((g) => g.own("BipolarQuant", [norm(g, conv(g, input(g))), g.number(0.25)]))));

  test.each([0, 1])("under a convolution with padding %i: zero is between the levels", async (pad) => {
    await exact(
      graphOf((g) => {
        const x = g.own("BipolarQuant", [conv(g, input(g)), g.number(2)]);
        const w = g.own("BipolarQuant", [g.noise([4, 5, 3, 3]), g.number(0.1)]);
        const y = g.op("Conv", [x, w], { pads: [pad, pad, pad, pad] });
        return g.quant(y, { s: 0.7, bits: 4 });
      }),
    );
  });

  test("under a Pad, averages with padding, and a product of two", async () => {
    await exact(
      graphOf((g) => {
        const first = input(g);
        const x = g.own("BipolarQuant", [conv(g, first), g.number(2)]);
        const z = g.quant(conv(g, first), { s: 0.7, z: 0.5, bits: 4 });
        const pooled = g.op("AveragePool", [x], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
        const product = g.quant(g.op("Mul", [x, z]), { s: 0.3, z: 30, bits: 6, signed: 0 });
        const w = g.own("BipolarQuant", [g.noise([5, 5, 3, 3]), g.number(0.1)]);
        const y = g.op("Conv", [product, w], { pads: [1, 1, 1, 1] });
        return g.quant(g.op("Add", [y, g.quant(pooled, { s: 0.1, bits: 8 })]), { s: 0.5, bits: 8 });
      }),
    );
  });
});

describe("Trunc", () => {
  const sum = (g: Graph, grid: string): string => {
    const pooled = g.op("AveragePool", [grid], { kernel_shape: [3, 3], strides: [3, 3] });
    return g.op("Mul", [pooled, g.number(9)]);
  };
  test.each(["FLOOR", "ROUND", "CEIL"])("v1, %s, of a sum and of a grid", async (rounding_mode) => {
    const trunc = (g: Graph, x: string, from: number, to: number): string =>
      g.own("Trunc", [x, ...[0.25, 0, from, to].map((v) => g.number(v))], { rounding_mode });
    const grid = (g: Graph): string => g.quant(conv(g, input(g)), { s: 0.25, bits: 8 });
    await exact(graphOf((g) => g.quant(trunc(g, sum(g, grid(g)), 12, 8), { s: 0.25, bits: 8 })));
    await exact(graphOf((g) => g.quant(trunc(g, grid(g), 8, 5), { s: 0.25, bits: 8 })));
  });

  test.each(["FLOOR", "HALF_UP"])("v2, %s", async (rounding_mode) => {
    for (const [to, z] of [
      [1, 0],
      [1.3, 4],
    ] as const)
      await exact(
        graphOf(
          (g) => {
            const grid = g.quant(conv(g, input(g)), { s: 0.25, z, bits: 8 });
            const inputs = [0.25, z, 8, to, 5].map((v) => g.number(v));
            const y = g.own("Trunc", [grid, ...inputs], { rounding_mode, signed: 1, narrow: 0 });
            return g.quant(y, { s: 0.25, bits: 8 });
          },
          { version: 2 },
        ),
      );
  });
});

describe("refused", () => {
  const codes = async (build: (g: Graph) => string): Promise<readonly string[]> => {
    const verdict = await differential(graphOf(build));
    return verdict.kind === "diagnosed" ? [...verdict.codes, ...verdict.messages] : [];
  };
  const cases: readonly [name: string, code: string, says: RegExp, build: (g: Graph) => string][] = [
    ["negative scale", "QC2120", /scale/, (g) => g.quant(g.x, { s: -1 })],
    [
      "scale of two axes",
      "QC2125",
      /\[1, 3, 6, 1\]/,
      (g) => g.quant(g.x, { s: g.op("Abs", [g.noise([1, 3, 6, 1])]) }),
    ],
    [
      "scale that does not broadcast",
      "QC2123",
      /broadcast/,
      (g) => g.quant(g.x, { s: g.constant([5], [1, 2, 3, 4, 5]) }),
    ],
    ["scale at run time", "QC2131", /run time/, (g) => g.quant(g.x, { s: g.op("Abs", [g.x]) })],
    ["bit width 0", "QC1135", /1 to 32/, (g) => g.quant(g.x, { s: 1, bits: 0 })],
    ["bit width 2.5", "QC1135", /1 to 32/, (g) => g.quant(g.x, { s: 1, bits: 2.5 })],
    ["zero point NaN", "QC1135", /NaN/, (g) => g.quant(g.x, { s: 1, z: Number.NaN })],
    ["rounding mode", "QC1134", /HALF_DOWN/, (g) => g.quant(g.x, { s: 1, mode: "NEAREST" })],
    [
      "Im2Col",
      "QC2001",
      /Im2Col.*not read this QONNX operator yet/,
      (g) => g.own("Im2Col", [g.x], { kernel_size: [1, 1] }),
    ],
  ];
  test.each(cases)("%s", async (_, code, says, build) => {
    const [first, ...rest] = await codes(build);
    expect(first).toBe(code);
    expect(rest.join("\n")).toMatch(says);
  });
});
