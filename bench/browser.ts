/** The same race in Chromium (set CHROMIUM to its path): a local server and a page per model. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { type Sampling, type Spread, spreadOf } from "../compiler/cli/bench/sampling.ts";
import { layoutOf, type RelaxedDot } from "../runtime/format.ts";
import type { Case } from "./cases.ts";
import { liteRtFiles, liteRtVersion } from "./litert-files.ts";
import { WHOLE_BYTES } from "./machine.ts";
import type { PageCase } from "./page.ts";
import type { RaceResult } from "./race.ts";
import type { StartResult } from "./results.ts";
import type { StartCase, StartEngine, Started } from "./start-page.ts";

interface PageGlobals {
  raceHere(): Promise<RaceResult>;
  startHere(engine: StartEngine): Promise<Started>;
  relaxedRefusal(dots: readonly RelaxedDot[]): string | undefined;
}

export interface BrowserSession {
  readonly engine: string;
  readonly relaxedRefusal: string | undefined;
  readonly race: (c: Case) => Promise<RaceResult>;
  /** Every engine in a fresh page of a fresh profile, in turn, `times` times, or at least twice and until `limitMs` have passed. */
  readonly start: (c: Case, result: RaceResult, times: number, limitMs: number) => Promise<StartResult>;
  readonly close: () => Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html",
  js: "text/javascript",
  json: "application/json",
  mjs: "text/javascript",
  wasm: "application/wasm",
};

/** Throws if there is no Chromium. */
export async function browserSession(sampling: Sampling): Promise<BrowserSession> {
  const script = async (name: string): Promise<Uint8Array> => {
    const entry = fileURLToPath(new URL(name, import.meta.url));
    const bundle = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
    return bundle.outputFiles[0]!.contents;
  };
  const html = (source: string): string =>
    `<!doctype html><meta charset="utf-8"><body><script type="module" src="${source}"></script>`;
  const dist = new URL("../node_modules/onnxruntime-web/dist/", import.meta.url);
  const files = new Map<string, Uint8Array | string>([
    ["index.html", html("page.js")],
    ["page.js", await script("./page.ts")],
    ["start.html", html("start-page.js")],
    ["start-page.js", await script("./start-page.ts")],
    ...["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"].map((name): [string, Uint8Array] => [
      name,
      readFileSync(new URL(name, dist)),
    ]),
  ]);
  const litert = liteRtVersion() !== undefined;
  if (!litert) console.error("LiteRT.js does not take part: npm install @litertjs/core");
  if (litert) for (const [name, bytes] of await liteRtFiles()) files.set(name, bytes);
  const server = createServer((request, response) => {
    const name = (request.url ?? "/").slice(1).replace(/\?.*$/, "") || "index.html";
    const body = files.get(name);
    response.writeHead(body === undefined ? 404 : 200, {
      "content-type": TYPES[name.split(".").at(-1)!] ?? "application/octet-stream",
      "cache-control": "no-store",
      // An isolated page has a clock of 5 µs instead of 100.
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
  const open = async () => {
    const page = await browser.newPage();
    await page.goto(address);
    await page.waitForFunction(() => "raceHere" in globalThis);
    return page;
  };
  const first = await open();
  const refusal = await first.evaluate(
    (dots) => (globalThis as unknown as PageGlobals).relaxedRefusal(dots),
    WHOLE_BYTES,
  );
  await first.close();
  const plain = (data: unknown): number[] => Array.from(data as ArrayLike<number>);
  const serve = (c: Case): void => {
    for (const name of [...files.keys()].filter((n) => n.startsWith("model."))) files.delete(name);
    for (const f of c.files) files.set(f.name, f.bytes);
    if (c.tflite) files.set("source.tflite", c.tflite);
  };
  const startOnce = async (engine: StartEngine): Promise<Started> => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${address}start.html`);
    await page.waitForFunction(() => "startHere" in globalThis);
    const started = await page.evaluate((e) => (globalThis as unknown as PageGlobals).startHere(e), engine);
    await context.close();
    return started;
  };
  return {
    engine: `Chromium ${browser.version()}`,
    relaxedRefusal: refusal,
    race: async (c) => {
      const described: PageCase = {
        layout: layoutOf(c.compiled.manifest),
        relaxed: c.compiled.relaxed !== undefined,
        relaxedS8: c.compiled.relaxedS8 !== undefined,
        input: plain(c.input),
        peers: c.peers.map((p) => ({ label: p.label, input: plain(p.input) })),
        sampling,
        litert: litert && c.tflite !== undefined,
        ...(c.floatPeer && { float: plain(c.floatPeer.input) }),
      };
      serve(c);
      for (const [i, p] of c.peers.entries()) files.set(`peer-${i}.onnx`, p.onnx);
      if (c.floatPeer) files.set("float.onnx", c.floatPeer.onnx);
      files.set("case.json", JSON.stringify(described));
      const page = await open();
      const result = await page.evaluate(() => (globalThis as unknown as PageGlobals).raceHere());
      await page.close();
      return result;
    },
    start: async (c, { best, peers }, times, limitMs) => {
      serve(c);
      const peer = c.peers[best]!;
      const [port] = c.compiled.manifest.inputs;
      const described: StartCase = {
        name: port!.name,
        shape: port!.shape,
        dtype: port!.dtype,
        input: plain(c.input),
        peer: {
          dtype: best > 0 && port!.dtype === "int8" ? "uint8" : port!.dtype,
          input: plain(peer.input),
          level: peers[best]!.level,
        },
      };
      files.set("start.json", JSON.stringify(described));
      files.set("start.onnx", peer.onnx);
      const engines: readonly StartEngine[] = litert && c.tflite ? ["qc", "ort", "litert"] : ["qc", "ort"];
      const seen = new Map(engines.map((e): [StartEngine, Started[]] => [e, []]));
      const begin = performance.now();
      for (let i = 0; i < times && (i < 2 || performance.now() - begin < limitMs); i++)
        for (const j of engines.keys()) {
          const e = engines[(i + j) % engines.length]!;
          seen.get(e)!.push(await startOnce(e));
        }
      const of = (e: StartEngine): Spread => spreadOf(seen.get(e)!.map((s) => s.ms));
      const memory = (e: StartEngine): number => Math.max(...seen.get(e)!.map((s) => s.memoryBytes));
      const both = { qc: of("qc"), ort: of("ort"), memory: { qc: memory("qc"), ort: memory("ort") } };
      if (!seen.has("litert")) return both;
      return { ...both, litert: of("litert"), memory: { ...both.memory, litert: memory("litert") } };
    },
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}
