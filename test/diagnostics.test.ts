/** Messages live in one place, have one meaning per code, and the reference page has them all. */
import { describe, expect, test } from "vitest";
import { allMessages, diagnosticsPage, messagesOf, template } from "../scripts/diagnostics.mjs";
import { files, isTest } from "./sources.ts";

const sources = files(/^(?:compiler|runtime)\/.*\.ts$/).filter((f) => !isTest(f));
const isHome = (path: string): boolean => /^compiler\/ir\/messages(?:-\w+)?\.ts$/.test(path);
const OWN = "test/diagnostics.test.ts";
const codesOf = (text: string): string[] => text.match(/QC\d{4}/g) ?? [];

test("only compiler/ir/messages*.ts makes diagnostics", () => {
  expect(
    sources
      .filter(
        ({ path, text }) => !isHome(path) && /(?:diagnostic\((?:[^;]*?)|code:\s*)["'`]QC\d{4}/.test(text),
      )
      .map((f) => f.path),
  ).toEqual([]);
});

test("the page lists every code", () => {
  const page = diagnosticsPage();
  const codes = sources.filter(({ path }) => isHome(path)).flatMap(({ text }) => codesOf(text));
  expect(codes.length).toBeGreaterThan(100);
  for (const code of codes) expect(page).toContain(`### ${code}\n`);
});

test("a code has one message", () => {
  const seen = new Map<string, string>();
  for (const { code, message } of allMessages()) {
    expect(seen.get(code) ?? message, code).toBe(message);
    seen.set(code, message);
  }
});

test("codes that tests expect exist", () => {
  const known = new Set(allMessages().map(({ code }) => code));
  const expected = files(/^(?:compiler|test)\/.*\.(?:test\.ts|qir)$/)
    .filter(({ path }) => path !== OWN)
    .flatMap(({ path, text }) =>
      (text.match(/"QC\d{4}"|error: QC\d{4}/g) ?? []).map((c) => [path, codesOf(c)[0]!]),
    );
  expect(expected.filter(([, code]) => !known.has(code!)).map(([path, code]) => `${path}: ${code}`)).toEqual(
    [],
  );
});

test("every code is expected by some test", () => {
  const tested = new Set(
    files(/^(?:test\/.*\.(?:ts|qir)|(?:compiler|runtime)\/.*(?:\.test\.ts|\.qir))$/)
      .filter(({ path }) => path !== OWN)
      .flatMap(({ text }) => codesOf(text)),
  );
  const codes = new Set(allMessages().map(({ code }) => code));
  expect([...codes].filter((code) => !tested.has(code))).toEqual([]);
});

test("every message is said somewhere", () => {
  const homes = sources.filter(({ path }) => isHome(path));
  const names = homes.flatMap(({ text }) =>
    [...text.matchAll(/^export (?:const|function) (\w+)[^;]*?"QC\d{4}"/gms)].map((m) => m[1]!),
  );
  expect(names.length).toBeGreaterThan(100);
  const code = sources.map(({ text }) => text).join("\n");
  const uses = (name: string): number => code.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
  expect(names.filter((name) => uses(name) < 2)).toEqual([]);
});

describe("the reader of messages", () => {
  test.each([
    ['"plain"', "plain"],
    ["`a ${x} b`", "a ‹x› b"],
    ["`of ${quote(name)}`", 'of "‹name›"'],
    ["`${n === 1 ? `a ${thing}` : `${n} more`}`", "‹a ‹thing› | ‹n› more›"],
    ['`x${why === "" ? "" : `: ${why}`}`', "x‹: ‹why››"],
    ["reason", "‹reason›"],
    ["`brackets } and \\`ticks\\` ${a.b}`", "brackets } and `ticks` ‹b›"],
  ])("%s", (expression, text) => {
    expect(template(expression)).toBe(text);
  });

  test("finds severity, code, text, doc and fixes", () => {
    const source = `/** Not this. */
export const other = 1;
/** Why it
 * matters. */
export const m = (x: string) =>
  diagnostic("warning", "QC1999", \`no "\${x}", really\`, { loc, fixes: ["do (this), first", \`or \${x}\`] });
export const n = (s: Severity) => diagnostic(s, "QC1998", "b");
const o = error("QC1997", "c", undefined);`;
    expect(messagesOf(source)).toEqual([
      {
        code: "QC1999",
        severity: "warning",
        message: 'no "‹x›", really',
        doc: "Why it matters.",
        fixes: ["do (this), first", "or ‹x›"],
      },
      { code: "QC1998", severity: "error or warning", message: "b", doc: "", fixes: [] },
      { code: "QC1997", severity: "error", message: "c", doc: "", fixes: [] },
    ]);
  });
});
