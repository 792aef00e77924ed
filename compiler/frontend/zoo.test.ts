/** Real models: what imports, and that the imported graph means what onnxruntime computes. */
import { describe, expect, test } from "vitest";
import { loadModel, loadSamples, zooModels } from "../../test/zoo.ts";
import { storageOf } from "../ir/dense.ts";
import type { Result } from "../ir/diagnostics.ts";
import { interpret } from "../ir/interpreter.ts";
import type { Dense, Elements, Module } from "../ir/module.ts";
import { importModel } from "./import.ts";
import { orderModel } from "./onnx/graph.ts";

const GROUPS = ["int8-qdq", "wide-narrow-qdq", "qcdq"];
const MODELS = [
  ...GROUPS.flatMap((group) => zooModels(group)),
  ...zooModels("transformer").filter((name) => name.endsWith("qdq")),
];

function imported(name: string): Result<Module> {
  const ordered = orderModel(loadModel(name));
  return ordered.ok ? importModel(ordered.value) : ordered;
}

/**
 * Largest number of quanta of the last quantizer by which an output may differ. onnxruntime rounds every sum to float32,
 * so an inner quantizer may decide a near-tie differently, and the difference travels; most models show none.
 */
const QUANTA: { readonly [name: string]: number } = {
  "int8-qdq/mcunet_vww": 1,
  "int8-qdq/mobilenet_v1_025_128": 5,
  "wide-narrow-qdq/ort_resnet8_u16s8": 15,
};

/** The scale of the quantizer that the output comes from, 1 for an integer output. */
function quantumOf(module: Module): number {
  const main = module.funcs[0]!;
  const { value, dtype } = main.results[0]!;
  if (dtype !== "float32") return 1;
  const source = main.ops.find((op) => op.results[0] === value)!.operands[0]!.type.elem;
  return source.kind === "quant" && source.scheme.kind === "tensor" ? source.scheme.scale : 1;
}

describe.runIf(MODELS.length > 0)("zoo", () => {
  test.each(MODELS)("%s imports and means what onnxruntime computes", (name) => {
    const result = imported(name);
    expect(result.diagnostics).toEqual([]);
    if (!result.ok) return;
    const [port] = result.value.funcs[0]!.params;
    const { elem, shape } = port!.value.type;
    const samples = loadSamples(name);
    const unit = quantumOf(result.value);
    for (let i = 0; i < 2; i++) {
      const input: Dense = {
        kind: "dense",
        elem: storageOf(elem),
        shape,
        data: samples.inputs[i] as Elements,
      };
      const [output] = interpret(result.value, new Map([[port!.name, input]]));
      const expected = samples.expected[i]!;
      expect(output!.dense.data.length).toBe(expected.length);
      output!.dense.data.forEach((y, k) => {
        // Half a quantum less than the next one; far above the float32 rounding of the final product.
        expect(Math.abs(y - Number(expected[k])) / unit, `${name} sample ${i} output ${k}`).toBeLessThan(
          (QUANTA[name] ?? 0) + 0.01,
        );
      });
    }
  });
  test("a bias with an axis that does not exist imports with warnings", () => {
    const result = imported("invalid/axis_out_of_range");
    expect(result.ok).toBe(true);
    expect(
      result.diagnostics.every(({ code, severity }) => code === "QC2124" && severity === "warning"),
    ).toBe(true);
  });
  test("operators that are not there yet are listed by type", () => {
    const result = imported("dynamic/tiny_vit_dynamic");
    expect(result.diagnostics.map(({ message }) => message)).toEqual([
      "operator DynamicQuantizeLinear is not supported (10 nodes)",
      "operator ConvInteger is not supported (1 node)",
      "operator MatMulInteger is not supported (13 nodes)",
    ]);
  });
});
