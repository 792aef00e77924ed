/** Real models in a real page, under a strict CSP: the same outputs as in Node, from whichever modules each engine takes. */
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { artifactFiles } from "../../compiler/backends/wasm/artifact/files.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel as load } from "../../runtime/index.ts";
import { requireOrSkip } from "../require.ts";
import { loadModel, loadSamples, randomInputs, zooIsThere } from "../zoo.ts";
import { allModels, compiled, FOLDER, inputName } from "./compiled.ts";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const present =
  zooIsThere &&
  requireOrSkip("Chromium", existsSync(executablePath), `none at ${executablePath} (set CHROMIUM)`);
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const names = ["mlperf_kws_dscnn", "mlperf_resnet8", "mobilenet_v1_025_128"].filter((n) =>
  allModels.includes(`${FOLDER}/${n}`),
);

type Numbers = readonly number[];
interface Seen {
  readonly backend: string;
  /** Per sample, per output. */
  readonly outputs: readonly { readonly [name: string]: Numbers }[];
}

const script = (stem: string): string => `import { load } from "./${stem}.js";
try {
  const samples = await (await fetch("samples.json")).json();
  const outputs = {};
  for (const backend of ["baseline", "auto"]) {
    const model = await load({ verify: true, backend });
    outputs[backend] = { backend: model.backend, outputs: samples.map((sample) => {
      const inputs = {};
      for (const [name, info] of Object.entries(model.inputs))
        inputs[name] = ({ int8: Int8Array, uint8: Uint8Array, float32: Float32Array })[info.dtype].from(sample[name]);
      return Object.fromEntries(Object.entries(model.run(inputs)).map(([name, y]) => [name, [...y]]));
    }) };
  }
  window.result = outputs;
} catch (e) { window.result = { error: String(e) }; }
`;
const page = '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>';
const types: Readonly<Record<string, string>> = {
  html: "text/html",
  js: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
};

async function serve(files: ReadonlyMap<string, Uint8Array | string>) {
  const server = createServer((request, response) => {
    const name = (request.url ?? "/").slice(1) || "index.html";
    const body = files.get(name);
    response.writeHead(body === undefined ? 404 : 200, {
      "content-type": types[name.split(".").at(-1)!] ?? "application/octet-stream",
      "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() };
}

describe.skipIf(!present)("in Chromium under a strict CSP", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(() => browser?.close());

  test.each(names)("%s gives the outputs of Node", async (stem) => {
    const name = `${FOLDER}/${stem}`;
    const source = loadModel(name);
    const artifact = await compiled(name);
    const input = inputName(source);
    const given = loadSamples(name)
      .inputs.slice(0, 3)
      .map((x) => new Map([[input, x]]));
    const samples = [...given, ...randomInputs(source, 7, 2)];
    const model = await load(
      layoutOf(artifact.manifest),
      {},
      {
        wasm: artifact.baseline as Uint8Array<ArrayBuffer>,
        backend: "baseline",
      },
    );
    const expected = samples.map((sample) => {
      const out = model.run(Object.fromEntries(sample));
      return Object.fromEntries(Object.entries(out).map(([o, y]) => [o, Array.from(y as Int8Array)]));
    });
    const json = samples.map((s) =>
      Object.fromEntries([...s].map(([n, x]) => [n, Array.from(x as Int8Array)])),
    );
    const files = new Map<string, Uint8Array | string>([
      ["index.html", page],
      ["page.js", script(stem)],
      ["samples.json", JSON.stringify(json)],
      ...artifactFiles(artifact, stem).map((f): [string, Uint8Array] => [f.name, f.bytes]),
    ]);
    const { url, close } = await serve(files);
    try {
      const tab = await browser.newPage();
      const errors: string[] = [];
      tab.on("pageerror", (e) => errors.push(e.message));
      await tab.goto(url);
      const seen = (await tab
        .waitForFunction(() => (globalThis as { result?: unknown }).result, undefined, { timeout: 60_000 })
        .then((handle) => handle.jsonValue())) as { error?: string; baseline: Seen; auto: Seen };
      expect(errors).toEqual([]);
      expect(seen.error).toBeUndefined();
      expect(seen.baseline.backend).toBe("baseline");
      expect(seen.baseline.outputs).toEqual(expected);
      expect(seen.auto.outputs).toEqual(expected);
      console.log(
        `${stem}: ${samples.length} samples equal in Chromium (baseline, and auto = ${seen.auto.backend})`,
      );
      await tab.close();
    } finally {
      close();
    }
  });
});
