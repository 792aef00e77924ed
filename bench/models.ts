/**
 * Whole models against onnxruntime-web and LiteRT.js, one thread each: `npm run bench -- [--browser] [--quick] [--no-write] [model …]`.
 * Prints the tables and writes them to README.md and results.json (or results-browser.json) beside this file.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as onnxruntime from "onnxruntime-node";
import { type Sampling, spreadOf } from "../compiler/cli/bench/sampling.ts";
import { loadModel } from "../runtime/load.ts";
import { browserSession } from "./browser.ts";
import { type Case, compileCase, sources } from "./cases.ts";
import { liteRtEntrant } from "./litert.ts";
import { liteRtVersion } from "./litert-files.ts";
import { openInNode } from "./litert-node.ts";
import { machineOf } from "./machine.ts";
import { drawRatios } from "./plot.ts";
import { type Level, type Ort, type RaceResult, race, typedFor } from "./race.ts";
import { markdown, replaceSection } from "./report.ts";
import type { ModelResult, Refused, Results, StartResult } from "./results.ts";
import { ortSizes, packedWeights, qcSizes } from "./sizes.ts";
import type { StartInfo } from "./start.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    "no-write": { type: "boolean", default: false },
  },
});
const SAMPLING: Sampling = values.quick
  ? { rounds: 15, sampleMs: 5, limitMs: 1500 }
  : { rounds: 61, sampleMs: 10, limitMs: 6000 };
const STARTS = values.quick ? 1 : 5;
/** Milliseconds after which no engine starts again, once each has done so twice. */
const START_LIMIT = 8000;

/** Fresh processes, in which either engine starts first in turn. */
function measureStart(c: Case, { peers, best }: RaceResult): StartResult {
  const folder = mkdtempSync(join(tmpdir(), "qc-bench-"));
  try {
    mkdirSync(folder, { recursive: true });
    for (const { name, bytes } of c.files) writeFileSync(join(folder, name), bytes);
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    const peer = c.peers[best]!;
    writeFileSync(join(folder, "model.onnx"), peer.onnx);
    const [port] = c.compiled.manifest.inputs;
    const times = { qc: [] as number[], ort: [] as number[] };
    const begin = performance.now();
    for (let i = 0; i < STARTS && (i < 2 || performance.now() - begin < START_LIMIT); i++) {
      const info: StartInfo = {
        dtype: port!.dtype,
        peerDtype: best > 0 && port!.dtype === "int8" ? "uint8" : port!.dtype,
        name: port!.name,
        shape: port!.shape,
        input: Array.from(c.input as ArrayLike<number>),
        peerInput: Array.from(peer.input as ArrayLike<number>),
        level: peers[best]!.level,
        first: i % 2 === 0 ? "qc" : "ort",
      };
      writeFileSync(join(folder, "start.json"), JSON.stringify(info));
      const script = fileURLToPath(new URL("./start.ts", import.meta.url));
      const out = execFileSync(process.execPath, ["--no-warnings", script, folder], { encoding: "utf8" });
      const { qc, ort } = JSON.parse(out) as { qc: number; ort: number };
      times.qc.push(qc);
      times.ort.push(ort);
    }
    return { qc: spreadOf(times.qc), ort: spreadOf(times.ort) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function inNode(): Promise<(c: Case) => Promise<RaceResult>> {
  const ort = (await import("onnxruntime-web/wasm")) as unknown as Ort;
  const litert = liteRtVersion() !== undefined;
  return (c) => {
    const { baseline, relaxed, relaxedS8, manifest } = c.compiled;
    const places = {
      wasm: () => baseline,
      ...(relaxed && { relaxed: () => relaxed }),
      ...(relaxedS8 && { relaxedS8: () => relaxedS8 }),
    };
    return race(ort, {
      load: (options) => loadModel(manifest, places, options),
      input: c.input as ArrayLike<number>,
      peers: c.peers.map((p) => ({ ...p, input: p.input as ArrayLike<number> })),
      sampling: SAMPLING,
      ...(litert &&
        c.tflite && { litert: (build, data) => liteRtEntrant(build, openInNode, c.tflite!, data) }),
      ...(c.floatPeer && { float: { ...c.floatPeer, input: c.floatPeer.input as ArrayLike<number> } }),
      native: (level) => nativeEntrant(c, level),
    });
  };
}

/** onnxruntime-node, one thread, on the model as it is. */
async function nativeEntrant(c: Case, graphOptimizationLevel: Level): Promise<() => Promise<unknown>> {
  const session = await onnxruntime.InferenceSession.create(c.onnx, {
    executionProviders: ["cpu"],
    graphOptimizationLevel,
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const [port] = c.compiled.manifest.inputs;
  const data = typedFor(port!.dtype, c.input as ArrayLike<number>);
  const feeds = {
    [port!.name]: new onnxruntime.Tensor(port!.dtype as "float32", data as Float32Array, port!.shape),
  };
  return () => session.run(feeds);
}

const browser = values.browser ? await browserSession(SAMPLING) : undefined;
const machine = browser
  ? machineOf(browser.engine, browser.relaxedRefusal)
  : machineOf(`Node ${process.versions.node} (V8 ${process.versions.v8})`);
const run = browser?.race ?? (await inNode());
const models: ModelResult[] = [];
const refused: Refused[] = [];
for (const source of sources(positionals)) {
  const c = await compileCase(source);
  if ("reason" in c) {
    refused.push(c);
    console.error(`${c.name} does not take part: ${c.reason}`);
    continue;
  }
  const result = await run(c);
  const { macs, sizes } = c.compiled.manifest;
  models.push({
    name: c.name,
    macs,
    sizes: {
      qc: qcSizes(c.files),
      ort: ortSizes(c.peers[result.best]!.onnx),
      weights: packedWeights(c.compiled.report),
    },
    arenaPeak: sizes.arenaPeak,
    start: browser ? await browser.start(c, result, STARTS, START_LIMIT) : measureStart(c, result),
    compileMs: c.compileMs,
    ...result,
  });
  console.error(`${c.name}: ${result.ratio.median.toFixed(2)}×`);
}
await browser?.close();

const command = ["npm run bench", ...(process.argv.length > 2 ? ["--", ...process.argv.slice(2)] : [])].join(
  " ",
);
const results: Results = { machine, command, models, refused };
const text = markdown(results);
console.log(text);
if (!values["no-write"]) {
  const at = (name: string): URL => new URL(`./${name}`, import.meta.url);
  const section = browser ? "browser" : "node";
  writeFileSync(
    at(browser ? "results-browser.json" : "results.json"),
    `${JSON.stringify(results, undefined, 2)}\n`,
  );
  if (browser) drawRatios(results);
  writeFileSync(at("README.md"), replaceSection(readFileSync(at("README.md"), "utf8"), section, text));
}
