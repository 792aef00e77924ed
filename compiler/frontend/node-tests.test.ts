/** ONNX's own node tests: whatever imports must compute what they expect. */
import { describe, expect, test } from "vitest";
import { nodeTests, nodeTestsAreThere } from "../../test/onnx-node-tests.ts";
import { storageOf } from "../ir/dense.ts";
import { interpret } from "../ir/interpreter.ts";
import type { Dense, Elements } from "../ir/module.ts";
import { importModel } from "./import.ts";
import { orderModel } from "./onnx/graph.ts";
import type { OnnxModel, OnnxTensor } from "./onnx/model.ts";
import { elements } from "./onnx/tensor.ts";

/**
 * The expected values are float32 (or float16) results of other arithmetic than exact: numpy's, with its own order of
 * sums. These cannot be met: values given with four digits, and casts to bfloat16, whose width means nothing to reals.
 */
const RELATIVE = { float32: 1e-5, float16: 3e-3, float64: 1e-12 } as const;
const NOT_MET =
  /^test_(averagepool_2d_ceil_last_window_starts_on_pad|gridsample_bicubic|cast(like)?_FLOAT_to_BFLOAT16(_expanded)?)$/;

/** Quantized values that lie halfway between two integers in float32 arithmetic. */
const HALVES = /^test_dynamicquantizelinear/;

type Outcome = "right" | "rejected" | string;

/** `variable` says which inputs stay inputs; the others become initializers. */
function outcome(
  model: OnnxModel,
  inputs: readonly OnnxTensor[],
  outputs: readonly OnnxTensor[],
  variable: (i: number) => boolean,
  float32: boolean,
): Outcome {
  const initializers = new Map(model.graph.initializers);
  model.graph.inputs.forEach(({ name }, i) => {
    if (!variable(i)) initializers.set(name, inputs[i]!);
  });
  const ordered = orderModel({ ...model, graph: { ...model.graph, initializers } });
  const result = ordered.ok ? importModel(ordered.value) : ordered;
  if (!result.ok) return "rejected";
  const feeds = new Map(
    result.value.funcs[0]!.params.map((p): [string, Dense] => {
      const i = model.graph.inputs.findIndex(({ name }) => name === p.name);
      const { elem, shape } = p.value.type;
      return [p.name, { kind: "dense", elem: storageOf(elem), shape, data: numbersOf(inputs[i]!) }];
    }),
  );
  for (const [k, { dense }] of interpret(result.value, feeds, { float32 }).entries()) {
    const want = outputs[k]!;
    if (dense.shape.join() !== want.dims.join()) return `shape ${dense.shape} for ${want.dims}`;
    const slack = RELATIVE[want.dataType as keyof typeof RELATIVE] ?? 0;
    for (const [i, expected] of Array.from(elements(want) as ArrayLike<number>, Number).entries()) {
      const got = dense.data[i]!;
      const same = Object.is(got, expected) || got === expected;
      if (!same && !(Math.abs(got - expected) <= slack * Math.max(1, Math.abs(expected))))
        return `output ${k}[${i}] is ${got}, expected ${expected}`;
    }
  }
  return "right";
}

/** Elements in a container of the interpreter; 64-bit ones as float64. */
function numbersOf(tensor: OnnxTensor): Elements {
  const data = elements(tensor);
  return data instanceof BigInt64Array || data instanceof BigUint64Array
    ? Float64Array.from(data, Number)
    : (data as Elements);
}

describe.skipIf(!nodeTestsAreThere)("ONNX node tests", () => {
  test("every one that imports is right", () => {
    const wrong: string[] = [];
    const right: string[] = [];
    for (const { name, model, inputs, outputs } of nodeTests()) {
      if (model === undefined || ![...inputs, ...outputs].every((t) => t !== undefined)) continue;
      const { graph } = model;
      if (inputs.length < graph.inputs.length || outputs.length < graph.outputs.length) continue;
      // As given, with all but the first input constant, and wholly constant: the last folds.
      const outcomes = [() => true, (i: number) => i === 0, () => false].map((variable) =>
        outcome(
          model,
          inputs as readonly OnnxTensor[],
          outputs as readonly OnnxTensor[],
          variable,
          HALVES.test(name),
        ),
      );
      if (outcomes.includes("right")) right.push(name);
      for (const text of outcomes)
        if (text !== "right" && text !== "rejected" && !NOT_MET.test(name)) wrong.push(`${name}: ${text}`);
    }
    expect(wrong).toEqual([]);
    expect(right.length).toBeGreaterThan(600);
    expect(right.filter((name) => /^test_(de)?quantizelinear/.test(name))).toHaveLength(19);
    expect(right.filter((name) => /^test_(qlinear|convinteger|matmulinteger)/.test(name))).toHaveLength(12);
  });
});
