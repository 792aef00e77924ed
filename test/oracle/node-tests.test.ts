/**
 * The oracle on the ONNX standard's own node tests: for every operator it covers, the reference outputs. Integers must
 * be equal; floats are float32 results of the reference, so they agree to float32 precision only.
 */
import { describe, expect, it } from "vitest";
import type { OnnxModel, OnnxTensor } from "../../compiler/frontend/onnx/model.ts";
import { elements } from "../../compiler/frontend/onnx/tensor.ts";
import { nodeTests, nodeTestsAreThere } from "../onnx-node-tests.ts";
import { evaluateOnnx, type NumericArray } from "./evaluate.ts";

interface Case {
  readonly name: string;
  readonly model: OnnxModel;
  readonly inputs: readonly OnnxTensor[];
  readonly outputs: readonly OnnxTensor[];
}

/** Those whose model and tensors the reader takes. */
const cases = (): readonly Case[] =>
  nodeTests().flatMap(({ name, model, inputs, outputs }): Case[] =>
    model !== undefined && [...inputs, ...outputs].every((t) => t !== undefined)
      ? [{ name, model, inputs: inputs as OnnxTensor[], outputs: outputs as OnnxTensor[] }]
      : [],
  );

/** Tests whose expected values were written down with four decimals. */
const ROUNDED = ["test_averagepool_2d_ceil_last_window_starts_on_pad"];

/** Which of the standard's tests hold what; thrown errors are what the oracle does not cover. */
function outcome({
  name: test,
  model,
  inputs,
  outputs,
}: Case): "passed" | { readonly failed: string } | { readonly skipped: string } {
  const data = new Map<string, NumericArray>();
  model.graph.inputs.forEach((info, i) => {
    if (inputs[i] !== undefined) data.set(info.name, elements(inputs[i]) as NumericArray);
  });
  let evaluation: ReturnType<typeof evaluateOnnx>;
  try {
    evaluation = evaluateOnnx(model, data);
  } catch (error) {
    return { skipped: error instanceof Error ? error.message : String(error) };
  }
  for (const [i, { name }] of model.graph.outputs.entries()) {
    const expected = outputs[i]!;
    const result = evaluation.outputs.get(name)!;
    if (result.shape.join() !== expected.dims.join())
      return { failed: `${name}: shape [${result.shape.join()}] instead of [${expected.dims.join()}]` };
    const values = Array.from(elements(expected) as ArrayLike<number | bigint>, Number);
    const largest = values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const float32 = ROUNDED.includes(test) ? 1e-4 : 2e-5 * largest + 1e-6;
    const slack = result.kind === "int" ? 0 : expected.dataType === "float32" ? float32 : 2e-2 * largest;
    const at = values.findIndex(
      (value, e) => !(Object.is(value, result.values[e]) || Math.abs(value - result.values[e]!) <= slack),
    );
    if (at >= 0) return { failed: `${name}[${at}]: ${result.values[at]} instead of ${values[at]}` };
  }
  return "passed";
}

describe.skipIf(!nodeTestsAreThere)("the standard's node tests", () => {
  it("hold for every operator the oracle covers", () => {
    const all = cases();
    const passed = new Map<string, number>();
    const skipped = new Map<string, string[]>();
    const failed: string[] = [];
    for (const one of all) {
      const result = outcome(one);
      const op = one.model.graph.nodes.map((node) => node.op).join("+");
      if (result === "passed") passed.set(op, (passed.get(op) ?? 0) + 1);
      else if ("failed" in result) failed.push(`${one.name}: ${result.failed}`);
      else skipped.set(result.skipped, [...(skipped.get(result.skipped) ?? []), one.name]);
    }
    const total = [...passed.values()].reduce((a, b) => a + b, 0);
    const simple = [...passed].filter(([op]) => !op.includes("+")).sort();
    console.log(`${total} of ${all.length} passed: ${simple.map(([op, n]) => `${op} ${n}`).join(", ")}`);
    if (process.env.QC_LIST_SKIPPED === "1")
      console.log([...skipped].map(([why, names]) => `${why}: ${names.join()}`).join("\n"));
    expect(failed).toEqual([]);
    expect(total).toBeGreaterThan(200);
    const products = { QLinearConv: 1, QLinearMatMul: 8, ConvInteger: 2, MatMulInteger: 1 };
    for (const [op, count] of Object.entries(products)) expect([op, passed.get(op)]).toEqual([op, count]);
  });
});
