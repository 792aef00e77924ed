/**
 * The graph written back as standard ONNX: onnxruntime takes it and gives what it gives for the original, and qc compiles it to
 * the same integers.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { afterAll, describe, expect, test } from "vitest";
import { table } from "../../compiler/cli/print.ts";
import { randomInputs as portInputs } from "../../compiler/cli/random-inputs.ts";
import type { OnnxModel } from "../../compiler/frontend/onnx/model.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { compileModel, loweredOnnx } from "../../compiler/index.ts";
import { quantizationOf } from "../../runtime/elements.ts";
import type { PortLayout } from "../../runtime/format.ts";
import { full } from "../require.ts";
import { loadModel, loadModelBytes, loadSamples, randomInputs, zooModels } from "../zoo.ts";
import { compileBytes, describeZoo, differences, inputName, runnersOf } from "./compiled.ts";
import type { Tensors } from "./exact.ts";
import { groups } from "./graphs/groups.ts";

const EXPORTERS = fileURLToPath(new URL("../../examples/exporters/", import.meta.url));
const FOLDERS = ["int8-qdq", "qonnx", "qcdq", "qoperator", "wide-narrow-qdq", "transformer"];
const QUICK = new Set([
  "int8-qdq/torch_qat_mnist",
  "qonnx/tfc_1w1a",
  "qonnx/torch_mnist_w4a4",
  "qcdq/brevitas_tfc_2w2a",
  "qoperator/ort_kws_qop",
  "wide-narrow-qdq/ort_resnet8_u16s8",
  "transformer/tiny_vit_qdq",
]);
/** Have float ops between quantizers, which is an error; see README of the zoo. */
const NOT_INTEGER = new Set(["qonnx/espcn_subpixel", "qonnx/unsw_nb15_w2a2"]);
const models = FOLDERS.flatMap((f) => zooModels(f)).filter((m) => full || QUICK.has(m));

/**
 * Outputs that differ between two float32 runtimes: rounding on the way decides ties. Greatest difference in quanta of
 * the output, which a softmax in front of it multiplies.
 */
const MOST_QUANTA = 5;
const MOST_SHARE = 0.05;

const rows: string[][] = [];
afterAll(() => {
  if (rows.length > 0)
    console.log(
      `written as QDQ: original or expected against written, in onnxruntime\n${table([["model", "bytes", "written", "elements", "differ", "most quanta"], ...rows], [1, 2, 3, 4, 5])}`,
    );
});

type Run = (inputs: Tensors) => Promise<ReadonlyMap<string, ArrayLike<number>>>;

async function session(bytes: Uint8Array, model: OnnxModel): Promise<Run> {
  const s = await ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const info = model.graph.inputs.find((i) => i.name === inputName(model))!;
  const shape = info.shape!.map((d) => (typeof d === "number" ? d : 1));
  return async (inputs) => {
    const data = inputs.get(info.name) as Float32Array;
    const out = await s.run({ [info.name]: new ort.Tensor(info.elemType as "float32", data, shape) });
    return new Map(Object.entries(out).map(([name, t]) => [name, t.data as Float32Array]));
  };
}

/** Greatest difference in quanta of the output's grid, and how many elements differ. */
function inQuanta(port: PortLayout, a: ArrayLike<number>, b: ArrayLike<number>) {
  const q = port.dtype.startsWith("float") ? quantizationOf(port) : undefined;
  const scale = q === undefined ? 1 : typeof q.scale === "number" ? q.scale : Math.min(...q.scale);
  let differ = 0;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!) / scale;
    if (d > 0.5) differ++;
    most = Math.max(most, Math.round(d));
  }
  return { differ, most };
}

/** The small graphs, one construct each, and the files of exporters. */
const graphs: readonly (readonly [name: string, bytes: Uint8Array, batch: number | undefined])[] = [
  ...Object.entries(groups).flatMap(([group, cases]) =>
    cases.map((c) => [`${group}: ${c.name}`, c.bytes, c.batch] as const),
  ),
  ...readdirSync(EXPORTERS, { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".onnx"))
    .sort()
    .map((f) => [f, new Uint8Array(readFileSync(join(EXPORTERS, f))), undefined] as const),
];

