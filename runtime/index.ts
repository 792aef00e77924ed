/** `qc/runtime`: for those who load artifacts themselves instead of importing the generated loader. */
import { loadError } from "./errors.ts";
import type { Manifest } from "./format.ts";
import { readJson } from "./source.ts";
import { loadModel, type ThreadedModel, type ThreadsOptions } from "./threads.ts";

export type { TensorData } from "./elements.ts";
export type { LoadError, RunError } from "./errors.ts";
export type * from "./format.ts";
export { FORMAT_VERSION, layoutOf } from "./format.ts";
export type { Backend, Model, PortInfo, RunInput } from "./instance.ts";
export { createModel } from "./instance.ts";
export type { Progress, Source } from "./source.ts";
export type { ThreadedModel, ThreadsOptions as LoadOptions, ThreadsPlaces as Places } from "./threads.ts";
export { loadModel } from "./threads.ts";

const isManifest = (x: unknown): x is Manifest =>
  typeof x === "object" &&
  x !== null &&
  (x as Manifest).format === "qc-wasm" &&
  Array.isArray((x as Manifest).inputs);

/**
 * Loads an artifact by its manifest: a URL (modules are found beside it), or the parsed JSON (then pass `wasm`, and
 * the relaxed ones to use them). Throws `LoadError`.
 */
export async function load(
  manifest: string | URL | Manifest,
  options: ThreadsOptions = {},
): Promise<ThreadedModel> {
  const isUrl = typeof manifest === "string" || manifest instanceof URL;
  const json = isUrl ? await readJson(manifest) : manifest;
  if (!isManifest(json)) throw loadError("not a manifest written by qc compile");
  if (!isUrl) return loadModel(json, {}, options);
  const base = new URL(manifest, (globalThis as { location?: { href: string } }).location?.href);
  const places = Object.entries(json.files ?? {}).map(
    ([module, name]) => [module, () => new URL(encodeURIComponent(name), base)] as const,
  );
  return loadModel(json, Object.fromEntries(places), options);
}
