/** The installed command: `bin/qc.js` over the build, under this Node and the system's. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
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
  test.each(engines)("starts in under 300 ms in %s", (engine) => {
    const times = Array.from({ length: 5 }, () => {
      const start = performance.now();
      expect(execFileSync(engine, [bin, "--help"], { encoding: "utf8" })).toContain("Usage: qc");
      return performance.now() - start;
    });
    // The least: other processes of the machine only ever add.
    expect(Math.min(...times)).toBeLessThan(300);
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
