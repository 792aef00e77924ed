/** Dynamic quantization as onnxruntime writes it: DynamicQuantizeLinear and products of integers, which stay integer kernels. */
import { describe, expect, test } from "vitest";
import { compileModel } from "../../compiler/index.ts";
import { f32, i8, type ModelSpec, model as modelBytes, node, u8, value } from "../onnx-writer.ts";
import { full } from "../require.ts";
import { randomSource } from "../zoo.ts";
import {
  agree,
  dynamic,
  FILLS,
  integers,
  kernelsOf,
  normal,
  sizeOf,
  unsigned,
  weights,
} from "./dynamic-graphs.ts";

describe("DynamicQuantizeLinear", () => {
  test.each([[[1]], [[]], [[3]], [[17]], [[2, 3, 5]], [[1, 4, 7, 9]], [[64, 33]]])(
    "of shape %j",
    async (shape) => {
      await agree({
        opset: 13,
        inputs: [value("x", "float32", shape)],
        outputs: [value("q", "uint8"), value("qs", "float32"), value("qz", "uint8")],
        nodes: [dynamic()],
      });
    },
  );
});

/** As quantize_dynamic writes a MatMul with a bias. */
const linear = (
  m: readonly number[],
  k: number,
  n: number,
  options: { wz?: boolean; perColumn?: boolean; unsigned?: boolean } = {},
) => {
  const columns = options.perColumn ? [n] : [];
  const at = (lo: number, hi: number) => integers(sizeOf(columns), 9, lo, hi);
  const make = options.unsigned ? unsigned : weights;
  const zero = options.unsigned
    ? u8(columns, at(3, 250))
    : i8(columns, at(options.wz ? -7 : 0, options.wz ? 100 : 0));
  return {
    opset: 13,
    inputs: [value("x", "float32", [...m, k])],
    initializers: {
      w: make([k, n]),
      wz: zero,
      ws: f32(
        columns,
        normal(sizeOf(columns), 4).map((v) => Math.fround(Math.abs(v) / 100)),
      ),
      b: f32([n], normal(n, 3)),
    },
    outputs: [value("y", "float32")],
    nodes: [
      dynamic(),
      node("MatMulInteger", ["q", "w", "qz", "wz"], ["acc"]),
      node("Cast", ["acc"], ["real"], { to: 1 }),
      node("Mul", ["qs", "ws"], ["scale"]),
      node("Mul", ["real", "scale"], ["scaled"]),
      node("Add", ["b", "scaled"], ["y"]),
    ],
  } satisfies ModelSpec;
};

