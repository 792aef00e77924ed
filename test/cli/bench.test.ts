/** `qc bench` on a real model: what it prints and writes, not how fast anything is. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { cycleReference, peakLoop } from "../../compiler/cli/bench/cycles.ts";
import type { Profile } from "../../compiler/cli/bench/profile.ts";
import { interleave, ratioOf, spreadOf } from "../../compiler/cli/bench/sampling.ts";
import { type Trace, traceOf } from "../../compiler/cli/bench/trace.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { qc } from "./terminal.ts";

const dir = mkdtempSync(join(tmpdir(), "qc-bench-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const fashion = fileURLToPath(new URL("../../examples/fashion/fashion.onnx", import.meta.url));

describe("the command", () => {
  const trace = join(dir, "trace.json");

  test("times a model, its kernels and onnxruntime-web, and writes a trace", async () => {
    const args = ["--seconds", "0.1", "--profile", trace, "--against", "onnxruntime-web", "--json"];
    const s = await qc("bench", fashion, ...args);
    expect(s).toMatchObject({ code: 0, err: "" });
    const facts = JSON.parse(s.out) as {
      readonly ok: boolean;
      readonly macs: { readonly nominal: number };
      readonly latencies: readonly {
        readonly backend: string;
        readonly median: number;
        readonly p90: number;
      }[];
      readonly peer: {
        readonly name: string;
        readonly median: number;
        readonly ratio: { readonly p10: number };
      };
      readonly notes: readonly string[];
      readonly profile: Profile;
    };
    expect(facts).toMatchObject({ ok: true, macs: { nominal: 2593184 }, notes: [], trace });
    expect(facts.latencies.at(-1)?.backend).toBe("baseline");
    for (const l of facts.latencies) expect(l.p90).toBeGreaterThanOrEqual(l.median);
    expect(facts.peer.name).toMatch(/^onnxruntime-web/);
    expect(facts.peer.ratio.p10).toBeGreaterThan(0);

    const { kernels } = facts.profile;
    const sum = kernels.reduce((n, k) => n + k.macs, 0);
    expect(sum).toBe(facts.macs.nominal);
    expect(kernels.filter((k) => /^(conv|matmul) /.test(k.computes)).every((k) => k.macs > 0)).toBe(true);

    const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as Trace;
    const slices = traceEvents.filter((e) => e.ph === "X");
    expect(slices.map((e) => e.name)).toEqual(["run", ...kernels.map((k) => k.name)]);
    for (const [i, k] of kernels.entries()) expect(slices[i + 1]?.args).toMatchObject({ macs: k.macs });
  });

  test("prints tables", async () => {
    const s = await qc("bench", fashion, "--seconds", "0.05", "--profile", trace, "--target", "wasm-simd");
    expect(s.code).toBe(0);
    expect(s.err).toMatch(/^Node .*, one thread\n$/);
    expect(s.out).toMatch(/^baseline +[\d.]+ +[\d.]+–[\d.]+ +[\d.]+ .*no relaxed module$/m);
    expect(s.out).toMatch(/^kernel +µs +share +MACs +MAC\/cycle +of peak +computes$/m);
    expect(s.out).toMatch(/ conv 1×7×7×64 64×3×3×64 /);
  });

  test("times an artifact, without a peer that needs the model", async () => {
    const artifact = join(dir, "artifact");
    expect((await qc("compile", fashion, "-o", artifact, "--quiet")).code).toBe(0);
    const s = await qc("bench", artifact, "--seconds", "0.05", "--against", "onnxruntime-web");
    expect(s.code).toBe(0);
    expect(s.err).toContain("not timed: onnxruntime-web, which needs the model instead of the artifact\n");
    expect(s.out).toMatch(/^baseline /m);
  });

  test("does not profile an artifact", async () => {
    const s = await qc("bench", join(dir, "artifact"), "--profile", join(dir, "none.json"));
    expect(s).toMatchObject({ code: 2, out: "" });
    expect(s.err).toContain("an artifact does not export its kernels");
    expect(existsSync(join(dir, "none.json"))).toBe(false);
  });

  test.each([
    ["a missing file", ["bench", join(dir, "none.onnx")], 1, "QC1021"],
    [
      "a trace that cannot be written",
      ["bench", fashion, "--seconds", "0.05", "--profile", dir],
      1,
      "QC5002",
    ],
    ["no time", ["bench", fashion, "--seconds", "0"], 2, "number of seconds"],
    ["an unknown peer", ["bench", fashion, "--against", "x"], 2, "onnxruntime-web"],
  ])("%s", async (_, argv, code, message) => {
    const s = await qc(...argv);
    expect(s.code).toBe(code);
    expect(s.err).toContain(message);
  });
});

describe("a trace", () => {
  const p: Profile = {
    backend: "baseline",
    runMs: 0.25,
    gigahertz: 3,
    peakMacsPerCycle: 16,
    kernels: [
      { name: "a", computes: "conv", ms: 0.125, macs: 3, macsPerCycle: 8 },
      { name: "b", computes: "copy", ms: 0.0625, macs: 0 },
    ],
  };

  test("lays kernels end to end, in microseconds", () => {
    const slices = traceOf("m", "e", p).traceEvents.filter((e) => e.ph === "X");
    expect(slices.map(({ name, ts, dur }) => [name, ts, dur])).toEqual([
      ["run", 0, 250],
      ["a", 0, 125],
      ["b", 125, 62.5],
    ]);
    expect(slices[1]?.args).toMatchObject({ macs: 3, macsPerCycle: 8, ofPeak: 0.5 });
    expect(slices[2]?.args).not.toHaveProperty("macsPerCycle");
  });
});

describe("timing", () => {
  test("takes one sample of every entrant per round, and no round after the limit but the third", async () => {
    const calls: string[] = [];
    const entrant = (name: string) => ({ name, run: () => void calls.push(name) });
    const sampling = { rounds: 5, sampleMs: 0.01 };
    const all = await interleave([entrant("a"), entrant("b")], sampling);
    expect(all.map((s) => s.length)).toEqual([5, 5]);
    const few = await interleave([entrant("a"), entrant("b")], { ...sampling, limitMs: 0 });
    expect(few.map((s) => s.length)).toEqual([3, 3]);
    expect(new Set(calls)).toEqual(new Set(["a", "b"]));
  });

  test("medians, percentiles and ratios", () => {
    const samples = [10, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    expect(spreadOf(samples)).toEqual({ median: 6, p10: 2, p90: 10 });
    expect(ratioOf([2, 9, 4], [1, 3, 1])).toEqual({ median: 3, p10: 2, p90: 4 });
  });

  test("loops of known work run in this engine", () => {
    cycleReference()();
    const baseline = peakLoop("baseline");
    baseline.run();
    expect(baseline.macs).toBe(10_000 * 2 * 12 * 8);
    if (relaxedRefusal("any") !== undefined) return;
    const relaxed = peakLoop("relaxed");
    relaxed.run();
    expect(relaxed.macs).toBe(10_000 * 2 * 12 * 16);
  });
});
