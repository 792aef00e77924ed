/** Several threads in a real Chromium: with the headers of docs/threads.md, without them, and under a strict CSP. */
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { compiled, inputName } from "../e2e/compiled.ts";
import { requireOrSkip } from "../require.ts";
import { loadModel, randomInputs, zooIsThere } from "../zoo.ts";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const present = requireOrSkip(
  "Chromium",
  existsSync(executablePath),
  `not at ${executablePath} (set CHROMIUM)`,
);
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
const MODEL = "int8-qdq/mlperf_kws_dscnn";

const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
const CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
const OPEN_CSP = `${CSP}; worker-src 'self' blob:`;

/** Runs the model on one thread and on several, in the page or in a worker of it. */
const use = `import { load } from "./m.js";
const input = await (await fetch("input.json")).json();
const data = { [input.name]: globalThis[input.type].from(input.data) };
export async function measure(options) {
  const one = await load();
  const many = await load({ threads: 3, verify: true, ...options });
  const bytes = (out) => JSON.stringify(Object.values(out).map((x) => [...x]));
  const expected = bytes(one.run(data));
  let same = 0;
  for (let i = 0; i < 200; i++) same += bytes(many.run(data)) === expected ? 1 : 0;
  const { threads, threadsReason } = many;
  many.dispose();
  one.dispose();
  return { threads, threadsReason, same, isolated: crossOriginIsolated };
}
`;
const page = `import { measure } from "./use.js";
const violations = [];
document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective));
const done = (result) => { window.result = { ...result, violations }; };
const how = new URLSearchParams(location.search).get("how");
if (how === "nested") {
  const worker = new Worker("nested.js", { type: "module" });
  worker.onmessage = (e) => done(e.data);
  worker.onerror = (e) => done({ error: e.message });
} else {
  const options = { file: { worker: "m.worker.js" }, missing: { worker: "absent.js" } }[how] ?? {};
  measure(options).then(done, (e) => done({ error: String(e) }));
}
`;
const nested = `import { measure } from "./use.js";
postMessage(await measure({}).catch((e) => ({ error: String(e) })));
`;

const docs = readFileSync(new URL("../../docs/threads.md", import.meta.url), "utf8");

const types: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
};

async function serve(headers: Record<string, string>): Promise<Server> {
  const onnx = loadModel(MODEL);
  const [, , sample] = randomInputs(onnx, 1, 1);
  const values = [...(sample as ReadonlyMap<string, ArrayLike<number>>).values()][0]!;
  const input = { name: inputName(onnx), type: values.constructor.name, data: Array.from(values) };
  const files = new Map<string, Uint8Array | string>([
    ["index.html", '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>'],
    ["served.html", '<script src="isolate.js"></script><script type="module" src="page.js"></script>'],
    ["isolate.js", /```js\n(\/\/ isolate\.js[^`]*)```/.exec(docs)![1]!],
    ["page.js", page],
    ["use.js", use],
    ["nested.js", nested],
    ["input.json", JSON.stringify(input)],
  ]);
  for (const f of artifactFiles(await compiled(MODEL, { threads: true }), "m")) files.set(f.name, f.bytes);
  const server = createServer((request, response) => {
    const name = new URL(request.url ?? "/", "http://x").pathname.slice(1) || "index.html";
    const body = files.get(name);
    response.writeHead(body === undefined ? 404 : 200, {
      "content-type": types[name.split(".").at(-1)!] ?? "application/octet-stream",
      ...headers,
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

describe.skipIf(!present || !zooIsThere)("Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(() => browser?.close());

  async function visit(headers: Record<string, string>, how = ""): Promise<unknown> {
    const server = await serve(headers);
    const tab = await browser.newPage();
    try {
      await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?how=${how}`);
      const handle = await tab.waitForFunction(() => (globalThis as { result?: unknown }).result, undefined, {
        timeout: 60_000,
      });
      return await handle.jsonValue();
    } finally {
      await tab.close();
      server.close();
    }
  }

  const several = { threads: 3, threadsReason: "asked for", same: 200, isolated: true, violations: [] };
  const alone = { threads: 1, same: 200, violations: [] };

  test("with COOP and COEP", async () => {
    expect(await visit(ISOLATED)).toEqual(several);
  });

  test("with Document-Isolation-Policy", async () => {
    expect(await visit({ "document-isolation-policy": "isolate-and-require-corp" })).toEqual(several);
  });

  test("in a worker of the page", async () => {
    expect(await visit(ISOLATED, "nested")).toEqual(several);
  });

  test("with a CSP that allows blob: workers", async () => {
    expect(await visit({ ...ISOLATED, "content-security-policy": OPEN_CSP })).toEqual(several);
  });

  test("with a strict CSP: by the file beside the loader, at the cost of a report", async () => {
    const result = await visit({ ...ISOLATED, "content-security-policy": CSP });
    expect(result).toEqual({ ...several, violations: expect.arrayContaining(["worker-src"]) });
  });

  test("with a strict CSP and the worker's URL: without a report", async () => {
    expect(await visit({ ...ISOLATED, "content-security-policy": CSP }, "file")).toEqual(several);
  });

  test("without headers: one thread", async () => {
    expect(await visit({})).toEqual({
      ...alone,
      isolated: false,
      threadsReason: "the page is not cross-origin isolated",
    });
  });

  test("with the service worker of docs/threads.md instead of headers", async () => {
    const server = await serve({});
    const tab = await browser.newPage();
    try {
      await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/served.html`);
      const handle = await tab.waitForFunction(
        () => {
          const { result } = globalThis as { result?: { isolated: boolean } };
          return result?.isolated && result;
        },
        undefined,
        { timeout: 60_000 },
      );
      expect(await handle.jsonValue()).toEqual(several);
    } finally {
      await tab.close();
      server.close();
    }
  });

  test("with a worker script that is not there: one thread", async () => {
    expect(await visit(ISOLATED, "missing")).toEqual({
      ...alone,
      isolated: true,
      threadsReason: expect.stringContaining("a worker did not start: "),
    });
  });
});
