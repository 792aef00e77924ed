/** The reader must run on a page whose Content-Security-Policy forbids code from strings. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";

test("bundled for a browser, without code from strings", async () => {
  const folder = mkdtempSync(join(tmpdir(), "qc-csp-"));
  try {
    const { outputFiles } = await build({
      stdin: {
        contents: `
          import { readModel } from "./reader.ts";
          const bytes = Uint8Array.from(atob(process.argv[2]), (c) => c.charCodeAt(0));
          const result = readModel(bytes);
          const attribute = result.value.graph.nodes[0].attributes.get("i");
          console.log(result.ok, result.value.graph.name, typeof attribute.value, String(attribute.value));`,
        resolveDir: fileURLToPath(new URL(".", import.meta.url)),
        loader: "ts",
      },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "browser",
    });
    const [{ text } = { text: "" }] = outputFiles;
    expect(text).not.toMatch(/\beval\b|\bnew Function\b|[^.\w]Function\(/);
    expect(text.length).toBeLessThan(120_000);
    const file = join(folder, "bundle.mjs");
    writeFileSync(file, text);
    const model = w.model({ name: "g", nodes: [w.node("N", [], ["y"], { i: 2n ** 62n + 1n })] });
    const run = (path: string) =>
      execFileSync(
        process.execPath,
        ["--disallow-code-generation-from-strings", path, Buffer.from(model).toString("base64")],
        { encoding: "utf8" },
      );
    expect(run(file)).toBe("true g bigint 4611686018427387905\n");
    // The flag really forbids what it is here to forbid.
    const forbidden = join(folder, "forbidden.mjs");
    writeFileSync(forbidden, 'try { new Function("") } catch (e) { console.log(e.name) }');
    expect(run(forbidden)).toBe("EvalError\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
