/**
 * The module for signed dot products in an engine that has them: Node for arm64, native or under qemu, every quantizer equal
 * to the interpreter's, before and after V8 has optimized the kernels. `QC_ARM64_NODE`: its command, such as
 * `qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu path/to/node`.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { integerLayout } from "../../compiler/cli/compare.ts";
import { table } from "../../compiler/cli/print.ts";
import { requireOrSkip } from "../require.ts";
import { loadModel } from "../zoo.ts";
import type { Job } from "./arm64-guest.ts";
import {
  allModels,
  compiled,
  describeZoo,
  differences,
  FOLDER,
  inputsOf,
  quickModels,
  shortName,
} from "./compiled.ts";
import { integersOf, type Tensors } from "./exact.ts";

const command =
  process.env.QC_ARM64_NODE?.split(" ") ?? (process.arch === "arm64" ? [process.execPath] : undefined);
const engineIsThere = requireOrSkip(
  "signed dot products in an ARM engine",
  command !== undefined,
  "QC_ARM64_NODE does not name one",
);
/** Under emulation a model takes the better part of a minute. */
const subjects = process.env.QC_FULL === "1" ? allModels : quickModels;

const scratch = mkdtempSync(join(tmpdir(), "qc-arm64-"));
const rows: string[][] = [];
afterAll(() => {
  rmSync(scratch, { recursive: true });
  if (rows.length > 0)
    console.log(
      `modules in an ARM engine\n${table([["model", "engine", "samples", "elements", ""], ...rows.sort()])}`,
    );
});

/** V8's own tiers differ in how they add pairs of products. */
const TIERS = { "before optimization": ["--liftoff-only"], optimized: ["--no-liftoff"] };

interface Result {
  readonly arch: string;
  readonly engine: { readonly dot: string; readonly probe: number };
  readonly backend: string;
  readonly results: readonly (readonly (readonly number[])[])[];
}

describeZoo("relaxed modules in an ARM engine = interpreter, at every quantizer", () => {
  test.runIf(engineIsThere).each(subjects)("%s", { timeout: 600_000 }, async (name) => {
    const artifact = await compiled(name, { debug: true });
    const { manifest } = artifact;
    const dir = join(scratch, shortName(name));
    mkdirSync(dir);
    const ports = [...manifest.outputs, ...(manifest.taps ?? [])];
    const all = inputsOf(name, loadModel(name));
    const samples: readonly Tensors[] = all.length > 3 ? [...all.slice(0, 1), ...all.slice(-3)] : all;
    const modules = { wasm: "m.wasm", relaxed: "m.relaxed.wasm", relaxedS8: "m.relaxed-s8.wasm" };
    writeFileSync(join(dir, modules.wasm), artifact.baseline);
    writeFileSync(join(dir, modules.relaxed), artifact.relaxed!);
    if (artifact.relaxedS8) writeFileSync(join(dir, modules.relaxedS8), artifact.relaxedS8);
    const { relaxedS8: _, ...two } = modules;
    const job: Job = {
      layout: integerLayout(manifest, ports),
      modules: artifact.relaxedS8 ? modules : two,
      inputs: [...samples[0]!].map(([input, data]) => ({
        name: input,
        kind: data.constructor.name as "Float32Array",
      })),
      samples: samples.length,
    };
    writeFileSync(join(dir, "job.json"), JSON.stringify(job));
    samples.forEach((tensors, s) => {
      [...tensors.values()].forEach((data, i) => {
        writeFileSync(join(dir, `${i}.${s}`), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      });
    });
    for (const [tier, flags] of Object.entries(TIERS)) {
      const guest = join(import.meta.dirname, "arm64-guest.ts");
      execFileSync(command![0]!, [...command!.slice(1), ...flags, "--no-warnings", guest, dir], {
        stdio: "inherit",
      });
      const result = JSON.parse(readFileSync(join(dir, "result.json"), "utf8")) as Result;
      expect(result.arch).toBe("arm64");
      expect(result.engine).toEqual({ dot: "s8s8", probe: -508 });
      const relaxed = artifact.relaxedS8 !== undefined || manifest.exactOn?.relaxed === "any";
      expect(result.backend).toBe(relaxed ? "relaxed" : "baseline");
      let elements = 0;
      samples.forEach((inputs, s) => {
        const integers = integersOf(artifact.module, inputs);
        const ours = new Map(ports.map((p, i) => [p.name, result.results[s]![i]!]));
        expect(differences(integers, ours), `sample ${s}, ${tier}`).toEqual([]);
        for (const t of integers.values()) elements += t.length;
      });
      rows.push([
        name.slice(FOLDER.length + 1),
        `${result.backend}, ${tier}`,
        String(samples.length),
        String(elements),
        "all equal",
      ]);
    }
  });
});
