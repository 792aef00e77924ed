/**
 * QONNX and Brevitas models, bit for bit: exact value = interpreter = modules at every quantizer, on samples and on inputs
 * at the edges of the input's quantizer; the artifact against the zoo's outputs, and on the whole MNIST test set.
 */
import { readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import type { Compiled } from "../../compiler/index.ts";
import { compileModel } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel as open } from "../../runtime/index.ts";
import { parseNpz, rowOf } from "../npy.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { full } from "../require.ts";
import { loadModel, loadModelBytes, loadSamples, zooModels, zooPath } from "../zoo.ts";
import { compiled, describeZoo, differences, inputName, runnersOf } from "./compiled.ts";
import { relaxedRuns } from "./differential.ts";
import { compareWithOracle, integersOf, planOf, type Tensors } from "./exact.ts";
import { relaxedRunner } from "./relaxed-runner.ts";

/** No quantizer on the graph input. */
const DIAGNOSED = ["qonnx/espcn_subpixel", "qonnx/unsw_nb15_w2a2"];
const MODELS = [...zooModels("qonnx"), ...zooModels("qcdq")].filter((name) => !DIAGNOSED.includes(name));
/** Some weights have 8 bits. */
const WIDE = "qonnx/torch_mnist_w4a4";
/** Accuracy on the MNIST test set as stated by the zoo, in percent. */
const MNIST: { readonly [name: string]: number } = {
  "qonnx/tfc_1w1a": 92.96,
  "qonnx/tfc_1w2a": 94.74,
  "qonnx/tfc_2w2a": 96.6,
  "qonnx/torch_mnist_w4a4": 98.79,
  "qcdq/brevitas_tfc_2w2a": 95.04,
};

const rows: string[][] = [];
const accuracies: string[][] = [];
afterAll(() => {
  const head = ["model", "inputs", "quantizers", "elements", "winner as expected", "most off", "samples off"];
  if (rows.length > 0) console.log(`QONNX and QCDQ\n${table([head, ...rows.sort()])}`);
  if (accuracies.length > 0)
    console.log(`MNIST test set\n${table([["model", "qc", "stated"], ...accuracies])}`);
});

const argmax = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((best, v, i, all) => (v > all[best]! ? i : best), 0);

const artifact = (name: string, debug: boolean): Promise<Compiled> =>
  compiled(name, { name: name.slice(name.indexOf("/") + 1), debug });

const runnable = async ({ manifest, baseline }: Compiled) => {
  const model = await open(
    layoutOf(manifest),
    {},
    {
      wasm: baseline as Uint8Array<ArrayBuffer>,
      backend: "baseline",
    },
  );
  const [input, output] = [manifest.inputs[0]!.name, manifest.outputs[0]!.name];
  return (x: Float32Array): Float32Array => model.run({ [input]: x })[output] as Float32Array;
};

/** The float32 next to x, towards zero: just below a threshold. */
function nearer(x: number): number {
  const word = new Int32Array(1);
  const float = new Float32Array(word.buffer);
  float[0] = x;
  if (x !== 0) word[0]! -= 1;
  return float[0]!;
}

describeZoo("QONNX and QCDQ models", () => {
  test.each(MODELS)("%s", { timeout: 600_000 }, async (name) => {
    const model = loadModel(name);
    const debug = await artifact(name, true);
    const sure = await runnersOf(debug);
    // Products of at most 4-bit weights do not saturate, so the relaxed module is right on engines that saturate, too.
    const runners =
      sure.some((r) => r.name === "relaxed") || !relaxedRuns || name === WIDE
        ? sure
        : [...sure, { name: "relaxed", run: await relaxedRunner(debug) }];
    const input = inputName(model);
    const given = loadSamples(name);
    const samples = given.inputs.slice(0, full ? 16 : 2).map((x): Tensors => new Map([[input, x]]));
    const edges = randomInputs(debug.manifest.inputs, full ? 4 : 1, 1).map(
      (tensors): Tensors =>
        new Map([[input, (tensors.get(input) as Float32Array).map((x, i) => (i % 3 === 0 ? nearer(x) : x))]]),
    );
    const inputs = [...samples, ...edges];
    const quantizers = [
      ...evaluateOnnx(model, inputs[0] as ReadonlyMap<string, NumericArray>).quantizers.keys(),
    ];
    const plan = planOf(model, debug.module, quantizers);
    let elements = 0;
    for (const [s, x] of inputs.entries()) {
      const integers = integersOf(debug.module, x);
      const { findings } = compareWithOracle(model, plan, x, integers);
      expect(findings.differences, `input ${s}, interpreter against the exact value`).toEqual([]);
      elements += findings.elements;
      for (const { name: module, run } of runners)
        expect(differences(integers, run(x)), `input ${s}, ${module}`).toEqual([]);
    }
    const run = await runnable(await artifact(name, false));
    let winners = 0;
    let most = 0;
    let off = 0;
    for (const [i, x] of given.inputs.entries()) {
      const expected = given.expected[i] as Float32Array;
      const y = run(x as Float32Array);
      // Ties between winners count as one: their order is a matter of the last bit of a float32.
      if (Math.abs(expected[argmax(y)]! - expected[argmax(expected)]!) < 1e-5) winners++;
      const error = Math.max(...Array.from(y, (v, k) => Math.abs(v - expected[k]!)));
      most = Math.max(most, error);
      if (error > 1e-5) off++;
    }
    // Float32 crosses a rounding boundary now and then.
    expect(off / given.count).toBeLessThanOrEqual(0.1);
    expect(given.count - winners).toBeLessThanOrEqual(off);
    const counts = [inputs.length, quantizers.length, elements].map(String);
    rows.push([
      name,
      ...counts,
      `${winners} of ${given.count}`,
      most.toExponential(1),
      `${off} of ${given.count}`,
    ]);
  });

  test.each(DIAGNOSED)("%s lacks a quantizer on its input", async (name) => {
    const result = await compileModel(loadModelBytes(name), { target: "wasm", name: "m" });
    expect(result.ok).toBe(false);
    expect(result.diagnostics.filter((d) => d.severity === "error").map((d) => d.code)).toEqual(["QC2101"]);
  });
});

describeZoo("MNIST test set", () => {
  const present = Object.keys(MNIST).filter((name) => MODELS.includes(name));
  const data =
    present.length > 0 ? parseNpz(new Uint8Array(readFileSync(zooPath("data/mnist_test.npz")))) : undefined;
  test.each(present)("%s", { timeout: 300_000 }, async (name) => {
    const images = data!.get("x")!;
    const labels = data!.get("y")!.data as Uint8Array;
    const run = await runnable(await artifact(name, false));
    let right = 0;
    for (let i = 0; i < labels.length; i++) {
      const x = Float32Array.from(rowOf(images, i) as Uint8Array, (pixel) => pixel / 255);
      if (argmax(run(x)) === labels[i]) right++;
    }
    const accuracy = (100 * right) / labels.length;
    accuracies.push([name, `${accuracy.toFixed(2)} %`, `${MNIST[name]} %`]);
    expect(labels.length).toBe(10_000);
    expect(Math.abs(accuracy - MNIST[name]!)).toBeLessThanOrEqual(0.1);
  });
});
