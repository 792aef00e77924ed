/**
 * Every imported operator against onnxruntime. Both compute the same real function, the interpreter in float64 and
 * onnxruntime in float32, which is the one difference the bound allows for: sums here have at most 100 terms of size 1,
 * each rounded to 2^−24, and no operator in the list magnifies errors much.
 */
import { describe, expect, test } from "vitest";
import { layoutOf } from "../../../../runtime/format.ts";
import { loadModel } from "../../../../runtime/index.ts";
import { importSpec, noise, run, runOrt } from "../../../../test/import-spec.ts";
import {
  type AttributeInput,
  bool,
  f32,
  float,
  floats,
  i32,
  i64,
  type ModelSpec,
  model,
  node,
  type Tensor,
  value,
} from "../../../../test/onnx-writer.ts";
import { compileModel } from "../../../index.ts";
import { IMPORTERS } from "./index.ts";

const BOUND = 2 ** -18;

interface Case {
  readonly op: string;
  readonly opset: number;
  /** Shapes of run-time inputs; tensors are constants; null is left out. */
  readonly inputs: readonly (readonly number[] | Tensor | null)[];
  readonly attributes?: Readonly<Record<string, AttributeInput>>;
  /** Rank of the result where it is not that of the first input; number of outputs. */
  readonly outputs?: number;
  readonly domain?: string;
  /** Maps the noise in [−1, 1) to the operator's domain. */
  readonly of?: (x: number) => number;
}

const c = (
  op: string,
  opset: number,
  inputs: Case["inputs"],
  attributes: Case["attributes"] = {},
  more: Partial<Case> = {},
): Case => ({ op, opset, inputs, attributes, ...more });

