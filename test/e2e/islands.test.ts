/**
 * Float islands: zoo models without some or any of their activation quantizers agree with onnxruntime, and what stays integer
 * stays the same integers. Without the option, nothing runs in float.
 */
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { subjectsOf } from "../../compiler/cli/compare.ts";
import { type Compiled, compileModel } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { full } from "../require.ts";
import { decodeWasm, floatUses } from "../wasm-decode.ts";
import { loadModelBytes, randomSource, zooIsThere } from "../zoo.ts";
import { compileBytes, describeZoo } from "./compiled.ts";
import { withoutQuantizers } from "./islands.ts";

const QUICK = ["int8-qdq/ort_kws_u8s8_pc", "int8-qdq/torch_qat_mnist", "transformer/tiny_vit_qdq"];
const FULL = [
  "int8-qdq/ort_resnet8_s8s8_pt",
  "int8-qdq/ort_resnet8_u8s8_pc",
  "wide-narrow-qdq/ort_resnet8_u8s4",
];
const models = full ? [...QUICK, ...FULL] : QUICK;

const last =
  (count: number) =>
  (i: number, n: number): boolean =>
    i >= n - count;

type Feeds = { readonly [name: string]: Float32Array };

function feedsOf({ manifest }: Compiled, seed: number): Feeds {
  const next = randomSource(seed);
  return Object.fromEntries(
    manifest.inputs.map(({ name, shape }) => {
      const count = shape.reduce((n, d) => n * d, 1);
      return [name, Float32Array.from({ length: count }, () => 3 * next() - 1.5)];
    }),
  );
}

async function run({ manifest, baseline }: Compiled, feeds: Feeds) {
  const model = await loadModel(layoutOf(manifest), {}, { wasm: baseline as Uint8Array<ArrayBuffer> });
  return model.run(feeds) as { [name: string]: Float32Array };
}

async function reference(bytes: Uint8Array, feeds: Feeds, { manifest }: Compiled) {
  const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: "disabled" });
  const shape = (name: string) => manifest.inputs.find((i) => i.name === name)!.shape;
  const out = await session.run(
    Object.fromEntries(Object.entries(feeds).map(([n, x]) => [n, new ort.Tensor("float32", x, shape(n))])),
  );
  return Object.fromEntries(Object.entries(out).map(([n, t]) => [n, t.data as Float32Array]));
}

/** Integers of every quantizer that no float reaches, by name. */
async function integers(compiled: Compiled, feeds: Feeds): Promise<Map<string, readonly number[]>> {
  const [subject] = (await subjectsOf(compiled, "")).subjects;
  const out = subject!.model.run(feeds);
  const taps = new Set(compiled.manifest.taps!.map((p) => p.name));
  return new Map(
    subject!.tensors.flatMap((t, i) =>
      t.float === "none" && taps.has(t.name)
        ? [[t.name, Array.from(out[String(i)] as Int32Array)] as const]
        : [],
    ),
  );
}

