/** Limits on the source itself: file sizes, dependencies, escapes from the type system, words that do not belong here. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { files, isGenerated, type SourceFile } from "./sources.ts";

const sources = files(/^(bench|bin|compiler|examples|runtime|scripts|test)\/.*\.(ts|mts|js|mjs|py)$/).filter(
  (f) => !isGenerated(f),
);
const typed = sources.filter(({ path }) => /\.m?ts$/.test(path));
const lines = ({ text }: SourceFile): number => text.split("\n").length - (text.endsWith("\n") ? 1 : 0);

const MAX_LINES = 500;
const tooLong = (all: readonly SourceFile[]): string[] =>
  all.filter((f) => lines(f) > MAX_LINES).map((f) => `${f.path}: ${lines(f)} lines`);

const ESCAPES =
  /@ts-(?:ignore|nocheck)|biome-ignore[^\n]*noExplicitAny|,\s*any\s*>|(?:\bas|[:<|&=])\s*any\b(?=\s*(?:[;,)>|&=[\]{}]|$))/m;
const escapes = (all: readonly SourceFile[]): string[] =>
  all.flatMap(({ path, text }) => {
    const code = text.replace(/"(?:[^"\\\n]|\\.)*"/g, '""').replace(/^\s*\*.*$/gm, "");
    const found = ESCAPES.exec(code);
    return found === null ? [] : [`${path}: ${found[0]}`];
  });

/** Paths of one machine, and hosts that only one network knows. */
const FOREIGN =
  /(?<![\w.])\/(?:work|root|workspace|Users\/\w+|home\/\w+)\/|[A-Z]:\\Users\\|\/\/(?:registry\.|npm\.|pypi\.|10\.\d+|192\.168\.)/;
const foreign = (all: readonly SourceFile[]): string[] =>
  all.flatMap(({ path, text }) => {
    const found = FOREIGN.exec(text);
    return found === null ? [] : [`${path}: ${found[0]}`];
  });

describe("budgets", () => {
  test("no source file is longer than 500 lines", () => {
    expect(sources.length).toBeGreaterThan(200);
    expect(tooLong(sources)).toEqual([]);
  });

  test("half of the source files have at most 150 lines", () => {
    const sorted = sources.map(lines).sort((a, b) => a - b);
    expect(sorted[sorted.length >> 1]).toBeLessThanOrEqual(150);
  });

  test("run-time dependencies", () => {
    const { dependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
    expect(Object.keys(dependencies).sort()).toEqual([
      "binaryen",
      "chevrotain",
      "commander",
      "fflate",
      "protobufjs",
    ]);
  });

  test("no escape from the type system", () => {
    expect(escapes(typed.filter(({ path }) => path !== "test/budgets.test.ts"))).toEqual([]);
  });

  test("nothing in the repository depends on one machine or network", () => {
    const texts = files(
      /(?:\.(?:ts|mts|js|mjs|py|json|md|qir|qk|proto|html|c|h|sh|yml)|^\.ci\/run|^\.npmrc|^\.gitignore)$/,
    );
    expect(texts.some(({ path }) => path === "package-lock.json")).toBe(true);
    expect(texts.some(({ path }) => path === ".ci/run")).toBe(true);
    expect(foreign(texts.filter(({ path }) => path !== "test/budgets.test.ts"))).toEqual([]);
  });
});

/** Samples are put together here, so that no search of the sources takes them for the real thing. */
const TYPE = ["an", "y"].join("");
const path = (...parts: readonly string[]): string => ["", ...parts].join("/");

describe("the checks can say no", () => {
  const file = (text: string): SourceFile[] => [{ path: "x.ts", text }];

  test("on length", () => {
    expect(tooLong(file("a\n".repeat(500)))).toEqual([]);
    expect(tooLong(file("a\n".repeat(501)))).toEqual(["x.ts: 501 lines"]);
  });

  test.each([
    `let x: ${TYPE};`,
    `f(x as ${TYPE})`,
    `const m: Map<string, ${TYPE}> = n;`,
    `x: ${TYPE}[]`,
    `// @ts-${"ignore"}`,
    `type A = ${TYPE};`,
  ])("on %s", (text) => {
    expect(escapes(file(text))).toHaveLength(1);
  });

  test.each([
    `kind: "${TYPE}",`,
    `// there is ${TYPE} number: ${TYPE} of them`,
    `${TYPE}Of(x)`,
    `const ${TYPE} = 1;`,
    `f(${TYPE}thing)`,
  ])("but not on %s", (text) => {
    expect(escapes(file(text))).toEqual([]);
  });

  test.each([
    path("work", "main", "x"),
    `see ${path("home", "me", "models")}`,
    `https:/${path("registry.example.org", "x")}`,
    ["C:", "Users", "me"].join("\\"),
  ])("on %s", (text) => {
    expect(foreign(file(text))).toHaveLength(1);
  });

  test.each(["../shared/zoo", "https://onnx.ai/work/", "./work/x", "a/root/b"])("but not on %s", (text) => {
    expect(foreign(file(text))).toEqual([]);
  });
});
