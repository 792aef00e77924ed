/** The same race in Chromium (set CHROMIUM to its path): a local server and a page per model. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import type { Sampling } from "../compiler/cli/bench/sampling.ts";
import { layoutOf } from "../runtime/format.ts";
import type { Case } from "./cases.ts";
import { liteRtFiles, liteRtVersion } from "./litert-files.ts";
import type { PageCase } from "./page.ts";
import type { RaceResult } from "./race.ts";

interface PageGlobals {
  raceHere(): Promise<RaceResult>;
  relaxedRefusal(dot: "u8s8"): string | undefined;
}

export interface BrowserSession {
  readonly engine: string;
  readonly relaxedRefusal: string | undefined;
  readonly race: (c: Case) => Promise<RaceResult>;
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
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL("./page.ts", import.meta.url))],
    bundle: true,
    format: "esm",
    write: false,
  });
  const dist = new URL("../node_modules/onnxruntime-web/dist/", import.meta.url);
  const files = new Map<string, Uint8Array | string>([
    ["index.html", '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>'],
    ["page.js", bundle.outputFiles[0]!.contents],
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
  const refusal = await first.evaluate(() => (globalThis as unknown as PageGlobals).relaxedRefusal("u8s8"));
  await first.close();
  return {
    engine: `Chromium ${browser.version()}`,
    relaxedRefusal: refusal,
    race: async (c) => {
      const plain = (data: unknown): number[] => Array.from(data as ArrayLike<number>);
      const described: PageCase = {
        layout: layoutOf(c.compiled.manifest),
        input: plain(c.input),
        peers: c.peers.map((p) => ({ label: p.label, input: plain(p.input) })),
        sampling,
        litert: litert && c.tflite !== undefined,
      };
      for (const f of c.files) files.set(f.name, f.bytes);
      for (const [i, p] of c.peers.entries()) files.set(`peer-${i}.onnx`, p.onnx);
      if (c.tflite) files.set("source.tflite", c.tflite);
      files.set("case.json", JSON.stringify(described));
      const page = await open();
      const result = await page.evaluate(() => (globalThis as unknown as PageGlobals).raceHere());
      await page.close();
      return result;
    },
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}
