/** From fetch to the first result, one engine in a fresh page: bundled by browser.ts, called from there. */

import type { LoadOptions, Model } from "../runtime/index.ts";
import { liteRtEntrant, openInPage } from "./litert.ts";
import { type Level, type Ort, openSession, typedFor } from "./race.ts";

export type StartEngine = "qc" | "ort" | "litert";

/** `/start.json`: beside it lie `model.js`, `model.wasm`, `model.relaxed.wasm`, `start.onnx`, `source.tflite`. */
export interface StartCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly input: readonly number[];
  /** Of the model that onnxruntime-web runs fastest. */
  readonly peer: { readonly dtype: string; readonly input: readonly number[]; readonly level: Level };
}

export interface Started {
  readonly ms: number;
  /** Linear memory of the engine afterwards. */
  readonly memoryBytes: number;
}

/** Memories of the modules that are instantiated from now on. */
function watchMemories(): Set<WebAssembly.Memory> {
  const seen = new Set<WebAssembly.Memory>();
  const look = (values: WebAssembly.Exports | WebAssembly.ModuleImports): void => {
    for (const v of Object.values(values)) if (v instanceof WebAssembly.Memory) seen.add(v);
  };
  const watch = (name: "instantiate" | "instantiateStreaming"): void => {
    const original = WebAssembly[name] as (source: never, imports?: WebAssembly.Imports) => Promise<unknown>;
    const watched = async (source: never, imports?: WebAssembly.Imports): Promise<unknown> => {
      for (const of of Object.values(imports ?? {})) look(of);
      const made = await original.call(WebAssembly, source, imports);
      look(
        made instanceof WebAssembly.Instance
          ? made.exports
          : (made as WebAssembly.WebAssemblyInstantiatedSource).instance.exports,
      );
      return made;
    };
    Object.assign(WebAssembly, { [name]: watched });
  };
  watch("instantiate");
  watch("instantiateStreaming");
  return seen;
}

async function startHere(engine: StartEngine): Promise<Started> {
  const c = (await (await fetch("/start.json")).json()) as StartCase;
  const own = typedFor(c.dtype, c.input);
  if (engine === "qc") {
    const start = performance.now();
    const specifier = "/model.js";
    const { load } = (await import(specifier)) as { load(options?: LoadOptions): Promise<Model> };
    const model = await load();
    model.run({ [c.name]: own });
    return { ms: performance.now() - start, memoryBytes: model.memoryBytes };
  }
  if (engine === "litert") {
    const start = performance.now();
    const entrant = await liteRtEntrant("default", openInPage, "/source.tflite", own);
    await entrant.run();
    return { ms: performance.now() - start, memoryBytes: entrant.memoryBytes() };
  }
  const data = typedFor(c.peer.dtype, c.peer.input);
  const memories = watchMemories();
  const start = performance.now();
  const specifier = "/ort.wasm.bundle.min.mjs";
  const ort = (await import(specifier)) as Ort;
  ort.env.wasm.wasmPaths = { wasm: "/ort-wasm-simd-threaded.wasm" };
  ort.env.wasm.numThreads = 1;
  const bytes = new Uint8Array(await (await fetch("/start.onnx")).arrayBuffer());
  const { session } = await openSession(ort, bytes, [c.peer.level]);
  await session.run({ [c.name]: new ort.Tensor(c.peer.dtype as never, data as never, c.shape) });
  const ms = performance.now() - start;
  return { ms, memoryBytes: [...memories].reduce((sum, m) => sum + m.buffer.byteLength, 0) };
}

Object.assign(globalThis, { startHere });
