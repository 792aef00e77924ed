/** MultiThreshold through the whole compiler, against its formula in exact arithmetic; and what it is refused for. */
import { describe, expect, test } from "vitest";
import { compileModel } from "../../compiler/index.ts";
import { f32, float, i64, model, type Node, node, type Tensor, value } from "../onnx-writer.ts";
import { randomSource } from "../zoo.ts";
import { differential } from "./differential.ts";

interface Network {
  /** Thresholds as rows; one for all channels, or one each. */
  readonly rows: readonly (readonly number[])[];
  readonly attributes?: Readonly<Record<string, string | ReturnType<typeof float>>>;
  readonly before?: "conv" | "quant" | "input" | "norm" | "add" | "add scaled" | "concat" | "relu" | "curve";
  readonly domain?: string;
  readonly layout?: string;
  /** Bits of the convolution's input. */
  readonly bits?: number;
}

const CHANNELS = 5;

/** A quantizer, something, MultiThreshold, and a convolution with a last quantizer behind it. */
function network({
  rows,
  attributes = {},
  before = "conv",
  domain = "qonnx.custom_op.general",
  layout = "NCHW",
  bits = 8,
}: Network): Uint8Array {
  const nodes: Node[] = [];
  const initializers: Record<string, Tensor> = {};
  const random = randomSource(11);
  const constant = (shape: readonly number[], values: readonly number[]): string => {
    const name = `c${Object.keys(initializers).length}`;
    initializers[name] = f32(shape, values);
    return name;
  };
  const noise = (shape: readonly number[]): string =>
    constant(
      shape,
      Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random() - 1),
    );
  const op = (name: string, inputs: readonly string[], attrs = {}, vendor = ""): string => {
    const out = `t${nodes.length}`;
    nodes.push(node(name, inputs, [out], attrs, vendor === "" ? {} : { domain: vendor }));
    return out;
  };
  const quant = (x: string, s: number, width: number): string =>
    op(
      "Quant",
      [x, constant([], [s]), constant([], [0]), constant([], [width])],
      { signed: 1, narrow: 0, rounding_mode: "ROUND" },
      domain,
    );
  const conv = (x: string): string =>
    op("Conv", [x, quant(noise([CHANNELS, CHANNELS, 3, 3]), 0.25, 4)], { pads: [1, 1, 1, 1] });
  const input = (): string => quant("x", 0.03125, bits);
  const list = (f: (c: number) => number): string =>
    constant(
      [CHANNELS],
      Array.from({ length: CHANNELS }, (_, c) => f(c)),
    );
  const norm = (x: string): string =>
    op("BatchNormalization", [
      x,
      list((c) => (c === 3 ? 0 : c % 2 ? -1 : 1) * (0.5 + c / 9)),
      list((c) => c / 7 - 0.3),
      list((c) => c / 11 - 0.2),
      list((c) => 0.4 + c / 5),
    ]);
  const made = {
    input: () => "x",
    quant: input,
    conv: () => conv(input()),
    norm: () => norm(conv(input())),
    relu: () => op("Clip", [conv(input()), constant([], [-0.5]), constant([], [1.25])]),
    curve: () => op("Tanh", [input()]),
    add: () => op("Add", [input(), quant("x", 0.0625, 6)]),
    "add scaled": () => op("Add", [input(), quant("x", 0.1, 6)]),
    concat: () => {
      const whole = input();
      const made = op("Conv", [whole, quant(noise([3, CHANNELS, 1, 1]), 0.25, 4)]);
      return op("Concat", [made, op("Slice", [whole, ...slice()])], { axis: 1 });
    },
  };
  const slice = (): string[] => {
    const bounds = { from: 0, to: 2, axis: 1 };
    for (const [name, v] of Object.entries(bounds)) initializers[name] = i64([1], [v]);
    return Object.keys(bounds);
  };
  const x = made[before]();
  const thresholds = constant([rows.length, rows[0]!.length], rows.flat());
  const attrs = { out_dtype: "UINT8", data_layout: layout, ...attributes };
  const turned = layout === "NHWC" ? op("Transpose", [x], { perm: [0, 2, 3, 1] }) : x;
  let y = op("MultiThreshold", [turned, thresholds], attrs, domain);
  if (layout === "NHWC") y = op("Transpose", [y], { perm: [0, 3, 1, 2] });
  const last = quant(op("Conv", [y, quant(noise([2, CHANNELS, 1, 1]), 0.25, 4)]), 0.5, 8);
  return model({
    inputs: [value("x", "float32", [1, CHANNELS, 5, 6])],
    outputs: [value(y), value(last)],
    initializers,
    nodes,
    opset: 13,
    opsets: { [domain]: 1 },
  });
}

