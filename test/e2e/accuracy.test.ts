/** What the artifacts are for: how often they are right, against the trained model's own figure and onnxruntime. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { afterAll, describe, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import type { Compiled } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel as load, type Model } from "../../runtime/index.ts";
import { type NpyArray, parseNpz, rowOf } from "../npy.ts";
import { full, requireOrSkip } from "../require.ts";
import { loadModelBytes, loadSamples, zooPath } from "../zoo.ts";
import { allModels, compileBytes, compiled, describeZoo, FOLDER, shortName } from "./compiled.ts";

const rows: string[][] = [];
afterAll(() => {
  const head = [
    "model",
    "samples",
    "qc",
    "onnxruntime",
    "stated",
    "outputs off by quanta of the last quantizer",
  ];
  if (rows.length > 0) console.log(`task accuracy\n${table([head, ...rows])}`);
});

const percent = (right: number, of: number): string => `${((100 * right) / of).toFixed(2)} %`;

function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

const open = ({ manifest, baseline }: Compiled): Promise<Model> =>
  load({ ...layoutOf(manifest) }, {}, { wasm: baseline as Uint8Array<ArrayBuffer>, backend: "baseline" });

/** Graph optimizations change its results, and refuse scales of shape [1] where a quantized Add results. */
const onnxruntime = (bytes: Uint8Array) =>
  ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });

/** Differences in steps of a float output's scale, as `−1: 3, 0: 997`. */
function histogram(ours: readonly Float32Array[], theirs: readonly ArrayLike<number>[], scale: number) {
  const counts = new Map<number, number>();
  ours.forEach((row, s) => {
    row.forEach((y, i) => {
      const d = Math.round((y - theirs[s]![i]!) / scale);
      counts.set(d, (counts.get(d) ?? 0) + 1);
    });
  });
  return counts;
}
const histogramText = (counts: ReadonlyMap<number, number>): string =>
  [...counts]
    .sort(([a], [b]) => a - b)
    .map(([d, n]) => `${d > 0 ? "+" : ""}${d}: ${n}`)
    .join(", ");

const stepOf = (artifact: Compiled): number => {
  const b = artifact.manifest.outputs[0]!.slots[0]!.boundary;
  if (b.kind !== "dequantize") throw new Error("not a float output");
  return b.scales[0]!;
};

describeZoo("MNIST", () => {
  const name = `${FOLDER}/torch_qat_mnist`;
  test("torch_qat_mnist on the whole test set", async () => {
    const data = parseNpz(new Uint8Array(readFileSync(zooPath("data/mnist_test.npz"))));
    const images = data.get("x")!;
    const labels = data.get("y")!.data as Uint8Array;
    const artifact = await compiled(name);
    const model = await open(artifact);
    const session = await onnxruntime(loadModelBytes(name));
    const input = artifact.manifest.inputs[0]!.name;
    const output = artifact.manifest.outputs[0]!.name;
    const peer = full ? labels.length : 1000;
    const right = { ours: 0, oursOfPeer: 0, theirs: 0 };
    const logits: Float32Array[] = [];
    const peers: Float32Array[] = [];
    for (let i = 0; i < labels.length; i++) {
      const x = Float32Array.from(rowOf(images, i) as Uint8Array, (pixel) => pixel / 255);
      const y = model.run({ [input]: x })[output] as Float32Array;
      const ours = argmax(y) === labels[i] ? 1 : 0;
      right.ours += ours;
      if (i >= peer) continue;
      const theirs = await session.run({ [input]: new ort.Tensor("float32", x, [1, 1, 28, 28]) });
      const z = theirs[output]!.data as Float32Array;
      right.oursOfPeer += ours;
      right.theirs += argmax(z) === labels[i] ? 1 : 0;
      logits.push(y);
      peers.push(z);
    }
    await session.release();
    const accuracy = (100 * right.ours) / labels.length;
    rows.push([
      "torch_qat_mnist",
      String(labels.length),
      percent(right.ours, labels.length),
      `${percent(right.theirs, peer)} of ${peer} (qc ${percent(right.oursOfPeer, peer)})`,
      "98.79 %",
      histogramText(histogram(logits, peers, stepOf(artifact))),
    ]);
    expect(labels.length).toBe(10_000);
    expect(Math.abs(accuracy - 98.79)).toBeLessThanOrEqual(0.2);
    expect(Math.abs(right.oursOfPeer - right.theirs) / peer).toBeLessThanOrEqual(0.002);
  }, 300_000);
});