const weights = (dims: readonly number[], seed = 7): Tensor =>
  f32(
    dims,
    noise(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );
const positive = (dims: readonly number[], seed = 3): Tensor =>
  f32(
    dims,
    noise(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ).map((x) => x * x + 0.25),
  );
const sizes = (...values: number[]): Tensor => i64([values.length], values);
const scalar = (x: number): Tensor => f32([], [x]);

const x4 = [1, 4, 6, 5];
const bn = [weights([4]), weights([4], 5), weights([4], 6), positive([4])];
const wide = (x: number): number => 4 * x;
const above = (x: number): number => x * x + 0.1;

const CASES: readonly Case[] = [
  c("Conv", 11, [x4, weights([3, 4, 3, 3])]),
  c("Conv", 1, [x4, weights([6, 2, 3, 2]), weights([6])], {
    group: 2,
    strides: [2, 1],
    pads: [1, 0, 2, 1],
    dilations: [1, 2],
  }),
  c("Conv", 11, [x4, weights([8, 1, 3, 3]), weights([8])], {
    group: 4,
    auto_pad: "SAME_UPPER",
    strides: [2, 2],
    kernel_shape: [3, 3],
  }),
  c("Conv", 11, [x4, weights([2, 4, 2, 2])], { auto_pad: "SAME_LOWER" }),
  c("Conv", 11, [x4, weights([2, 4, 2, 2])], { auto_pad: "VALID", strides: [3, 2] }),
  c("Conv", 11, [[1, 3, 9], weights([2, 3, 4]), weights([2])], { pads: [2, 1] }),
  c("Conv", 11, [[1, 2, 4, 5, 3], weights([3, 2, 2, 2, 2])], { strides: [1, 2, 1] }),
  c("ConvTranspose", 11, [[1, 4, 5, 4], weights([4, 3, 3, 2]), weights([3])], {
    strides: [2, 1],
    pads: [1, 0, 1, 1],
    output_padding: [1, 0],
  }),
  c("ConvTranspose", 11, [[1, 4, 3, 4], weights([4, 2, 2, 3])], {
    group: 2,
    dilations: [2, 1],
    strides: [1, 3],
  }),
  c("ConvTranspose", 1, [[1, 2, 5], weights([2, 3, 3])], { strides: [2], pads: [2, 2] }),
  c("Gemm", 7, [[3, 5], weights([5, 4]), weights([4])], { alpha: 0.5, beta: 2.5 }),
  c("Gemm", 13, [[5, 3], weights([4, 5]), weights([3, 1])], { transA: 1, transB: 1, beta: float(3) }),
  c("Gemm", 11, [[3, 5], weights([5, 4])]),
  c("Gemm", 13, [[3, 5], [5, 4], scalar(2)]),
  c("MatMul", 13, [[2, 3, 4, 5], weights([3, 5, 2])]),
  c("MatMul", 9, [[5], weights([3, 5, 2])]),
  c("MatMul", 9, [[3, 4, 5], [5]]),
  c("MatMul", 9, [[5], [5]]),
  c("Einsum", 12, [[2, 3, 4], weights([2, 4, 5])], { equation: "bij,bjk->bik" }),
  c("Einsum", 12, [[2, 3, 4], weights([5, 4])], { equation: "...i, oi -> ...o" }),
  c("Einsum", 13, [[2, 3, 4, 5], weights([2, 6, 4, 5])], { equation: "bqhd,bkhd->bhqk" }),
  c("Einsum", 12, [[2, 3, 4]], { equation: "abc->ca" }),
  c("BatchNormalization", 7, [x4, ...bn], { epsilon: float(0.01) }),
  c("BatchNormalization", 9, [x4, ...bn]),
  c("BatchNormalization", 15, [[3, 4], ...bn], { momentum: 0.5 }),
  c("MaxPool", 8, [x4], { kernel_shape: [2, 3], strides: [2, 1], pads: [1, 1, 0, 1] }),
  c("MaxPool", 12, [x4], { kernel_shape: [2, 2], strides: [4, 2], ceil_mode: 1, dilations: [2, 1] }),
  c("MaxPool", 12, [[1, 2, 9]], { kernel_shape: [4], auto_pad: "SAME_LOWER", strides: [2] }),
  c("AveragePool", 7, [x4], { kernel_shape: [3, 2], pads: [1, 0, 1, 1] }),
  c("AveragePool", 10, [x4], {
    kernel_shape: [3, 2],
    pads: [1, 0, 1, 1],
    count_include_pad: 1,
    strides: [2, 2],
  }),
  c("AveragePool", 11, [x4], { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }),
  c("AveragePool", 11, [x4], { kernel_shape: [3, 3], strides: [2, 2], auto_pad: "SAME_UPPER" }),
  c("GlobalAveragePool", 7, [x4]),
  c("GlobalMaxPool", 7, [x4]),
  c("ReduceMean", 11, [x4], { axes: [2, -1], keepdims: 0 }),
  c("ReduceMean", 13, [x4]),
  c("ReduceMean", 18, [x4, sizes(1)], { keepdims: 0 }),
  c("ReduceMean", 18, [x4], { noop_with_empty_axes: 1 }),
  c("ReduceSum", 11, [x4], { axes: [1] }),
  c("ReduceSum", 13, [x4, sizes(-2, 1)], { keepdims: 0 }),
  c("ReduceL1", 13, [x4], { axes: [1] }),
  c("ReduceL2", 18, [x4, sizes(1, 2)], { keepdims: 0 }),
  c("ReduceSumSquare", 13, [x4], { axes: [-1] }),
  c("ReduceMax", 13, [x4], { axes: [2, 3], keepdims: 0 }),
  c("ReduceMax", 18, [x4, sizes(1)]),
  c("Softmax", 11, [[2, 3, 4]], {}, { of: wide }),
  c("Softmax", 11, [[2, 3, 4]], { axis: 0 }, { of: wide }),
  c("Softmax", 13, [[2, 3, 4]], {}, { of: wide }),
  c("Softmax", 13, [[2, 3, 4]], { axis: 1 }, { of: wide }),
  c("LayerNormalization", 17, [[2, 3, 8], weights([8]), weights([8], 4)]),
  c("LayerNormalization", 17, [[2, 3, 8], weights([3, 8])], { axis: 1, epsilon: float(0.125) }),
  c(
    "SkipLayerNormalization",
    17,
    [[2, 3, 8], [2, 3, 8], weights([8]), weights([8]), weights([8])],
    {},
    { domain: "com.microsoft" },
  ),
  c(
    "SkipSimplifiedLayerNormalization",
    17,
    [[2, 3, 8], [2, 3, 8], weights([8]), weights([8])],
    {},
    { domain: "com.microsoft" },
  ),
  c("BiasGelu", 17, [[3, 7], weights([7])], {}, { of: wide, domain: "com.microsoft" }),
  c("SimplifiedLayerNormalization", 17, [[2, 3, 8], weights([8])]),
  c("InstanceNormalization", 17, [[2, 3, 4, 5], weights([3]), weights([3], 4)]),
  c("GroupNormalization", 21, [[2, 6, 4], weights([6]), weights([6], 4)], { num_groups: 2 }),
  ...["Add", "Sub", "Mul"].map((op) => c(op, 7, [[2, 3, 4], weights([3, 1])])),
  c("Add", 14, [
    [3, 1],
    [2, 1, 4],
  ]),
  c("Div", 13, [[2, 3, 4], positive([4])]),
  c("Pow", 7, [[2, 3], scalar(2)]),
  c("Pow", 12, [[2, 3], i64([], [3])]),
  c("Pow", 13, [[2, 3], scalar(0.5)], {}, { of: above }),
  c("Min", 8, [[2, 3], weights([3]), scalar(0.25)]),
  c("Max", 12, [[2, 3], [2, 1], weights([3])]),
  c("Sum", 8, [[2, 3], [2, 1], weights([3])]),
  c("Mean", 8, [[2, 3], [2, 1], weights([3])]),
  c("PRelu", 9, [x4, weights([4, 1, 1])]),
  ...["Neg", "Abs", "Exp", "Sigmoid", "Tanh", "Softplus", "Softsign", "Relu", "Floor", "Ceil"].map((op) =>
    c(op, 6, [[3, 7]], {}, { of: wide }),
  ),
  ...["Erf", "Sign", "Sin", "Cos", "Round", "HardSwish"].map((op) => c(op, 14, [[3, 7]], {}, { of: wide })),
  ...["Sqrt", "Log", "Reciprocal"].map((op) => c(op, 13, [[3, 7]], {}, { of: above })),
  c("Mish", 18, [[3, 7]], {}, { of: wide }),
  c("Clip", 6, [[3, 7]], { min: -0.5, max: 0.25 }),
  c("Clip", 6, [[3, 7]], { max: 0.25 }),
  c("Clip", 11, [[3, 7], scalar(-0.5), scalar(0.25)]),
  c("Clip", 13, [[3, 7], null, scalar(0.25)]),
  c("LeakyRelu", 6, [[3, 7]]),
  c("LeakyRelu", 16, [[3, 7]], { alpha: 0.3 }),
  c("Elu", 6, [[3, 7]], { alpha: 0.7 }),
  c("Celu", 12, [[3, 7]], { alpha: 0.7 }),
  c("Selu", 6, [[3, 7]]),
  c("ThresholdedRelu", 10, [[3, 7]], { alpha: 0.3 }),
  c("HardSigmoid", 6, [[3, 7]], {}, { of: wide }),
  c("HardSigmoid", 6, [[3, 7]], { alpha: 0.4, beta: 0.3 }, { of: wide }),
  c("Gelu", 20, [[3, 7]], {}, { of: wide }),
  c("Gelu", 20, [[3, 7]], { approximate: "tanh" }, { of: wide }),
  c("Gelu", 17, [[3, 7]], {}, { of: wide, domain: "com.microsoft" }),
  c("FastGelu", 17, [[3, 7], weights([7])], {}, { of: wide, domain: "com.microsoft" }),
  c("QuickGelu", 17, [[3, 7]], {}, { of: wide, domain: "com.microsoft" }),
  c("Reshape", 5, [[2, 3, 4], sizes(0, -1)]),
  c("Reshape", 14, [[2, 3, 4], sizes(4, -1, 1)], { allowzero: 1 }),
  c("Flatten", 9, [[2, 3, 4]]),
  c("Flatten", 13, [[2, 3, 4]], { axis: -1 }),
  c("Flatten", 13, [[2, 3, 4]], { axis: 3 }),
  c("Squeeze", 11, [[1, 3, 1]], { axes: [0] }),
  c("Squeeze", 13, [[1, 3, 1], sizes(-1)]),
  c("Squeeze", 13, [[1, 3, 1]]),
  c("Unsqueeze", 11, [[3, 4]], { axes: [0, 3] }),
  c("Unsqueeze", 13, [[3, 4], sizes(-1, 1)]),
  c("Transpose", 13, [[2, 3, 4]]),
  c("Transpose", 1, [[2, 3, 4]], { perm: [1, 2, 0] }),
  c("Slice", 9, [[4, 5]], { starts: [1, -3], ends: [9, -1] }),
  c("Slice", 10, [[4, 5], sizes(3), sizes(-9), sizes(0), sizes(-2)]),
  c("Slice", 13, [[4, 5], sizes(-1, 0), i64([2], [-(2n ** 63n), 2n ** 63n - 1n]), sizes(1, 0), sizes(-1, 3)]),
  c("Slice", 13, [[4, 5], i32([1], [1]), i32([1], [3])]),
  c("Split", 11, [[4, 6]], { axis: 1, split: [1, 5] }, { outputs: 2 }),
  c("Split", 13, [[4, 6], sizes(1, 2, 1)], {}, { outputs: 3 }),
  c("Split", 13, [[4, 6]], { axis: -1 }, { outputs: 3 }),
  c("Split", 18, [[7, 2]], { num_outputs: 3 }, { outputs: 3 }),
  c("Concat", 11, [[2, 3], weights([2, 1]), [2, 2]], { axis: -1 }),
  c("Gather", 13, [[4, 3], i64([2, 2], [0, -1, 2, 2])]),
  c("Gather", 11, [[4, 3], i64([], [1])], { axis: 1 }),
  c("Expand", 13, [[3, 1], sizes(2, 1, 4)]),
  c("Tile", 13, [[2, 3], sizes(2, 2)]),
  c("Pad", 2, [[3, 4]], { pads: [1, 0, 2, 1], value: 0.5 }),
  c("Pad", 11, [[3, 4], sizes(0, 2, 1, 0), scalar(-1.5)]),
  c("Pad", 13, [[3, 4], sizes(1, 2, 2, 3)], { mode: "reflect" }),
  c("Pad", 13, [[3, 4], sizes(1, 2, 2, 3)], { mode: "edge" }),
  c("Pad", 13, [[3, 4], sizes(-1, 1, 0, -2)]),
  c("Pad", 18, [[3, 4], sizes(1, 2), null, sizes(-1)]),
  c("DepthToSpace", 11, [[1, 8, 2, 3]], { blocksize: 2 }),
  c("DepthToSpace", 13, [[1, 8, 2, 3]], { blocksize: 2, mode: "CRD" }),
  c("SpaceToDepth", 13, [[1, 2, 4, 6]], { blocksize: 2 }),
  c("Upsample", 7, [[1, 2, 3, 4]], { scales: floats([1, 1, 2, 3]) }),
  c("Upsample", 9, [[1, 2, 3, 4], f32([4], [1, 1, 2, 2])]),
  c("Resize", 10, [[1, 2, 3, 4], f32([4], [1, 1, 2, 1.5])]),
  c("Resize", 11, [[1, 2, 3, 4], f32([0], []), f32([4], [1, 1, 2, 2])], {
    nearest_mode: "floor",
    coordinate_transformation_mode: "asymmetric",
  }),
  c("Resize", 13, [[1, 2, 3, 4], null, f32([4], [1, 1, 1.7, 0.6])]),
  c("Resize", 13, [[1, 2, 5, 4], null, null, sizes(1, 2, 7, 3)], {
    coordinate_transformation_mode: "align_corners",
    nearest_mode: "round_prefer_ceil",
  }),
  c("Resize", 13, [[1, 2, 5, 4], null, null, sizes(1, 2, 7, 3)], {
    coordinate_transformation_mode: "pytorch_half_pixel",
    nearest_mode: "ceil",
  }),
  c("Resize", 18, [[1, 2, 3, 4], null, f32([2], [2, 3])], { axes: [2, 3] }),
  c("Resize", 13, [[1, 2, 3, 4], null, f32([4], [1, 1, 2, 1.7])], { mode: "linear" }),
  c("Resize", 13, [[1, 2, 5, 4], null, null, sizes(1, 2, 3, 7)], {
    mode: "linear",
    coordinate_transformation_mode: "align_corners",
  }),
  c("Resize", 13, [[1, 2, 5, 4], null, null, sizes(1, 2, 10, 8)], {
    mode: "linear",
    coordinate_transformation_mode: "asymmetric",
  }),
  c("Resize", 13, [[1, 2, 5, 6], null, f32([4], [1, 1, 2, 1.5])], { mode: "cubic" }),
  c("Resize", 13, [[1, 2, 5, 6], null, f32([4], [1, 1, 2, 0.7])], {
    mode: "cubic",
    cubic_coeff_a: -0.5,
    exclude_outside: 1,
  }),
  c("Resize", 19, [[1, 2, 3, 4], null, f32([4], [1, 1, 1.7, 0.6])], {
    coordinate_transformation_mode: "half_pixel_symmetric",
  }),
  c("LogSoftmax", 11, [[2, 3, 4]]),
  c("LogSoftmax", 11, [[2, 3, 4]], { axis: 2 }, { of: wide }),
  c("LogSoftmax", 13, [[2, 3, 4]], { axis: 1 }, { of: wide }),
  c("ReduceLogSum", 13, [[2, 3, 4]], { axes: [1] }, { of: above }),
  c("ReduceLogSumExp", 13, [[2, 3, 4]], { axes: [0, 2], keepdims: 0 }, { of: wide }),
  c("ReduceLogSumExp", 18, [[2, 3, 4], sizes(1)]),
  c("ReduceMax", 13, [[2, 3, 4]], { axes: [0, 2] }),
  c("ReduceMax", 13, [[2, 3, 4]], { axes: [0, 2], keepdims: 0 }),
  c("ReduceMin", 13, [[2, 3, 4]], { axes: [1], keepdims: 0 }),
  c("LpNormalization", 1, [[2, 3, 4]], { axis: 1 }),
  c("LpNormalization", 1, [[2, 3, 4]], { axis: 2, p: 1 }),
  c("Tan", 7, [[2, 3]]),
  c("Cosh", 9, [[2, 3]]),
  ...["Asin", "Acos", "Atan"].map((op) => c(op, 7, [[2, 3]])),
  ...["Sinh", "Asinh", "Atanh"].map((op) => c(op, 9, [[2, 3]])),
  c("Acosh", 9, [[2, 3]], {}, { of: (x) => 1 + x * x }),
  c(
    "LSTM",
    14,
    [[3, 2, 4], weights([1, 12, 4]), weights([1, 12, 3], 5)],
    {
      hidden_size: 3,
    },
    { outputs: 3 },
  ),
  c(
    "LSTM",
    14,
    [
      [3, 2, 4],
      weights([2, 12, 4]),
      weights([2, 12, 3], 5),
      weights([2, 24], 6),
      null,
      weights([2, 2, 3], 8),
      weights([2, 2, 3], 9),
      weights([2, 9], 10),
    ],
    { hidden_size: 3, direction: "bidirectional" },
    { outputs: 3 },
  ),
  c(
    "GRU",
    14,
    [[4, 2, 3], weights([1, 6, 3]), weights([1, 6, 2], 5), weights([1, 12], 6)],
    { hidden_size: 2, direction: "reverse", linear_before_reset: 1 },
    { outputs: 2 },
  ),
  c(
    "GRU",
    14,
    [[4, 2, 3], weights([2, 6, 3]), weights([2, 6, 2], 5), weights([2, 12], 6), null, weights([2, 2, 2], 8)],
    { hidden_size: 2, direction: "bidirectional" },
    { outputs: 2 },
  ),
  c(
    "RNN",
    14,
    [[4, 2, 3], weights([1, 2, 3]), weights([1, 2, 2], 5), weights([1, 4], 6)],
    { hidden_size: 2 },
    { outputs: 2 },
  ),
  c("Identity", 13, [[2, 3]]),
  c("Dropout", 10, [[2, 3]], { ratio: 0.3 }),
  c("Dropout", 13, [[2, 3], scalar(0.5), bool([], [0])]),
  c("Cast", 13, [[2, 3]], { to: 1 }),
  c("CastLike", 19, [[2, 3], scalar(1)]),
  c("Where", 9, [bool([3], [1, 0, 1]), [2, 3], weights([2, 1])]),
  c("Where", 16, [bool([2, 1], [1, 1]), [3], weights([1])]),
];

const isTensor = (input: readonly number[] | Tensor): input is Tensor => "kind" in input;

function specOf({ op, opset, inputs, attributes, outputs = 1, domain }: Case): ModelSpec {
  const names = inputs.map((input, i) => (input === null ? "" : `i${i}`));
  const results = Array.from({ length: outputs }, (_, i) => `o${i}`);
  return {
    opset,
    ...(domain === undefined ? {} : { opsets: { [domain]: 1 } }),
    inputs: inputs.flatMap((input, i) =>
      input === null || isTensor(input) ? [] : [value(`i${i}`, "float32", input)],
    ),
    initializers: Object.fromEntries(
      inputs.flatMap((input, i) => (input !== null && isTensor(input) ? [[`i${i}`, input]] : [])),
    ),
    outputs: results.map((name) => value(name, "float32")),
    nodes: [node(op, names, results, attributes, domain === undefined ? {} : { domain })],
  };
}

function feedsOf(spec: ModelSpec, { of = (v: number) => v }: Case): Map<string, number[]> {
  return new Map(
    (spec.inputs ?? []).map(({ name, shape }, i) => {
      const n = shape!.reduce<number>((a, b) => a * Number(b), 1);
      return [name, noise(n, i + 11).map((x) => Math.fround(of(x)))];
    }),
  );
}

/** Each in a float island, as WebAssembly: float32 as onnxruntime, with functions of a few units in the last place. */
describe("float islands compute it too", () => {
  test.each(CASES.map((one, i) => [`${one.op} ${one.opset} #${i}`, one] as const))("%s", async (_, one) => {
    const spec = specOf(one);
    const feeds = feedsOf(spec, one);
    const result = await compileModel(model(spec), { target: "wasm-simd", allowFloat: true });
    if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join());
    const { manifest, baseline } = result.value;
    const core = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
    const got = core.run(Object.fromEntries([...feeds].map(([name, x]) => [name, Float32Array.from(x)])));
    for (const [name, { data }] of await runOrt(spec, feeds)) {
      const scale = Math.max(1, ...data.map(Math.abs));
      for (const [i, want] of data.entries())
        expect(Math.abs(Number(got[name]![i]) - want), `${name}[${i}]`).toBeLessThan(4 * BOUND * scale);
    }
  });
});

