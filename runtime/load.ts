/** From a layout and two places to fetch from, to a model: what the generated `stem.js` inlines. */
import { loadError } from "./errors.ts";
import { FORMAT_VERSION, type Layout } from "./format.ts";
import { type Backend, type Core, createModel, type Model } from "./instance.ts";
import { relaxedRefusal } from "./relaxed.ts";
import { compileFrom, type Progress, type Source } from "./source.ts";

export interface LoadOptions {
  /** Instead of the module beside the loader. */
  readonly wasm?: Source;
  /** Instead of the relaxed module beside the loader. */
  readonly relaxed?: Source;
  /** `auto` (default): relaxed SIMD where the engine's is exact for this model, otherwise baseline. */
  readonly backend?: "auto" | Backend;
  /** Integers in, integers out. */
  readonly raw?: boolean;
  /** Check the SHA-256 of each module before it runs. */
  readonly verify?: boolean;
  readonly onProgress?: (progress: Progress) => void;
}

/** Default places of the modules; functions, so that nothing is resolved that is not used. */
export interface Places {
  readonly wasm?: () => Source;
  readonly relaxed?: () => Source;
}

function meter(onProgress: (p: Progress) => void, files: number) {
  const seen: { received: number; expected: number | undefined }[] = [];
  return (file: number) => (received: number, expected: number | undefined) => {
    seen[file] = { received, expected };
    const list = Object.values(seen);
    const loaded = list.reduce((n, f) => n + f.received, 0);
    const known = list.length === files && list.every((f) => f.expected !== undefined);
    onProgress(known ? { loaded, total: list.reduce((n, f) => n + f.expected!, 0) } : { loaded });
  };
}

/** Why the relaxed module will not be used; `undefined` if it will. Throws `LoadError` if nothing else can run. */
function refusal(layout: Layout, backend: "auto" | Backend, available: boolean): string | undefined {
  if (backend === "baseline") {
    if (layout.target === "wasm-relaxed")
      throw loadError("this artifact has no baseline kernels (target wasm-relaxed)");
    return "asked for";
  }
  const why = available ? relaxedRefusal(layout.relaxedDot ?? "u8s8") : "the artifact has no relaxed module";
  if (why && (backend === "relaxed" || layout.target === "wasm-relaxed"))
    throw loadError(`the relaxed kernels cannot run: ${why}`);
  return why;
}

/**
 * Loads a model. Both modules are fetched in parallel; the baseline one owns memory and weights, the relaxed one, when
 * it is used, shares that memory. Throws `LoadError`.
 */
export async function loadModel(layout: Layout, places: Places, options: LoadOptions = {}): Promise<Model> {
  const { backend = "auto", raw = false, verify = false, onProgress } = options;
  if (layout.version !== FORMAT_VERSION)
    throw loadError(
      `artifact format ${layout.version}, but this runtime reads ${FORMAT_VERSION}: compile the model again`,
    );
  const from = options.wasm ?? places.wasm?.();
  if (from === undefined) throw loadError("nothing says where the module is: pass `wasm`");
  const hasRelaxed = layout.target !== "wasm-simd" && (options.relaxed ?? places.relaxed) !== undefined;
  const why = refusal(layout, backend, hasRelaxed);
  const onFile = onProgress && meter(onProgress, why === undefined ? 2 : 1);
  const sha256 = (file: "wasm" | "relaxed") => (verify ? layout.hashes[file] : undefined);

  const relaxed =
    why === undefined
      ? compileFrom(options.relaxed ?? places.relaxed!(), {
          onProgress: onFile?.(1),
          sha256: sha256("relaxed"),
        })
      : undefined;
  relaxed?.catch(() => {});
  const base = await WebAssembly.instantiate(
    await compileFrom(from, { onProgress: onFile?.(0), sha256: sha256("wasm") }),
  );
  const core = base.exports as unknown as Core;
  if (!relaxed) return createModel(layout, core, { raw, backend: "baseline", backendReason: why! });
  const { memory } = core;
  const { run } = (await WebAssembly.instantiate(await relaxed, { env: { memory } }))
    .exports as unknown as Core;
  const backendReason = "this engine's relaxed SIMD is exact for this model";
  return createModel(layout, { memory, run }, { raw, backend: "relaxed", backendReason });
}
