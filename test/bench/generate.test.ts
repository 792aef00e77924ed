import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { architectures } from "../../bench/generate/architectures.ts";
import { floatModel, quantizedModel } from "../../bench/generate/onnx.ts";
import { generatedModel } from "../../bench/generate.ts";
import { correlation, outputOf } from "./network-outputs.ts";

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
      const [q, f] = [await outputOf(readFileSync(int8)), await outputOf(readFileSync(fp32))];
      expect(q.length).toBe(1000);
      expect(new Set(q).size).toBeGreaterThan(100);
      expect(correlation(q, f)).toBeGreaterThan(0.9);
    },
    120_000,
  );
});
