/** Where bytes come from: URLs, files, responses, buffers. */
import { loadError } from "./errors.ts";

type Awaitable<T> = T | PromiseLike<T>;

/** A URL (relative ones resolve against the page; Node takes `file:` URLs), a `Response`, bytes, or a compiled module. */
export type Source = Awaitable<string | URL | Response | ArrayBuffer | ArrayBufferView | WebAssembly.Module>;

export interface Progress {
  /** Bytes received so far, over all files. */
  readonly loaded: number;
  /** Bytes expected, where every server said so. */
  readonly total?: number;
}

export interface ReadOptions {
  readonly onProgress?: ((received: number, expected: number | undefined) => void) | undefined;
  /** SHA-256 in hex the bytes must have. */
  readonly sha256?: string | undefined;
}

interface NodeProcess {
  getBuiltinModule?(
    name: "node:fs",
  ): { promises: { readFile(url: URL): Promise<Uint8Array<ArrayBuffer>> } } | undefined;
}

/** `file:` URLs through Node's file system where there is one: its `fetch` refuses them. Bundlers see no import. */
async function open(source: string | URL): Promise<Response | Uint8Array<ArrayBuffer>> {
  const href = String(source);
  try {
    if (href.startsWith("file:")) {
      const fs = (globalThis as { process?: NodeProcess }).process?.getBuiltinModule?.("node:fs");
      if (fs) return await fs.promises.readFile(new URL(href));
    }
    return await fetch(source);
  } catch (cause) {
    throw loadError(`cannot read ${href}`, cause);
  }
}

function counted(response: Response, onProgress: NonNullable<ReadOptions["onProgress"]>): Response {
  if (!response.body) return response;
  const expected = response.headers.has("content-encoding")
    ? undefined
    : Number(response.headers.get("content-length"));
  let received = 0;
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      received += chunk.length;
      onProgress(received, expected || undefined);
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(count), { headers: response.headers });
}

async function verify(bytes: BufferSource, sha256: string): Promise<void> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw loadError("cannot verify the artifact: no crypto.subtle here (a page needs HTTPS)");
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  const hex = Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256)
    throw loadError(`the module is not the one this loader was made for: SHA-256 ${hex}, not ${sha256}`);
}

/** Reads and compiles a module, streaming where the server declares `application/wasm` and nothing must be hashed. Throws `LoadError`. */
export async function compileFrom(
  source: Source,
  { onProgress, sha256 }: ReadOptions,
): Promise<WebAssembly.Module> {
  const given = await source;
  if (given instanceof WebAssembly.Module) {
    if (sha256) throw loadError("cannot verify a compiled module: pass its bytes");
    return given;
  }
  const opened = typeof given === "string" || given instanceof URL ? await open(given) : given;
  let bytes: BufferSource;
  // No look at `Response`: it makes Node load its HTTP client, which takes tens of milliseconds.
  if (ArrayBuffer.isView(opened) || opened instanceof ArrayBuffer) {
    bytes = opened as BufferSource;
    onProgress?.(bytes.byteLength, bytes.byteLength);
  } else {
    if (!opened.ok) throw loadError(`cannot read ${opened.url}: HTTP ${opened.status}`);
    const response = onProgress ? counted(opened, onProgress) : opened;
    const type = response.headers.get("content-type")?.split(";")[0]?.trim();
    if (type === "application/wasm" && !sha256)
      return compiled(WebAssembly.compileStreaming(response), opened.url);
    bytes = await response.arrayBuffer();
  }
  if (sha256) await verify(bytes, sha256);
  return compiled(WebAssembly.compile(bytes), "the given bytes");
}

const compiled = (module: Promise<WebAssembly.Module>, from: string): Promise<WebAssembly.Module> =>
  module.catch((cause: unknown) => {
    throw loadError(`cannot compile ${from}: ${cause instanceof Error ? cause.message : cause}`, cause);
  });

/** Reads a JSON file. Throws `LoadError`. */
export async function readJson(source: string | URL): Promise<unknown> {
  const opened = await open(source);
  if (ArrayBuffer.isView(opened)) return JSON.parse(new TextDecoder().decode(opened));
  if (!opened.ok) throw loadError(`cannot read ${opened.url}: HTTP ${opened.status}`);
  return opened.json();
}
