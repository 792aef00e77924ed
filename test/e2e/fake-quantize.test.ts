/**
 * Quantizers under TensorFlow's and OpenVINO's names: the artifact equals that of the same network with QONNX quantizers,
 * which other tests hold against the exact oracle; the input's quantizer equals the published formula.
 */
import { describe, expect, test } from "vitest";
import { compileModel } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import {
  type AttributeInput,
  f32,
  float,
  model,
  type Named,
  type Node,
  node,
  type Tensor,
  value,
} from "../onnx-writer.ts";
import { randomSource } from "../zoo.ts";

type Attributes = Named<AttributeInput>;

interface Graph {
  readonly constant: (shape: readonly number[], values: readonly number[]) => string;
  readonly op: (name: string, inputs: readonly string[], attributes?: Attributes, domain?: string) => string;
}

/** A grid of `levels` from `lo` on, in steps of s. */
interface Grid {
  readonly s: readonly number[];
  readonly z: number;
  readonly levels: number;
}
type Quantize = (g: Graph, x: string, grid: Grid, shape: readonly number[]) => string;

const SHAPE = [1, 3, 6, 6];
const WEIGHTS = [4, 3, 3, 3];

/** Quantizer, convolution with quantized weights per channel, relu, quantizer. */
function network(quantize: Quantize): Uint8Array {
  const nodes: Node[] = [];
  const initializers: Record<string, Tensor> = {};
  const g: Graph = {
    constant: (shape, values) => {
      const name = `c${Object.keys(initializers).length}`;
      initializers[name] = f32(shape, Float32Array.from(values));
      return name;
    },
    op: (name, inputs, attributes = {}, domain = "") => {
      const out = `t${nodes.length}`;
      nodes.push(node(name, inputs, [out], attributes, domain === "" ? {} : { domain }));
      return out;
    },
  };
  const random = randomSource(5);
  const w = g.constant(
    WEIGHTS,
    Array.from({ length: 108 }, () => random() - 0.5),
  );
  const x = quantize(g, "x", { s: [1 / 64], z: 100, levels: 256 }, []);
  const weights = quantize(
    g,
    w,
    { s: [1 / 256, 1 / 512, 1 / 256, 1 / 128], z: 127, levels: 255 },
    [4, 1, 1, 1],
  );
  const y = g.op("Relu", [g.op("Conv", [x, weights], { pads: [1, 1, 1, 1] })]);
  const q = quantize(g, y, { s: [1 / 16], z: 0, levels: 16 }, []);
  return model({
    inputs: [value("x", "float32", SHAPE)],
    outputs: [value(q)],
    initializers,
    nodes,
    opset: 13,
    opsets: { "org.openvinotoolkit": 1, "qonnx.custom_op.general": 1 },
  });
}

const qonnx =
  (mode: string): Quantize =>
  (g, x, { s, z, levels }, shape) => {
    const bits = Math.ceil(Math.log2(levels));
    const narrow = 2 ** bits - levels;
    const inputs = [x, g.constant(shape, s), g.constant([], [z]), g.constant([], [bits])];
    return g.op("Quant", inputs, { signed: 0, narrow, rounding_mode: mode }, "qonnx.custom_op.general");
  };

const ends = ({ s, z, levels }: Grid) => [s.map((v) => -z * v), s.map((v) => (levels - 1 - z) * v)] as const;

const openvino: Quantize = (g, x, grid, shape) => {
  const [lo, hi] = ends(grid).map((values) => g.constant(shape, values)) as [string, string];
  return g.op("FakeQuantize", [x, lo, hi, lo, hi], { levels: grid.levels }, "org.openvinotoolkit");
};

const tensorflow: Quantize = (g, x, grid, shape) => {
  const bits = Math.ceil(Math.log2(grid.levels));
  const narrow = 2 ** bits - grid.levels;
  const [lo, hi] = ends(grid).map((values) => g.constant(shape, values)) as [string, string];
  const op = grid.s.length > 1 ? "FakeQuantWithMinMaxVarsPerChannel" : "FakeQuantWithMinMaxVars";
  return g.op(op, [x, lo, hi], { num_bits: bits, narrow_range: narrow });
};

async function open(bytes: Uint8Array) {
  const result = await compileModel(bytes, { target: "wasm-simd" });
  if (!result.ok) throw new Error(result.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n"));
  const { manifest, baseline } = result.value;
  const artifact = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
  const { name } = manifest.outputs[0]!;
  return {
    codes: result.diagnostics.map((d) => d.code),
    run: (x: Float32Array) => artifact.run({ x })[name] as Float32Array,
  };
}

const noise = (seed: number, count: number): Float32Array => {
  const random = randomSource(seed);
  return Float32Array.from({ length: count }, (_, i) =>
    i % 5 === 0 ? (Math.floor(random() * 300 - 120) + 0.5) / 64 : 6 * random() - 2.5,
  );
};

describe("the same network with quantizers of", () => {
  test.each([
    ["OpenVINO", openvino, "ROUND"],
    ["TensorFlow", tensorflow, "HALF_UP"],
  ] as const)("%s", async (_, quantize, mode) => {
    const [ours, theirs] = [await open(network(quantize)), await open(network(qonnx(mode)))];
    let different = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const x = noise(seed, 108);
      const y = ours.run(x);
      expect(y).toEqual(theirs.run(x));
      different += new Set(y).size;
    }
    expect(different).toBeGreaterThan(40);
  });
});

