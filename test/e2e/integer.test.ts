/** Graphs on integer tensors: products of integers scaled in the graph, and data movement between QLinear operators. */
import { describe, expect, test } from "vitest";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { noise, runOrt } from "../import-spec.ts";
import { f32, i8, i32, i64, type ModelSpec, model as modelBytes, node, u8, value } from "../onnx-writer.ts";
import { evaluateOnnx } from "../oracle/evaluate.ts";
import { compileBytes, runnersOf } from "./compiled.ts";
import { integersOf } from "./exact.ts";

const weights = (...dims: number[]) => {
  const size = dims.reduce((a, b) => a * b, 1);
  return i8(
    dims,
    noise(size, 3).map((x) => Math.floor(x * 100)),
  );
};
const scalar = (x: number) => f32([], [x]);

/** onnxruntime = exact value at the outputs, exact value = interpreter = modules at every quantizer. */
async function agree(spec: ModelSpec) {
  const feeds = new Map(
    spec.inputs!.map(({ name, dtype, shape }, i) => {
      const size = (shape as number[]).reduce((a, b) => a * b, 1);
      const x = noise(size, 31 + i);
      return [name, dtype === "uint8" ? x.map((v) => Math.floor((v + 1) * 128)) : x.map((v) => 4 * v)];
    }),
  );
  const typed = new Map(
    spec.inputs!.map(({ name, dtype }): [string, Uint8Array | Float32Array] => [
      name,
      (dtype === "uint8" ? Uint8Array : Float32Array).from(feeds.get(name)!),
    ]),
  );
  const read = readModel(modelBytes(spec));
  if (!read.ok) throw new Error("not a model");
  const exact = evaluateOnnx(read.value, typed);
  for (const [name, { data }] of await runOrt(spec, feeds))
    expect(Array.from(exact.outputs.get(name)!.values), name).toEqual(Array.from(data));
  const artifact = await compileBytes(modelBytes(spec), { name: "m", debug: true });
  const integers = integersOf(artifact.module, typed);
  for (const [name, { values }] of exact.quantizers) expect(integers.get(name), name).toEqual(values);
  for (const { run } of await runnersOf(artifact)) {
    const out = run(typed);
    for (const [name, q] of integers) expect(out.get(name), name).toEqual(q);
  }
  return artifact.manifest.rescales.length;
}

const quantize = (x: string, y: string) => node("QuantizeLinear", [x, "s", "z"], [y]);

describe("ConvInteger and MatMulInteger with scales in the graph", () => {
  const initializers = {
    s: scalar(0.25),
    z: u8([], [3]),
    w: weights(4, 2, 3, 3),
    wz: i8([], [0]),
    k: f32([4, 1, 1], [2 ** -6, 2 ** -7, 2 ** -5, 2 ** -8]),
    b: f32([4, 1, 1], [1, -2, 0.5, 0]),
  };
  const tail = [
    node("Cast", ["acc"], ["real"], { to: 1 }),
    node("Mul", ["real", "k"], ["scaled"]),
    node("Add", ["scaled", "b"], ["sum"]),
    node("Relu", ["sum"], ["relu"]),
    quantize("relu", "y"),
  ];
  test("one rescale from accumulator to quantizer", async () => {
    const rescales = await agree({
      opset: 13,
      inputs: [value("x", "float32", [1, 2, 6, 5])],
      initializers,
      outputs: [value("y", "uint8")],
      nodes: [
        quantize("x", "q"),
        node("ConvInteger", ["q", "w", "z", "wz"], ["acc"], { pads: [1, 1, 1, 1] }),
        ...tail,
      ],
    });
    expect(rescales).toBe(1);
  });
  test("moved before the Cast", async () => {
    const rescales = await agree({
      opset: 13,
      inputs: [value("x", "uint8", [3, 8])],
      initializers: { ...initializers, w: weights(8, 4), shape: i64([4], [1, 4, 3, 1]) },
      outputs: [value("y", "uint8")],
      nodes: [
        node("MatMulInteger", ["x", "w", "z"], ["product"]),
        node("Transpose", ["product"], ["turned"]),
        node("Reshape", ["turned", "shape"], ["acc"]),
        ...tail,
      ],
    });
    expect(rescales).toBe(1);
  });
});

describe("between QLinear operators", () => {
  const quantizer = (name: string, s: number, z: number) => ({
    [`${name}s`]: scalar(s),
    [`${name}z`]: u8([], [z]),
  });
  test("pools, movement and Concat work on the integers", async () => {
    await agree({
      opset: 13,
      opsets: { "com.microsoft": 1 },
      inputs: [value("x", "uint8", [1, 4, 6, 6])],
      initializers: {
        ...quantizer("x", 0.25, 7),
        ...quantizer("y", 0.5, 9),
        w: weights(4, 4, 1, 1),
        ws: scalar(2 ** -6),
        wz: i8([], [0]),
        constant: u8([1, 1, 3, 3], [0, 1, 2, 3, 250, 251, 252, 253, 254]),
        axes: i64([1], [1]),
        starts: i64([1], [1]),
        ends: i64([1], [3]),
        b: i32([4], [100, -200, 300, 0]),
      },
      outputs: [value("out", "uint8")],
      nodes: [
        node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"]),
        node("MaxPool", ["c"], ["m"], { kernel_shape: [2, 2], strides: [2, 2] }),
        node("Slice", ["m", "starts", "ends", "axes"], ["part"]),
        node("Concat", ["m", "part", "constant"], ["joined"], { axis: 1 }),
        node("Transpose", ["joined"], ["t"], { perm: [0, 2, 3, 1] }),
        node(
          "QLinearAdd",
          ["t", "ys", "yz", "t", "ys", "yz", "xs", "xz"],
          ["out"],
          {},
          { domain: "com.microsoft" },
        ),
      ],
    });
  });
  test("weights quantized in the graph from dequantized constants", async () => {
    await agree({
      opset: 13,
      inputs: [value("x", "uint8", [2, 8])],
      initializers: {
        ...quantizer("x", 0.25, 7),
        ...quantizer("y", 0.5, 9),
        ...quantizer("w", 2 ** -7, 128),
        stored: weights(8, 5),
        ss: scalar(2 ** -8),
        sz: i8([], [1]),
      },
      outputs: [value("y", "uint8")],
      nodes: [
        node("DequantizeLinear", ["stored", "ss", "sz"], ["real"]),
        node("QuantizeLinear", ["real", "ws", "wz"], ["w"]),
        node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"]),
      ],
    });
  });
  test("parts with clamps of their own", async () => {
    for (const part of [
      [scalar(0.25), u8([], [3])],
      [scalar(0.5), u8([], [7])],
    ] as const)
      await agree({
        opset: 13,
        inputs: [value("x", "uint8", [2, 8])],
        initializers: {
          ps: part[0],
          pz: part[1],
          s: scalar(0.25),
          z: u8([], [3]),
          lo: scalar(0),
          hi: scalar(6),
          stored: u8([2, 1], [1, 255]),
        },
        outputs: [value("y", "uint8")],
        nodes: [
          node("DequantizeLinear", ["x", "ps", "pz"], ["real"]),
          node("DequantizeLinear", ["stored", "ps", "pz"], ["constant"]),
          node("Clip", ["real", "lo", "hi"], ["clipped"]),
          node("Concat", ["clipped", "real", "constant"], ["joined"], { axis: 1 }),
          quantize("joined", "y"),
        ],
      });
  });
});
