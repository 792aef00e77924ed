/** QOperator models, bit for bit: exact value = interpreter = modules at every quantizer; and what they are for. */
import { afterAll, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { loadModel, loadSamples, zooModels } from "../zoo.ts";
import { compiled, describeZoo, differences, inputName, inputsOf, runnersOf } from "./compiled.ts";
import { compareWithOracle, integersOf, planOf } from "./exact.ts";

const rows: string[][] = [];
afterAll(() => {
  const head = [
    "model",
    "inputs",
    "quantizers",
    "elements",
    "softmax off by 1",
    "winner as expected",
    "outputs equal",
  ];
  if (rows.length > 0) console.log(`QOperator\n${table([head, ...rows.sort()])}`);
});

const argmax = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((best, v, i, all) => (v > all[best]! ? i : best), 0);

describeZoo("QOperator models", () => {
  test.each(zooModels("qoperator"))("%s", { timeout: 300_000 }, async (name) => {
    const model = loadModel(name);
    const short = name.slice(name.indexOf("/") + 1);
    const debug = await compiled(name, { name: short, debug: true });
    const runners = await runnersOf(debug);
    expect(runners.length).toBeGreaterThan(0);
    const samples = inputsOf(name, model);
    const quantizers = [
      ...evaluateOnnx(model, samples[0] as ReadonlyMap<string, NumericArray>).quantizers.keys(),
    ];
    const plan = planOf(model, debug.module, quantizers);
    expect(plan.softmax.size).toBe(1);
    let elements = 0;
    let softmaxOff = 0;
    for (const [s, inputs] of samples.entries()) {
      const integers = integersOf(debug.module, inputs);
      const { findings } = compareWithOracle(model, plan, inputs, integers);
      expect(findings.differences, `input ${s}, interpreter against the exact value`).toEqual([]);
      elements += findings.elements;
      softmaxOff += findings.softmaxOff;
      for (const { name: module, run } of runners)
        expect(differences(integers, run(inputs)), `input ${s}, ${module}`).toEqual([]);
    }
    const given = loadSamples(name);
    const runner = runners[0]!;
    const output = debug.manifest.outputs[0]!;
    const boundary = output.slots[0]!.boundary;
    if (boundary.kind !== "dequantize") throw new Error("not a float output");
    let winners = 0;
    let equal = 0;
    let all = 0;
    for (const [i, data] of given.inputs.entries()) {
      const q = runner.run(new Map([[inputName(model), data]])).get(output.name)!;
      const expected = given.expected[i] as Float32Array;
      const ours = Array.from(q, (v) => Math.fround((v - boundary.zeroPoints[0]!) * boundary.scales[0]!));
      if (expected[argmax(ours)] === expected[argmax(expected)]) winners++;
      for (const [e, y] of ours.entries()) {
        all++;
        if (y === expected[e]) equal++;
        expect(Math.abs(y - expected[e]!), `sample ${i}[${e}]`).toBeLessThanOrEqual(
          1.5 * boundary.scales[0]!,
        );
      }
    }
    expect(winners).toBe(given.count);
    const counts = [samples.length, quantizers.length, elements, softmaxOff].map(String);
    rows.push([short, ...counts, `${winners} of ${given.count}`, `${equal} of ${all}`]);
  });
});
