/** Modules assembled on other threads: the same bytes as on this one, whatever becomes of the threads. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { assemblyFor, startAssembly } from "../../compiler/cli/assembly.ts";
import { type Assembler, artifactFiles, compileModel } from "../../compiler/index.ts";
import { f32, i8, model, node, u8, value } from "../onnx-writer.ts";
import { requireOrSkip } from "../require.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-assembly-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = join(root, "bin/qc.js");
const built = requireOrSkip(
  "assembly threads of the build",
  existsSync(join(root, "dist/bin/assembly-thread.js")),
  "no build (npm run build)",
);

const onnx = model({
  name: "dense",
  inputs: [value("x", "uint8", [1, 32])],
  outputs: [value("y", "uint8", [1, 24])],
  initializers: {
    w: i8(
      [32, 24],
      Array.from({ length: 32 * 24 }, (_, i) => ((i * 37) % 255) - 127),
    ),
    half: f32([], [0.5]),
    coarse: f32([], [16]),
    z0: u8([], [0]),
    w0: i8([], [0]),
    z7: u8([], [7]),
  },
  nodes: [
    node("DequantizeLinear", ["x", "half", "z0"], ["xf"]),
    node("DequantizeLinear", ["w", "half", "w0"], ["wf"]),
    node("MatMul", ["xf", "wf"], ["yf"]),
    node("QuantizeLinear", ["yf", "coarse", "z7"], ["y"]),
  ],
});

async function filesOf(assemble?: Assembler): Promise<ReadonlyMap<string, Uint8Array>> {
  const result = await compileModel(onnx, { target: "wasm", threads: true, ...(assemble && { assemble }) });
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return new Map(artifactFiles(result.value, "dense").map((f) => [f.name, f.bytes]));
}
const script = (name: string, text: string): URL => {
  writeFileSync(join(dir, name), text);
  return pathToFileURL(join(dir, name));
};

describe("jobs for other threads", () => {
  test("are plain data that gives the same bytes after cloning, and carry each constant once", async () => {
    const { assembleHere } = await import("../../compiler/index.ts");
    const names: string[] = [];
    const files = await filesOf((job) => {
      names.push(job.kind);
      const { program } = job.kind === "module" ? job.options : job.made;
      const brings = job.options.data;
      expect(program.buffers.some((b) => b.data !== undefined)).toBe(brings);
      return assembleHere(structuredClone(job));
    });
    expect(files).toEqual(await filesOf());
    expect(new Set(names)).toEqual(new Set(["module", "threads"]));
  });

  test.each([
    ["is not there", () => pathToFileURL(join(dir, "absent.mjs"))],
    ["dies at once", () => script("dies.mjs", "process.exit(3)")],
    [
      "dies at its first job",
      () =>
        script(
          "late.mjs",
          `import { parentPort } from "node:worker_threads";
           parentPort.on("message", () => process.exit(3));
           parentPort.postMessage("ready");`,
        ),
    ],
  ])("a thread that %s: its jobs are done here", async (_, file) => {
    expect(await filesOf(startAssembly(file()))).toEqual(await filesOf());
  });

  test("an error of a job is the error of the compilation", async () => {
    const fails = script(
      "fails.mjs",
      `import { parentPort } from "node:worker_threads";
       parentPort.on("message", () => parentPort.postMessage({ error: new Error("not legal") }));
       parentPort.postMessage("ready");`,
    );
    await expect(filesOf(startAssembly(fails))).rejects.toThrow("not legal");
  });

  test("only for commands that assemble a model", () => {
    for (const argv of [[], ["--help"], ["run", "a.onnx"], ["opt", "a.onnx"], ["bench", "a.js"], ["compile"]])
      expect(assemblyFor(argv), argv.join(" ")).toBeUndefined();
  });
});

test.skipIf(!built)("the command writes what the compiler gives", async () => {
  const path = join(dir, "dense.onnx");
  writeFileSync(path, onnx);
  const out = join(dir, "out");
  const done = spawnSync(process.execPath, [bin, "compile", path, "--threads", "-q", "-o", out], {
    encoding: "utf8",
  });
  expect({ status: done.status, err: done.stderr }).toEqual({ status: 0, err: "" });
  const files = await filesOf();
  expect(files.size).toBeGreaterThan(5);
  for (const [name, bytes] of files)
    expect(new Uint8Array(readFileSync(join(out, name))), name).toEqual(bytes);
});
