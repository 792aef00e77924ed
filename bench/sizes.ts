/** Bytes a page has to fetch. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Report } from "../compiler/compiled.ts";
import type { ArtifactFile } from "../compiler/index.ts";

export interface Shipped {
  readonly raw: number;
  /** After gzip -9, file by file. */
  readonly gzip: number;
}

export const shipped = (bytes: Uint8Array): Shipped => ({
  raw: bytes.length,
  gzip: gzipSync(bytes, { level: 9 }).length,
});

export const together = (parts: readonly Shipped[]): Shipped =>
  parts.reduce((a, b) => ({ raw: a.raw + b.raw, gzip: a.gzip + b.gzip }), { raw: 0, gzip: 0 });

export interface QcSizes {
  readonly js: Shipped;
  readonly wasm: Shipped;
  /** Fetched only where the relaxed kernels run. */
  readonly relaxed: Shipped;
}

export function qcSizes(files: readonly ArtifactFile[]): QcSizes {
  const part = (name: string): Shipped => {
    const file = files.find((f) => f.name === name);
    return file ? shipped(file.bytes) : { raw: 0, gzip: 0 };
  };
  return { js: part("model.js"), wasm: part("model.wasm"), relaxed: part("model.relaxed.wasm") };
}

/**
 * Bytes of the weights alone: over the weight tensors of the integer graph, elements times the least width in bits that holds
 * every one of them, divided by 8. Channels folded into constants are no longer among them.
 */
export const packedWeights = ({ layers }: Report): number =>
  layers.reduce((sum, { weights }) => sum + (weights?.bytes ?? 0), 0);

/** What a page fetches beyond the weights: its files after gzip, minus `packedWeights`. */
export const beyondWeights = (
  { js, wasm, relaxed }: QcSizes,
  weights: number,
): { readonly baseline: number; readonly relaxed: number } => ({
  baseline: js.gzip + wasm.gzip - weights,
  relaxed: js.gzip + wasm.gzip + relaxed.gzip - weights,
});

const ortFile = (name: string): Shipped =>
  shipped(readFileSync(new URL(`../node_modules/onnxruntime-web/dist/${name}`, import.meta.url)));

/** onnxruntime-web's smallest build for WASM and the model. */
export function ortSizes(model: Uint8Array): Shipped {
  engine ??= together([ortFile("ort.wasm.bundle.min.mjs"), ortFile("ort-wasm-simd-threaded.wasm")]);
  return together([engine, shipped(model)]);
}
let engine: Shipped | undefined;
