import { readFileSync } from "node:fs";
import onnx from "onnx-proto";
import { describe, expect, test } from "vitest";
import { floatCopy } from "../../bench/float-copy.ts";
import { generatedModel } from "../../bench/generate.ts";
import { correlation, outputOf } from "./network-outputs.ts";

const opsOf = (model: Uint8Array): Set<string> =>
  new Set(onnx.onnx.ModelProto.decode(model).graph!.node!.map((n) => n.opType!));

describe("a model without its quantizers", () => {
  test.each(["mobilenet_v2_224", "vit_tiny_2_224"])(
    "%s computes what the float model does",
    async (name) => {
      const { int8, fp32 } = generatedModel(name);
      const copy = floatCopy(readFileSync(int8))!;
      expect([...opsOf(copy)].filter((op) => op.includes("Quantize"))).toEqual([]);
      // Only the weights are rounded, and MobileNet's activations have no upper end.
      expect(correlation(await outputOf(copy), await outputOf(readFileSync(fp32)))).toBeGreaterThan(0.95);
    },
    120_000,
  );

  test("a Relu that a quantizer had absorbed is back", () => {
    const { int8 } = generatedModel("mobilenet_v2_224");
    const copy = onnx.onnx.ModelProto.decode(floatCopy(readFileSync(int8))!).graph!.node!;
    const float = onnx.onnx.ModelProto.decode(readFileSync(generatedModel("mobilenet_v2_224").fp32)).graph!
      .node!;
    const count = (nodes: typeof copy, op: string): number => nodes.filter((n) => n.opType === op).length;
    expect(count(copy, "Relu")).toBe(count(float, "Clip"));
    expect(count(copy, "Conv")).toBe(count(float, "Conv"));
  });
});
