import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { pages } from "../scripts/docs.mjs";

test.each(Object.keys(pages))("%s is up to date", (path) => {
  const url = new URL(`../${path}`, import.meta.url);
  const text = pages[path]!();
  if (process.env.BLESS === "1") writeFileSync(url, text);
  expect(readFileSync(url, "utf8"), "`BLESS=1 npm test` or `npx node scripts/docs.mjs` writes it").toBe(text);
});
