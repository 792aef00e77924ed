/** What a page needs to run LiteRT.js, from the npm package `@litertjs/core`. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { SCRIPTS } from "./litert.ts";

const PACKAGE = new URL("../node_modules/@litertjs/core/", import.meta.url);

/** Of the installed package; undefined if it is not installed. */
export function liteRtVersion(): string | undefined {
  const path = new URL("package.json", PACKAGE);
  if (!existsSync(path)) return undefined;
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}

const UINT8_ROW =
  /\{\s*dtype: "uint8",\s*typedArrayConstructor: Uint8Array,\s*elementType: ElementType\.UINT8\s*\}/;

/** The package's table of element types has no row for int8, which its engine runs. Throws an Error if there is no such table. */
export function withInt8(source: string): string {
  if (!UINT8_ROW.test(source)) throw new Error("@litertjs/core has no table of element types as expected");
  return source.replace(
    UINT8_ROW,
    (row) => `${row}, { dtype: "int8", typedArrayConstructor: Int8Array, elementType: ElementType.INT8 }`,
  );
}

/** A file of the package's engine. */
export const liteRtFile = (name: string): URL => new URL(`wasm/${name}`, PACKAGE);

/** The package in one file, with int8 tensors. */
export async function liteRtBundle(format: "esm" | "cjs"): Promise<Uint8Array> {
  const bundle = await build({
    stdin: {
      contents: withInt8(readFileSync(new URL("dist/index.js", PACKAGE), "utf8")),
      resolveDir: fileURLToPath(new URL("dist/", PACKAGE)),
    },
    bundle: true,
    format,
    write: false,
  });
  return bundle.outputFiles[0]!.contents;
}

/** Files by name: the bundled package, and two builds of its engine. */
export async function liteRtFiles(): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map([["litert.js", await liteRtBundle("esm")]]);
  for (const script of Object.values(SCRIPTS))
    for (const name of [script, script.replace(/js$/, "wasm")])
      files.set(name, readFileSync(liteRtFile(name)));
  return files;
}
