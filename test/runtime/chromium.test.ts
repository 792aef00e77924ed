/** The generated files in a real Chromium, in a page and in a module Worker, under a strict CSP. */
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { requireOrSkip } from "../require.ts";
import { fixture } from "./fixture.ts";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const present = requireOrSkip(
  "Chromium",
  existsSync(executablePath),
  `not at ${executablePath} (set CHROMIUM)`,
);
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const page = '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>';
const use = (stem: string) => `import { load } from "./${stem}.js";
const progress = [];
const model = await load({ onProgress: (p) => progress.push(p) });
const out = model.run({ image: Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7) });
const streamed = performance.getEntriesByType("resource").some((e) => e.name.endsWith("${stem}.wasm"));
const result = { logits: [...out.logits], last: progress.at(-1), backend: model.backend, streamed };
`;
const pageScript = `${use("plus")}
let violation = null;
document.addEventListener("securitypolicyviolation", (e) => { violation = e.violatedDirective; });
try { new Function("return 1")(); } catch {}
const worker = new Worker("worker.js", { type: "module" });
worker.onmessage = (e) => { window.result = { page: result, worker: e.data, violation }; };
worker.onerror = (e) => { window.result = { error: e.message }; };
`;

const types: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
};

async function serve(wasmType: string): Promise<Server> {
  const files = new Map<string, Uint8Array | string>([
    ["index.html", page],
    ["page.js", pageScript],
    ["worker.js", `${use("plus")} postMessage(result);`],
  ]);
  for (const f of artifactFiles(await fixture({ exactOn: "any" }), "plus")) files.set(f.name, f.bytes);
  const server = createServer((request, response) => {
    const name = (request.url ?? "/").slice(1) || "index.html";
    const body = files.get(name);
    const ext = name.split(".").at(-1)!;
    response.writeHead(body === undefined ? 404 : 200, {
      "content-type": ext === "wasm" ? wasmType : (types[ext] ?? "application/octet-stream"),
      "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
      ...(body !== undefined && { "content-length": Buffer.byteLength(body) }),
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

describe.skipIf(!present)("Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(() => browser?.close());

  test.each(["application/wasm", "application/octet-stream"])(
    "page and worker, modules served as %s",
    async (type) => {
      const server = await serve(type);
      try {
        const tab = await browser.newPage();
        const errors: string[] = [];
        tab.on("pageerror", (e) => errors.push(e.message));
        await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
        const result = await tab
          .waitForFunction(() => (globalThis as { result?: unknown }).result, undefined, { timeout: 30_000 })
          .then((handle) => handle.jsonValue());
        const here = {
          logits: [0, 1, 2, 3, 4, 5, 6, 7].map((v) => (v * 2 + 3 + 1 - 10) / 4),
          last: { loaded: expect.any(Number), total: expect.any(Number) },
          backend: "relaxed",
          streamed: true,
        };
        expect(result).toEqual({ page: here, worker: here, violation: "script-src" });
        expect(errors).toEqual([]);
        await tab.close();
      } finally {
        server.close();
      }
    },
  );
});