async function exact(n: Network): Promise<void> {
  const verdict = await differential(network(n), { samples: 2 });
  if (verdict.kind === "diagnosed") throw new Error(`${verdict.codes}: ${verdict.messages.join("; ")}`);
  expect(verdict.wrong).toEqual([]);
  expect(verdict.elements).toBeGreaterThan(0);
}

/** The ops of the integer graph. */
async function ops(n: Network): Promise<readonly string[]> {
  const result = await compileModel(network(n), { target: "wasm-simd" });
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return result.value.module.funcs.flatMap((f) => f.ops.map((o) => o.name));
}

const even = (n: number, step: number, from = 0): number[] =>
  Array.from({ length: n }, (_, k) => from + k * step);
const perChannel = (f: (c: number) => readonly number[]): (readonly number[])[] =>
  Array.from({ length: CHANNELS }, (_, c) => f(c));
const uneven = (n: number, seed: number): number[] => {
  const random = randomSource(seed);
  return Array.from({ length: n }, () => Math.fround(8 * random() - 4)).sort((a, b) => a - b);
};

describe("equals its formula", () => {
  test.each([1, 2, 3, 7, 15, 16, 40, 255])("%i even steps behind a convolution, one list", async (n) => {
    const rows = [even(n, 8 / n, -4)];
    await exact({ rows });
    expect(await ops({ rows })).not.toContain("qc.threshold");
  });
  test.each([1, 2, 5, 15, 16, 63, 255])("%i uneven steps behind a convolution, one list", (n) =>
    exact({ rows: [uneven(n, n)] }),
  );
  test.each([1, 3, 15, 31, 255])("%i uneven steps per channel", (n) =>
    exact({ rows: perChannel((c) => uneven(n, 31 * n + c)) }),
  );
  test("even steps per channel become one multiply, add and shift", async () => {
    const n: Network = { rows: perChannel((c) => even(7, 0.3 + c / 10, -1.5 + c / 7)) };
    await exact(n);
    expect(await ops(n)).not.toContain("qc.threshold");
  });
  test("uneven steps are counted, behind bytes looked up", async () => {
    expect(await ops({ rows: [uneven(7, 1)] })).toContain("qc.threshold");
    expect(await ops({ rows: [uneven(7, 1)], before: "quant" })).not.toContain("qc.threshold");
  });
  test.each(["norm", "quant", "relu", "curve", "add", "add scaled"] as const)("behind %s", async (before) => {
    await exact({ rows: [uneven(9, 5)], before });
    await exact({ rows: [even(9, 0.5, -2)], before });
  });
  test.each(["norm", "quant", "relu", "add"] as const)("per channel behind %s", async (before) => {
    await exact({ rows: perChannel((c) => uneven(9, 5 + c)), before });
    await exact({ rows: perChannel((c) => even(20, 0.2, -2 + c / 5)), before });
  });
  test("a graph input", async () => {
    await exact({ rows: [uneven(9, 3)], before: "input" });
    await exact({ rows: [even(255, 1 / 64, -2)], before: "input" });
  });
  test("a concatenation", () => exact({ rows: perChannel((c) => uneven(6, 9 + c)), before: "concat" }));
  test("16-bit operands", () => exact({ rows: [uneven(200, 4)], before: "quant", bits: 16 }));
  test("equal thresholds, and those that nothing reaches", async () => {
    await exact({ rows: [[-1e30, -1, -1, 0, 0, 0, 2, 1e30]] });
    await exact({ rows: perChannel((c) => [-c, -c, 0, 0.5, 0.5, 1e9]) });
    await exact({ rows: [[-1e30, -1e30]] });
  });
  test("thresholds at reachable values", () => exact({ rows: [even(16, 0.03125 * 4, -1)], before: "quant" }));
  test.each([
    [float(0.5), float(-4)],
    [float(2), float(-1)],
    [float(-0.25), float(1)],
    [float(0.3), float(0.7)],
  ])("out_scale %o, out_bias %o", (out_scale, out_bias) =>
    exact({ rows: perChannel((c) => uneven(15, c)), attributes: { out_scale, out_bias } }),
  );
  test("NHWC", async () => {
    await exact({ rows: perChannel((c) => uneven(5, c)), layout: "NHWC" });
    await exact({ rows: [even(5, 1)], layout: "NHWC" });
  });
  test.each(["onnx.brevitas", "finn.custom_op.general", "finn"])("domain %s", (domain) =>
    exact({ rows: [uneven(3, 2)], domain }),
  );
});

