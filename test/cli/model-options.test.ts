/** The options that say what a model means: the same ones, with the same meaning, for every command that takes a model. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeNpy } from "../../compiler/cli/npy.ts";
import { f32, i8, model, node, value } from "../onnx-writer.ts";
import { qc } from "./terminal.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-options-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Two products with a curve between them whose result `a` has no quantizer. */
const path = join(dir, "model.onnx");
writeFileSync(
  path,
  model({
    inputs: [value("x", "float32", [1, 4])],
    outputs: [value("y", "float32", [1, 4])],
    initializers: {
      s: f32([], [0.25]),
      w8: i8(
        [4, 4],
        Array.from({ length: 16 }, (_, i) => ((i * 7) % 11) - 5),
      ),
    },
    nodes: [
      node("QuantizeLinear", ["x", "s"], ["q"]),
      node("DequantizeLinear", ["q", "s"], ["d"]),
      node("DequantizeLinear", ["w8", "s"], ["w"]),
      node("MatMul", ["d", "w"], ["p"]),
      node("Abs", ["p"], ["a"]),
      node("MatMul", ["a", "w"], ["y"]),
    ],
  }),
);
const encodings = join(dir, "model.encodings");
const grid = { bitwidth: 8, dtype: "int", is_symmetric: "False", min: 0, max: 0, scale: 0.5, offset: -128 };
writeFileSync(
  encodings,
  JSON.stringify({ version: "0.6.1", activation_encodings: { a: [grid] }, param_encodings: {} }),
);
const calib = join(dir, "x.npy");
writeFileSync(calib, writeNpy(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 4]));
const artifact = join(dir, "artifact");
const row = join(dir, "row.npy");
writeFileSync(row, writeNpy(Float32Array.of(1, 2, 3, 4), [1, 4]));

beforeAll(async () => {
  const made = await qc("compile", path, "--quant", "a=i8@0.5", "--debug-tensors", "-o", artifact);
  expect(made.code).toBe(0);
});

const commands: Readonly<Record<string, readonly string[]>> = {
  compile: [path, "-o", join(dir, "out")],
  inspect: [path],
  run: [path, row],
  verify: [path, "--samples", "2"],
  compare: [path, artifact, "--samples", "2", "--tolerance", "255"],
  bench: [path, "--seconds", "0.02"],
  tune: [path, "-o", join(dir, "tuning.json"), "--candidates", "1", "--rounds", "1"],
};
const options: Readonly<Record<string, readonly string[]>> = {
  "--quant": ["--quant", "a=u8@0.5,128"],
  "--encodings": ["--encodings", encodings],
  "--calib": ["--calib", `x=${calib}`, "--observer", "mse"],
  "--allow-float": ["--allow-float"],
  "--allow-float-at": ["--allow-float-at", "a", "--allow-float-at", "y"],
};

interface Said {
  readonly ok: boolean;
  readonly diagnostics: readonly { readonly code: string; readonly message: string }[];
}
async function said(command: string, more: readonly string[]): Promise<Said & { readonly code: number }> {
  const { code, out, err } = await qc(command, ...commands[command]!, ...more, "--json");
  expect(err).toBe("");
  return { code, ...(JSON.parse(out) as Said) };
}

describe.each(Object.keys(commands))("qc %s", (command) => {
  test("without them the tensor in the middle lacks a quantizer; the interpreter does not mind", async () => {
    const { code, diagnostics } = await said(command, []);
    const errors = diagnostics.filter((d) => d.code === "QC2101");
    expect([code, errors.length]).toEqual(command === "run" ? [0, 0] : [1, 1]);
  });

  test.each(Object.entries(options))("%s", async (name, given) => {
    const { code, diagnostics } = await said(command, given);
    const codes = diagnostics.map((d) => d.code);
    const float = name.startsWith("--allow") && command !== "run";
    expect(codes.filter((c) => c.startsWith("QC21"))).toEqual(
      name === "--calib" ? ["QC2145"] : float ? ["QC2146"] : [],
    );
    // Other grids than those of the artifact give other integers, floats none to compare.
    const other = command === "compare" && (name === "--calib" || float);
    expect(code).toBe(other ? 1 : 0);
    if (other) expect(["QC5013", "QC5014"]).toContain(codes.at(-1));
  });

  test("what they say wrong is found", async () => {
    const { code, diagnostics } = await said(command, ["--quant", "nobody=u8@1"]);
    expect([code, diagnostics.map((d) => d.code)]).toEqual([1, ["QC2142"]]);
  });

  test("--help lists them", async () => {
    const { out } = await qc(command, "--help");
    for (const name of [...Object.keys(options), "--observer", "--batch"])
      expect(out).toContain(`\n  ${name} `);
  });
});

test("qc run: a grid changes what the interpreter computes, as the arithmetic says", async () => {
  const outputs = async (...more: string[]): Promise<readonly number[]> => {
    const { out } = await qc("run", path, row, "--json", ...more);
    return (JSON.parse(out) as { outputs: readonly { data: readonly number[] }[] }).outputs[0]!.data;
  };
  const w = Array.from({ length: 16 }, (_, i) => (((i * 7) % 11) - 5) / 4);
  const times = (x: readonly number[]) =>
    [0, 1, 2, 3].map((c) => x.reduce((n, v, k) => n + v * w[4 * k + c]!, 0));
  const a = times([1, 2, 3, 4]).map(Math.abs);
  const onGrid = a.map((v) => {
    const [floor, rest] = [Math.floor(v / 2), v / 2 - Math.floor(v / 2)];
    return 2 * (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor);
  });
  expect(await outputs()).toEqual(times(a));
  expect(await outputs("--quant", "a=i8@2")).toEqual(times(onGrid));
  expect(times(onGrid)).not.toEqual(times(a));
});

test("for models only", async () => {
  for (const more of [
    ["--quant", "a=u8@1"],
    ["--calib", row],
    ["--encodings", encodings],
  ])
    for (const argv of [
      ["run", artifact, row],
      ["bench", artifact],
      ["compare", artifact, path],
    ]) {
      const { code, out } = await qc(argv[0]!, ...argv.slice(1), ...more, "--json");
      expect([code, (JSON.parse(out) as Said).diagnostics.map((d) => d.code)]).toEqual([1, ["QC5015"]]);
    }
  const { out } = await qc("run", artifact, row, "--batch", "2", "--allow-float", "--json");
  expect((JSON.parse(out) as Said).diagnostics[0]?.message).toMatch(/^--allow-float, --batch: only for/);
});
