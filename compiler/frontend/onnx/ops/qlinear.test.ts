/** How QLinear operators and integer products are imported and diagnosed; test/e2e/qlinear.test.ts has what they compute. */
import { describe, expect, test } from "vitest";
import { findings, mainOf, onlyOp, opNames } from "../../../../test/import-spec.ts";
import {
  type AttributeInput,
  f32,
  i8,
  i32,
  type ModelSpec,
  node,
  type Tensor,
  u8,
  value,
} from "../../../../test/onnx-writer.ts";

const parameters = {
  s: f32([], [0.5]),
  t: f32([], [0.25]),
  z: u8([], [3]),
  wz: i8([], [0]),
  w: i8([2, 2, 1, 1], [1, 2, 3, 4]),
  m: i8([5, 3], new Array<number>(15).fill(1)),
};

/** One node on inputs x (and y), in its domain. */
function spec(
  op: string,
  inputs: readonly string[],
  {
    shape = [1, 2, 4, 5],
    attributes = {},
    more = {},
    run = [],
  }: {
    shape?: readonly number[];
    attributes?: Readonly<Record<string, AttributeInput>>;
    more?: Readonly<Record<string, Tensor>>;
    run?: ModelSpec["inputs"];
  } = {},
): ModelSpec {
  const standard = ["QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"];
  return {
    opset: 13,
    opsets: { "com.microsoft": 1 },
    inputs: [
      value("x", "uint8", shape),
      ...(inputs.includes("y") ? [value("y", "uint8", shape)] : []),
      ...(run ?? []),
    ],
    initializers: { ...parameters, ...more },
    outputs: [value("out")],
    nodes: [node(op, inputs, ["out"], attributes, standard.includes(op) ? {} : { domain: "com.microsoft" })],
  };
}
const codes = (s: ModelSpec): readonly string[] => findings(s).map((d) => d.code);
const conv = ["x", "s", "z", "w", "t", "wz", "s", "z"];
const unary = ["x", "s", "z", "t", "z"];

describe("the zero point counts", () => {
  test.each([
    ["QLinearAdd", ["x", "s", "z", "y", "t", "z", "s", "z"], {}],
    ["QLinearMul", ["x", "s", "z", "y", "t", "z", "s", "z"], {}],
    ["QLinearAveragePool", unary, { kernel_shape: [2, 2] }],
  ] as const)("before rounding in %s", (op, inputs, attributes) => {
    expect(onlyOp(mainOf(spec(op, inputs, { attributes })), "quant.quantize").attrs.order).toBe(
      "shift_then_round",
    );
  });
  test.each([
    ["QLinearConv", conv, {}],
    ["QLinearGlobalAveragePool", unary, {}],
    ["QLinearReduceMean", unary, { axes: [1] }],
    ["QLinearLeakyRelu", unary, {}],
    ["QLinearSigmoid", unary, {}],
    ["QLinearSoftmax", unary, { opset: 13 }],
    ["QLinearConcat", ["s", "z", "x", "t", "z", "x", "s", "z"], { axis: 1 }],
  ] as const)("after rounding in %s", (op, inputs, attributes) => {
    expect(onlyOp(mainOf(spec(op, inputs, { attributes })), "quant.quantize").attrs.order).toBe(
      "round_then_shift",
    );
  });
});

test("an integer input gets the type that the operator's parameters state", () => {
  const [x] = mainOf(spec("QLinearConv", conv)).params;
  expect(x!.value.type.elem).toMatchObject({
    kind: "quant",
    scheme: { kind: "tensor", scale: 0.5, zeroPoint: 3 },
  });
});

test("the bias is in steps of the accumulator", () => {
  const main = mainOf(spec("QLinearConv", [...conv, "b"], { more: { b: i32([2], [5, -6]) } }));
  const types = main.ops.filter((op) => op.name === "const").map((op) => op.results[0]!.type.elem);
  expect(types).toContainEqual(
    expect.objectContaining({ scheme: { kind: "tensor", scale: 0.125, zeroPoint: 0 } }),
  );
});

test("a dequantized constant is quantized again in float32, without an op", () => {
  // 13 · 0.01 / 0.26 is a tie in float32 only: exactly it is slightly more than a half.
  const main = mainOf({
    opset: 13,
    inputs: [],
    outputs: [value("y")],
    initializers: { a: i8([2], [13, -128]), s: f32([], [0.01]), t: f32([], [0.26]), z: u8([], [128]) },
    nodes: [
      node("DequantizeLinear", ["a", "s"], ["r"]),
      node("QuantizeLinear", ["r", "t", "z"], ["q"]),
      node("DequantizeLinear", ["q", "t", "z"], ["y"]),
    ],
  });
  expect(opNames(main)).toEqual(["const", "quant.dequantize"]);
  expect(Array.from((onlyOp(main, "const").attrs.value as { data: Uint8Array }).data)).toEqual([128, 123]);
});

describe("diagnosed", () => {
  test("a scale of the run", () => {
    const s = spec("QLinearConv", conv.with(1, "r"), { run: [value("r", "float32", [])] });
    expect(codes(s)).toContain("QC2131");
  });
  test("two scales of one tensor, a warning", () => {
    const s = spec("QLinearAdd", ["x", "s", "z", "x", "t", "z", "s", "z"]);
    expect(findings(s).map((d) => `${d.severity} ${d.code}`)).toEqual(["warning QC2128"]);
  });
  test.each([
    ["of another type", f32([2], [1, 2])],
    ["of another length", i32([3], [1, 2, 3])],
  ])("a bias %s", (name, b) => {
    const more = { b, ws: f32([2], [0.5, 0.25]), wzs: i8([2], [0, 0]) };
    const inputs = ["x", "s", "z", "w", "ws", "wzs", "s", "z", "b"];
    expect(codes(spec("QLinearConv", inputs, { more })), name).toEqual(["QC2123"]);
  });
  test("a bias of the run", () => {
    expect(codes(spec("QLinearConv", [...conv, "b"], { run: [value("b", "int32", [2])] }))).toEqual([
      "QC2005",
    ]);
  });
  test("operands of QLinearConcat that are no triples", () => {
    const s = spec("QLinearConcat", ["s", "z", "x", "s", "z", "x"], { attributes: { axis: 1 } });
    expect(findings(s)[0]!.message).toContain("must be triples");
  });
  test("an output scale that is left out", () => {
    expect(codes(spec("QLinearAdd", ["x", "s", "z", "y", "s", "z"]))).toHaveLength(1);
    expect(codes(spec("QLinearAdd", ["x", "", "z", "y", "s", "z", "s", "z"]))).toHaveLength(1);
  });
  test("an unknown attribute", () => {
    expect(codes(spec("QLinearSigmoid", unary, { attributes: { alpha: 2 } }))).toEqual(["QC2003"]);
  });
  test("zero points that do not fit", () => {
    const z3 = u8([2], [1, 2]);
    const s = spec("MatMulInteger", ["x", "m", "zs"], { shape: [4, 5], more: { zs: z3 } });
    expect(codes(s)).toEqual(["QC2122"]);
    const atRun = spec("MatMulInteger", ["x", "m", "zs"], {
      shape: [4, 5],
      run: [value("zs", "uint8", [2])],
    });
    expect(findings(atRun)[0]!.message).toContain("do not fit axis 0");
  });
});