describe("chains of quantize_dynamic", () => {
  test.each([
    [[1], 1, 1, {}],
    [[5], 8, 16, {}],
    [[3], 33, 7, { perColumn: true }],
    [[2, 9], 64, 24, { wz: true }],
    [[4], 40, 20, { unsigned: true }],
    [[4], 19, 12, { unsigned: true, perColumn: true }],
    [[2, 3], 50, 9, { perColumn: true, wz: true }],
    [[1], 300, 65, {}],
  ] as const)("MatMulInteger of %j × %d by %d, %j", async (m, k, n, options) => {
    const artifact = await agree(linear(m, k, n, options));
    const { macs, coverage } = artifact.manifest;
    expect(macs.nominal).toBe(sizeOf(m) * k * n);
    expect(coverage.float!.macs).toBe(0);
    const names = kernelsOf(artifact);
    expect(names).toContain("qc.matmul");
    expect(names).toContain("qc.sub_product");
    expect(names).not.toContain("qc.requant");
  });

  test.each([
    ["plain", [1, 3, 8, 9], [4, 3, 3, 3], {}],
    ["padded", [1, 3, 8, 9], [6, 3, 3, 3], { pads: [1, 1, 1, 1] }],
    ["padded on one side, strided", [1, 4, 9, 10], [5, 4, 3, 2], { pads: [0, 1, 2, 0], strides: [2, 2] }],
    ["dilated", [1, 2, 11, 12], [3, 2, 3, 3], { pads: [2, 2, 2, 2], dilations: [2, 2] }],
    ["depthwise", [1, 8, 7, 7], [8, 1, 3, 3], { pads: [1, 1, 1, 1], group: 8 }],
    ["grouped", [1, 8, 6, 5], [12, 2, 3, 3], { pads: [1, 1, 1, 1], group: 4 }],
    ["1 × 1", [1, 16, 4, 6], [20, 16, 1, 1], {}],
    ["patches", [1, 1, 12, 12], [16, 1, 4, 4], { strides: [4, 4] }],
    ["of several images", [3, 2, 6, 6], [4, 2, 3, 3], { pads: [1, 1, 1, 1] }],
    ["one-dimensional", [1, 3, 21], [5, 3, 5], { pads: [2, 2] }],
  ] as const)("ConvInteger %s", async (_, x, w, attributes) => {
    const rest = new Array<number>(x.length - 2).fill(1);
    const artifact = await agree({
      opset: 13,
      inputs: [value("x", "float32", [...x])],
      initializers: {
        w: weights(w),
        wz: i8([], [0]),
        ws: f32([], [Math.fround(0.013)]),
        b: f32([1, w[0], ...rest], normal(w[0], 2)),
      },
      outputs: [value("y", "float32")],
      nodes: [
        dynamic(),
        node("ConvInteger", ["q", "w", "qz", "wz"], ["acc"], attributes as Record<string, number | number[]>),
        node("Cast", ["acc"], ["real"], { to: 1 }),
        node("Mul", ["qs", "ws"], ["scale"]),
        node("Mul", ["real", "scale"], ["scaled"]),
        node("Add", ["scaled", "b"], ["y"]),
      ],
    });
    expect(artifact.manifest.coverage.float!.macs).toBe(0);
    expect(kernelsOf(artifact)).toContain("qc.conv");
  });

  test("two layers, the second quantized from the floats of the first", async () => {
    await agree({
      opset: 13,
      inputs: [value("x", "float32", [6, 20])],
      initializers: {
        w: weights([20, 12]),
        v: weights([12, 5], 8),
        ws: f32([], [0.01]),
        b: f32([12], normal(12, 1)),
      },
      outputs: [value("z", "float32")],
      nodes: [
        dynamic(),
        node("MatMulInteger", ["q", "w", "qz"], ["acc"]),
        node("Cast", ["acc"], ["real"], { to: 1 }),
        node("Mul", ["qs", "ws"], ["scale"]),
        node("Mul", ["real", "scale"], ["scaled"]),
        node("Add", ["scaled", "b"], ["sum"]),
        node("Relu", ["sum"], ["relu"]),
        dynamic("relu", "r"),
        node("MatMulInteger", ["r", "v", "rz"], ["acc2"]),
        node("Cast", ["acc2"], ["real2"], { to: 1 }),
        node("Mul", ["rs", "ws"], ["scale2"]),
        node("Mul", ["real2", "scale2"], ["z"]),
      ],
    });
  });

  test("a tensor read by several products is quantized once", async () => {
    const artifact = await agree({
      opset: 13,
      inputs: [value("x", "float32", [6, 20])],
      initializers: { w: weights([20, 12]), v: weights([20, 12], 8), ws: f32([], [0.01]) },
      outputs: [value("y", "float32"), value("z", "float32")],
      nodes: [
        dynamic(),
        ...["w", "v"].flatMap((w, i) => [
          node("MatMulInteger", ["q", w, "qz"], [`acc${i}`]),
          node("Cast", [`acc${i}`], [`real${i}`], { to: 1 }),
          node("Mul", [`real${i}`, "qs"], [i === 0 ? "y" : "z"]),
        ]),
      ],
    });
    expect(kernelsOf(artifact).filter((op) => op === "float.reduce_max")).toHaveLength(1);
  });

  test("a product of two tensors of the run", async () => {
    const artifact = await agree(
      {
        opset: 13,
        inputs: [value("x", "float32", [2, 5, 8]), value("y", "float32", [2, 8, 6])],
        outputs: [value("z", "float32")],
        nodes: [
          dynamic(),
          dynamic("y", "r"),
          node("MatMulInteger", ["q", "r", "qz", "rz"], ["acc"]),
          node("Cast", ["acc"], ["real"], { to: 1 }),
          node("Mul", ["qs", "rs"], ["scale"]),
          node("Mul", ["real", "scale"], ["z"]),
        ],
      },
      { fills: Object.keys(FILLS).filter((f) => f !== "huge" && f !== "tiny") },
    );
    expect(artifact.manifest.coverage.float!.macs).toBe(0);
  });
});

