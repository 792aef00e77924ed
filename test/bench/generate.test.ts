import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { architectures } from "../../bench/generate/architectures.ts";
import { floatModel, quantizedModel } from "../../bench/generate/onnx.ts";
import { generatedInput, generatedModel } from "../../bench/generate.ts";

async function outputOf(path: string): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(path, {
    intraOpNumThreads: 1,
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 3,
  });
  const x = new ort.Tensor("float32", generatedInput(), [1, 3, 224, 224]);
  return Object.values(await session.run({ x }))[0]!.data as Float32Array;
}

function correlation(a: Float32Array, b: Float32Array): number {
  const centred = (v: Float32Array): number[] => {
    const mean = v.reduce((s, x) => s + x, 0) / v.length;
    return Array.from(v, (x) => x - mean);
  };
  const dot = (x: readonly number[], y: readonly number[]): number => x.reduce((s, v, i) => s + v * y[i]!, 0);
  const [x, y] = [centred(a), centred(b)];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

describe("generated models", () => {
  test("have the same bytes every time", () => {
    const name = "vit_tiny_2_224";
    const { int8, fp32 } = generatedModel(name);
    const net = architectures.get(name)!();
    expect(Buffer.compare(readFileSync(int8), quantizedModel(net))).toBe(0);
    expect(Buffer.compare(readFileSync(fp32), floatModel(net))).toBe(0);
  }, 120_000);

  test.each(["mobilenet_v2_224", "vit_tiny_2_224"])(
    "%s: quantization keeps what the network computes",
    async (name) => {
      const { int8, fp32 } = generatedModel(name);
      const [q, f] = [await outputOf(int8), await outputOf(fp32)];
      expect(q.length).toBe(1000);
      expect(new Set(q).size).toBeGreaterThan(100);
      expect(correlation(q, f)).toBeGreaterThan(0.9);
    },
    120_000,
  );
});
