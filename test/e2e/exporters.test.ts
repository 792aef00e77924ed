/**
 * One file per exporter and option (`examples/exporters`), each with the outcome written down for it. Those that compile
 * equal the exact oracle, and their outputs agree with onnxruntime.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { compileModel, loweredOnnx } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel as open } from "../../runtime/index.ts";
import { normal } from "../normal.ts";
import { openReference } from "../oracle/onnxruntime.ts";
import { differential } from "./differential.ts";

const folder = new URL("../../examples/exporters/", import.meta.url);

/** Codes of the findings, and whether there is an artifact. */
interface Outcome {
  readonly compiles: boolean;
  readonly findings: readonly string[];
  /** Why it does not compile, or what is to be known of it. */
  readonly note?: string;
  /** What becomes of it with float islands: codes of the findings, and multiply-accumulates that stay integer. */
  readonly allowFloat?: {
    readonly findings: readonly string[];
    readonly macs: { readonly integer: number; readonly all: number };
  };
}

const outcomes = JSON.parse(readFileSync(new URL("outcomes.json", folder), "utf8")) as {
  readonly [file: string]: Outcome;
};
const files = readdirSync(new URL("models/", folder)).filter((f) => f.endsWith(".onnx"));

const bytesOf = (file: string): Uint8Array => new Uint8Array(readFileSync(new URL(`models/${file}`, folder)));
const external = (location: string): Uint8Array => bytesOf(location);
const compile = (file: string, allowFloat = false) =>
  compileModel(bytesOf(file), { target: "wasm", name: file, external, allowFloat });

/** Of how many random samples the outputs are those of onnxruntime, up to a hundred-thousandth of the greatest. */
async function agreeing(file: string, samples: number, allowFloat = false): Promise<number> {
  const read = readModel(bytesOf(file), { external });
  const result = await compile(file, allowFloat);
  if (!read.ok || !result.ok) throw new Error("not compiled");
  const { manifest, baseline } = result.value;
  const wasm = baseline as Uint8Array<ArrayBuffer>;
  const ours = await open(layoutOf(manifest), {}, { wasm, backend: "baseline" });
  const beside = readdirSync(new URL("models/", folder)).filter((f) => f === `${file}.data`);
  const reference = await openReference(
    bytesOf(file),
    read.value,
    [],
    beside.map((path) => ({ path, data: bytesOf(path) })),
  );
  const [input, output] = [manifest.inputs[0]!, manifest.outputs[0]!];
  const count = input.shape.reduce((a, b) => a * b, 1);
  let equal = 0;
  for (let seed = 0; seed < samples; seed++) {
    // The networks were calibrated for such inputs.
    const x = normal(count, 100 + seed);
    const y = ours.run({ [input.name]: x })[output.name] as Float32Array;
    const theirs = (await reference.run(new Map([[input.name, x]]))).get(output.name) as Float32Array;
    const most = Math.max(...theirs.map(Math.abs), 1e-9);
    if (y.every((v, i) => Math.abs(v - theirs[i]!) <= 1e-5 * most)) equal++;
  }
  await reference.release();
  return equal;
}

test("every file has an outcome", () => {
  expect(Object.keys(outcomes).sort()).toEqual(files.sort());
});

describe.each(files)("%s", (file) => {
  const outcome = outcomes[file];
  test(outcome?.compiles ? "compiles" : "is diagnosed", async () => {
    const result = await compile(file);
    const findings = [...new Set(result.diagnostics.map((d) => d.code))].sort();
    expect({ compiles: result.ok, findings }).toEqual({
      compiles: outcome?.compiles,
      findings: outcome?.findings,
    });
    for (const d of result.diagnostics.filter((d) => d.severity === "error"))
      expect(d.fixes.length, d.message).toBeGreaterThan(0);
  });
  const floats = outcome?.allowFloat;
  if (floats) {
    test("compiles with float islands", async () => {
      const result = await compile(file, true);
      if (!result.ok) throw new Error(result.diagnostics[0]!.message);
      expect([...new Set(result.diagnostics.map((d) => d.code))].sort()).toEqual(floats.findings);
      const { macs, coverage } = result.value.manifest;
      const { integer, all } = floats.macs;
      expect([macs.nominal, macs.nominal - coverage.float!.macs]).toEqual([all, integer]);
    });
    test("agrees with onnxruntime, with float islands", async () => {
      // A sum of floats in another order may be quantized to a neighbour.
      expect(await agreeing(file, 32, true)).toBeGreaterThanOrEqual(16);
    });
  }
  if (!outcome?.compiles) return;

  test("equals the exact value", async () => {
    // The exact evaluator takes recovered grids (QC2140) from the graph written back with integer weights.
    const recovered = outcome.findings.includes("QC2140");
    const written = recovered ? await loweredOnnx(bytesOf(file), { external }) : undefined;
    if (written !== undefined && !written.ok) throw new Error(written.diagnostics[0]!.message);
    const bytes = written?.value ?? bytesOf(file);
    const verdict = await differential(bytes, { samples: 2, saturates: true, external });
    expect(verdict).toMatchObject({ kind: "compiled", wrong: [] });
    expect(verdict.kind === "compiled" && verdict.elements).toBeGreaterThan(0);
  });

  test("agrees with onnxruntime", async () => {
    // Where float32 rounds an intermediate to the other side, onnxruntime is a step of a quantizer off.
    expect(await agreeing(file, 32)).toBeGreaterThanOrEqual(16);
  });
});