describeZoo("provided labels", () => {
  const labelled = allModels.filter((name) => loadSamples(name).label !== undefined);
  test.each(labelled)("%s", async (name) => {
    const samples = loadSamples(name);
    const artifact = await compiled(name);
    const model = await open(artifact);
    const input = artifact.manifest.inputs[0]!.name;
    const output = artifact.manifest.outputs[0]!.name;
    let ours = 0;
    let theirs = 0;
    const counts = new Map<number, number>();
    const integers = artifact.manifest.outputs[0]!.slots[0]!.boundary.kind === "none";
    for (const [i, x] of samples.inputs.entries()) {
      const y = model.run({ [input]: x })[output] as Float32Array;
      const z = samples.expected[i] as Float32Array;
      if (argmax(y) === samples.label![i]) ours++;
      if (argmax(z) === samples.label![i]) theirs++;
      const step = integers ? 1 : stepOf(artifact);
      for (const [d, n] of histogram([Float32Array.from(y)], [z], step))
        counts.set(d, (counts.get(d) ?? 0) + n);
    }
    rows.push([
      shortName(name),
      String(samples.count),
      percent(ours, samples.count),
      percent(theirs, samples.count),
      "–",
      histogramText(counts),
    ]);
    expect(ours).toBe(theirs);
  });
});

const example = fileURLToPath(new URL("../../examples/fashion/", import.meta.url));
const bundled = requireOrSkip(
  "the Fashion-MNIST example",
  existsSync(`${example}fashion.onnx`) && existsSync(`${example}samples.npz`),
  `no fashion.onnx and samples.npz in ${example}`,
);

describe.skipIf(!bundled)("Fashion-MNIST", () => {
  test("the bundled model on its bundled samples, against torch's fake-quantized logits and onnxruntime", async () => {
    const bytes = new Uint8Array(readFileSync(`${example}fashion.onnx`));
    const data = parseNpz(new Uint8Array(readFileSync(`${example}samples.npz`)));
    const artifact = await compileBytes(bytes);
    const model = await open(artifact);
    const session = await onnxruntime(bytes);
    const input = artifact.manifest.inputs[0]!;
    const output = artifact.manifest.outputs[0]!.name;
    const { images, labels, logits } = fashion(data);
    const ours: Float32Array[] = [];
    const theirs: Float32Array[] = [];
    for (const x of images) {
      ours.push(model.run({ [input.name]: x })[output] as Float32Array);
      const r = await session.run({ [input.name]: new ort.Tensor("float32", x, [...input.shape]) });
      theirs.push(r[output]!.data as Float32Array);
    }
    await session.release();
    const right = (all: readonly ArrayLike<number>[]) => all.filter((y, i) => argmax(y) === labels[i]).length;
    const torch = histogram(ours, logits, stepOf(artifact));
    const n = images.length;
    rows.push([
      "examples/fashion",
      String(n),
      percent(right(ours), n),
      percent(right(theirs), n),
      `${percent(right(logits), n)} (torch)`,
      `torch ${histogramText(torch)}; onnxruntime ${histogramText(histogram(ours, theirs, stepOf(artifact)))}`,
    ]);
    // float32 crosses a rounding boundary now and then; never by more than a quantum or two at the end.
    const equal = torch.get(0) ?? 0;
    expect(equal / (n * ours[0]!.length)).toBeGreaterThan(0.98);
    expect(Math.abs(right(ours) - right(logits)) / n).toBeLessThanOrEqual(0.002);
  });
});

function fashion(data: ReadonlyMap<string, NpyArray>) {
  const images = data.get("input") ?? data.get("x")!;
  const labels = (data.get("label") ?? data.get("y"))!;
  const logits = data.get("logits")!;
  const rowsOf = (a: NpyArray) => Array.from({ length: a.shape[0]! }, (_, i) => rowOf(a, i));
  return {
    images: rowsOf(images).map((x) =>
      x instanceof Float32Array ? x : Float32Array.from(x as Uint8Array, (pixel) => pixel / 255),
    ),
    labels: Array.from(labels.data as ArrayLike<number | bigint>, Number),
    logits: rowsOf(logits) as Float32Array[],
  };
}
