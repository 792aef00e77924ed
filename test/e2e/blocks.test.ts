/**
 * Weights in blocks behind float activations, as language models have them: they stay packed, are spread out inside the kernel, and
 * agree with onnxruntime.
 */
import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { type Compiled, compileModel } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
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
  const next = randomSource(11);
  const size = shape.reduce((a, b) => a * b, 1);
  const x = Float32Array.from({ length: size }, () => 4 * next() - 2);
  const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: "disabled" });
  const want = (await session.run({ [input]: new ort.Tensor("float32", x, shape) }))[session.outputNames[0]!]!
    .data as Float32Array;
  const got = Object.values(await outputs(result.value, input, x))[0]!;
  expect(got.length).toBe(want.length);
  const top = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  const worst = want.reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0);
  expect(worst).toBeLessThanOrEqual(1e-6 + 1e-5 * top);
  // Packed weights, four bytes of scale per block of at least three, and what fills the last panel and chunk.
  const [count, bits] = weights;
  const { sizes } = result.value.manifest;
  if (count >= 4096) expect(sizes.weights).toBeLessThan((count * bits) / 8 + (count / 16) * 5 + 512);
});