const single = (
  op: string,
  inputs: readonly number[],
  attributes: Attributes,
  domain: string,
): Uint8Array => {
  const initializers: Record<string, Tensor> = {};
  const names = inputs.map((v, i) => {
    initializers[`c${i}`] = f32([], [v]);
    return `c${i}`;
  });
  return model({
    inputs: [value("x", "float32", [64])],
    outputs: [value("y")],
    initializers,
    nodes: [node(op, ["x", ...names], ["y"], attributes, domain === "" ? {} : { domain })],
    opset: 13,
    opsets: { "org.openvinotoolkit": 1 },
  });
};

const f = Math.fround;

/** tensorflow/core/kernels/fake_quant_ops_functor.h, as published: nudged bounds, then the nearest level. */
function tensorflowValue(x: number, min: number, max: number, bits: number, narrow: boolean): number {
  const [lo, hi] = [narrow ? 1 : 0, 2 ** bits - 1];
  const s = f(f(f(max) - f(min)) / (hi - lo));
  const from = f(lo - f(f(min) / s));
  const z = from < lo ? lo : from > hi ? hi : Math.floor(from + 0.5);
  const q = Math.min(Math.max(Math.floor(f(f(x) / s) + z + 0.5), lo), hi);
  return f((q - z) * s);
}

describe("the input's quantizer", () => {
  test.each([
    [-0.7, 1.3, 8, false],
    [-1, 1, 8, true],
    [0, 5.9, 4, false],
    [0.5, 2, 8, false],
    [-3, -1, 8, false],
  ])("TensorFlow, %f … %f, %i bits, narrow %s", async (min, max, bits, narrow) => {
    const { run } = await open(
      single("FakeQuantWithMinMaxVars", [min, max], { num_bits: bits, narrow_range: narrow ? 1 : 0 }, ""),
    );
    const x = noise(9, 64);
    expect(Array.from(run(x))).toEqual(Array.from(x, (v) => tensorflowValue(v, min, max, bits, narrow) + 0));
  });

  test("TensorFlow, bounds as attributes", async () => {
    const bytes = single("FakeQuantWithMinMaxArgs", [], { min: float(-1), max: 0.9921875, num_bits: 8 }, "");
    const x = noise(4, 64);
    const y = (await open(bytes)).run(x);
    expect(Array.from(y)).toEqual(Array.from(x, (v) => tensorflowValue(v, -1, 0.9921875, 8, false) + 0));
  });

  test("OpenVINO, other bounds after than before", async () => {
    const bytes = single("FakeQuantize", [-1, 1, 0, 3.75], { levels: 16 }, "org.openvinotoolkit");
    const x = Float32Array.from({ length: 64 }, (_, i) => (i - 32) / 31);
    // Ties of the steps of 2/15 are no float32, so that the nearest level is clear.
    const expected = Array.from(x, (v) => Math.round(Math.min(Math.max((v + 1) * 7.5, 0), 15)) / 4);
    expect(Array.from((await open(bytes)).run(x))).toEqual(expected);
  });

  test("OpenVINO, a zero point beside an integer is told", async () => {
    const [lo, hi] = [f(-1 / 3), f(0.5166667)];
    const bytes = single("FakeQuantize", [lo, hi, lo, hi], { levels: 256 }, "org.openvinotoolkit");
    const { codes, run } = await open(bytes);
    expect(codes).toEqual(["QC2143"]);
    const s = f(f(hi - lo) / 255);
    const x = noise(3, 64);
    const level = (v: number) => Math.min(Math.max(Math.round(v / s), -100), 155);
    expect(Array.from(run(x))).toEqual(Array.from(x, (v) => f(level(v) * s) + 0));
  });
});

test.each([
  ["bounds in the wrong order", "FakeQuantWithMinMaxVars", [1, -1], {}, "", "QC2129"],
  ["bits", "FakeQuantWithMinMaxVars", [0, 1], { num_bits: 17 }, "", "QC2123"],
  ["levels", "FakeQuantize", [0, 1, 0, 1], { levels: 1 }, "org.openvinotoolkit", "QC2123"],
] as const)("refused: %s", async (_, op, inputs, attributes, domain, code) => {
  const result = await compileModel(single(op, inputs, attributes, domain), { target: "wasm" });
  expect(result.ok).toBe(false);
  expect(result.diagnostics.map((d) => d.code)).toContain(code);
});
