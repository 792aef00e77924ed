/**
 * The oracle against onnxruntime (graph optimizations disabled) on real models. onnxruntime computes in float32, so the
 * two may differ, but only where a float32 rounding error crosses a rounding boundary. Hence what is asserted:
 *
 * - Fed with onnxruntime's own integers, each quantizer gives onnxruntime's integers except for differences of one, each
 *   decided for us by an exact rational, and each so close to its boundary that float32 explains it.
 * - Without such a difference on a sample, every quantizer of the whole evaluation is equal, `===`. With one, integers
 *   downstream may drift by more than one quantum (a softmax amplifies), so then only the winner is compared, and only
 *   where it is clear.
 */
import { describe, expect, it } from "vitest";
import { full } from "../require.ts";
import { loadModel, loadModelBytes, loadSamples, randomInputs, zooIsThere, zooModels } from "../zoo.ts";
import { compareSteps, histogram } from "./difference.ts";
import { evaluateOnnx, type NumericArray } from "./evaluate.ts";
import { openReference } from "./onnxruntime.ts";
import { rangeOf } from "./quantize.ts";

const SAMPLES = 2;
/** Part of a quantizer's range by which float32 (24 bits) may be off after sums of some thousand terms. */
const FLOAT32_SLACK = 2 ** -18;

const models = [
  ...zooModels("int8-qdq"),
  ...zooModels("wide-narrow-qdq"),
  ...zooModels("qcdq"),
  ...zooModels("qoperator"),
  ...zooModels("transformer").filter((name) => name.endsWith("_qdq")),
];

const argmax = (values: ArrayLike<number>): number => {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
};

/** The best value leads by a sixteenth of the whole spread. */
function isClear(values: ArrayLike<number>): boolean {
  const sorted = Array.from(values).sort((a, b) => b - a);
  return sorted[0]! - sorted[1]! >= (sorted[0]! - sorted.at(-1)!) / 16;
}

describe.skipIf(!zooIsThere)("oracle and onnxruntime", () => {
  it.each(models)("%s", async (name) => {
    const model = loadModel(name);
    const samples = loadSamples(name);
    const input = model.graph.inputs.find((info) => !model.graph.initializers.has(info.name))!.name;
    const output = model.graph.outputs[0]!.name;
    const seeded = full ? randomInputs(model, 1, 2) : [];
    const given = samples.inputs.slice(0, SAMPLES).map((data) => new Map([[input, data as NumericArray]]));
    const tensors = [...evaluateOnnx(model, given[0]!).quantizers].map(([name, { dtype }]) => ({
      name,
      dtype,
    }));
    const reference = await openReference(loadModelBytes(name), model, tensors);
    const steps: number[] = [];
    const last: number[] = [];
    let elements = 0;
    let undecided = 0;
    let otherMachine = 0;
    let farthest = 0;
    let time = 0;
    for (const [i, inputs] of [...given, ...seeded].entries()) {
      const start = performance.now();
      const own = evaluateOnnx(model, inputs);
      time = performance.now() - start;
      const theirs = (await reference.run(inputs)) as Map<
        string,
        Exclude<NumericArray, BigInt64Array | BigUint64Array>
      >;
      const comparison = compareSteps(model, inputs, theirs);
      elements += comparison.elements;
      for (const difference of comparison.differences) {
        const { ours, theirs, quantizer, verdict, distance } = difference;
        const where = `${quantizer}[${difference.index}]`;
        expect(verdict, where).not.toBe("theirs");
        expect(Math.abs(ours - theirs), where).toBe(1);
        const [lo, hi] = rangeOf(own.quantizers.get(quantizer)!.dtype);
        expect(distance / (hi - lo), where).toBeLessThan(FLOAT32_SLACK);
        steps.push(ours - theirs);
        if (verdict === "undecided") undecided++;
        farthest = Math.max(farthest, distance);
      }
      for (const [tensor, { values }] of own.quantizers) {
        const other = theirs.get(tensor)!;
        if (comparison.differences.length === 0) expect(values, tensor).toEqual(Int32Array.from(other));
        if (tensor === [...own.quantizers.keys()].at(-1))
          for (let e = 0; e < values.length; e++) last.push(values[e]! - other[e]!);
      }
      const result = own.outputs.get(output)!.values;
      if (i >= given.length) continue;
      const expected = samples.expected[i] as Float32Array;
      const here = theirs.get(output)!;
      if (here.some((value, e) => value !== expected[e])) otherMachine++;
      if (isClear(expected)) expect(argmax(result)).toBe(argmax(expected));
    }
    await reference.release();
    console.log(
      `${name}: ${tensors.length} quantizers, ${elements} elements; single steps differing by {${histogram(steps)}}, ` +
        `decided for us ${steps.length - undecided}, undecided ${undecided}, at most ${farthest.toExponential(1)} from ` +
        `the boundary; last quantizer end to end {${histogram(last)}}; ${time.toFixed(0)} ms per sample` +
        (otherMachine > 0
          ? `; onnxruntime itself differs here from the zoo's output on ${otherMachine} samples`
          : ""),
    );
  });
});
