/** qc tune, on a whole model with few and short samples, and on engines that fail. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { chromiumEngine } from "../../compiler/cli/tune/engines.ts";
import { measureTrials, type TrialTimes } from "../../compiler/cli/tune/measure.ts";
import { measureAll, tuneText, varied } from "../../compiler/cli/tune.ts";
import { type Compiled, compileModel, type Tunable, tunablesOf } from "../../compiler/index.ts";
import { requireOrSkip } from "../require.ts";
import { qc } from "./terminal.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-tune-test-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const path = fileURLToPath(new URL("../../examples/fashion/fashion.onnx", import.meta.url));
const short = ["--candidates", "3", "--rounds", "3"];

async function compiled(): Promise<Compiled> {
  const result = await compileModel(new Uint8Array(readFileSync(path)), { target: "wasm" });
  if (!result.ok) throw new Error("fashion does not compile");
  return result.value;
}

interface Tuned {
  readonly engine: string;
  readonly file: string;
  readonly refused: readonly string[];
  readonly kernels: readonly {
    readonly target: string;
    readonly key: string;
    readonly microseconds: number;
  }[];
}

/** Tunes with --json and compiles with the result. */
async function tuneAndCompile(name: string, engine: readonly string[]): Promise<Tuned> {
  const file = join(dir, `${name}.json`);
  const tuned = await qc("tune", path, "-o", file, "--json", ...short, ...engine);
  expect(tuned.err).toBe("");
  expect(tuned.code).toBe(0);
  const said = JSON.parse(tuned.out) as Tuned;
  const written = JSON.parse(readFileSync(file, "utf8")) as {
    engine: string;
    entries: readonly { key: string }[];
  };
  expect(written.engine).toBe(said.engine);
  expect(written.entries.map((e) => e.key)).toEqual(said.kernels.map((k) => k.key));
  const done = await qc("compile", path, "-o", join(dir, name), "--tuning", file, "--json");
  expect(JSON.parse(done.out)).toMatchObject({ ok: true });
  expect(
    (JSON.parse(done.out) as { diagnostics: readonly { code: string }[] }).diagnostics.filter((d) =>
      d.code.startsWith("QC51"),
    ),
  ).toEqual([]);
  return said;
}

test("in Node: every distinct kernel, and a file that compile takes", async () => {
  const said = await tuneAndCompile("node", []);
  expect(said.engine).toMatch(/^Node .*V8/);
  const own = said.kernels.filter((k) => k.target === "wasm-simd");
  const wanted = tunablesOf(await compiled()).filter((t) => t.target === "wasm-simd");
  expect(own.map((k) => k.key)).toEqual(wanted.map((t) => t.key));
  for (const k of said.kernels) expect(k.microseconds).toBeGreaterThan(0);
  const relaxed = said.kernels.some((k) => k.target === "wasm-relaxed");
  expect(said.refused).toEqual(relaxed ? [] : ["wasm-relaxed"]);
});

test("a table of what differs", async () => {
  const { out, err, code } = await qc(
    "tune",
    path,
    "-o",
    join(dir, "t.json"),
    "--target",
    "wasm-simd",
    ...short,
  );
  expect(code).toBe(0);
  expect(out).toMatch(
    /wasm-simd: \d+ distinct kernels, \d+ with a better schedule than the cost model's; together 0?[.1]/,
  );
  expect(err).toMatch(/^Node /);
});

const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
test.skipIf(!requireOrSkip("Chromium", existsSync(chromium), `none at ${chromium} (set CHROMIUM)`))(
  "in Chromium",
  async () => {
    const said = await tuneAndCompile("chromium", ["--engine", "chromium", "--target", "wasm-simd"]);
    expect(said.engine).toMatch(/^(Headless)?Chrome/);
    expect(said.kernels.length).toBeGreaterThan(2);
  },
  120_000,
);