describe("the meaning of every operator is onnxruntime's", () => {
  test.each(CASES.map((one, i) => [`${one.op} ${one.opset} #${i}`, one] as const))("%s", async (_, one) => {
    const spec = specOf(one);
    const feeds = feedsOf(spec, one);
    const expected = await runOrt(spec, feeds);
    const actual = run(spec, feeds);
    expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [name, { data }] of expected) {
      const got = actual.get(name)!;
      expect(got.length).toBe(data.length);
      const scale = Math.max(1, ...data.map(Math.abs));
      for (const [i, want] of data.entries())
        expect(Math.abs(got[i]! - want), `${name}[${i}]: ${got[i]} for ${want}`).toBeLessThan(BOUND * scale);
    }
    const main = importSpec(spec);
    expect(main.ok && main.value.funcs[0]!.results.map((r) => r.value.type.shape)).toEqual(
      [...expected.values()].map(({ dims }) => dims),
    );
  });
});

/** By the standard's node tests, through the interpreter (compiler/frontend/node-tests.test.ts) and through wasm. */
const NODE_TESTED = [
  "AffineGrid BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im",
  "Compress CumProd CumSum EyeLike GatherElements GatherND GridSample Hardmax IsInf IsNaN LRN",
  "LpPool MeanVarianceNormalization NegativeLogLikelihoodLoss OneHot ReverseSequence Scatter",
  "ScatterElements ScatterND Shrink SoftmaxCrossEntropyLoss TopK Trilu",
]
  .join(" ")
  .split(" ");

