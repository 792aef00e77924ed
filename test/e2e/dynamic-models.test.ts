/**
 * Whole models whose scales are those of each run. Every kernel by itself, from the operands it had: integers and correctly rounded
 * float32 by ===, sums and functions of islands within a bound; modules = kernels, bit for bit; outputs as onnxruntime has
 * them; and how often they are right.
 */
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { afterAll, expect, test } from "vitest";
import { targetsOf } from "../../compiler/backends/wasm/build.ts";
import { table } from "../../compiler/cli/print.ts";
import { type Compiled, compileModel, loweredOnnx } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel, type Model } from "../../runtime/index.ts";
import { normal } from "../normal.ts";
import { parseNpz, rowOf } from "../npy.ts";
import { full } from "../require.ts";
import { loadModelBytes, loadSamples, zooPath } from "../zoo.ts";
import { compileBytes, describeZoo, firstDifference } from "./compiled.ts";
import { interpreted, runIslands } from "./island-kernels.ts";

const rows: string[][] = [];
afterAll(() => {
  const head = ["model", "inputs", "kernels exact", "elements", "within a bound", "integer MACs"];
  if (rows.length > 0) console.log(`dynamic quantization\n${table([head, ...rows])}`);
});

const open = ({ manifest, baseline }: Compiled): Promise<Model> =>
  loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer>, backend: "baseline" });

/** Both targets' kernels on these inputs, and the baseline module; returns the first run. */
async function everyKernel(artifact: Compiled, inputs: readonly Float32Array[], label: string) {
  const { manifest } = artifact;
  const { baseline, relaxed } = targetsOf("wasm");
  const model = await open(artifact);
  const [{ name }] = manifest.inputs as [(typeof manifest.inputs)[0]];
  let [exact, elements, bounded] = [0, 0, 0];
  for (const [s, x] of inputs.entries()) {
    const feeds = new Map([[name, x]]);
    const plain = runIslands(artifact, baseline, feeds);
    const fast = runIslands(artifact, relaxed!, feeds);
    expect(plain.wrong, `input ${s}, baseline`).toEqual([]);
    expect(fast.wrong, `input ${s}, relaxed`).toEqual([]);
    const out = model.run(Object.fromEntries(feeds)) as Record<string, Float32Array>;
    for (const [output, values] of plain.outputs) {
      expect(firstDifference(out[output]!, values), `input ${s}, module`).toBeUndefined();
      expect(firstDifference(fast.outputs.get(output)!, values), `input ${s}, relaxed`).toBeUndefined();
    }
    [exact, bounded] = [plain.exact, plain.bounded];
    elements += plain.elements + fast.elements;
  }
  const { macs, coverage } = manifest;
  const float = coverage.float!.macs;
  rows.push([
    label,
    String(inputs.length),
    String(exact),
    String(elements),
    String(bounded),
    `${macs.nominal - float} of ${macs.nominal}`,
  ]);
  return { macs, coverage };
}

const argmax = (values: ArrayLike<number>): number => {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
};

describeZoo("tiny_vit_dynamic", () => {
  const name = "dynamic/tiny_vit_dynamic";

  test("is refused without floats, each scale by name", async () => {
    const result = await compileModel(loadModelBytes(name), { target: "wasm-simd" });
    expect(result.ok).toBe(false);
    const [first] = result.diagnostics;
    expect(first).toMatchObject({ severity: "error", code: "QC2148" });
  });

  test("kernels, modules, samples", { timeout: 300_000 }, async () => {
    const artifact = await compileBytes(loadModelBytes(name), { allowFloat: true });
    const samples = loadSamples(name);
    const given = samples.inputs as readonly Float32Array[];
    const { macs, coverage } = await everyKernel(artifact, given.slice(0, full ? 8 : 2), "tiny_vit_dynamic");
    // What is left in float multiplies two activations: the attention's products.
    expect(macs.nominal).toBe(677_088);
    expect(coverage.float!.macs).toBe(49_152);
    const conv = artifact.exact.funcs[0]!.ops.filter((op) => op.name === "qc.conv");
    const products = artifact.exact.funcs[0]!.ops.filter((op) => op.name === "qc.matmul");
    expect([conv.length, products.length]).toEqual([1, 13]);
    const model = await open(artifact);
    const [input, output] = [artifact.manifest.inputs[0]!.name, artifact.manifest.outputs[0]!.name];
    for (const [s, x] of given.entries()) {
      const y = model.run({ [input]: x })[output] as Float32Array;
      const want = samples.expected[s] as Float32Array;
      // One sum of an island rounded otherwise may move an integer by one: a thousandth of the greatest value.
      const most = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      for (const [i, v] of y.entries())
        expect(Math.abs(v - want[i]!), `sample ${s}[${i}]`).toBeLessThanOrEqual(1e-3 * most);
    }
  });

  test("written back as ONNX, onnxruntime computes the same", async () => {
    const written = await loweredOnnx(loadModelBytes(name));
    if (!written.ok) throw new Error(written.diagnostics[0]!.message);
    const options = { graphOptimizationLevel: "disabled", intraOpNumThreads: 1 } as const;
    const [before, after] = await Promise.all(
      [loadModelBytes(name), written.value].map((bytes) => ort.InferenceSession.create(bytes, options)),
    );
    for (const x of loadSamples(name).inputs.slice(0, 4)) {
      const feeds = {
        [before!.inputNames[0]!]: new ort.Tensor("float32", x as Float32Array, [1, 1, 28, 28]),
      };
      const [y, z] = [await before!.run(feeds), await after!.run(feeds)];
      const output = before!.outputNames[0]!;
      expect(
        firstDifference(z[output]!.data as Float32Array, y[output]!.data as Float32Array),
      ).toBeUndefined();
    }
    await Promise.all([before!.release(), after!.release()]);
  });

  test("is right as often as stated", { timeout: 300_000 }, async () => {
    const data = parseNpz(new Uint8Array(readFileSync(zooPath("data/mnist_test.npz"))));
    const [images, labels] = [data.get("x")!, data.get("y")!.data as Uint8Array];
    const bytes = loadModelBytes(name);
    const artifact = await compileBytes(bytes, { allowFloat: true });
    const model = await open(artifact);
    const [input, output] = [artifact.manifest.inputs[0]!.name, artifact.manifest.outputs[0]!.name];
    const session = await ort.InferenceSession.create(bytes, {
      graphOptimizationLevel: "disabled",
      intraOpNumThreads: 1,
    });
    let [ours, theirs, same] = [0, 0, 0];
    const count = 2000;
    for (let i = 0; i < count; i++) {
      const x = Float32Array.from(rowOf(images, i) as Uint8Array, (v) => v / 255);
      const y = argmax(model.run({ [input]: x })[output] as Float32Array);
      const result = await session.run({ [input]: new ort.Tensor("float32", x, [1, 1, 28, 28]) });
      const z = argmax(result[output]!.data as Float32Array);
      if (y === labels[i]) ours++;
      if (z === labels[i]) theirs++;
      if (y === z) same++;
    }
    await session.release();
    console.log(
      `tiny_vit_dynamic, first ${count} of MNIST: qc ${ours}, onnxruntime ${theirs}, same class ${same}`,
    );
    expect(ours / count).toBe(0.9695);
    expect(theirs / count).toBe(0.9695);
    expect(same).toBe(count);
  });
});

