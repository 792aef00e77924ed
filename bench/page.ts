/** The race inside a page: bundled by browser.ts, called from there. */

import type { Sampling } from "../compiler/cli/bench/sampling.ts";
import type { Layout } from "../runtime/format.ts";
import { loadModel } from "../runtime/load.ts";
import { relaxedRefusal } from "../runtime/relaxed.ts";
import { liteRtEntrant, openInPage } from "./litert.ts";
import { type Ort, type RaceResult, race } from "./race.ts";

/** `/case.json`: everything of a case but the files, which lie beside it. */
export interface PageCase {
  readonly layout: Layout;
  /** Which relaxed modules there are, at `/model.relaxed.wasm` and `/model.relaxed-s8.wasm`. */
  readonly relaxed: boolean;
  readonly relaxedS8: boolean;
  readonly input: readonly number[];
  /** Models at `/peer-<i>.onnx`. */
  readonly peers: readonly { readonly label: string; readonly input: readonly number[] }[];
  readonly sampling: Sampling;
  /** Whether LiteRT.js takes part, with `/source.tflite`. */
  readonly litert: boolean;
  /** The input of the float model at `/float.onnx`, where there is one. */
  readonly float?: readonly number[];
}

async function bytesAt(path: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(path)).arrayBuffer());
}

async function raceHere(): Promise<RaceResult> {
  const specifier = "/ort.wasm.bundle.min.mjs";
  const ort = (await import(specifier)) as Ort;
  ort.env.wasm.wasmPaths = { wasm: "/ort-wasm-simd-threaded.wasm" };
  const c = (await (await fetch("/case.json")).json()) as PageCase;
  const places = {
    wasm: () => "/model.wasm",
    ...(c.relaxed && { relaxed: () => "/model.relaxed.wasm" }),
    ...(c.relaxedS8 && { relaxedS8: () => "/model.relaxed-s8.wasm" }),
  };
  return race(ort, {
    load: (options) => loadModel(c.layout, places, options),
    input: c.input,
    peers: await Promise.all(c.peers.map(async (p, i) => ({ ...p, onnx: await bytesAt(`/peer-${i}.onnx`) }))),
    sampling: c.sampling,
    ...(c.litert && { litert: (build, data) => liteRtEntrant(build, openInPage, "/source.tflite", data) }),
    ...(c.float && { float: { onnx: await bytesAt("/float.onnx"), input: c.float } }),
  });
}

Object.assign(globalThis, { raceHere, relaxedRefusal });
