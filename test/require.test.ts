import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";

const url = new URL("./require.ts", import.meta.url).href;
const script = `const r = await import(${JSON.stringify(url)});
  console.log(JSON.stringify([r.full, r.requireOrSkip("a", true, "b")]));
  r.requireOrSkip("the zoo", false, "no such folder");`;
const argv = ["--input-type=module", "-e", script];
const env = (more: object) => ({ ...process.env, QC_REQUIRE_ALL: "", QC_FULL: "", ...more });

test("without flags, what is missing is printed and skipped", () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: "utf8", env: env({}) });
  expect([stdout.trim(), status]).toEqual(["[false,true]", 0]);
  expect(stderr).toContain("skipped: the zoo: no such folder");
});

test("QC_FULL enables the slow suites", () => {
  const out = execFileSync(process.execPath, argv, {
    encoding: "utf8",
    env: env({ QC_FULL: "1" }),
    stdio: "pipe",
  });
  expect(out.trim()).toBe("[true,true]");
});

test("under QC_REQUIRE_ALL, what is missing is a failure", () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, {
    encoding: "utf8",
    env: env({ QC_REQUIRE_ALL: "1" }),
  });
  expect([stdout.trim(), status]).toEqual(["[true,true]", 1]);
  expect(stderr).toContain("the zoo is missing: no such folder");
});
