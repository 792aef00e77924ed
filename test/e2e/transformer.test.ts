/** Vision transformers, bit for bit: exact value = interpreter = modules at every quantizer; and how often they are right. */
import { readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { attr } from "../../compiler/ir/op.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel as load } from "../../runtime/index.ts";
import { parseNpz, rowOf } from "../npy.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { loadModel, loadSamples, zooPath } from "../zoo.ts";
import { compiled, describeZoo, differences, inputName, inputsOf, runnersOf } from "./compiled.ts";
import { compareWithOracle, integersOf, planOf } from "./exact.ts";

/** Right answers per hundred among the first images of the test set, as `../shared/zoo/README.md` states them. */
const MODELS = [
  ["transformer/tiny_vit_qdq", 96.8],
  ["transformer/tiny_vit_qop", 97.0],
] as const;
const IMAGES = 2000;

const rows: string[][] = [];
afterAll(() => {
  const head = ["model", "inputs", "quantizers", "elements", "softmax off by 1", "accuracy", "stated"];
  if (rows.length > 0) console.log(`transformers\n${table([head, ...rows])}`);
});

const argmax = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((best, v, i, all) => (v > all[best]! ? i : best), 0);

describeZoo("transformers", () => {
  test.each(MODELS)("%s", { timeout: 300_000 }, async (name, stated) => {
    const model = loadModel(name);
    const short = name.slice(name.indexOf("/") + 1);
    const debug = await compiled(name, { name: short, debug: true });
    const shipped = await compiled(name, { name: short });
    const runners = await runnersOf(debug);
    expect(runners.length).toBeGreaterThan(0);
    const samples = inputsOf(name, model);
    const first = evaluateOnnx(model, samples[0] as ReadonlyMap<string, NumericArray>);
    const plan = planOf(model, debug.module, [...first.quantizers.keys()]);
    let [elements, softmaxOff, softmaxElements] = [0, 0, 0];
    for (const [s, inputs] of samples.entries()) {
      const integers = integersOf(debug.module, inputs);
      const { findings } = compareWithOracle(model, plan, inputs, integers);
      expect(findings.differences, `input ${s}, interpreter against the exact value`).toEqual([]);
      elements += findings.elements;
      softmaxOff += findings.softmaxOff;
      softmaxElements += findings.softmaxElements;
      for (const { name: module, run } of runners)
        expect(differences(integers, run(inputs)), `input ${s}, ${module}`).toEqual([]);
    }
    // Nothing moves: patches become tokens by their layout, and heads are views.
    const moves = shipped.module.funcs
      .flatMap((f) => f.ops)
      .filter((op) => op.name === "layout.transpose" && attr<readonly number[]>(op, "perm").at(-1) !== 3);
    expect(moves).toEqual([]);

    const data = parseNpz(new Uint8Array(readFileSync(zooPath("data/mnist_test.npz"))));
    const [images, labels] = [data.get("x")!, data.get("y")!.data as Uint8Array];
    const wasm = shipped.baseline as Uint8Array<ArrayBuffer>;
    const user = await load(layoutOf(shipped.manifest), {}, { wasm, backend: "baseline" });
    const input = inputName(model);
    const answer = (pixels: Float32Array): Float32Array => {
      const [output] = Object.values(user.run({ [input]: pixels }));
      return output as Float32Array;
    };
    let right = 0;
    for (let i = 0; i < IMAGES; i++) {
      const pixels = Float32Array.from(rowOf(images, i) as Uint8Array, (v) => Math.fround(v / 255));
      if (argmax(answer(pixels)) === labels[i]) right++;
    }
    const accuracy = (100 * right) / IMAGES;
    expect(accuracy).toBeGreaterThanOrEqual(stated - 0.3);
    const given = loadSamples(name);
    const winners = given.inputs.filter(
      (x, i) => argmax(answer(x as Float32Array)) === argmax(given.expected[i] as Float32Array),
    ).length;
    expect(winners).toBeGreaterThanOrEqual(given.count - 1);
    rows.push([
      short,
      String(samples.length),
      String(first.quantizers.size),
      String(elements),
      `${softmaxOff} of ${softmaxElements}`,
      `${accuracy.toFixed(2)} %`,
      `${stated} %`,
    ]);
  });
});
