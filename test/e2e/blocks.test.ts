/**
 * Weights in blocks behind float activations, as language models have them: they stay packed, are spread out inside the kernel, and
 * agree with onnxruntime.
 */
import { readdirSync, readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { type Compiled, compileModel, loweredOnnx } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { evaluateOnnx } from "../oracle/evaluate.ts";
import { randomSource } from "../zoo.ts";
import { blocked, nbits } from "./graphs/blocks.ts";
import { type GraphBuilder, graphBuilder } from "./graphs/builder.ts";

interface Case {
  readonly name: string;
  readonly shape: readonly number[];
  readonly build: (g: GraphBuilder, x: string) => string;
  /** Weights, and their bits. */
  readonly weights: readonly [number, number];
}

const product = (
  name: string,
  shape: readonly number[],
  n: number,
  options: Parameters<typeof nbits>[3] & { readonly bits: number },
): Case => ({
  name,
  shape,
  build: (g, x) => nbits(g, x, [shape.at(-1)!, n], options),
  weights: [shape.at(-1)! * n, options.bits],
});

const cases: readonly Case[] = [
  ...[2, 4, 8].flatMap((bits) =>
    [16, 32, 128].map((block) =>
      product(`${bits} bits, blocks of ${block}`, [1, 256], 64, { bits, block, zero: "packed" }),
    ),
  ),
  product("rows and columns that fill no tile", [7, 96], 37, { bits: 4, block: 32 }),
  product("ragged last block", [3, 100], 20, { bits: 4, block: 32, zero: "packed", bias: true }),
  product("fractional zero points", [5, 64], 16, { bits: 4, block: 16, zero: "float" }),
  product("rank 3, two bits", [2, 3, 64], 24, { bits: 2, block: 32 }),
  {
    name: "DequantizeLinear, int4",
    shape: [3, 40],
    build: (g, x) => g.op("MatMul", [x, blocked(g, [40, 24], { block: 16 })]),
    weights: [40 * 24, 4],
  },
  {
    name: "DequantizeLinear, blocks of three, int8",
    shape: [2, 32],
    build: (g, x) => g.op("MatMul", [x, blocked(g, [32, 24], { block: 3, type: "int8" })]),
    weights: [32 * 24, 8],
  },
  {
    name: "Gemm with transposed weights",
    shape: [3, 64],
    build: (g, x) =>
      g.op("Gemm", [x, blocked(g, [24, 64], { axis: 1, block: 16, type: "uint4" })], { transB: 1 }),
    weights: [64 * 24, 4],
  },
];

async function outputs({ manifest, baseline }: Compiled, name: string, x: Float32Array) {
  const model = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
  return model.run({ [name]: x }) as { readonly [name: string]: Float32Array };
}

test.each(cases.map((c) => [c.name, c] as const))("%s", async (_, { shape, build, weights }) => {
  const g = graphBuilder();
  const input = g.input(shape, "float32");
  const bytes = g.finish([build(g, input)]);
  const refused = await compileModel(bytes, { target: "wasm-simd" });
  expect(refused.diagnostics.map((d) => d.code)).toContain("QC2101");
  const result = await compileModel(bytes, { target: "wasm-simd", allowFloat: true });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const [got, want] = await both(bytes, result.value, 11);
  expect(got.length).toBe(want.length);
  expect(worst(got, want)).toBeLessThanOrEqual(1e-5);
  // Packed weights, four bytes of scale and one zero point per block, and what fills the last panel and chunk.
  const [count, bits] = weights;
  const { sizes } = result.value.manifest;
  if (count >= 4096) expect(sizes.weights).toBeLessThan((count * bits) / 8 + (count / 16) * 5 + 512);
});

/** First outputs of the module and of onnxruntime for a random input. */
async function both(bytes: Uint8Array, compiled: Compiled, seed: number) {
  const { name, shape } = compiled.manifest.inputs[0]!;
  const next = randomSource(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  const x = Float32Array.from({ length: size }, () => 4 * next() - 2);
  const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: "disabled" });
  const found = await session.run({ [name]: new ort.Tensor("float32", x, shape) });
  const want = found[session.outputNames[0]!]!.data as Float32Array;
  await session.release();
  return [Object.values(await outputs(compiled, name, x))[0]!, want] as const;
}

/** Greatest difference, relative to the greatest value. */
function worst(got: Float32Array, want: Float32Array): number {
  const top = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0.1);
  return want.reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0) / top;
}

test("integer products store weights of four bits in four bits, with a factor per block and column", async () => {
  const [k, n, block] = [512, 256, 128];
  const g = graphBuilder();
  const x = g.dq(g.input([1, k]), 0.1, 128);
  const y = g.q(g.op("MatMul", [x, blocked(g, [k, n], { block, type: "uint4" })]), 0.3, 117);
  const result = await compileModel(g.finish([y]), { target: "wasm-simd" });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const { baseline, manifest } = result.value;
  const factors = (k / block) * n * 2 * 4;
  const constants = n * 5 * 8;
  expect(baseline.length).toBeLessThan(
    (k * n) / 2 + factors + constants + manifest.sizes.code.baseline + 2048,
  );
});

const folder = new URL("../../examples/exporters/models/", import.meta.url);
const files = readdirSync(folder).filter((f) => /^ort_block_matmul_\d+bits(_qdq)?\.onnx$/.test(f));

