/** From a layout and two places to fetch from, to a model: what the generated `stem.js` inlines. */
import { loadError } from "./errors.ts";
import { FORMAT_VERSION, type Layout, type PortLayout, type RelaxedDot } from "./format.ts";
import { type Backend, type Core, createModel, type Model } from "./instance.ts";
import { isExact, relaxedEngine, relaxedRefusal } from "./relaxed.ts";
import { compileFrom, type Progress, type Source } from "./source.ts";

export interface LoadOptions {
  /** Instead of the module beside the loader. */
  readonly wasm?: Source;
  /** Instead of the relaxed module beside the loader. */
  readonly relaxed?: Source;
  /** Instead of the relaxed module for signed dot products beside the loader. */
  readonly relaxedS8?: Source;
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
  readonly relaxedS8?: () => Source;
}

function meter(onProgress: (p: Progress) => void, files: () => number) {
  const seen: { received: number; expected: number | undefined }[] = [];
  return (file: number) => (received: number, expected: number | undefined) => {
    seen[file] = { received, expected };
    const list = Object.values(seen);
    const loaded = list.reduce((n, f) => n + f.received, 0);
    const known = list.length === files() && list.every((f) => f.expected !== undefined);
    onProgress(known ? { loaded, total: list.reduce((n, f) => n + f.expected!, 0) } : { loaded });
  };
}

type Relaxed = "relaxed" | "relaxedS8";

/**
 * Makes what runs the kernels, in place of the modules for one thread: starts fetching for the module that was chosen (undefined: the
 * baseline), then gets the memory with the weights. Undefined: the modules for one thread run after all.
 */
export type Link = (module: Relaxed | undefined) => ((base: WebAssembly.Memory) => Promise<Core>) | undefined;

interface Choice {
  /** Undefined: the baseline. */
  readonly module: Relaxed | undefined;
  readonly reason: string;
}

/** The module to use. Throws `LoadError` if nothing can run that was asked for. */
function choose(layout: Layout, backend: "auto" | Backend, there: readonly Relaxed[]): Choice {
  const only = layout.target === "wasm-relaxed";
  if (backend === "baseline") {
    if (only) throw loadError("this artifact has no baseline kernels (target wasm-relaxed)");
    return { module: undefined, reason: "asked for" };
  }
  const engine = relaxedEngine();
  const module = engine && there.find((m) => isExact(layout.exactOn?.[m], engine));
  if (module) return { module, reason: "this engine's relaxed SIMD is exact for this model" };
  const on = there.flatMap((m) => layout.exactOn?.[m] ?? []) as RelaxedDot[];
  const reason = there.length === 0 ? "the artifact has no relaxed module" : relaxedRefusal(on, engine)!;
  if (backend === "relaxed" || only) throw loadError(`the relaxed kernels cannot run: ${reason}`);
  return { module, reason };
}

/** The layout with the slots of the chosen module. */
function placed(layout: Layout, module: Relaxed | undefined): Layout {
  if (module !== "relaxedS8") return layout;
  const at = (ports: readonly PortLayout[]) => ports.map((p) => ({ ...p, slots: p.signedSlots ?? p.slots }));
  return { ...layout, inputs: at(layout.inputs), outputs: at(layout.outputs) };
}

/**
 * Loads a model. Both modules are fetched in parallel; the baseline one owns memory and weights, the relaxed one, when
 * it is used, shares that memory. Throws `LoadError`.
 */
export async function loadModel(
  layout: Layout,
  places: Places,
  options: LoadOptions = {},
  link?: Link,
): Promise<Model> {
  const { backend = "auto", raw = false, verify = false, onProgress } = options;
  if (layout.version !== FORMAT_VERSION)
    throw loadError(
      `artifact format ${layout.version}, but this runtime reads ${FORMAT_VERSION}: compile the model again`,
    );
  const from = options.wasm ?? places.wasm?.();
  if (from === undefined) throw loadError("nothing says where the module is: pass `wasm`");
  const there = (["relaxed", "relaxedS8"] as const).filter(
    (m) => layout.target !== "wasm-simd" && (options[m] ?? places[m]) !== undefined,
  );
  let files = 1;
  const onFile = onProgress && meter(onProgress, () => files);
  const sha256 = (file: "wasm" | Relaxed) => (verify ? layout.hashes[file] : undefined);
  // On its way while the engine is probed.
  const first = compileFrom(from, { onProgress: onFile?.(0), sha256: sha256("wasm") });
  first.catch(() => {});
  const { module, reason } = choose(layout, backend, there);
  const linked = link?.(module);
  if (module && !linked) files = 2;

  const relaxed =
    module &&
    !linked &&
    compileFrom(options[module] ?? places[module]!(), { onProgress: onFile?.(1), sha256: sha256(module) });
  if (relaxed) relaxed.catch(() => {});
  const base = await WebAssembly.instantiate(await first);
  let core = base.exports as unknown as Core;
  const { memory } = core;
  if (linked) core = await linked(memory);
  else if (relaxed) {
    const { run } = (await WebAssembly.instantiate(await relaxed, { env: { memory } }))
      .exports as unknown as Core;
    core = { memory, run };
  }
  return createModel(placed(layout, module), core, {
    raw,
    backend: module ? "relaxed" : "baseline",
    backendReason: reason,
  });
}
