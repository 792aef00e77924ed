/** `--threads` of the commands. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { writeNpy } from "../../compiler/cli/npy.ts";
import { compileModel } from "../../compiler/index.ts";
import type { Manifest } from "../../runtime/format.ts";
import { qc } from "../cli/terminal.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-threads-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const fashion = fileURLToPath(new URL("../../examples/fashion/fashion.onnx", import.meta.url));
const [having, without] = [join(dir, "having"), join(dir, "without")];
const input = join(dir, "input.npy");

beforeAll(async () => {
  expect((await qc("compile", fashion, "--threads", "-o", having)).code).toBe(0);
  expect((await qc("compile", fashion, "-o", without)).code).toBe(0);
  const manifest = JSON.parse(readFileSync(join(having, "fashion.json"), "utf8")) as Manifest;
  const [port] = manifest.inputs;
  const count = port!.shape.reduce((a, b) => a * b, 1);
  expect(port!.dtype).toBe("float32");
  writeFileSync(
    input,
    writeNpy(
      Float32Array.from({ length: count }, (_, i) => (i % 17) / 17),
      port!.shape,
    ),
  );
});

describe("compile", () => {
  test("writes the modules and the workers' script, and nothing else changes", () => {
    const added = readdirSync(having).filter((name) => !readdirSync(without).includes(name));
    expect(added).toEqual(expect.arrayContaining(["fashion.threads.wasm", "fashion.worker.js"]));
    expect(added.every((name) => /\.threads\.wasm$|\.worker\.js$/.test(name))).toBe(true);
    for (const name of readdirSync(without).filter((n) => n.endsWith(".wasm")))
      expect(readFileSync(join(having, name)).equals(readFileSync(join(without, name)))).toBe(true);
  });

  test("equal input gives equal bytes", async () => {
    const bytes = readFileSync(fashion);
    const [a, b] = await Promise.all(
      [0, 1].map(async () => {
        const result = await compileModel(bytes, { target: "wasm", threads: true });
        if (!result.ok) throw new Error("compile");
        return artifactFiles(result.value, "m");
      }),
    );
    expect(a).toEqual(b);
  });

  test("without threads again, the files for them are gone", async () => {
    const out = join(dir, "again");
    await qc("compile", fashion, "--threads", "-o", out);
    await qc("compile", fashion, "-o", out);
    expect(readdirSync(out)).toEqual(readdirSync(without));
  });
});

describe("run", () => {
  const outputs = async (...args: string[]) => {
    const s = await qc("run", ...args, input, "--json");
    expect(s).toMatchObject({ code: 0, err: "" });
    return JSON.parse(s.out) as { readonly engine: string; readonly outputs: unknown };
  };

  test("gives the same on two threads", async () => {
    const one = await outputs(having);
    const two = await outputs(having, "--threads", "2");
    expect(two.outputs).toEqual(one.outputs);
    expect(one.engine).not.toContain("thread");
    expect(two.engine).toMatch(/, 2 threads \(asked for\)$/);
    expect((await outputs(join(having, "fashion.threads.wasm"))).outputs).toEqual(one.outputs);
  });

  test("says why there is one", async () => {
    const { engine } = await outputs(without, "--threads", "2");
    expect(engine).toMatch(/, one thread \(the artifact was compiled without threads\)$/);
  });

  test("refuses what is no number", async () => {
    expect((await qc("run", having, input, "--threads", "many")).code).toBe(2);
  });
});

test("bench times them", async () => {
  for (const subject of [having, fashion]) {
    const s = await qc("bench", subject, "--seconds", "0.1", "--threads", "2", "--json");
    expect(s).toMatchObject({ code: 0, err: "" });
    const { latencies } = JSON.parse(s.out) as { latencies: { threads?: object }[] };
    expect(latencies.at(-1)!.threads).toMatchObject({
      count: 2,
      reason: "asked for",
      speedup: { median: expect.any(Number) },
    });
    expect(latencies[0]!.threads).toBeUndefined();
  }
  const text = await qc("bench", having, "--seconds", "0.05", "--threads", "2");
  expect(text.out).toMatch(/, 2 threads .*× .*the time of one thread over its own; asked for/);
  expect(text.err).not.toContain("one thread");
});
