/**
 * Damaged models: whatever the bytes, the compiler answers in bounded time, the same each time, without throwing; and
 * what still compiles agrees with the interpreter bit for bit. Files in `cases/` once failed.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { negativeFiles } from "../negative-files.ts";
import { full } from "../require.ts";
import { loadModelBytes, randomSource, zooIsThere } from "../zoo.ts";
import type { Outcome } from "./check.ts";
import { mutate } from "./mutate.ts";
import { dense, image, mixed, steps } from "./seeds.ts";

const CASES = full ? 2000 : 100;
const SEED = Number(process.env.QC_FUZZ_SEED ?? 1);
const LIMIT_MS = 20_000;

/** Damaged files go to workers one by one: a hang ends with its worker. */
function openWorker() {
  let worker: Worker | undefined;
  const start = () =>
    new Worker(new URL("./worker.ts", import.meta.url), {
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 1024 },
    });
  return {
    check: (bytes: Uint8Array): Promise<Outcome> =>
      new Promise((resolve) => {
        worker ??= start();
        const current = worker;
        const done = (outcome: Outcome): void => {
          clearTimeout(timer);
          current.off("message", done).off("error", onError).off("exit", onExit);
          resolve(outcome);
        };
        const lose = (why: string): void => {
          worker = undefined;
          void current.terminate();
          done({ kind: "wrong", why });
        };
        const onError = (error: unknown): void => lose(`worker died: ${error}`);
        const onExit = (code: number): void => lose(`worker exited with ${code}`);
        const timer = setTimeout(() => lose(`no answer in ${LIMIT_MS} ms`), LIMIT_MS);
        current.on("message", done).on("error", onError).on("exit", onExit);
        current.postMessage(bytes);
      }),
    close: () => worker?.terminate(),
  };
}

/** Files that exporters of today wrote, but for the large ones: examples/exporters. */
const exporters = new URL("../../examples/exporters/", import.meta.url);
const exported = readdirSync(exporters, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".onnx"))
  .sort()
  .map((name) => new Uint8Array(readFileSync(new URL(name, exporters))))
  .filter((bytes) => bytes.length < 100_000);

const zoo = (name: string): Uint8Array[] => (zooIsThere ? [loadModelBytes(`int8-qdq/${name}`)] : []);

describe("damaged models", () => {
  const small = [dense, image, mixed, steps];
  const negative = Object.values(negativeFiles);
  const large = [...zoo("mlperf_kws_dscnn"), ...zoo("mlperf_resnet8"), ...zoo("torch_qat_mnist")];

  test("the undamaged ones compile", async () => {
    const { check, close } = openWorker();
    for (const bytes of [...small, ...large])
      expect(await check(bytes)).toEqual({
        kind: "compiled",
        warnings: [],
        elements: expect.any(Number),
        exact: expect.any(Number),
      });
    await close();
  });

  test("those that are wrong already are diagnosed, those of exporters have their outcome", async () => {
    const { check, close } = openWorker();
    for (const bytes of negative) expect((await check(bytes)).kind).toBe("diagnosed");
    const kinds = new Set<string>();
    for (const bytes of full ? exported : exported.filter((_, i) => i % 4 === 0)) {
      const outcome = await check(bytes);
      expect(outcome.kind, JSON.stringify(outcome)).not.toBe("wrong");
      kinds.add(outcome.kind);
    }
    await close();
    expect(kinds).toContain("compiled");
    if (full) expect(kinds).toContain("diagnosed");
  });

  test(`${CASES} mutants`, async () => {
    const random = randomSource(SEED);
    const { check, close } = openWorker();
    const counts = { compiled: 0, diagnosed: 0, wrong: 0 };
    const codes = new Map<string, number>();
    const wrong: string[] = [];
    let elements = 0;
    let exact = 0;
    let slowest = 0;
    for (let i = 0; i < CASES; i++) {
      const share = random();
      const lists = [large, exported, negative].filter((list) => list.length > 0);
      const from = share < 0.6 ? (lists[Math.floor(share * 5)] ?? small) : small;
      const [a, b] = [from, [...small, ...large, ...exported, ...negative]].map(
        (list) => list[Math.floor(random() * list.length)]!,
      );
      const { bytes, done } = mutate(a!, b!, random);
      const start = performance.now();
      const outcome = await check(bytes);
      slowest = Math.max(slowest, performance.now() - start);
      counts[outcome.kind]++;
      if (outcome.kind === "compiled") {
        elements += outcome.elements;
        exact += outcome.exact;
      } else if (outcome.kind === "diagnosed")
        for (const code of new Set(outcome.codes)) codes.set(code, (codes.get(code) ?? 0) + 1);
      else wrong.push(`case ${i} (${done.join(", ")}) ${keep(bytes, i)}: ${outcome.why}`);
    }
    await close();
    const list = [...codes].sort((x, y) => y[1] - x[1]).map(([code, n]) => `${code} ${n}`);
    console.log(
      `${CASES} mutants: ${counts.compiled} compiled and agree with the interpreter on ${elements} elements, ` +
        `with the exact value on ${exact}; ` +
        `${counts.diagnosed} diagnosed, ${counts.wrong} wrong; slowest ${slowest.toFixed(0)} ms\n${list.join(", ")}`,
    );
    expect(wrong).toEqual([]);
    expect(counts.compiled).toBeGreaterThan(CASES / 20);
    expect(counts.diagnosed).toBeGreaterThan(CASES / 20);
  }, 600_000);
});

/** Writes a failing case where its finder can pick it up. */
function keep(bytes: Uint8Array, i: number): string {
  const folder = join(tmpdir(), "qc-fuzz");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `seed-${SEED}-case-${i}.onnx`);
  writeFileSync(path, bytes);
  return path;
}

const folder = fileURLToPath(new URL("cases/", import.meta.url));
const kept = readdirSync(folder).filter((name) => name.endsWith(".onnx"));
describe("cases that once failed", () => {
  test.each(kept)("%s", async (name) => {
    const { check, close } = openWorker();
    const outcome = await check(new Uint8Array(readFileSync(join(folder, name))));
    await close();
    expect(outcome.kind, JSON.stringify(outcome)).not.toBe("wrong");
  });
});