test("each importer is exercised", () => {
  const here = new Set(CASES.map(({ op }) => op));
  const elsewhere = new Set([
    // quantizers: qdq.test.ts; sizes and constants: constants.test.ts; not in onnxruntime 1.30 or not on floats:
    "QuantizeLinear",
    "DequantizeLinear",
    // test/e2e/graphs/blocks.ts, test/e2e/blocks.test.ts
    "MatMulNBits",
    "GatherBlockQuantized",
    ...NODE_TESTED,
    // qonnx.test.ts
    "Quant",
    "IntQuant",
    "BipolarQuant",
    "Trunc",
    // test/e2e/qonnx-pool.test.ts and fake-quantize.test.ts, against their published formulas
    "QuantAvgPool2d",
    // test/e2e/multi-threshold.test.ts and float-quant.test.ts
    "MultiThreshold",
    "FloatQuant",
    "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxVarsPerChannel",
    "FakeQuantWithMinMaxArgs",
    "FakeQuantize",
    // on integers: qlinear.test.ts, integer.test.ts
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QLinearAdd",
    "QLinearMul",
    "QLinearConcat",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearReduceMean",
    "QLinearLeakyRelu",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "ConvInteger",
    "MatMulInteger",
    "MulInteger",
    "Constant",
    "Shape",
    "Size",
    "ConstantOfShape",
    "Range",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Not",
    "Mod",
    "ReduceProd",
    "Swish",
    "RMSNormalization",
    // Whose scales are those of each run: test/e2e/dynamic.test.ts.
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    // Newer than onnxruntime here; the standard's node tests run it.
    "Attention",
    // onnxruntime's own, equal to their parts: test/e2e/composite.test.ts.
    "MultiHeadAttention",
    "RotaryEmbedding",
    // Of positions, which are no floats; they do too.
    "ArgMax",
    "ArgMin",
  ]);
  const missing = IMPORTERS.map(({ op }) => op).filter((op) => !here.has(op) && !elsewhere.has(op));
  expect(missing).toEqual([]);
});
