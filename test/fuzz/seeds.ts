/** Small valid models that between them use every family of kernels. */
import { f32, float, i8, i32, i64, model, type Node, node, type Tensor, u8, value } from "../onnx-writer.ts";

/** Deterministic int8 weights. */
const weights = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((i * 73 + seed * 31 + ((i * i) >> 3)) % 255) - 127);

/** Q then DQ of tensor `x`, as `x_q` and `x_d`. */
const fakeQuant = (x: string, scale: string, zero: string): Node[] => [
  node("QuantizeLinear", [x, scale, zero], [`${x}_q`]),
  node("DequantizeLinear", [`${x}_q`, scale, zero], [`${x}_d`]),
];

const scales: Readonly<Record<string, Tensor>> = {
  s1: f32([], [0.02]),
  s2: f32([], [0.05]),
  s3: f32([], [1 / 256]),
  z0: u8([], [0]),
  z3: u8([], [3]),
  z128: u8([], [128]),
  zi: i8([], [0]),
};

export const dense: Uint8Array = model({
  name: "dense",
  inputs: [value("x", "float32", [1, 8])],
  outputs: [value("y_d", "float32", [1, 5])],
  initializers: {
    ...scales,
    w: i8([8, 5], weights(40, 1)),
    sw: f32([5], [0.01, 0.02, 0.015, 0.005, 0.03]),
    zw: i8([5], [0, 0, 0, 0, 0]),
    b: i32([5], [100, -200, 0, 50, 7]),
    sb: f32([5], [0.0002, 0.0004, 0.0003, 0.0001, 0.0006]),
    zb: i32([5], [0, 0, 0, 0, 0]),
  },
  nodes: [
    ...fakeQuant("x", "s1", "z128"),
    node("DequantizeLinear", ["w", "sw", "zw"], ["w_d"], { axis: 1 }),
    node("DequantizeLinear", ["b", "sb", "zb"], ["b_d"], { axis: 0 }),
    node("Gemm", ["x_d", "w_d", "b_d"], ["y"]),
    ...fakeQuant("y", "s2", "z128"),
  ],
});

export const image: Uint8Array = model({
  name: "image",
  inputs: [value("x", "uint8", [1, 3, 8, 8])],
  outputs: [
    value("p_q", "uint8", [1, 4]),
    value("l_q", "uint8", [1, 4]),
    value("c2_q", "uint8", [1, 8, 4, 4]),
  ],
  initializers: {
    ...scales,
    w1: i8([8, 3, 3, 3], weights(216, 2)),
    s8: f32([8], [0.01, 0.012, 0.008, 0.02, 0.011, 0.009, 0.013, 0.007]),
    z8: i8([8], [0, 0, 0, 0, 0, 0, 0, 0]),
    w2: i8([8, 1, 3, 3], weights(72, 3)),
    w3: i8([8, 8, 1, 1], weights(64, 4)),
    w4: i8([4, 8], weights(32, 5)),
    s: f32([], [0.01]),
  },
  nodes: [
    node("DequantizeLinear", ["x", "s1", "z128"], ["x_d"]),
    ...["w1", "w2", "w3"].map((w) => node("DequantizeLinear", [w, "s8", "z8"], [`${w}_d`], { axis: 0 })),
    node("DequantizeLinear", ["w4", "s", "zi"], ["w4_d"]),
    node("Conv", ["x_d", "w1_d"], ["c1"], { pads: [0, 0, 1, 1], strides: [2, 2], kernel_shape: [3, 3] }),
    node("Relu", ["c1"], ["r1"]),
    ...fakeQuant("r1", "s1", "z0"),
    node("Conv", ["r1_d", "w2_d"], ["c2"], { pads: [1, 1, 1, 1], group: 8 }),
    ...fakeQuant("c2", "s2", "z128"),
    node("Conv", ["c2_d", "w3_d"], ["c3"]),
    ...fakeQuant("c3", "s2", "z3"),
    node("Add", ["c3_d", "r1_d"], ["a"]),
    ...fakeQuant("a", "s2", "z128"),
    node("GlobalAveragePool", ["a_d"], ["g"]),
    ...fakeQuant("g", "s1", "z128"),
    node("Flatten", ["g_d"], ["f"]),
    node("Gemm", ["f", "w4_d"], ["l"], { transB: 1 }),
    ...fakeQuant("l", "s2", "z128"),
    node("Softmax", ["l_d"], ["p"], { axis: 1 }),
    node("QuantizeLinear", ["p", "s3", "z0"], ["p_q"]),
  ],
});

