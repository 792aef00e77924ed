/** FloatQuant through the whole compiler, against its formula in exact arithmetic; and what it is refused for. */
import { describe, expect, test } from "vitest";
import { f32, model, type Node, node, type Tensor, value } from "../onnx-writer.ts";
import { randomSource } from "../zoo.ts";
import { differential } from "./differential.ts";

interface Format {
  readonly e: number;
  readonly m: number;
  readonly bias: number;
  readonly most: number;
}

const E2M1: Format = { e: 2, m: 1, bias: 1, most: 6 };
const E2M3: Format = { e: 2, m: 3, bias: 1, most: 7.5 };
const E3M2: Format = { e: 3, m: 2, bias: 3, most: 28 };
const E3M4: Format = { e: 3, m: 4, bias: 3, most: 31 };
const E4M3: Format = { e: 4, m: 3, bias: 7, most: 448 };

interface Network {
  readonly x?: Format;
  readonly w?: Format;
  readonly mode?: string;
  /** What the last quantizer stands behind. */
  readonly last?: "conv" | "input" | "curve";
  readonly perChannel?: boolean;
  readonly attributes?: Readonly<Record<string, number>>;
  readonly scale?: number;
}

/** FloatQuant of the input, a convolution with FloatQuant weights, and FloatQuant again. */
function network({
  x = E3M2,
  w = E2M1,
  mode = "ROUND",
  last = "conv",
  perChannel = false,
  attributes = {},
  scale = 0.125,
}: Network): Uint8Array {
  const nodes: Node[] = [];
  const initializers: Record<string, Tensor> = {};
  const random = randomSource(5);
  const constant = (shape: readonly number[], values: readonly number[]): string => {
    const name = `c${Object.keys(initializers).length}`;
    initializers[name] = f32(shape, values);
    return name;
  };
  const op = (name: string, inputs: readonly string[], attrs = {}, domain = ""): string => {
    const out = `t${nodes.length}`;
    nodes.push(node(name, inputs, [out], attrs, domain === "" ? {} : { domain }));
    return out;
  };
  const floatQuant = (from: string, s: string, { e, m, bias, most }: Format): string => {
    const inputs = [from, s, ...[e, m, bias, most].map((v) => constant([], [v]))];
    const attrs = {
      has_inf: 0,
      has_nan: 0,
      has_subnormal: 1,
      saturation: 1,
      rounding_mode: mode,
      ...attributes,
    };
    return op("FloatQuant", inputs, attrs, "qonnx.custom_op.general");
  };
  const noise = constant(
    [4, 3, 3, 3],
    Array.from({ length: 108 }, () => 2 * random() - 1),
  );
  const q = floatQuant("x", constant([], [scale]), x);
  const scales = constant([4, 1, 1, 1], [0.25, 0.3, 0.125, 0.2]);
  const conv = op("Conv", [q, floatQuant(noise, scales, w)], { pads: [1, 1, 1, 1] });
  const steps = perChannel ? constant([1, 4, 1, 1], [0.5, 0.7, 0.3, 0.25]) : constant([], [0.3]);
  const y = floatQuant(last === "conv" ? conv : last === "curve" ? op("Tanh", [q]) : q, steps, E2M3);
  return model({
    inputs: [value("x", "float32", [1, 3, 6, 5])],
    outputs: [value(y), value(q)],
    initializers,
    nodes,
    opset: 13,
    opsets: { "qonnx.custom_op.general": 1 },
  });
}

async function exact(n: Network): Promise<void> {
  const verdict = await differential(network(n), { samples: 2 });
  if (verdict.kind === "diagnosed") throw new Error(`${verdict.codes}: ${verdict.messages.join("; ")}`);
  expect(verdict.wrong).toEqual([]);
  expect(verdict.elements).toBeGreaterThan(0);
}

describe("equals its formula", () => {
  test.each([
    ["e2m1", E2M1],
    ["e2m3", E2M3],
    ["e3m2", E3M2],
    ["e3m4", E3M4],
    ["e5m0", { e: 3, m: 0, bias: 3, most: 16 }],
    ["a greatest value between floats", { e: 3, m: 2, bias: 3, most: 17 }],
  ] as const)("%s", async (_, x) => {
    await exact({ x });
    await exact({ w: x });
  });
  test.each(["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])(
    "rounding mode %s",
    async (mode) => {
      await exact({ mode });
      await exact({ mode, last: "input", scale: 0.3 });
    },
  );
  test("scales per channel", () => exact({ perChannel: true }));
  test("behind a curve", () => exact({ last: "curve" }));
  test("e4m3 weights and inputs: 19 bits where both ends occur", async () => {
    await exact({ x: E4M3, last: "input" });
  });
  test("either name of infinity", () => exact({ attributes: { has_infinity: 1 } }));
});

test.each([
  ["no saturation", { attributes: { saturation: 0 } }, "QC1134", /saturation.*no integers/],
  ["nine bits", { x: { ...E4M3, e: 5 } }, "QC2007", /9 bits/],
  ["a range of 33 bits", { x: { e: 5, m: 2, bias: 15, most: 57344 } }, "QC2007", /no 32-bit integer/],
  ["a greatest value between multiples", { x: { ...E2M1, most: 2.3 } }, "QC2123", /multiple of 0.5/],
  ["a fraction of a bit", { x: { ...E2M1, e: 1.5 } }, "QC2123", /exponent bit width/],
  ["e4m3 activations under a convolution", { x: E4M3 }, "QC2110", /no integer kernel for .*conv/],
] as const)("%s: refused", async (_, n, code, says) => {
  const verdict = await differential(network(n as Network));
  if (verdict.kind !== "diagnosed") throw new Error("compiled");
  expect(verdict.codes).toContain(code);
  expect(verdict.messages.join("\n")).toMatch(says);
});
