/** Loading a model that runs on several threads; with the reason in words where it runs on one. */
import { loadError } from "./errors.ts";
import type { Layout } from "./format.ts";
import type { Core, Model } from "./instance.ts";
import { type Link, type LoadOptions, loadModel as loadSingle, type Places } from "./load.ts";
import { compileFrom, type Source } from "./source.ts";
import { type Pool, startWorkers, type WorkerSource } from "./workers.ts";

export interface ThreadsOptions extends LoadOptions {
  /** Threads that compute, the calling one included. Default 1. Where there cannot be more than one, there is one: see `threadsReason`. */
  readonly threads?: number;
  /** The script of the workers, `stem.worker.js`, instead of a copy inside the loader: for pages whose CSP forbids `blob:` workers. */
  readonly worker?: WorkerSource;
  /** Instead of the modules beside the loader. */
  readonly baselineThreads?: Source;
  readonly relaxedThreads?: Source;
  readonly relaxedS8Threads?: Source;
}

export interface ThreadsPlaces extends Places {
  readonly baselineThreads?: () => Source;
  readonly relaxedThreads?: () => Source;
  readonly relaxedS8Threads?: () => Source;
  readonly worker?: () => URL;
}

export interface ThreadedModel extends Model {
  /** Threads that compute, the calling one included. */
  readonly threads: number;
  /** Why so many, in one sentence. */
  readonly threadsReason: string;
}

const MOST = 256;

/** (module (memory 1 1 shared)) */
const SHARED = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1);

/** Why this model cannot use threads here; `undefined` if it can. */
function refusal({ threads }: Layout): string | undefined {
  if (!threads) return "the artifact was compiled without threads";
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (crossOriginIsolated === false) return "the page is not cross-origin isolated";
  if (typeof SharedArrayBuffer === "undefined" || !WebAssembly.validate(SHARED))
    return "this engine has no shared memory";
  return undefined;
}

/** What a module for several threads exports. */
interface ThreadsCore {
  /** One inference. `waits`: whether this thread may let others have its processor. */
  readonly infer: (threads: number, waits: number) => void;
  readonly stop: () => void;
}

/** A browser's main thread may not wait, only spin. */
function mayWait(): number {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return 1;
  } catch {
    return 0;
  }
}

/**
 * As `loadModel` of `load.ts`, on `threads` threads where that is possible. Throws `LoadError`, also when a worker cannot run the
 * kernels; never because threads are not available.
 */
export async function loadModel(
  layout: Layout,
  places: ThreadsPlaces,
  options: ThreadsOptions = {},
): Promise<ThreadedModel> {
  const wanted = options.threads ?? 1;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST)
    throw loadError(`threads must be a whole number from 1 to ${MOST}, not ${wanted}`);
  let threads = 1;
  let pool: Pool | undefined;
  let reason = wanted === 1 ? "one thread was asked for" : refusal(layout);

  const link: Link = (module) => {
    const key = `${module ?? "baseline"}Threads` as const;
    const source = options[key] ?? places[key]?.();
    if (source === undefined) {
      reason = "nothing says where the module for threads is";
      return undefined;
    }
    const { memory: bytes, scratch } = layout.threads!;
    const pages = Math.ceil((bytes + wanted * scratch) / 65536);
    let memory: WebAssembly.Memory;
    try {
      memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch (error) {
      reason = `no shared memory of ${pages} pages: ${error}`;
      return undefined;
    }
    const compiled = compileFrom(source, { sha256: options.verify ? layout.hashes[key] : undefined });
    compiled.catch(() => {});
    return async (base): Promise<Core> => {
      new Uint8Array(memory.buffer).set(new Uint8Array(base.buffer));
      const kernels = await compiled;
      const { infer, stop } = (await WebAssembly.instantiate(kernels, { env: { memory } }))
        .exports as unknown as ThreadsCore;
      const started = await startWorkers(
        wanted - 1,
        { module: kernels, memory, threads: wanted },
        options.worker,
        places.worker,
      );
      if (typeof started === "string") {
        reason = started;
      } else {
        threads = wanted;
        pool = {
          end() {
            stop();
            started.end();
          },
        };
      }
      const waits = mayWait();
      return { memory, run: () => infer(threads, waits) };
    };
  };

  const model = await loadSingle(layout, places, options, reason === undefined ? link : undefined);
  const { dispose } = model;
  return Object.assign(model, {
    threads,
    threadsReason: reason ?? "asked for",
    dispose() {
      pool?.end();
      pool = undefined;
      dispose();
    },
  });
}
