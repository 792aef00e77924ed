/**
 * Every QLinear operator and integer product: onnxruntime = exact value = modules. Scales are powers of two, so that
 * onnxruntime's float32 is exact as well and rounding ties occur, and zero points are odd: the order of rounding and
 * shifting shows.
 */
import { expect, test } from "vitest";
import type { OnnxModel } from "../../compiler/frontend/onnx/model.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { integerizeModule } from "../../compiler/passes/integerize/index.ts";
import { importSpec, noise, runOrt } from "../import-spec.ts";
import {
  type AttributeInput,
  bool,
  f32,
  i8,
  i32,
  type ModelSpec,
  model as modelBytes,
  node,
  type Tensor,
  u8,
  value,
} from "../onnx-writer.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { compileBytes, runnersOf } from "./compiled.ts";
import { integersOf } from "./exact.ts";

type Dtype = "uint8" | "int8";

/** An input of the run. */
interface Given {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

interface Case {
  readonly op: string;
  readonly domain?: string;
  readonly inputs: readonly (Given | Tensor | null)[];
  readonly output: "uint8" | "int8" | "int32" | "float32";
  readonly attributes?: Readonly<Record<string, AttributeInput>>;
  /** Float32 is inexact in onnxruntime's computation of this one: sigmoid, softmax. */
  readonly within?: number;
  /** onnxruntime 1.30 has no such kernel on CPU, or refuses zero points that are left out. */
  readonly withoutOrt?: true;
  /** Products of two activations with a batch have no kernel yet: interpreter only. */
  readonly withoutKernel?: true;
}

const give = (dtype: Dtype, ...shape: number[]): Given => ({ dtype, shape });
const isGiven = (x: Given | Tensor): x is Given => !("kind" in x);

const bytes = (dtype: Dtype, size: number, seed: number): number[] =>
  noise(size, seed).map((x) => Math.floor((x + (dtype === "uint8" ? 1 : 0)) * 128));

const fill = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const weights = (shape: readonly number[], seed = 5): Tensor =>
  i8(
    shape,
    bytes("int8", fill(shape), seed).map((x) => x >> 1),
  );
const unsigned = (shape: readonly number[], seed = 5): Tensor =>
  u8(
    shape,
    bytes("uint8", fill(shape), seed).map((x) => x >> 1),
  );
const biases = (n: number): Tensor =>
  i32(
    [n],
    noise(n, 9).map((x) => Math.round(x * 2000)),
  );
const scale = (...log2: number[]): Tensor =>
  f32(
    log2.length === 1 ? [] : [log2.length],
    log2.map((e) => 2 ** e),
  );
const zu = (z: number): Tensor => u8([], [z]);
const zs = (z: number): Tensor => i8([], [z]);
const zeros = (n: number): Tensor => i8([n], new Array<number>(n).fill(0));

const x4 = give("uint8", 1, 4, 6, 5);
const conv = [x4, scale(-3), zu(7), weights([4, 4, 3, 3]), scale(-5), zs(0), scale(1), zu(3)];
const a = [give("uint8", 3, 8), scale(-2), zu(5)];
const one = (x: Given, z: Tensor, from: number, to: number): Case["inputs"] => [
  x,
  scale(from),
  z,
  scale(to),
  z,
];
const microsoft = { domain: "com.microsoft" };

const CASES: readonly Case[] = [
  { op: "QLinearConv", inputs: conv, output: "uint8" },
  {
    op: "QLinearConv",
    inputs: [...conv, biases(4)],
    output: "uint8",
    attributes: { pads: [1, 0, 2, 1], strides: [2, 1] },
  },
  {
    op: "QLinearConv",
    inputs: [
      x4,
      scale(-3),
      zu(7),
      weights([4, 1, 3, 3]),
      scale(-5, -4, -6, -5),
      zeros(4),
      scale(-1),
      zs(-3),
      biases(4),
    ].map((t, i) => (i === 0 ? give("int8", 1, 4, 6, 5) : i === 2 ? zs(-7) : t)),
    output: "int8",
    attributes: { group: 4, pads: [1, 1, 1, 1] },
  },
  {
    op: "QLinearConv",
    ...microsoft,
    inputs: [give("uint8", 1, 6, 5, 4), ...conv.slice(1)],
    output: "uint8",
    attributes: { channels_last: 1, pads: [1, 1, 1, 1] },
  },
  {
    op: "QLinearConv",
    inputs: [x4, scale(-3), zu(7), unsigned([2, 4, 3, 3]), scale(-5), zu(61), scale(1), zu(9)],
    output: "uint8",
  },
  {
    op: "QLinearMatMul",
    inputs: [...a, weights([8, 5]), scale(-4), zs(1), scale(-1), zu(11)],
    output: "uint8",
  },
  {
    op: "QLinearMatMul",
    inputs: [...a, weights([8, 3]), scale(-4, -5, -3), zeros(3), scale(-1), zu(11)],
    output: "uint8",
  },
  {
    op: "QLinearMatMul",
    inputs: [
      give("int8", 2, 3, 8),
      scale(-2),
      zs(5),
      give("int8", 2, 8, 4),
      scale(-6),
      zs(-3),
      scale(1),
      zs(1),
    ],
    withoutKernel: true,
    output: "int8",
  },
  {
    op: "QGemm",
    ...microsoft,
    inputs: [...a, weights([8, 5]), scale(-4), zs(0), biases(5), scale(-1), zu(11)],
    output: "uint8",
  },
  {
    op: "QGemm",
    ...microsoft,
    inputs: [
      give("uint8", 8, 3),
      scale(-2),
      zu(5),
      weights([5, 8]),
      scale(-4, -5, -3, -4, -4),
      zeros(5),
      biases(5),
      scale(-1),
      zu(11),
    ],
    output: "uint8",
    attributes: { transA: 1, transB: 1, alpha: 0.5 },
  },
  {
    op: "QGemm",
    ...microsoft,
    inputs: [...a, weights([8, 5]), scale(-4), zs(0), biases(5)],
    output: "float32",
    attributes: { alpha: 0.25 },
  },
  ...["QLinearAdd", "QLinearMul"].flatMap((op): Case[] => {
    const to = op === "QLinearAdd" ? -2 : 2;
    return [
      {
        op,
        ...microsoft,
        inputs: [
          give("uint8", 2, 3, 4),
          scale(-3),
          zu(3),
          give("uint8", 2, 3, 4),
          scale(-2),
          zu(20),
          scale(to),
          zu(7),
        ],
        output: "uint8",
      },
      {
        op,
        ...microsoft,
        inputs: [give("int8", 2, 3, 4), scale(-3), zs(3), weights([4]), scale(-2), zs(0), scale(to), zs(-7)],
        output: "int8",
      },
      {
        op,
        ...microsoft,
        inputs: [give("uint8", 2, 3, 4), scale(-3), null, unsigned([1]), scale(-2), null, scale(to)],
        withoutOrt: true,
        output: "uint8",
      },
    ];
  }),
  {
    op: "QLinearConcat",
    ...microsoft,
    inputs: [
      scale(-1),
      zu(9),
      give("uint8", 2, 3),
      scale(-2),
      zu(5),
      give("uint8", 2, 2),
      scale(-1),
      zu(9),
      unsigned([2, 1]),
      scale(-3),
      zu(1),
    ],
    output: "uint8",
    attributes: { axis: 1 },
  },
  {
    op: "QLinearAveragePool",
    ...microsoft,
    inputs: one(x4, zu(7), -2, -1),
    output: "uint8",
    attributes: { kernel_shape: [2, 2], strides: [2, 2] },
  },
  {
    op: "QLinearAveragePool",
    ...microsoft,
    inputs: one(give("int8", 1, 5, 6, 4), zs(-7), -2, -1),
    output: "int8",
    attributes: { kernel_shape: [2, 4], pads: [1, 0, 0, 1], count_include_pad: 1, channels_last: 1 },
  },
  {
    op: "QLinearGlobalAveragePool",
    ...microsoft,
    inputs: one(give("uint8", 1, 3, 4, 4), zu(7), -2, -1),
    output: "uint8",
    attributes: { channels_last: 0 },
  },
  {
    op: "QLinearGlobalAveragePool",
    ...microsoft,
    inputs: one(give("uint8", 1, 4, 4, 3), zu(7), -2, -1),
    output: "uint8",
    attributes: { channels_last: 1 },
  },
  {
    op: "QLinearReduceMean",
    ...microsoft,
    inputs: one(give("uint8", 3, 4, 2), zu(7), -2, -1),
    withoutOrt: true,
    output: "uint8",
    attributes: { axes: [1], keepdims: 0 },
  },
  {
    op: "QLinearLeakyRelu",
    ...microsoft,
    inputs: one(give("int8", 2, 128), zs(3), -2, -1),
    output: "int8",
    attributes: { alpha: 0.25 },
  },
  {
    op: "QLinearSigmoid",
    ...microsoft,
    inputs: [give("uint8", 2, 128), scale(-4), zu(129), scale(-8), zu(0)],
    output: "uint8",
    within: 1,
  },
  ...[{ opset: 13 }, { opset: 13, axis: 1 }, { opset: 12 }, { opset: 12, axis: 1 }].map(
    (attributes): Case => ({
      op: "QLinearSoftmax",
      ...microsoft,
      inputs: [give("uint8", 2, 3, 4), scale(-5), zu(3), scale(-8), zu(0)],
      output: "uint8",
      attributes,
      within: 1,
    }),
  ),
  {
    op: "QLinearWhere",
    ...microsoft,
    inputs: [
      bool([3], [1, 0, 1]),
      give("uint8", 4, 3),
      scale(-2),
      zu(5),
      give("uint8", 4, 3),
      scale(-1),
      zu(3),
      scale(-1),
      zu(7),
    ],
    output: "uint8",
  },
  {
    op: "ConvInteger",
    inputs: [x4, unsigned([2, 4, 3, 3]), zu(7), zu(3)],
    output: "int32",
    attributes: { pads: [1, 1, 0, 1] },
  },
  { op: "ConvInteger", inputs: [x4, unsigned([2, 4, 3, 3])], output: "int32" },
  { op: "MatMulInteger", inputs: [give("uint8", 3, 8), weights([8, 5]), zu(7), zs(-3)], output: "int32" },
  {
    op: "MatMulInteger",
    inputs: [give("int8", 3, 8), weights([8, 3]), zs(7), i8([3], [1, -2, 3])],
    output: "int32",
  },
  {
    op: "MatMulInteger",
    inputs: [give("uint8", 2, 3, 8), give("int8", 2, 8, 4), zu(7), zs(-3)],
    withoutKernel: true,
    output: "int32",
  },
  {
    op: "MulInteger",
    ...microsoft,
    inputs: [give("uint8", 2, 3), zu(7), give("uint8", 2, 3), zu(9)],
    withoutOrt: true,
    output: "int32",
  },
  {
    op: "ConvInteger",
    inputs: [x4, unsigned([2, 4, 3, 3]), give("uint8"), zu(3)],
    output: "int32",
    attributes: { pads: [1, 1, 0, 1] },
  },
  {
    op: "MatMulInteger",
    inputs: [give("uint8", 3, 8), weights([8, 5]), give("uint8"), i8([5], [1, -2, 3, 0, 9])],
    output: "int32",
  },
  ...(["uint8", "int8"] as const).flatMap((left) =>
    ([zu, zs] as const).flatMap((right): Case[] => [
      {
        op: "MatMulInteger",
        inputs: [
          give(left, 3, 8),
          right === zu ? unsigned([8, 5]) : weights([8, 5]),
          left === "uint8" ? zu(7) : zs(7),
          right(9),
        ],
        output: "int32",
      },
      {
        op: "ConvInteger",
        inputs: [
          give(left, 1, 4, 6, 5),
          right === zu ? unsigned([2, 4, 3, 3]) : weights([2, 4, 3, 3]),
          left === "uint8" ? zu(7) : zs(-7),
          right(3),
        ],
        output: "int32",
        attributes: { pads: [1, 0, 1, 0], strides: [2, 1] },
      },
    ]),
  ),
  {
    op: "QLinearWhere",
    ...microsoft,
    inputs: [
      bool([2, 3], [1, 0, 1, 0, 0, 1]),
      give("uint8", 2, 3),
      scale(-2),
      zu(5),
      u8([1], [200]),
      scale(-1),
      zu(3),
      scale(-1),
      zu(7),
    ],
    output: "uint8",
  },
  {
    op: "MatMulInteger",
    inputs: [give("uint8", 2, 1152), weights([1152, 64]), zu(7), zs(-3)],
    output: "int32",
  },
];

function specOf({ op, domain, inputs, attributes, output }: Case): ModelSpec {
  const names = inputs.map((x, i) => (x === null ? "" : `i${i}`));
  return {
    opset: 13,
    ...(domain === undefined ? {} : { opsets: { [domain]: 1 } }),
    inputs: inputs.flatMap((x, i) => (x !== null && isGiven(x) ? [value(`i${i}`, x.dtype, x.shape)] : [])),
    initializers: Object.fromEntries(
      inputs.flatMap((x, i) => (x !== null && !isGiven(x) ? [[`i${i}`, x] as const] : [])),
    ),
    outputs: [value("y", output)],
    nodes: [node(op, names, ["y"], attributes ?? {}, domain === undefined ? {} : { domain })],
  };
}

function read(spec: ModelSpec): OnnxModel {
  const result = readModel(modelBytes(spec));
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join());
  return result.value;
}

