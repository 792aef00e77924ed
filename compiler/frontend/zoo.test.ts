/** Real models: what imports, and that the imported graph is the model, by the exact oracle. */
import { describe, expect, test } from "vitest";
import { evaluateOnnx } from "../../test/oracle/evaluate.ts";
import { loadModel, loadSamples, zooModels } from "../../test/zoo.ts";
import { storageOf } from "../ir/dense.ts";
import type { Result } from "../ir/diagnostics.ts";
import { interpret } from "../ir/interpreter.ts";
import type { Dense, Elements, Module, Value } from "../ir/module.ts";
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

describe.runIf(MODELS.length > 0)("zoo", () => {
  test.each(MODELS)("%s imports, and every quantized tensor is exactly what the model denotes", (name) => {
    const ordered = orderModel(loadModel(name));
    if (!ordered.ok) throw new Error("the model is not well-formed");
    const result = importModel(ordered.value);
    expect(result.diagnostics).toEqual([]);
    if (!result.ok) return;
    const [port] = result.value.funcs[0]!.params;
    const { elem, shape } = port!.value.type;
    const data = loadSamples(name).inputs[0]!;
    const exact = evaluateOnnx(ordered.value, new Map([[port!.name, data]]), { keep: "all" }).tensors;
    let compared = 0;
    const observe = (value: Value, got: Dense): void => {
      const want = exact.get(value.name);
      if (value.type.elem.kind !== "quant" || want?.kind !== "int" || want.data.length !== got.data.length)
        return;
      const wrong = want.data.findIndex((q, i) => q !== got.data[i]);
      expect(wrong, `${value.name}: ${got.data[wrong]} for ${want.data[wrong]}`).toBe(-1);
      compared++;
    };
    const input: Dense = { kind: "dense", elem: storageOf(elem), shape, data: data as Elements };
    interpret(result.value, new Map([[port!.name, input]]), { observe });
    const quantizers = result.value.funcs[0]!.ops.filter((op) => op.name === "quant.quantize");
    expect(compared).toBeGreaterThanOrEqual(quantizers.length);
  });
  test("a bias with an axis that does not exist imports with warnings", () => {
    const result = imported("invalid/axis_out_of_range");
    expect(result.ok).toBe(true);
    expect(
      result.diagnostics.every(({ code, severity }) => code === "QC2124" && severity === "warning"),
    ).toBe(true);
  });
  test("dynamic quantization imports", () => {
    const result = imported("dynamic/tiny_vit_dynamic");
    expect(result.diagnostics).toEqual([]);
    expect(result.ok).toBe(true);
  });
});
