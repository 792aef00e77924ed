import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

/**
 * Something that runs the model on one image.
 * @typedef {{ name: string, raw: number, gzip: number }} ShippedFile bytes, and bytes after gzip -9
 * @typedef {{
 *   name: string,
 *   run: (image: Float32Array) => Float32Array | Promise<Float32Array>,
 *   files: ShippedFile[],
 *   startMs: number,
 * }} Engine
 * `run` maps 784 values (pixel / 255) to 10 logits; `files` are what a page has to fetch;
 * `startMs` is the time from nothing loaded to the first result.
 */

/** @returns {ShippedFile} */
function shipped(path) {
  const bytes = readFileSync(path);
  return { name: basename(path), raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
}

/**
 * Runs `qc compile` and returns its exit code.
 * @param {string} onnxPath
 * @param {string} outDir emptied first
 */
export function compile(onnxPath, outDir) {
  rmSync(outDir, { recursive: true, force: true });
  const qc = fileURLToPath(new URL("../../bin/qc.js", import.meta.url));
  const args = [qc, "compile", onnxPath, "--target", "wasm", "-o", outDir];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
}

/**
 * The artifact of `qc compile`.
 * @param {string} outDir
 * @param {string} stem
 * @returns {Promise<Engine>}
 */
export async function qcEngine(outDir, stem) {
  const start = performance.now();
  const { load } = await import(pathToFileURL(join(outDir, `${stem}.js`)).href);
  const model = await load();
  const run = (input) => model.run({ input }).logits;
  run(new Float32Array(784));
  const startMs = performance.now() - start;
  // The types and the manifest are for the developer; a page fetches the loader and the modules.
  const files = readdirSync(outDir).filter((name) => /\.(js|wasm)$/.test(name));
  return { name: "qc", run, files: files.map((name) => shipped(join(outDir, name))), startMs };
}

/**
 * onnxruntime-web on WebAssembly with one thread, or undefined when it is not installed.
 * @param {string} onnxPath
 * @returns {Promise<Engine | undefined>}
 */
export async function onnxruntimeEngine(onnxPath) {
  const start = performance.now();
  let ort;
  try {
    ort = await import("onnxruntime-web/wasm");
  } catch (error) {
    if (error?.code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(readFileSync(onnxPath), { executionProviders: ["wasm"] });
  const run = async (image) => {
    const { logits } = await session.run({ input: new ort.Tensor("float32", image, [1, 1, 28, 28]) });
    return logits.data;
  };
  await run(new Float32Array(784));
  const startMs = performance.now() - start;
  const files = ["onnxruntime-web/wasm", "onnxruntime-web/ort-wasm-simd-threaded.wasm"]
    .map((specifier) => fileURLToPath(import.meta.resolve(specifier)))
    .concat(onnxPath)
    .map(shipped);
  return { name: "onnxruntime-web", run, files, startMs };
}
