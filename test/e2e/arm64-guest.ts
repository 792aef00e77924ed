/**
 * Runs in an ARM engine, perhaps emulated: loads modules as a page would and writes what they compute. Argument: a folder with
 * `job.json` and the files it names.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Layout } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { relaxedEngine } from "../../runtime/relaxed.ts";

export interface Job {
  readonly layout: Layout;
  /** By module: a file. */
  readonly modules: { readonly wasm: string; readonly relaxed: string; readonly relaxedS8?: string };
  /** Input names, and how many samples of each: `name.sample`. */
  readonly inputs: readonly {
    readonly name: string;
    readonly kind: "Float32Array" | "Int8Array" | "Uint8Array";
  }[];
  readonly samples: number;
}

const dir = process.argv[2]!;
const file = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(join(dir, name)));
const { layout, modules, inputs, samples } = JSON.parse(readFileSync(join(dir, "job.json"), "utf8")) as Job;
const constructors = { Float32Array, Int8Array, Uint8Array };

const sources = Object.fromEntries(Object.entries(modules).map(([key, name]) => [key, file(name)]));
const model = await loadModel(layout, {}, sources);
const results: number[][][] = [];
for (let sample = 0; sample < samples; sample++) {
  const given = Object.fromEntries(
    inputs.map(({ name, kind }, i) => [name, new constructors[kind](file(`${i}.${sample}`).buffer)]),
  );
  // Often enough that the engine has optimized what it computes at the end.
  let out = model.run(given);
  for (let i = 0; i < 3; i++) out = model.run(given);
  results.push(layout.outputs.map((p) => Array.from(out[p.name]!, Number)));
}
const { backend, backendReason } = model;
writeFileSync(
  join(dir, "result.json"),
  JSON.stringify({ arch: process.arch, engine: relaxedEngine(), backend, backendReason, results }),
);
