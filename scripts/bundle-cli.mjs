/** The command line as a few files instead of some two hundred: `bin/qc.js` starts from these. */
import { build } from "esbuild";

await build({
  entryPoints: ["compiler/cli/main.ts"],
  outdir: "dist/bin",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  logLevel: "warning",
});