test("multilayer perceptrons: channels last in rank 2", async () => {
  const random = randomSource(23);
  const noise = (...dims: number[]): Tensor =>
    f32(
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => 2 * random() - 1),
    );
  const domain = "qonnx.custom_op.general";
  const own = (op: string, inputs: string[], output: string, attrs: object): Node =>
    node(op, inputs, [output], { ...attrs }, { domain });
  const quant = { signed: 1, narrow: 1, rounding_mode: "ROUND" };
  const count = { out_dtype: "UINT2", data_layout: "NC", out_scale: float(1), out_bias: float(0) };
  const bytes = model({
    inputs: [value("x", "float32", [3, 20])],
    outputs: [value("z")],
    initializers: {
      s: f32([], [0.25]),
      zero: f32([], [0]),
      bits: f32([], [4]),
      w1: noise(20, 18),
      w2: noise(18, 7),
      t0: f32([1, 15], even(15, 0.125, -1)),
      t1: f32([18, 3], Array.from({ length: 18 }, (_, c) => uneven(3, c)).flat()),
      t2: f32(
        [7, 1],
        Array.from({ length: 7 }, (_, c) => c - 3.5),
      ),
    },
    nodes: [
      own("MultiThreshold", ["x", "t0"], "a", { ...count, out_bias: float(-8) }),
      own("Quant", ["w1", "s", "zero", "bits"], "q1", quant),
      own("Quant", ["w2", "s", "zero", "bits"], "q2", quant),
      node("MatMul", ["a", "q1"], ["m1"]),
      own("MultiThreshold", ["m1", "t1"], "b", count),
      node("MatMul", ["b", "q2"], ["m2"]),
      own("MultiThreshold", ["m2", "t2"], "z", { ...count, out_scale: float(2), out_bias: float(-1) }),
    ],
    opset: 13,
    opsets: { [domain]: 1 },
  });
  const verdict = await differential(bytes, { samples: 3 });
  expect(verdict).toMatchObject({ kind: "compiled", wrong: [] });
});

test.each([
  ["falling thresholds", { rows: [[1, 0.5]] }, "QC1135", /falls from 1 to 0.5/],
  ["NaN", { rows: [[Number.NaN, 1]] }, "QC1135", /NaN/],
  ["rows for other channels", { rows: [[1], [2]] }, "QC2123", /\[5, n\]/],
  ["a layout", { rows: [[1]], layout: "CHWN" }, "QC1134", /NHWC/],
  [
    "a list per channel at a graph input",
    { rows: perChannel((c) => [c]), before: "input" },
    "QC2106",
    /per tensor/,
  ],
  [
    "a list per channel behind a curve",
    { rows: perChannel((c) => [c / 9]), before: "curve" },
    "QC2132",
    /per channel behind a curve/,
  ],
] as const)("%s: refused", async (_, n, code, says) => {
  const verdict = await differential(network(n as Network));
  if (verdict.kind !== "diagnosed") throw new Error("compiled");
  expect(verdict.codes).toContain(code);
  expect(verdict.messages.join("\n")).toMatch(says);
});
