/** LiteRT.js in Node. The package is written for pages and workers: what it takes from there are parameters of its code here. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { type LiteRt, type LiteRtBuild, SCRIPTS } from "./litert.ts";
import { liteRtBundle, liteRtFile } from "./litert-files.ts";

const require = createRequire(import.meta.url);

/** A fresh instance of the installed package. */
export async function openInNode(build: LiteRtBuild): Promise<{ litert: LiteRt; script: string }> {
  const path = (name: string): string => fileURLToPath(liteRtFile(name));
  const quiet = (): void => {};
  const self: Record<string, unknown> = { Module: { locateFile: path, print: quiet, printErr: quiet } };
  const importScripts = (script: string): void => {
    const body = `${readFileSync(script, "utf8")}\nreturn ModuleFactory;`;
    self.ModuleFactory = compileFunction(body, ["require", "__filename", "__dirname"])(
      require,
      script,
      dirname(script),
    );
  };
  bundle ??= liteRtBundle("cjs");
  const module: { exports: unknown } = { exports: {} };
  const names = ["module", "exports", "self", "importScripts", "GPUBuffer", "console"];
  compileFunction(new TextDecoder().decode(await bundle), names)(
    module,
    module.exports,
    self,
    importScripts,
    class {},
    // It says that there is no WebGPU.
    { log: quiet, warn: quiet, error: quiet },
  );
  return { litert: module.exports as LiteRt, script: path(SCRIPTS[build]) };
}
let bundle: Promise<Uint8Array> | undefined;
