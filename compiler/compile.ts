/** Bytes → module → pipeline → backend → artifact. No I/O. */
import type { Compiled, CompileOptions } from "./compiled.ts";
import { importModel as importOrdered } from "./frontend/import.ts";
import type { ExternalData } from "./frontend/onnx/convert-tensor.ts";
import { orderModel } from "./frontend/onnx/graph.ts";
import { readModel } from "./frontend/onnx/reader.ts";
import { fail, ok, type Result } from "./ir/diagnostics.ts";
import { notBuilt } from "./ir/messages-cli.ts";
import type { Module } from "./ir/module.ts";
import { type Pass, parsePasses, runPipeline } from "./ir/pass.ts";
import { canonicalize } from "./passes/canonicalize.ts";
import { certify } from "./passes/certify.ts";
import { fuseKernels } from "./passes/fuse-kernels.ts";
import { integerize } from "./passes/integerize/index.ts";
import { layoutNhwc } from "./passes/layout-nhwc.ts";
import { unsigned } from "./passes/unsigned.ts";

export interface ImportOptions {
  /** Shown in diagnostics that concern the file as a whole. */
  readonly path?: string;
  readonly external?: ExternalData;
  /** Value of symbolic batch dimensions. Default 1. */
  readonly batch?: number;
}

/** Reads an ONNX model into the graph IR, as the file has it: fake-quantized, float between the quantizers. */
export function importModel(bytes: Uint8Array, options: ImportOptions = {}): Result<Module> {
  const { path, external, batch } = options;
  const read = readModel(bytes, { ...(path !== undefined && { path }), ...(external && { external }) });
  if (!read.ok) return read;
  const ordered = orderModel(read.value);
  if (!ordered.ok) return fail(...read.diagnostics, ...ordered.diagnostics);
  const module = importOrdered(ordered.value, batch === undefined ? {} : { batch });
  const diagnostics = [...read.diagnostics, ...ordered.diagnostics, ...module.diagnostics];
  return module.ok ? ok(module.value, diagnostics) : fail(...diagnostics);
}

/** Passes that `qc opt` can run, by name. */
export const passes: ReadonlyMap<string, Pass> = new Map(
  [canonicalize, integerize, layoutNhwc, certify, unsigned, fuseKernels].map((p) => [p.name, p]),
);

/** Runs passes by name in the given order: `a,b{"option": 1}`. Verifies the module after each. */
export function runPasses(module: Module, text: string): Result<Module> {
  const uses = parsePasses(text, passes);
  return uses.ok ? runPipeline(module, uses.value, { verifyEach: true }) : uses;
}

/** Compiles a model for a WebAssembly target. Errors come back as diagnostics; a throw is a bug in qc. */
export async function compileModel(bytes: Uint8Array, options: CompileOptions): Promise<Result<Compiled>> {
  options.onPhase?.("import");
  const module = importModel(bytes, options);
  if (!module.ok) return module;
  return fail(...module.diagnostics, notBuilt("the compiler"));
}
