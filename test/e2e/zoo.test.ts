/**
 * Whole models, bit for bit: the exact value of the imported graph (an oracle that shares no code with the passes) = the
 * interpreter on the compiled graph = the modules, at every quantizer; and the artifact as shipped = the debug one.
 */
import { afterAll, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { rawDtype } from "../../runtime/elements.ts";
import { layoutOf } from "../../runtime/format.ts";
import { createModel } from "../../runtime/index.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { loadModel } from "../zoo.ts";
import {
  compiled,
  describeZoo,
  differences,
  firstDifference,
  inputsOf,
  models,
  runnersOf,
  shortName,
} from "./compiled.ts";
import { compareWithOracle, integersOf, planOf } from "./exact.ts";

const rows: string[][] = [];
afterAll(() => {
  if (rows.length === 0) return;
  const head = ["model", "samples", "quantizers", "elements", "oracle", "modules", "softmax off by 1"];
  console.log(`exact = interpreter = modules, as shipped = debug\n${table([head, ...rows.sort()])}`);
});

describeZoo("exact value = interpreter = modules, at every quantizer", () => {
  test.each(models)(
    "%s",
    async (name) => {
      const model = loadModel(name);
      const debug = await compiled(name, { debug: true });
      const shipped = await compiled(name);
      const runners = await runnersOf(debug);
      const shippedRunners = await runnersOf(shipped);
      expect(runners.map((r) => r.name)).toEqual(
        Object.values(debug.manifest.exactOn ?? {}).some((on) => relaxedRefusal(on) === undefined)
          ? ["baseline", "relaxed"]
          : ["baseline"],
      );
      const samples = inputsOf(name, model);
      const quantizers = [
        ...evaluateOnnx(model, samples[0] as ReadonlyMap<string, NumericArray>).quantizers.keys(),
      ];
      const plan = planOf(model, debug.module, quantizers);
      expect(shipped.manifest.taps).toBeUndefined();
      const outputs = new Set(shipped.manifest.outputs.map((o) => o.name));
      const load = await floats(shipped);
      let elements = 0;
      let softmaxElements = 0;
      let softmaxOff = 0;
      for (const [s, inputs] of samples.entries()) {
        const integers = integersOf(debug.module, inputs);
        const { findings, evaluation } = compareWithOracle(model, plan, inputs, integers);
        expect(findings.differences, `sample ${s}, interpreter against the exact value`).toEqual([]);
        elements += findings.elements;
        softmaxElements += findings.softmaxElements;
        softmaxOff += findings.softmaxOff;
        for (const { name: module, run } of runners)
          expect(
            differences(integers, run(inputs)),
            `sample ${s}, ${module} against the interpreter`,
          ).toEqual([]);
        const last = new Map([...integers].filter(([tensor]) => outputs.has(tensor)));
        expect(last.size).toBe(outputs.size);
        for (const { name: module, run } of shippedRunners)
          expect(differences(last, run(inputs)), `sample ${s}, ${module} as shipped against debug`).toEqual(
            [],
          );
        expect(
          differences(last, integersOf(shipped.module, inputs)),
          `sample ${s}, graph as shipped`,
        ).toEqual([]);
        // What the user sees: the declared type, floats being the exact value rounded once.
        const seen = load.run(Object.fromEntries(inputs));
        for (const [output, { values }] of evaluation.outputs)
          expect(
            firstDifference(seen[output] as Float32Array, values),
            `sample ${s}, output ${output}`,
          ).toBeUndefined();
      }
      rows.push([
        shortName(name),
        String(samples.length),
        String(quantizers.length),
        String(elements),
        "all equal",
        runners.map((r) => r.name).join(" + "),
        softmaxElements > 0 ? `${softmaxOff} of ${softmaxElements}` : "–",
      ]);
    },
    300_000,
  );
});

/** The artifact as its users have it. */
async function floats({ manifest, baseline }: Awaited<ReturnType<typeof compiled>>) {
  const { instance } = await WebAssembly.instantiate(baseline as Uint8Array<ArrayBuffer>);
  const { memory, run } = instance.exports as { memory: WebAssembly.Memory; run: () => void };
  for (const port of manifest.outputs) expect(rawDtype(port.slots[0]!)).toMatch(/^u?int/);
  return createModel(layoutOf(manifest), { memory, run }, { backend: "baseline", backendReason: "test" });
}
