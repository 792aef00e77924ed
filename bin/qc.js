#!/usr/bin/env node
import module from "node:module";
import { setFlagsFromString } from "node:v8";

module.enableCompileCache?.();
// Compiling allocates much and keeps it: a young generation that starts large is collected half as often.
setFlagsFromString("--semi-space-growth-factor=64");
process.stdout.on("error", (error) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
const argv = process.argv.slice(2);
// First: threads load while this one does.
const { assemblyFor } = await import("../dist/bin/assembly.js");
const assemble = assemblyFor(argv);
const { main, systemTerminal } = await import("../dist/bin/main.js");
process.exitCode = await main(argv, systemTerminal(assemble));
