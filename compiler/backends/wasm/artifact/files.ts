/** A compiled model as the files of its artifact. */
import { layoutOf, type Manifest } from "../../../../runtime/format.ts";
import { declarationSource } from "./declarations.ts";
import { type FileNames, loaderSource } from "./loader.ts";
import { manifestJson } from "./manifest.ts";

/** What a backend makes, before it has a file name. */
export interface WasmArtifact {
  readonly manifest: Manifest;
  /** Owns memory and weights. */
  readonly baseline: Uint8Array;
  /** Kernels that import `env.memory`. */
  readonly relaxed?: Uint8Array;
}

export interface ArtifactFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Every file an artifact of this stem may consist of; a writer removes those that are no longer part of it. */
export const possibleFiles = (stem: string): readonly string[] =>
  ["wasm", "relaxed.wasm", "js", "d.ts", "json"].map((ext) => `${stem}.${ext}`);

/** The files, in the order to write them. Equal artifacts and stems give equal bytes. */
export function artifactFiles(artifact: WasmArtifact, stem: string): readonly ArtifactFile[] {
  const { manifest, baseline, relaxed } = artifact;
  const wasm = `${stem}.wasm`;
  const files: FileNames = relaxed ? { wasm, relaxed: `${stem}.relaxed.wasm` } : { wasm };
  const layout = layoutOf(manifest);
  const text = (name: string, source: string): ArtifactFile => ({
    name,
    bytes: new TextEncoder().encode(source),
  });
  return [
    { name: wasm, bytes: baseline },
    ...(relaxed ? [{ name: `${stem}.relaxed.wasm`, bytes: relaxed }] : []),
    text(`${stem}.js`, loaderSource(layout, files, manifest.generator)),
    text(`${stem}.d.ts`, declarationSource(layout, manifest.generator)),
    text(`${stem}.json`, `${manifestJson({ ...manifest, files })}\n`),
  ];
}