describe("what can go wrong", () => {
  const withChromium = async (value: string) => {
    const { CHROMIUM } = process.env;
    process.env.CHROMIUM = value;
    try {
      return await chromiumEngine();
    } finally {
      if (CHROMIUM === undefined) delete process.env.CHROMIUM;
      else process.env.CHROMIUM = CHROMIUM;
    }
  };

  test("no browser", async () => {
    const result = await withChromium("/nonexistent/chromium");
    expect(result.diagnostics.map((d) => [d.code, d.message])).toEqual([
      ["QC5105", "no Chromium to measure in: /nonexistent/chromium"],
    ]);
  });

  test("a browser that ends at once", async () => {
    const result = await withChromium(process.execPath);
    expect(result.diagnostics.map((d) => d.code)).toEqual(["QC5106"]);
  });

  test("a file that cannot be written, a model that cannot be read", async () => {
    const unwritable = await qc(
      "tune",
      path,
      "-o",
      join(dir, "none", "t.json"),
      "--target",
      "wasm-simd",
      ...short,
    );
    expect([unwritable.code, unwritable.err]).toEqual([1, expect.stringContaining("QC5002")]);
    const unread = await qc("tune", join(dir, "none.onnx"), "-o", join(dir, "t.json"));
    expect([unread.code, unread.err]).toEqual([1, expect.stringContaining("QC1021")]);
    const tuning = await qc("compile", path, "-o", dir, "--tuning", path);
    expect([tuning.code, tuning.err]).toEqual([1, expect.stringContaining("QC5101")]);
  });

  const answering = (times: Partial<TrialTimes>) => ({
    name: "fake",
    measure: async () => ({ rounds: [], agree: true, expected: true, ...times }),
    close: () => {},
  });
  const limits = { candidates: 2, rounds: 1 };
  const measured = async (times: Partial<TrialTimes>, pick: (t: Tunable) => boolean) =>
    measureAll(tunablesOf(await compiled()).filter(pick), answering(times), limits, () => {});

  test("measures the cheapest of different tiles first, the cost model's choice in front", async () => {
    for (const { candidates } of tunablesOf(await compiled())) {
      const few = varied(candidates, 6);
      expect(few[0]).toBe(candidates[0]);
      expect(new Set(few).size).toBe(Math.min(6, candidates.length));
      const tiles = new Set(candidates.map((c) => c.text.split(",")[0]));
      expect(new Set(few.map((c) => c.text.split(",")[0])).size).toBeGreaterThanOrEqual(
        Math.min(4, tiles.size),
      );
      expect(varied(candidates, candidates.length + 1).length).toBe(candidates.length);
    }
  });

  test("schedules that differ in their results", async () => {
    const result = await measured({ agree: false }, (t) => t.target === "wasm-simd");
    expect(result.diagnostics.map((d) => d.code)).toEqual(["QC5107"]);
  });

  test("an engine that computes relaxed instructions otherwise: the target is left out", async () => {
    const result = await measured({ expected: false }, (t) => t.target === "wasm-relaxed");
    expect(result).toMatchObject({ ok: true, value: { outcomes: [], refused: ["wasm-relaxed"] } });
    expect(result.ok && tuneText(result.value)).toContain("wasm-relaxed: not measured");
  });

  test("the best has the least median of the even rounds; its gain is that of the odd ones, and a little is none", async () => {
    const rounds = [
      [2, 1],
      [2, 1],
      [2, 1],
      [2, 1],
      [2, 9],
    ];
    const better = await measured({ rounds }, (t) => t.target === "wasm-simd");
    const lucky = await measured(
      {
        rounds: [
          [2, 1],
          [2, 2],
        ],
      },
      (t) => t.target === "wasm-simd",
    );
    if (!lucky.ok) throw new Error("not measured");
    for (const o of lucky.value.outcomes) expect(o.best).toEqual(o.tunable.candidates[0]);
    const level = await measured({ rounds: [[2, 1.97]] }, (t) => t.target === "wasm-simd");
    if (!better.ok || !level.ok) throw new Error("not measured");
    for (const o of better.value.outcomes) {
      expect(o.best).toEqual(varied(o.tunable.candidates, 2)[1]);
      expect(o.ratio.median).toBe(0.5);
    }
    for (const o of level.value.outcomes) expect(o.best).toEqual(o.tunable.candidates[0]);
    expect(tuneText(better.value)).toContain("together 0.500 of its time");
  });
});

test("measureTrials sees modules that differ", async () => {
  const [tunable] = tunablesOf(await compiled());
  const { binary, inputs, outputs } = await tunable!.candidates[0]!.build();
  const pairs = (list: readonly { offset: number; bytes: number }[]) =>
    list.map((r) => [r.offset, r.bytes] as const);
  const trial = { binary, inputs: pairs(inputs), outputs: pairs(outputs) };
  const other = { ...trial, inputs: [] };
  const settings = { rounds: 2, sampleMs: 0.01 };
  expect(await measureTrials({ ...settings, timed: [trial, trial], reference: trial })).toMatchObject({
    agree: true,
    expected: true,
  });
  expect(await measureTrials({ ...settings, timed: [trial, other] })).toMatchObject({
    agree: false,
    rounds: [],
  });
  expect(await measureTrials({ ...settings, timed: [trial], reference: other })).toMatchObject({
    expected: false,
  });
});