export const mixed: Uint8Array = model({
  name: "mixed",
  opset: 14,
  inputs: [value("x", "float32", [1, 4, 6, 6]), value("k", "uint8", [1, 4, 6, 6])],
  outputs: [
    value("y_q", "uint8", [1, 8, 3, 3]),
    value("t_q", "uint8", [1, 6, 6, 4]),
    value("rs_q", "uint8", [1, 4]),
  ],
  initializers: {
    ...scales,
    starts: i64([1], [1]),
    ends: i64([1], [3]),
    axes: i64([1], [1]),
    shape: i64([2], [1, 4]),
    half: f32([], [0.5]),
    six: f32([], [6]),
    zero: f32([], [0]),
  },
  nodes: [
    ...fakeQuant("x", "s2", "z128"),
    node("DequantizeLinear", ["k", "s1", "z3"], ["k_d"]),
    node("Sigmoid", ["x_d"], ["g"]),
    ...fakeQuant("g", "s3", "z0"),
    node("HardSwish", ["x_d"], ["h"]),
    ...fakeQuant("h", "s2", "z3"),
    node("Mul", ["g_d", "h_d"], ["m"]),
    ...fakeQuant("m", "s1", "z3"),
    node("Sub", ["m_d", "k_d"], ["d"]),
    ...fakeQuant("d", "s2", "z128"),
    node("Concat", ["d_d", "h_d"], ["c"], { axis: 1 }),
    ...fakeQuant("c", "s2", "z128"),
    node("MaxPool", ["c_d"], ["mp"], { kernel_shape: [2, 2], strides: [2, 2] }),
    node("Clip", ["mp", "zero", "six"], ["cl"]),
    node("QuantizeLinear", ["cl", "s2", "z128"], ["y_q"]),
    node("Transpose", ["d_d"], ["t"], { perm: [0, 2, 3, 1] }),
    node("QuantizeLinear", ["t", "s1", "z128"], ["t_q"]),
    node("AveragePool", ["k_d"], ["ap"], { kernel_shape: [3, 3], strides: [3, 3] }),
    ...fakeQuant("ap", "s1", "z3"),
    node("ReduceMean", ["ap_d"], ["rm"], { axes: [2, 3], keepdims: 0 }),
    node("Reshape", ["rm", "shape"], ["rs"]),
    node("QuantizeLinear", ["rs", "s1", "z3"], ["rs_q"]),
  ],
});

const QONNX = "qonnx.custom_op.general";
const own = (op: string, inputs: string[], output: string, attributes: Node["attributes"] = {}): Node =>
  node(op, inputs, [output], attributes, { domain: QONNX });

/** Quantizers with steps at any places: of the input, even and uneven behind convolutions, and small floats. */
export const steps: Uint8Array = model({
  name: "steps",
  opset: 13,
  opsets: { [QONNX]: 1 },
  inputs: [value("x", "float32", [1, 3, 6, 6])],
  outputs: [value("y", "float32", [1, 4, 6, 6]), value("g", "float32", [1, 4, 6, 6])],
  initializers: {
    s: f32([], [0.125]),
    two: f32([], [2]),
    one: f32([], [1]),
    six: f32([], [6]),
    w1: f32(
      [4, 3, 3, 3],
      weights(108, 6).map((v) => v / 64),
    ),
    w2: f32(
      [4, 4, 1, 1],
      weights(16, 7).map((v) => v / 64),
    ),
    t0: f32([1, 7], [-0.6, -0.4, -0.1, 0, 0.2, 0.3, 0.7]),
    t1: f32([4, 3], [-2, 0, 2, -3, -2, 5, 0, 0, 1, -1, -0.5, 0]),
    t2: f32(
      [1, 15],
      Array.from({ length: 15 }, (_, k) => k / 2 - 3),
    ),
  },
  nodes: [
    own("MultiThreshold", ["x", "t0"], "a", { out_bias: float(-4), out_scale: 1.5, out_dtype: "INT4" }),
    own("FloatQuant", ["w1", "s", "two", "one", "one", "six"], "q1", { saturation: 1 }),
    node("Conv", ["a", "q1"], ["c1"], { pads: [1, 1, 1, 1] }),
    own("MultiThreshold", ["c1", "t1"], "b", { out_dtype: "UINT2" }),
    own("FloatQuant", ["w2", "s", "two", "one", "one", "six"], "q2", { rounding_mode: "FLOOR" }),
    node("Conv", ["b", "q2"], ["c2"]),
    own("MultiThreshold", ["c2", "t2"], "y", { out_dtype: "UINT4", data_layout: "NCHW" }),
    own("FloatQuant", ["c2", "s", "two", "one", "one", "six"], "g", { rounding_mode: "HALF_UP" }),
  ],
});
