/** QuantAvgPool2d against its published formula on integers. */
import { expect, test } from "vitest";
import { compileModel } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { f32, model, node, value } from "../onnx-writer.ts";
import { randomSource } from "../zoo.ts";

const DOMAIN = "qonnx.custom_op.general";
const [CHANNELS, SIZE] = [3, 7];

interface Pool {
  readonly kernel: number;
  readonly stride: number;
  readonly ibits: number;
  readonly obits: number;
  readonly signed: number;
}

/** A quantizer of the given scale, then the pool; NHWC with a transpose on either side. */
const network = (pool: Pool, scale: number, layout: string): Uint8Array =>
  model({
    inputs: [value("x", "float32", [1, CHANNELS, SIZE, SIZE])],
    outputs: [value("y")],
    initializers: { s: f32([], [scale]), z: f32([], [0]), b: f32([], [pool.ibits]) },
    nodes: [
      node(
        "Quant",
        ["x", "s", "z", "b"],
        ["q"],
        { signed: pool.signed, narrow: 0, rounding_mode: "ROUND" },
        { domain: DOMAIN },
      ),
      ...(layout === "NHWC" ? [node("Transpose", ["q"], ["t"], { perm: [0, 2, 3, 1] })] : []),
      node(
        "QuantAvgPool2d",
        [layout === "NHWC" ? "t" : "q"],
        [layout === "NHWC" ? "p" : "y"],
        { ...pool, data_layout: layout },
        { domain: DOMAIN },
      ),
      ...(layout === "NHWC" ? [node("Transpose", ["p"], ["y"], { perm: [0, 3, 1, 2] })] : []),
    ],
    opset: 13,
    opsets: { [DOMAIN]: 1 },
  });

function pooled(x: Float32Array, { kernel: k, stride, ibits, obits }: Pool): number[] {
  const most = (2 ** ibits - 1) * k * k;
  const shift = Math.max(0, most.toString(2).length - obits);
  const out = Math.floor((SIZE - k) / stride) + 1;
  const y: number[] = [];
  for (let c = 0; c < CHANNELS; c++)
    for (let i = 0; i < out; i++)
      for (let j = 0; j < out; j++) {
        let sum = 0;
        for (let di = 0; di < k; di++)
          for (let dj = 0; dj < k; dj++) sum += x[(c * SIZE + i * stride + di) * SIZE + j * stride + dj]!;
        y.push(Math.floor(sum / 2 ** shift) + 0);
      }
  return y;
}

test.each([
  [{ kernel: 2, stride: 2, ibits: 4, obits: 4, signed: 0 }, "NCHW"],
  [{ kernel: 3, stride: 2, ibits: 8, obits: 8, signed: 0 }, "NHWC"],
  [{ kernel: 7, stride: 1, ibits: 4, obits: 8, signed: 1 }, "NCHW"],
  [{ kernel: 3, stride: 1, ibits: 2, obits: 8, signed: 0 }, "NCHW"],
] as const)("%o, %s", async (pool, layout) => {
  const result = await compileModel(network(pool, 1, layout), { target: "wasm" });
  if (!result.ok) throw new Error(result.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n"));
  const { manifest, baseline } = result.value;
  const artifact = await loadModel(
    layoutOf(manifest),
    {},
    { wasm: baseline as Uint8Array<ArrayBuffer>, backend: "baseline" },
  );
  const random = randomSource(pool.kernel);
  const [lo, hi] = pool.signed
    ? [-(2 ** (pool.ibits - 1)), 2 ** (pool.ibits - 1) - 1]
    : [0, 2 ** pool.ibits - 1];
  for (let sample = 0; sample < 4; sample++) {
    const x = Float32Array.from(
      { length: CHANNELS * SIZE * SIZE },
      () => lo + Math.floor(random() * (hi - lo + 1)),
    );
    expect(Array.from(artifact.run({ x }).y as Float32Array)).toEqual(pooled(x, pool));
  }
});

test("values off the integers are rounded as a sum", async () => {
  const pool = { kernel: 2, stride: 2, ibits: 4, obits: 8, signed: 0 };
  const result = await compileModel(network(pool, 0.25, "NCHW"), { target: "wasm" });
  if (!result.ok) throw new Error("not compiled");
  const { manifest, baseline } = result.value;
  const artifact = await loadModel(
    layoutOf(manifest),
    {},
    { wasm: baseline as Uint8Array<ArrayBuffer>, backend: "baseline" },
  );
  const random = randomSource(1);
  const x = Float32Array.from({ length: CHANNELS * SIZE * SIZE }, () => Math.floor(random() * 16) / 4);
  const y = artifact.run({ x }).y as Float32Array;
  const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  expect(y[0]).toBe(even(x[0]! + x[1]! + x[SIZE]! + x[SIZE + 1]!));
  expect(y.every(Number.isInteger)).toBe(true);
});

test.each([
  ["kernel", { kernel: 0 }],
  ["obits", { obits: 33 }],
])("refused: %s", async (_, change) => {
  const bytes = network({ kernel: 2, stride: 2, ibits: 4, obits: 4, signed: 0, ...change }, 1, "NCHW");
  const result = await compileModel(bytes, { target: "wasm" });
  expect(result.diagnostics.map((d) => d.code)).toContain("QC1134");
});
