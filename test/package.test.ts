/** What npm gets: entry points, contents of the tarball, the command. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { requireOrSkip } from "./require.ts";
import { ROOT } from "./sources.ts";

interface Entry {
  readonly types: string;
  readonly default: string;
}
const pkg = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  readonly type: string;
  readonly sideEffects: boolean;
  readonly engines: { readonly node: string };
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | Entry>>;
  readonly scripts: Readonly<Record<string, string>>;
};
const git = existsSync(join(ROOT, ".git"));
const built = requireOrSkip(
  "package contents",
  existsSync(join(ROOT, "dist/compiler/index.js")),
  "no build (npm run build)",
);

test("package.json states what the documentation promises", () => {
  expect(pkg).toMatchObject({ type: "module", sideEffects: false, engines: { node: ">=20.19" } });
  expect(pkg.bin).toEqual({ qc: "bin/qc.js" });
  expect(Object.keys(pkg.exports)).toEqual(expect.arrayContaining([".", "./runtime"]));
  // Nothing runs on a user's machine when the package is installed: `prepare` is for checkouts.
  for (const hook of ["preinstall", "install", "postinstall"]) expect(pkg.scripts).not.toHaveProperty(hook);
});

test("bin/qc.js is an executable script", () => {
  expect(readFileSync(join(ROOT, "bin/qc.js"), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  if (process.platform !== "win32") expect(statSync(join(ROOT, "bin/qc.js")).mode & 0o111).toBe(0o111);
});

test.skipIf(!git)("and is so in git, as are the CI scripts", () => {
  const listed = execFileSync("git", ["ls-files", "-s", "bin/qc.js", ".ci/run", ".ci/package"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  for (const line of listed.trim().split("\n")) expect(line).toMatch(/^100755 /);
});

describe.skipIf(!built)("the build", () => {
  const entries = Object.values(pkg.exports).filter((e): e is Entry => typeof e === "object");

  test("has every entry point, with types", () => {
    for (const { types, default: js } of entries)
      for (const path of [types, js]) expect(existsSync(join(ROOT, path)), path).toBe(true);
  });

  test("packs the build, the command and the documents, and nothing else", () => {
    const out = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const report = JSON.parse(out) as
      | readonly { readonly files: readonly { readonly path: string }[] }[]
      | Readonly<Record<string, { readonly files: readonly { readonly path: string }[] }>>;
    const paths = Object.values(report)[0]!.files.map(({ path }) => path);
    for (const path of ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "bin/qc.js"])
      expect(paths, path).toContain(path);
    for (const { types, default: js } of entries)
      expect(paths).toEqual(expect.arrayContaining([types.slice(2), js.slice(2)]));
    const strange = paths.filter(
      (path) =>
        !/^(?:package\.json|LICENSE|[A-Z]+\.md|bin\/qc\.js|docs\/[^/]+\.md|dist\/(?:bin|compiler|runtime)\/.*\.(?:js|d\.ts))$/.test(
          path,
        ) || path.includes(".test."),
    );
    expect(strange).toEqual([]);
  });

  test("imports every file it names", () => {
    const js = execFileSync(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `for (const path of ${JSON.stringify(entries.map((e) => e.default))}) await import(path); console.log("loaded")`,
      ],
      { cwd: ROOT, encoding: "utf8" },
    );
    expect(js.trim()).toBe("loaded");
  });
});
