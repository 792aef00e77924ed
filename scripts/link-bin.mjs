/** Puts this package's own command where `npx` looks first. npm links the bins of dependencies only. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";

const bin = new URL("../node_modules/.bin/", import.meta.url);
if (process.platform !== "win32") {
  mkdirSync(bin, { recursive: true });
  rmSync(new URL("qc", bin), { force: true });
  symlinkSync("../../bin/qc.js", new URL("qc", bin));
}