describe.each(files)("%s", (file) => {
  const bytes = new Uint8Array(readFileSync(new URL(file, folder)));

  test("runs in float if allowed, as onnxruntime runs it", async () => {
    const result = await compileModel(bytes, { target: "wasm-simd", allowFloat: true });
    if (!result.ok) throw new Error(result.diagnostics[0]!.message);
    for (const seed of [1, 2]) expect(worst(...(await both(bytes, result.value, seed)))).toBeLessThan(1e-4);
    const written = await loweredOnnx(bytes, {});
    if (!written.ok) throw new Error(written.diagnostics[0]!.message);
    expect(worst(...(await both(written.value, result.value, 3)))).toBeLessThan(1e-4);
  });
});

describe("GatherBlockQuantized", () => {
  interface Lookup {
    readonly name: string;
    readonly type: "uint8" | "int4" | "uint4";
    readonly bits?: 4 | 8;
    readonly shape: readonly number[];
    readonly block: number;
    readonly zeros?: true;
    readonly index?: "int32" | "int64";
  }

  const lookups: readonly Lookup[] = [
    { name: "bytes of two integers", type: "uint8", bits: 4, shape: [40, 64], block: 32, zeros: true },
    { name: "bytes of two integers, no zero points", type: "uint8", bits: 4, shape: [17, 48], block: 16 },
    { name: "bytes", type: "uint8", bits: 8, shape: [9, 40], block: 16, zeros: true },
    { name: "bytes, no zero points", type: "uint8", bits: 8, shape: [9, 64], block: 64 },
    { name: "int4, ragged", type: "int4", shape: [12, 40], block: 32, zeros: true },
    { name: "uint4, no zero points", type: "uint4", shape: [12, 32], block: 16 },
    { name: "indices of 64 bits", type: "uint8", bits: 4, shape: [11, 32], block: 16, index: "int64" },
    { name: "rows of two axes", type: "uint8", bits: 4, shape: [10, 3, 32], block: 16, zeros: true },
  ];

  function file({ type, bits, shape, block, zeros, index = "int32" }: Lookup, constant?: readonly number[]) {
    const g = graphBuilder();
    const next = randomSource(7);
    const perByte = type === "uint8" ? 8 / bits! : 1;
    const [lo, hi] = type === "uint8" ? [0, 255] : type === "int4" ? [-8, 7] : [0, 15];
    const draw = (of: readonly number[]) =>
      g.constant(
        type,
        of,
        Array.from({ length: of.reduce((a, b) => a * b, 1) }, () => lo + Math.floor(next() * (hi - lo + 1))),
      );
    const packed = (of: readonly number[]) => [...of.slice(0, -1), Math.ceil(of.at(-1)! / perByte)];
    const counts = [...shape.slice(0, -1), Math.ceil(shape.at(-1)! / block)];
    const scales = g.floats(
      counts,
      Array.from({ length: counts.reduce((a, b) => a * b, 1) }, () => Math.fround(0.01 + next())),
    );
    const data = draw(packed(shape));
    const indices = constant ? g.constant("int32", [constant.length], constant) : g.input([2, 3], index);
    const inputs = [data, indices, scales, ...(zeros ? [draw(packed(counts))] : [])];
    const attributes = {
      block_size: block,
      gather_axis: 0,
      quantize_axis: shape.length - 1,
      ...(bits && { bits }),
    };
    const y = g.op("GatherBlockQuantized", inputs, attributes, "com.microsoft");
    return { bytes: g.finish([y]), indices };
  }

  test.each(lookups.map((l) => [l.name, l] as const))("%s", async (_, lookup) => {
    const { bytes, indices } = file(lookup);
    const refused = await compileModel(bytes, { target: "wasm-simd" });
    expect(refused.diagnostics.map((d) => d.code)).toEqual(["QC2135"]);
    const result = await compileModel(bytes, { target: "wasm-simd", allowFloat: true });
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
    const rows = lookup.shape[0]!;
    const list = [0, 3, rows - 1, 5, -1, -rows];
    const feed = (ints: readonly number[]) =>
      lookup.index === "int64" ? BigInt64Array.from(ints, BigInt) : Int32Array.from(ints);
    const x = feed(list);
    const { manifest, baseline } = result.value;
    const model = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
    const [got] = Object.values(model.run({ [indices]: x })) as Float32Array[];
    const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: "disabled" });
    const found = await session.run({ [indices]: new ort.Tensor(lookup.index ?? "int32", x, [2, 3]) });
    expect(Array.from(got!)).toEqual(Array.from(found[session.outputNames[0]!]!.data as Float32Array));
    const read = readModel(bytes);
    if (!read.ok) throw new Error("not read");
    const [exact] = [...evaluateOnnx(read.value, new Map([[indices, x]])).outputs.values()];
    expect(Array.from(exact!.values)).toEqual(Array.from(got!));
    // One index outside reads the nearest row, never other memory.
    const [outside] = Object.values(
      model.run({ [indices]: feed(list.map(() => 2 ** 30)) }),
    ) as Float32Array[];
    const row = got!.length / 6;
    expect(Array.from(outside!.subarray(0, row))).toEqual(Array.from(got!.subarray(2 * row, 3 * row)));
  });

  test("constant indices leave a constant", async () => {
    const g = file(lookups[0]!, [3, -1]);
    const read = readModel(g.bytes);
    if (!read.ok) throw new Error("not read");
    const [exact] = [...evaluateOnnx(read.value, new Map()).outputs.values()];
    expect(exact!.shape).toEqual([2, 64]);
    const result = await compileModel(g.bytes, { target: "wasm-simd", allowFloat: true });
    if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  });
});