const exported = (file: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../examples/exporters/models/${file}.onnx`, import.meta.url)));

test.each([
  ["ort_residual_dynamic", 28_552, 0],
  ["ort_curves_dynamic", 13_884, 0],
  ["ort_block_dynamic", 13_440, 1152],
  ["transformers_bitnet_packed", 18_432, 0],
  ["transformers_bitnet_online", 18_432, 0],
])("%s", async (file, all, float) => {
  const artifact = await compileBytes(exported(file), { allowFloat: true });
  const size = artifact.manifest.inputs[0]!.shape.reduce((a, b) => a * b, 1);
  const { macs, coverage } = await everyKernel(
    artifact,
    [normal(size, 1), normal(size, 2), normal(size, 3)],
    file,
  );
  expect([macs.nominal, coverage.float!.macs]).toEqual([all, float]);
});

test.each(["torchscript_bitlinear", "dynamo_bitlinear"])("%s: ternary products of integers", async (file) => {
  const artifact = await compileBytes(exported(file), { allowFloat: true });
  const [input] = artifact.manifest.inputs;
  const inputs = [
    ...[1, 2, 3, 4, 5].map((seed) => normal(16, seed)),
    new Float32Array(16),
    new Float32Array(16).fill(-2.5),
    Float32Array.from({ length: 16 }, (_, i) => (i === 3 ? 1e20 : 1)),
    Float32Array.from({ length: 16 }, (_, i) => (i - 8) * 1e-7),
  ];
  const { coverage } = await everyKernel(artifact, inputs, file);
  expect(coverage.float!.macs).toBe(0);
  const main = artifact.exact.funcs[0]!;
  const products = main.ops.filter((op) => op.name === "qc.matmul");
  expect(products.map((op) => op.operands[1]!.type.elem)).toEqual(
    products.map(() => ({ kind: "int", signed: true, bits: 2 })),
  );
  const session = await ort.InferenceSession.create(exported(file), { graphOptimizationLevel: "disabled" });
  const model = await open(artifact);
  for (const x of inputs) {
    const feeds = new Map([[input!.name, x]]);
    const [[output, want]] = [...interpreted(artifact, feeds)] as [[string, Float32Array]];
    const got = model.run({ [input!.name]: x })[output] as Float32Array;
    expect(firstDifference(got, want)).toBeUndefined();
    const theirs = (await session.run({ [input!.name]: new ort.Tensor("float32", x, input!.shape) }))[
      output
    ]!;
    const most = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    // The file multiplies rounded reals, so its sums are some roundings off the exact ones.
    for (const [i, v] of (theirs.data as Float32Array).entries())
      expect(Math.abs(v - got[i]!)).toBeLessThanOrEqual(1e-5 * most);
  }
  await session.release();
});

test("BitLinear without floats says what is computed at run time", async () => {
  const result = await compileModel(exported("torchscript_bitlinear"), { target: "wasm-simd" });
  const errors = result.diagnostics.filter((d) => d.severity === "error");
  expect(errors.map((d) => [d.code, d.message])).toEqual([
    ["QC2148", 'ReduceMax: the scale of "x" is a float32 that each run computes'],
  ]);
  expect(errors[0]!.fixes[0]).toContain("--allow-float");
});