test.each(CASES.map((c, i) => [`${c.op} #${i}`, c] as const))("%s", async (_, one) => {
  const spec = specOf(one);
  const feeds = new Map(
    (spec.inputs ?? []).map(({ name, dtype, shape }, i) => [
      name,
      bytes(dtype as Dtype, fill(shape as number[]), 21 + i),
    ]),
  );
  const typed = new Map(
    (spec.inputs ?? []).map(({ name, dtype }): [string, Int8Array | Uint8Array] => [
      name,
      (dtype === "int8" ? Int8Array : Uint8Array).from(feeds.get(name)!),
    ]),
  );
  const exact = evaluateOnnx(read(spec), typed as ReadonlyMap<string, NumericArray>).outputs.get("y")!;
  if (!one.withoutOrt) {
    const theirs = (await runOrt(spec, feeds)).get("y")!;
    expect(exact.shape).toEqual(theirs.dims);
    for (const [i, y] of theirs.data.entries())
      expect(
        Math.abs(exact.values[i]! - y),
        `[${i}]: exactly ${exact.values[i]}, onnxruntime ${y}`,
      ).toBeLessThanOrEqual(one.within ?? 0);
  }
  const want = Array.from(exact.values);
  const bound = one.op === "QLinearSoftmax" ? 1 : 0;
  const check = (seen: readonly number[]): void => {
    expect(seen.length).toBe(want.length);
    for (const [i, y] of seen.entries())
      expect(Math.abs(y - want[i]!), `[${i}]: ${y}, exactly ${want[i]}`).toBeLessThanOrEqual(bound);
  };
  if (one.withoutKernel) {
    const imported = importSpec(spec);
    const integer = imported.ok ? integerizeModule(imported.value) : imported;
    if (!integer.ok) throw new Error(integer.diagnostics.map((d) => d.message).join());
    return check(Array.from(integersOf(integer.value, typed).get("y")!));
  }
  const artifact = await compileBytes(modelBytes(spec), { name: "m" });
  const boundary = artifact.manifest.outputs[0]!.slots[0]!.boundary;
  const seen = (q: Int32Array): readonly number[] =>
    Array.from(q, (v, i) => {
      if (boundary.kind !== "dequantize") return v;
      const c = i % boundary.scales.length;
      return Math.fround((v - boundary.zeroPoints[c]!) * boundary.scales[c]!);
    });
  const integers = integersOf(artifact.module, typed).get("y")!;
  check(seen(integers));
  for (const { run } of await runnersOf(artifact)) expect(run(typed).get("y")).toEqual(integers);
});
