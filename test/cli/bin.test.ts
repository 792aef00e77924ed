/** The installed command: `bin/qc.js` over the build, under this Node and the system's. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { requireOrSkip } from "../require.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = join(root, "bin/qc.js");
const built = requireOrSkip(
  "bin/qc.js",
  existsSync(join(root, "dist/compiler/cli/main.js")),
  "no build (npm run build)",
);
const system = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((p) => !p.includes("node_modules"))
  .map((p) => join(p, "node"))
  .find((p) => existsSync(p));
const engines = [process.execPath, ...(system ? [system] : [])];

describe.skipIf(!built)("bin/qc.js", () => {
  test("loads little before it knows the command", () => {
    const loaded = new Map<string, string>();
    const packages = new Set<string>();
    const load = (file: string): void => {
      if (loaded.has(file)) return;
      const text = readFileSync(join(root, "dist/bin", file), "utf8");
      loaded.set(file, text);
      for (const [, from] of text.matchAll(/^(?:import|export)\b[^;"]*"([^"]+)";$/gm))
        if (from!.startsWith("./")) load(from!.slice(2));
        else if (!from!.startsWith("node:")) packages.add(from!);
    };
    load("main.js");
    expect([...packages]).toEqual(["commander"]);
    expect([...loaded.values()].reduce((n, text) => n + text.length, 0)).toBeLessThan(50_000);
  });

  test.each(engines)("exit codes in %s", (engine) => {
    const code = (...argv: string[]) => spawnSync(engine, [bin, ...argv]).status;
    expect(code("--version")).toBe(0);
    expect(code("compile", "/no/such/model.onnx")).toBe(1);
    expect(code("compile", "--nonsense")).toBe(2);
  });

  test("a closed pipe is not an error", () => {
    const s = spawnSync("sh", ["-c", `"${process.execPath}" "${bin}" compile --help | true`], {
      encoding: "utf8",
    });
    expect(s.stderr).toBe("");
  });
});
