/** The generated files in real engines: the system's Node, this Node, and `tsc` for the declarations. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { RUNTIME } from "../../compiler/backends/wasm/artifact/runtime.gen.js";
import { load, type Manifest } from "../../runtime/index.ts";
import { fixture } from "./fixture.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "qc-engines-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const hostile = {
  inputName: '"]; process.exit(3) /* \u2028 */ </script> `$` \\',
  outputName: "__proto__",
};

async function write(stem: string, options: Parameters<typeof fixture>[0]): Promise<void> {
  for (const f of artifactFiles(await fixture(options), stem)) writeFileSync(join(dir, f.name), f.bytes);
  writeFileSync(join(dir, "package.json"), '{"type":"module"}');
}

/** Nodes to try: the one that runs the tests and the first in PATH outside node_modules. */
const engines = [
  process.execPath,
  ...(process.env.PATH ?? "")
    .split(delimiter)
    .filter((p) => !p.includes("node_modules"))
    .map((p) => join(p, "node"))
    .filter((p) => existsSync(p))
    .slice(0, 1),
];

const run = (engine: string, code: string): unknown =>
  JSON.parse(execFileSync(engine, ["--input-type=module", "-e", code], { cwd: dir, encoding: "utf8" }));

test.each(engines)("stem.js in %s", async (engine) => {
  await write("plus", {});
  const got = run(
    engine,
    `import { load } from "./plus.js";
     const model = await load({ verify: true });
     const { logits } = model.run({ image: Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7) });
     console.log(JSON.stringify({ logits: [...logits], backend: model.backend, info: model.inputs.image }));`,
  );
  expect(got).toEqual({
    logits: [0, 1, 2, 3, 4, 5, 6, 7].map((v) => (v * 2 + 3 + 1 - 10) / 4),
    backend: expect.stringMatching(/^(relaxed|baseline)$/),
    info: { name: "image", dtype: "float32", shape: [1, 8], scale: 0.5, zeroPoint: 3 },
  });
});

test.each(engines)("hostile names and stems reach the user unchanged in %s", async (engine) => {
  const stem = "a b#%'é";
  await write(stem, hostile);
  const got = run(
    engine,
    `const { load } = await import(new URL(${JSON.stringify(encodeURIComponent(`${stem}.js`))}, "file://" + process.cwd() + "/"));
     const model = await load();
     const name = Object.keys(model.inputs)[0];
     const out = model.run({ [name]: new Float32Array(8) });
     console.log(JSON.stringify({ name, out: Object.keys(out), n: out.__proto__.length }));`,
  );
  expect(got).toEqual({ name: hostile.inputName, out: ["__proto__"], n: 8 });
});

test("the declarations type-check under strict, without DOM and with", async () => {
  await write("typed", {});
  await write("hostile", hostile);
  writeFileSync(
    join(dir, "use.ts"),
    `import { load } from "./typed.js";
import { load as hostile } from "./hostile.js";
using model = await load({ backend: "baseline" });
const out: Float32Array = model.run({ image: new Float32Array(8) }).logits;
const shape: readonly [1, 8] = model.inputs.image.shape;
const raw = await load({ raw: true });
const ints: Uint8Array = raw.run({ image: new Uint8Array(8) }).logits;
const h = await hostile();
const name = ${JSON.stringify(hostile.inputName)} as const;
const proto: Float32Array = h.run({ [name]: new Float32Array(8) })["__proto__"];
// @ts-expect-error a byte array is not a float array
model.run({ image: new Uint8Array(8) });
// @ts-expect-error no such input
model.run({ image: new Float32Array(8), x: new Float32Array(1) });
export { out, shape, ints, proto };
`,
  );
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  for (const lib of ["es2022", "es2022,dom"]) {
    const flags = [
      "--noEmit",
      "--strict",
      "--target",
      "es2022",
      "--module",
      "nodenext",
      "--types",
      "",
      "--lib",
      lib,
    ];
    try {
      execFileSync(process.execPath, [tsc, ...flags, "use.ts"], { cwd: dir, encoding: "utf8" });
    } catch (e) {
      throw new Error((e as { stdout: string }).stdout, { cause: e });
    }
  }
});

test("qc/runtime loads an artifact by its manifest's URL, or from parts", async () => {
  await write("parts", {});
  const url = pathToFileURL(join(dir, "parts.json"));
  const image = Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7);
  const want = [...image].map((v) => (v * 2 + 3 + 1 - 10) / 4);
  expect([...(await load(url, { verify: true })).run({ image }).logits!]).toEqual(want);
  expect([...(await load(url.href)).run({ image }).logits!]).toEqual(want);
  const manifest: Manifest = JSON.parse(readFileSync(url, "utf8"));
  const wasm = new Uint8Array(readFileSync(join(dir, "parts.wasm")));
  expect([...(await load(manifest, { wasm })).run({ image }).logits!]).toEqual(want);
  await expect(load(manifest)).rejects.toThrow("nothing says where the module is");
  await expect(load(pathToFileURL(join(dir, "package.json")))).rejects.toThrow("not a manifest");
  await expect(load(pathToFileURL(join(dir, "none.json")))).rejects.toMatchObject({ name: "LoadError" });
});

test("equal artifacts give equal bytes", async () => {
  const a = artifactFiles(await fixture(), "m");
  const b = artifactFiles(await fixture(), "m");
  expect(a).toEqual(b);
  expect(a.map((f) => f.name)).toEqual(["m.wasm", "m.relaxed.wasm", "m.js", "m.d.ts", "m.json"]);
});

test("the inlined runtime stays within 9 KiB and runs under a strict CSP", () => {
  expect(RUNTIME.length).toBeLessThanOrEqual(9216);
  expect(RUNTIME).not.toMatch(/\beval\b|\bFunction\(|\bimport\(|\brequire\(/);
});
