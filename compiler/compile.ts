/** Bytes → module → pipeline → backend → artifact. No I/O. */
import type { Compiled, CompileOptions } from "./compiled.ts";
import type { ExternalData } from "./frontend/onnx/convert-tensor.ts";
import { fail, type Result } from "./ir/diagnostics.ts";
import { notBuilt } from "./ir/messages-cli.ts";
import type { Module } from "./ir/module.ts";

export interface ImportOptions {
  /** Shown in diagnostics that concern the file as a whole. */
  readonly path?: string;
  readonly external?: ExternalData;
  /** Value of symbolic batch dimensions. Default 1. */
  readonly batch?: number;
}

/** Reads an ONNX model into the graph IR, as the file has it: fake-quantized, float between the quantizers. */
export function importModel(_bytes: Uint8Array, _options: ImportOptions = {}): Result<Module> {
  return fail(notBuilt("the frontend"));
}

/** Names of the passes that `runPasses` takes. */
export const passNames: readonly string[] = [];

/** Runs passes by name, in the given order. */
export function runPasses(_module: Module, _passes: readonly string[]): Result<Module> {
  return fail(notBuilt("the pass manager"));
}

/** Compiles a model for a WebAssembly target. Errors come back as diagnostics; a throw is a bug in qc. */
export async function compileModel(_bytes: Uint8Array, _options: CompileOptions): Promise<Result<Compiled>> {
  return fail(notBuilt("the compiler"));
}
