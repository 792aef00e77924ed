/** A compiled model as the files of its artifact. */
import { layoutOf, type Manifest, type ThreadsModule } from "../../../../runtime/format.ts";
import { declarationSource } from "./declarations.ts";
import { type FileNames, loaderSource } from "./loader.ts";
import { manifestJson } from "./manifest.ts";
import { WORKER } from "./worker.gen.js";

/** What a backend makes, before it has a file name. */
export interface WasmArtifact {
  readonly manifest: Manifest;
  /** Owns memory and weights. */
  readonly baseline: Uint8Array;
  /** Kernels that import `env.memory`. */
  readonly relaxed?: Uint8Array;
  /** Its twin for dot products of signed bytes. */
  readonly relaxedS8?: Uint8Array;
  /** The same for several threads, on a shared memory. */
  readonly threads?: { readonly [m in ThreadsModule]?: Uint8Array };
}

export interface ArtifactFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const THREADS: { readonly [m in ThreadsModule]: string } = {
  baselineThreads: "threads.wasm",
  relaxedThreads: "relaxed.threads.wasm",
  relaxedS8Threads: "relaxed-s8.threads.wasm",
};

/** Every file an artifact of this stem may consist of; a writer removes those that are no longer part of it. */
export const possibleFiles = (stem: string): readonly string[] =>
  [
    ...["wasm", "relaxed.wasm", "relaxed-s8.wasm", "js", "d.ts", "json"],
    ...Object.values(THREADS),
    "worker.js",
  ].map((ext) => `${stem}.${ext}`);

/** The files, in the order to write them. Equal artifacts and stems give equal bytes. */
export function artifactFiles(artifact: WasmArtifact, stem: string): readonly ArtifactFile[] {
  const { manifest, baseline, relaxed, relaxedS8, threads } = artifact;
  const shared = (Object.entries(threads ?? {}) as [ThreadsModule, Uint8Array][]).map(([module, bytes]) => ({
    module,
    name: `${stem}.${THREADS[module]}`,
    bytes,
  }));
  const wasm = `${stem}.wasm`;
  const files: FileNames = {
    wasm,
    ...(relaxed && { relaxed: `${stem}.relaxed.wasm` }),
    ...(relaxedS8 && { relaxedS8: `${stem}.relaxed-s8.wasm` }),
    ...Object.fromEntries(shared.map((f) => [f.module, f.name])),
    ...(threads && { worker: `${stem}.worker.js` }),
  };
  const layout = layoutOf(manifest);
  const text = (name: string, source: string): ArtifactFile => ({
    name,
    bytes: new TextEncoder().encode(source),
  });
  return [
    { name: wasm, bytes: baseline },
    ...(relaxed ? [{ name: files.relaxed!, bytes: relaxed }] : []),
    ...(relaxedS8 ? [{ name: files.relaxedS8!, bytes: relaxedS8 }] : []),
    ...shared.map(({ name, bytes }) => ({ name, bytes })),
    ...(threads ? [text(files.worker!, WORKER)] : []),
    text(`${stem}.js`, loaderSource(layout, files, manifest.generator)),
    text(`${stem}.d.ts`, declarationSource(layout, manifest.generator)),
    text(`${stem}.json`, `${manifestJson({ ...manifest, files })}\n`),
  ];
}