describeZoo.each(models)("%s", (name) => {
  test.each([
    ["its last two quantizers", last(2)],
    ["any quantizer", () => true],
  ])("without %s agrees with onnxruntime", async (_, goes) => {
    const bytes = withoutQuantizers(loadModelBytes(name), goes);
    const compiled = await compileBytes(bytes, { target: "wasm-simd", allowFloat: true });
    for (const seed of [1, 2, 3]) {
      const feeds = feedsOf(compiled, seed);
      const got = await run(compiled, feeds);
      for (const [output, want] of Object.entries(await reference(bytes, feeds, compiled))) {
        const top = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
        const worst = want.reduce((m, v, i) => Math.max(m, Math.abs(v - got[output]![i]!)), 0);
        expect(worst).toBeLessThanOrEqual(1e-6 + 1e-4 * top);
      }
    }
  });

  test("goes on with the integers that onnxruntime has behind an island", async () => {
    const bytes = withoutQuantizers(loadModelBytes(name), (i, n) => i === n >> 1);
    const compiled = await compileBytes(bytes, { target: "wasm-simd", allowFloat: true });
    const feeds = feedsOf(compiled, 5);
    const got = await run(compiled, feeds);
    for (const [output, want] of Object.entries(await reference(bytes, feeds, compiled))) {
      const top = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      // A sum of float32 that is rounded otherwise may be quantized to a neighbour, which later layers see.
      const near = want.filter((v, i) => Math.abs(v - got[output]![i]!) <= 0.02 * top).length;
      expect(near / want.length).toBeGreaterThanOrEqual(0.9);
    }
  });

  test("runs in float where it must, and only if allowed", async () => {
    const bytes = withoutQuantizers(loadModelBytes(name));
    const refused = await compileModel(bytes, { target: "wasm-simd" });
    expect(refused.ok).toBe(false);
    const allowed = await compileModel(bytes, { target: "wasm-simd", allowFloat: true });
    if (!allowed.ok) throw new Error("it compiles");
    const { coverage, macs } = allowed.value.manifest;
    expect(coverage.float!.ops).toBeGreaterThan(0);
    expect(coverage.float!.macs).toBe(macs.nominal);
    expect(coverage.integer + coverage.float!.ops).toBe(coverage.total);
    expect(allowed.diagnostics.filter((d) => d.code === "QC2146").length).toBeGreaterThan(0);
    expect(floatUses(decodeWasm(allowed.value.baseline)).length).toBeGreaterThan(0);
  });

  test("has the same integers with and without the option, and where islands do not reach", async () => {
    const bytes = loadModelBytes(name);
    const options = { target: "wasm-simd", debug: true } as const;
    const plain = await compileBytes(bytes, options);
    const allowing = await compileBytes(bytes, { ...options, allowFloat: true });
    expect(allowing.baseline).toEqual(plain.baseline);
    expect(allowing.manifest).toEqual(plain.manifest);
    const partly = await compileBytes(withoutQuantizers(bytes, last(2)), { ...options, allowFloat: true });
    const feeds = feedsOf(plain, 7);
    const [want, got] = [await integers(plain, feeds), await integers(partly, feeds)];
    const common = [...got.keys()].filter((tensor) => want.has(tensor));
    expect(common.length).toBeGreaterThan(3);
    for (const tensor of common) expect(got.get(tensor)).toEqual(want.get(tensor));
  });
});

describe("names", () => {
  test.skipIf(!zooIsThere)("allow one node", async () => {
    const bytes = withoutQuantizers(loadModelBytes(QUICK[0]!), last(2));
    const options = { target: "wasm-simd" } as const;
    const all = await compileModel(bytes, { ...options, allowFloat: true });
    const [island, ...more] = all.diagnostics.filter((d) => d.code === "QC2146");
    if (!all.ok || island?.loc?.kind !== "node") throw new Error("one island, at a node");
    expect(more).toEqual([]);
    expect(all.value.manifest.coverage.float).toEqual({ ops: 1, macs: 0 });
    const one = await compileModel(bytes, { ...options, allowFloat: [island.loc.output] });
    expect(one.ok && one.value.baseline).toEqual(all.value.baseline);
    const other = all.value.exact.funcs[0]!.ops.find((op) => op.name === "qc.conv")!.results[0]!.name;
    const refused = await compileModel(bytes, { ...options, allowFloat: [other] });
    expect(refused.ok).toBe(false);
  });

  test.skipIf(!zooIsThere)("that nothing has are errors", async () => {
    const bytes = withoutQuantizers(loadModelBytes(QUICK[1]!));
    const result = await compileModel(bytes, { target: "wasm-simd", allowFloat: ["no such node"] });
    expect(result.ok).toBe(false);
    expect(result.diagnostics.map((d) => d.code)).toContain("QC2147");
  });
});
