import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import type { Pass } from "../compiler/ir/pass.ts";
import { actual } from "./filetest.ts";
import { type Expectation, readFileTest, writeFileTest } from "./filetest-format.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const bless = process.env.BLESS === "1";
const hint = "if the new output is right, `BLESS=1 npm test` writes it into the file";

const filesBelow = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(ending))
    .sort()
    .map((f) => join(root, folder, f));

const isPass = (x: unknown): x is Pass =>
  typeof x === "object" && x !== null && "name" in x && "summary" in x && ("run" in x || "rules" in x);

/** Every pass any file below compiler/passes exports. */
async function loadPasses(): Promise<Map<string, Pass>> {
  const passes = new Map<string, Pass>();
  for (const file of filesBelow("compiler/passes", ".ts")) {
    if (file.endsWith(".test.ts") || !readFileSync(file, "utf8").includes("definePass(")) continue;
    const exports = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
    for (const x of Object.values(exports)) if (isPass(x)) passes.set(x.name, x);
  }
  return passes;
}

const passes = await loadPasses();
const files = [...filesBelow("compiler/passes", ".qir"), ...filesBelow("test/ir", ".qir")];

describe.each(files.map((f) => [relative(root, f), f]))("%s", (_, path) => {
  const text = readFileSync(path, "utf8");
  const file = readFileTest(text);
  const found: Expectation[] = [];
  for (const c of file.cases)
    test(`${c.title} (line ${c.line})`, () => {
      const now = actual(file, c, passes);
      found.push(now);
      if (!bless) {
        expect(now.errors, hint).toEqual(c.expected.errors);
        expect(now.text, hint).toBe(c.expected.text);
      }
    });
  test("has a case, and every case has an expectation", () => {
    expect(file.cases.length).toBeGreaterThan(0);
    if (bless && found.length === file.cases.length) writeFileSync(path, writeFileTest(file, found));
    const now = readFileTest(readFileSync(path, "utf8"));
    if (file.passes === "" && path.includes("invalid"))
      for (const c of now.cases) expect(c.expected.errors.length, c.title).toBeGreaterThan(0);
    // What bless writes, it reads back unchanged.
    expect(
      writeFileTest(
        now,
        now.cases.map((c) => c.expected),
      ),
    ).toBe(readFileSync(path, "utf8"));
  });
});