describe("random layers", () => {
  const seeds = Array.from({ length: full ? 30 : 4 }, (_, i) => i + 1);
  const kinds = Object.keys(FILLS);
  test.each(seeds)("MatMulInteger, seed %i", async (seed) => {
    const next = randomSource(seed);
    const size = (most: number) => 1 + Math.floor(next() * most);
    const rows = Array.from({ length: size(3) }, () => size(7));
    const [k, n] = [size(90), size(40)];
    const options = { perColumn: next() < 0.5, wz: next() < 0.5, unsigned: next() < 0.4 };
    const fills = [kinds[seed % kinds.length]!, kinds[(3 * seed + 1) % kinds.length]!];
    await agree(linear(rows, k, n, options), { fills });
  });

  test.each(seeds)("ConvInteger, seed %i", async (seed) => {
    const next = randomSource(1000 + seed);
    const size = (most: number) => 1 + Math.floor(next() * most);
    const group = size(3);
    const [inputs, outputs] = [group * size(4), group * size(6)];
    const [kh, kw] = [size(4), size(4)];
    const dilations = [size(2), size(2)];
    const shape = [size(2), inputs, 2 * kh + size(8), 2 * kw + size(8)];
    const pad = (most: number) => Math.floor(next() * (most + 1));
    const attributes = {
      group,
      dilations,
      strides: [size(3), size(3)],
      pads: [pad(kh), pad(kw), pad(kh), pad(kw)],
    };
    const unsignedWeights = next() < 0.5;
    const dims = [outputs, inputs / group, kh, kw];
    const fills = [kinds[seed % kinds.length]!, kinds[(5 * seed + 2) % kinds.length]!];
    await agree(
      {
        opset: 13,
        inputs: [value("x", "float32", shape)],
        initializers: {
          w: unsignedWeights ? unsigned(dims, seed) : weights(dims, seed),
          wz: unsignedWeights ? u8([], [Math.floor(next() * 256)]) : i8([], [0]),
          ws: f32([], [Math.fround(0.013)]),
        },
        outputs: [value("y", "float32")],
        nodes: [
          dynamic(),
          node("ConvInteger", ["q", "w", "qz", "wz"], ["acc"], attributes),
          node("Cast", ["acc"], ["real"], { to: 1 }),
          node("Mul", ["qs", "ws"], ["scale"]),
          node("Mul", ["real", "scale"], ["y"]),
        ],
      },
      { fills },
    );
  });
});

describe("integers and zero points as inputs", () => {
  test.each([
    ["uint8", "int8"],
    ["int8", "int8"],
    ["uint8", "uint8"],
    ["int8", "uint8"],
  ] as const)("MatMulInteger of %s by %s", async (a, b) => {
    const make = b === "int8" ? weights : unsigned;
    await agree(
      {
        opset: 13,
        inputs: [value("x", a, [4, 21]), value("z", a, [])],
        initializers: { w: make([21, 11]) },
        outputs: [value("y", "int32")],
        nodes: [node("MatMulInteger", ["x", "w", "z"], ["y"])],
      },
      { fills: ["normal", "ties"], alone: a === "int8" && b === "uint8" },
    );
  });
  test("a zero point per row", async () => {
    await agree(
      {
        opset: 13,
        inputs: [value("x", "uint8", [4, 21]), value("z", "uint8", [4])],
        initializers: { w: weights([21, 11]) },
        outputs: [value("y", "int32")],
        nodes: [node("MatMulInteger", ["x", "w", "z"], ["y"])],
      },
      { fills: ["normal", "ties"], alone: true },
    );
  });
  test("ConvInteger, padded", async () => {
    await agree(
      {
        opset: 13,
        inputs: [value("x", "uint8", [1, 2, 6, 7]), value("z", "uint8", [])],
        initializers: { w: unsigned([5, 2, 3, 3]), wz: u8([], [131]) },
        outputs: [value("y", "int32")],
        nodes: [node("ConvInteger", ["x", "w", "z", "wz"], ["y"], { pads: [1, 1, 1, 1] })],
      },
      { fills: ["normal", "ties"] },
    );
  });
});

describe("without floats", () => {
  test("the scale of the run is named, with the way out", async () => {
    const result = await compileModel(modelBytes(linear([3], 8, 8)), { target: "wasm-simd" });
    expect(result.ok).toBe(false);
    const errors = result.diagnostics.filter((d) => d.severity === "error");
    expect(errors.map((d) => d.code)).toEqual(["QC2148"]);
    expect(errors[0]!.message).toBe(
      'DynamicQuantizeLinear: the scale of "x" is a float32 that each run computes',
    );
    expect(errors[0]!.fixes[0]).toContain("--allow-float");
    expect(errors[0]!.loc).toMatchObject({ kind: "node", op: "DynamicQuantizeLinear" });
  });
});
