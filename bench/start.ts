/**
 * Time from files to the first result, in one fresh process per measurement, where nothing is compiled or cached yet:
 * `node start.ts <folder>` with `model.js`, `model.wasm`, `model.relaxed.wasm`, `model.onnx` and `start.json` in it.
 * Prints `{ "qc": ms, "ort": ms }`.
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { LoadOptions, Model } from "../runtime/index.ts";
import type { Level, Ort } from "./race.ts";

/** What a folder for `start.ts` says beside the files. */
export interface StartInfo {
  readonly dtype: string;
  readonly peerDtype: string;
  readonly name: string;
  readonly shape: readonly number[];
  readonly input: readonly number[];
  readonly peerInput: readonly number[];
  readonly level: Level;
  /** Which engine starts first in the process. */
  readonly first: "qc" | "ort";
}

const folder = process.argv[2]!;
const info = JSON.parse(readFileSync(`${folder}/start.json`, "utf8")) as StartInfo;
const typed = (dtype: string, data: readonly number[]) =>
  dtype === "int8"
    ? Int8Array.from(data)
    : dtype === "uint8"
      ? Uint8Array.from(data)
      : Float32Array.from(data);

async function startQc(): Promise<number> {
  const data = { [info.name]: typed(info.dtype, info.input) };
  const start = performance.now();
  const { load } = (await import(pathToFileURL(`${folder}/model.js`).href)) as {
    load(options?: LoadOptions): Promise<Model>;
  };
  const model = await load();
  model.run(data);
  return performance.now() - start;
}

async function startOrt(): Promise<number> {
  const data = typed(info.peerDtype, info.peerInput);
  const start = performance.now();
  const ort = (await import("onnxruntime-web/wasm")) as unknown as Ort;
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(`${folder}/model.onnx`)), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: info.level,
    logSeverityLevel: 3,
  });
  await session.run({ [info.name]: new ort.Tensor(info.peerDtype as never, data as never, info.shape) });
  return performance.now() - start;
}

const engines = { qc: startQc, ort: startOrt };
const second = info.first === "qc" ? "ort" : "qc";
const times: Record<string, number> = {};
for (const engine of [info.first, second] as const) times[engine] = await engines[engine]();
console.log(JSON.stringify(times));