describe("small graphs compile to the same integers once written", () => {
  test.each(graphs.filter((_, i) => full || i % 8 === 0))("%s", async (_, bytes, batch) => {
    const choices = { target: "wasm-simd", ...(batch !== undefined && { batch }) } as const;
    const original = await compileModel(bytes, choices);
    const written = await loweredOnnx(bytes, choices);
    if (!original.ok) {
      // No integer form, or not even a graph; nothing that a graph has is beyond the standard.
      expect(written.diagnostics.map((d) => d.code)).not.toContain("QC5012");
      return;
    }
    if (!written.ok) {
      expect(written.diagnostics.filter((d) => d.severity === "error").map((d) => d.code)).toEqual([
        "QC5012",
      ]);
      expect(written.diagnostics.at(-1)?.message).toMatch(/quant\.threshold|fractional zero points/);
      return;
    }
    const s = await ort.InferenceSession.create(written.value, {
      graphOptimizationLevel: "disabled",
      logSeverityLevel: 3,
    });
    await s.release();
    const again = await compileModel(written.value, choices);
    const known = new Set(original.diagnostics.map((d) => d.code));
    expect(again.diagnostics.filter((d) => !known.has(d.code))).toEqual([]);
    if (!again.ok) return;
    const [[a], [b]] = [await runnersOf(original.value), await runnersOf(again.value)];
    for (const inputs of portInputs(original.value.manifest.inputs, 5, 1))
      expect(differences(a!.run(inputs), b!.run(inputs))).toEqual([]);
  });
});

describeZoo("written as standard ONNX", () => {
  test.each(models)(
    "%s",
    async (name) => {
      const bytes = loadModelBytes(name);
      const model = loadModel(name);
      const written = await loweredOnnx(bytes);
      expect(written.diagnostics.filter((d) => d.severity === "error")).toEqual([]);
      if (!written.ok) return;
      expect(await loweredOnnx(bytes)).toMatchObject({ value: written.value });
      const read = readModel(written.value);
      expect(read.ok && read.value.graph.nodes.every((n) => n.domain === "")).toBe(true);

      const input = inputName(model);
      const provided = loadSamples(name);
      const given = provided.inputs.slice(0, full ? 10 : 2);
      const samples = [
        ...given.map((data): Tensors => new Map([[input, data]])),
        ...(randomInputs(model, 7, 3) as readonly Tensors[]),
      ];
      const theirs = await session(written.value, model);
      if (NOT_INTEGER.has(name)) {
        for (const s of samples.slice(0, 1)) expect((await theirs(s)).size).toBeGreaterThan(0);
        return;
      }
      const [a, b] = [
        await compileBytes(bytes, { target: "wasm-simd" }),
        await compileBytes(written.value, { target: "wasm-simd" }),
      ];
      expect(b.manifest.outputs.map((p) => [p.name, p.dtype, p.shape, p.slots])).toEqual(
        a.manifest.outputs.map((p) => [p.name, p.dtype, p.shape, p.slots]),
      );
      const [ours] = await runnersOf(a);
      const [again] = await runnersOf(b);
      const original = name.startsWith("qonnx/") ? undefined : await session(bytes, model);
      let [elements, differ, most] = [0, 0, 0];
      for (const [i, s] of samples.entries()) {
        expect(differences(ours!.run(s), again!.run(s))).toEqual([]);
        const y = await theirs(s);
        // onnxruntime does not know QONNX's nodes; the samples come with what their own tools give.
        const expected = original === undefined && i < given.length ? provided.expected[i] : undefined;
        const x =
          (await original?.(s)) ??
          new Map(expected ? [[a.manifest.outputs[0]!.name, expected as ArrayLike<number>]] : []);
        for (const port of a.manifest.outputs) {
          expect(y.get(port.name)?.length).toBe(port.shape.reduce((p, d) => p * d, 1));
          const want = x.get(port.name);
          if (want === undefined) continue;
          const d = inQuanta(port, want, y.get(port.name)!);
          elements += y.get(port.name)!.length;
          differ += d.differ;
          most = Math.max(most, d.most);
        }
      }
      rows.push([name, bytes.length, written.value.length, elements, differ, most].map(String));
      expect(most).toBeLessThanOrEqual(MOST_QUANTA);
      expect(differ / Math.max(elements, 1)).toBeLessThanOrEqual(MOST_SHARE);
    },
    120_000,
  );
});
