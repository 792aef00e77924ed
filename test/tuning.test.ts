/** Tuning files: what is read, what is refused, and what compiling with one changes: the modules, not their results. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileModel } from "../compiler/compile.ts";
import type { Compiled } from "../compiler/compiled.ts";
import type { Schedule } from "../compiler/passes/lower/schedule/schedule.ts";
import { tunablesOf } from "../compiler/tune.ts";
import { parseTuning, type TuningEntry, type TuningFile, tuningFile } from "../compiler/tuning.ts";
import { loadModel } from "../runtime/index.ts";

const onnx = new Uint8Array(readFileSync(new URL("../examples/fashion/fashion.onnx", import.meta.url)));

async function compile(
  tuning?: TuningFile,
): Promise<{ readonly compiled: Compiled; readonly codes: string[] }> {
  const options = { target: "wasm", ...(tuning && { tuning, tuningPath: "a.json" }) } as const;
  const result = await compileModel(onnx, options);
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return { compiled: result.value, codes: result.diagnostics.map((d) => d.code) };
}

const ratio = { median: 1, p10: 1, p90: 1 };
const facts = { engine: "Node", cpu: "a processor" };
const read = (value: unknown) =>
  parseTuning(typeof value === "string" ? value : JSON.stringify(value), "a.json");

async function run({ manifest, baseline }: Compiled): Promise<readonly number[]> {
  const wasm = baseline as Uint8Array<ArrayBuffer>;
  const model = await loadModel(manifest, {}, { wasm, backend: "baseline" });
  const out: number[] = [];
  for (let seed = 0; seed < 3; seed++) {
    const x = Float32Array.from({ length: 784 }, (_, i) => ((i * 7919 + seed * 104729) % 256) / 255);
    for (const y of Object.values(model.run({ [manifest.inputs[0]!.name]: x })))
      out.push(...Array.from(y as ArrayLike<number>, Number));
  }
  return out;
}

describe("a tuning file", () => {
  test("is read as it was written", () => {
    const entry: TuningEntry = {
      target: "wasm-simd",
      key: "contraction 1",
      schedule: {
        family: "contraction",
        rows: 1,
        panels: 1,
        widen: "both",
        unroll: 1,
        strip: { rows: 1, pixels: 1 },
      },
      ratio,
    };
    const file = tuningFile({ ...facts, entries: [entry] });
    expect(read(file)).toEqual({ ok: true, value: file, diagnostics: [] });
  });

  test.each<[string, unknown, string]>([
    ["no JSON", "{", "it is not JSON"],
    ["another format", { format: "qc-wasm" }, "its format is not qc-tuning"],
    ["no version", { format: "qc-tuning" }, "it does not say its version"],
    ["no entries", tuningFile({ ...facts, entries: 3 as unknown as [] }), "it has no list of entries"],
    [
      "an empty entry",
      tuningFile({ ...facts, entries: [{} as TuningEntry] }),
      "entry 0 lacks target, key or schedule",
    ],
    [
      "an entry twice",
      tuningFile({
        ...facts,
        entries: [1, 2].map(
          () => ({ target: "wasm-simd", key: "k", schedule: {}, ratio }) as unknown as TuningEntry,
        ),
      }),
      "entry 1 is for the same work as an earlier one",
    ],
  ])("%s: an error", (_, value, reason) => {
    const result = read(value);
    expect(result.ok).toBe(false);
    const [d] = result.diagnostics;
    expect([d!.code, d!.loc]).toEqual(["QC5101", { kind: "file", path: "a.json" }]);
    expect(d!.message).toBe(`not a tuning file written by qc tune: ${reason}`);
  });

  test.each([{ version: 2 }, { schedules: 0 }])(
    "of another version: a warning, and nothing of it is used",
    (change) => {
      const entry = { target: "wasm-simd", key: "k", schedule: {}, ratio } as unknown as TuningEntry;
      const result = read({ ...tuningFile({ ...facts, entries: [entry] }), ...change });
      expect(result.ok && result.value.entries).toEqual([]);
      expect(result.diagnostics.map((d) => [d.severity, d.code])).toEqual([["warning", "QC5102"]]);
    },
  );
});

describe("compiling with one", () => {
  test("uses its schedules: other modules, the same results, the same bytes again", async () => {
    const plainly = await compile();
    const tunables = tunablesOf(plainly.compiled);
    expect(tunables.length).toBeGreaterThan(2);
    const entries = tunables.map(({ target, key, candidates }): TuningEntry => {
      return { target, key, schedule: candidates.at(-1)!.schedule, ratio };
    });
    const file = tuningFile({ ...facts, entries });
    const tuned = await compile(file);
    expect(tuned.codes).toEqual(plainly.codes);
    expect(tuned.compiled.baseline).not.toEqual(plainly.compiled.baseline);
    expect(tuned.compiled.relaxed).not.toEqual(plainly.compiled.relaxed);
    expect((await compile(file)).compiled.baseline).toEqual(tuned.compiled.baseline);
    expect(await run(tuned.compiled)).toEqual(await run(plainly.compiled));
    const first = tuningFile({
      ...facts,
      entries: tunables.map(({ target, key, candidates }) => ({
        target,
        key,
        schedule: candidates[0]!.schedule,
        ratio,
      })),
    });
    expect((await compile(first)).compiled.baseline).toEqual(plainly.compiled.baseline);
  });

  test("says which entries fit no kernel, and which schedules are not possible", async () => {
    const plainly = await compile();
    const [known] = tunablesOf(plainly.compiled);
    const { schedule } = known!.candidates[0]!;
    const entries: TuningEntry[] = [
      { target: "wasm-simd", key: known!.key, schedule: { ...schedule, rows: 77 } as Schedule, ratio },
      { target: "wasm-relaxed", key: "contraction of another model", schedule, ratio },
    ];
    const result = await compileModel(onnx, { target: "wasm", tuning: tuningFile({ ...facts, entries }) });
    const found = result.diagnostics.filter((d) => d.code.startsWith("QC51"));
    expect(found.map((d) => [d.severity, d.code])).toEqual([
      ["warning", "QC5104"],
      ["warning", "QC5103"],
    ]);
    expect(found[0]!.notes.find((n) => n.label === "entry")!.text).toContain(known!.key);
    expect(found[1]!.message).toBe("1 of the tuning file's 2 entries are for no kernel of this model");
    if (!result.ok) throw new Error("not compiled");
    expect(result.value.baseline).toEqual(plainly.compiled.baseline);
    // A target that is not compiled for does not count.
    const simd = await compileModel(onnx, {
      target: "wasm-simd",
      tuning: tuningFile({ ...facts, entries: entries.slice(1) }),
    });
    expect(simd.diagnostics.filter((d) => d.code.startsWith("QC51"))).toEqual([]);
  });
});
