#!/usr/bin/env node
import module from "node:module";

module.enableCompileCache?.();
process.stdout.on("error", (error) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
const { main } = await import("../dist/bin/main.js");
process.exitCode = await main(process.argv.slice(2));
