/** Whole commands on whole models: written by the tests, or of the zoo. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { f32, i8, model, node, u8, value } from "../onnx-writer.ts";
import { zooIsThere, zooPath } from "../zoo.ts";
import { qc } from "./terminal.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-compile-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const tsc = fileURLToPath(new URL("../../node_modules/typescript/bin/tsc", import.meta.url));

/** y = Q(DQ(x)·DQ(w)): q_y = clamp(rne((q_x·w)/4) + 7), for x of 8 values on scale 1/2, w on scale 1/2, y on scale 1. */
function dense(input: string, output: string, float: boolean): Uint8Array {
  const w = Array.from({ length: 8 * 3 }, (_, i) => ((i * 37) % 255) - 127);
  const x = float ? ["xq"] : [input];
  return model({
    name: 'graph "*/ \u2028',
    inputs: [value(input, float ? "float32" : "uint8", [1, 8])],
    outputs: [value(output, "uint8", [1, 3])],
    initializers: {
      w: i8([8, 3], w),
      half: f32([], [0.5]),
      one: f32([], [1]),
      z0: u8([], [0]),
      w0: i8([], [0]),
      z7: u8([], [7]),
    },
    nodes: [
      ...(float ? [node("QuantizeLinear", [input, "half", "z0"], ["xq"])] : []),
      node("DequantizeLinear", [...x, "half", "z0"], ["xf"]),
      node("DequantizeLinear", ["w", "half", "w0"], ["wf"]),
      node("MatMul", ["xf", "wf"], ["yf"]),
      node("QuantizeLinear", ["yf", "one", "z7"], [output]),
    ],
  });
}

/** The same in plain arithmetic; quarters are exact in float64. */
function expected(x: readonly number[]): number[] {
  return [0, 1, 2].map((c) => {
    const sum = x.reduce((n, q, k) => n + q * ((((k * 3 + c) * 37) % 255) - 127), 0) / 4;
    const floor = Math.floor(sum);
    const up = sum - floor > 0.5 || (sum - floor === 0.5 && floor % 2 !== 0);
    return Math.min(255, Math.max(0, floor + (up ? 1 : 0) + 7));
  });
}
const rows = [
  [0, 0, 0, 0, 0, 0, 0, 0],
  [1, 2, 3, 4, 5, 6, 7, 8],
  [255, 0, 255, 0, 255, 0, 255, 0],
  [3, 1, 4, 1, 5, 9, 2, 6],
];

describe("names from a file never become code", () => {
  const names: [string, string][] = [
    ["__proto__", "constructor"],
    ['a"]; process.exit(9); //', "*/ process.exit(9) /*"],
    ["line\nbreak\u2028\u2029\u0000", "`;process.exit(9);`</script>"],
    ["\u202egnp.evil", "toString"],
  ];
  test.each(names)("%j → %j", async (input, output) => {
    const stem = `m${names.findIndex(([n]) => n === input)}`;
    writeFileSync(join(dir, `${stem}.onnx`), dense(input, output, false));
    const out = join(dir, stem);
    const s = await qc("compile", join(dir, `${stem}.onnx`), "-o", out);
    expect(s).toMatchObject({ code: 0, err: "" });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    expect(s.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);

    const { load } = await import(pathToFileURL(join(out, `${stem}.js`)).href);
    const m = await load({ verify: true });
    expect(Object.keys(m.inputs)).toEqual([input]);
    for (const x of rows) {
      const y = m.run({ [input]: Uint8Array.from(x) });
      expect(Object.keys(y)).toEqual([output]);
      expect([...y[output]]).toEqual(expected(x));
    }
    writeFileSync(
      join(out, "use.ts"),
      `import { load, type Inputs, type Outputs } from "./${stem}.js";
const input: Inputs = { [${JSON.stringify(input)}]: new Uint8Array(8) };
const y: Outputs = (await load()).run(input);
export const z: Uint8Array = y[${JSON.stringify(output)}];
`,
    );
    const flags = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", ""];
    let errors = "";
    try {
      execFileSync(process.execPath, [tsc, ...flags, "use.ts"], { cwd: out, encoding: "utf8" });
    } catch (e) {
      errors = (e as { stdout: string }).stdout;
    }
    expect(errors).toBe("");
  });
});

describe("verify and inspect", () => {
  test("a float input; same input, same bytes", async () => {
    const path = join(dir, "float.onnx");
    writeFileSync(path, dense("x", "y", true));
    const s = await qc("verify", path, "--samples", "20", "--json");
    expect(s.err).toBe("");
    const { ok, samples, verdicts } = JSON.parse(s.out);
    expect({ ok, samples, code: s.code }).toEqual({ ok: true, samples: 23, code: 0 });
    expect(verdicts.length).toBeGreaterThanOrEqual(2);
    for (const v of verdicts) expect(v.differing).toBe(0);
    for (const out of ["one", "two"])
      expect((await qc("compile", path, "-o", join(dir, out), "--quiet")).out).toBe("");
    for (const name of readdirSync(join(dir, "one")))
      expect(readFileSync(join(dir, "two", name))).toEqual(readFileSync(join(dir, "one", name)));
  });

  test("inspect says what was proved, and writes nothing", async () => {
    const before = readdirSync(dir);
    const s = await qc("inspect", join(dir, "float.onnx"));
    expect(s).toMatchObject({ code: 0, err: "" });
    expect(s.out).toContain("all certified");
    expect(s.out).toContain("24 MACs");
    expect(readdirSync(dir)).toEqual(before);
    const { manifest } = JSON.parse((await qc("inspect", join(dir, "float.onnx"), "--json")).out);
    expect(manifest).toMatchObject({ format: "qc-wasm", macs: { nominal: 24 } });
  });
});

// `zooIsThere` prints why, where it is not.
test.runIf(zooIsThere)("verify on a model of the zoo, with its samples and expected outputs", async () => {
  const at = (file: string) => zooPath(`int8-qdq/mlperf_ad01/${file}`);
  const s = await qc("verify", at("model.onnx"), "--inputs", at("samples.npz"), "--samples", "3");
  expect(s).toMatchObject({ code: 0, err: "" });
  expect(s.out).toContain("16 samples, artifact against the reference interpreter");
  expect(s.out).toMatch(/baseline, every quantizer +10 tensors +\S+ k elements +all equal/);
  expect(s.out).toMatch(/expected, Identity: (all|\d+\.\d\d %) of 6\.40 k/);
});
