/** Bytes → module → pipeline → backend → artifact. No I/O. */
import { FORMAT_VERSION, type Manifest, type WasmTarget } from "../runtime/format.ts";
import { sha256 } from "./backends/wasm/artifact/manifest.ts";
import { layout } from "./backends/wasm/layout.ts";
import { wasmRelaxed, wasmSimd } from "./backends/wasm/target.ts";
import type { Compiled, CompileOptions } from "./compiled.ts";
import { importModel as importOrdered } from "./frontend/import.ts";
import type { ExternalData } from "./frontend/onnx/convert-tensor.ts";
import { orderModel } from "./frontend/onnx/graph.ts";
import { readModel } from "./frontend/onnx/reader.ts";
import { type Diagnostic, fail, ok, type Result } from "./ir/diagnostics.ts";
import type { Program } from "./ir/kernel/ir.ts";
import { legalize } from "./ir/kernel/legalize.ts";
import type { Module } from "./ir/module.ts";
import { type PassUse, parsePasses, runPipeline } from "./ir/pass.ts";
import { codeBytes, portLayouts } from "./manifest.ts";
import type { LoweredProgram } from "./passes/lower/index.ts";
import { passes, toIntegers, toKernels } from "./pipeline.ts";
import { coverage, layers, macs, opCounts, rescales } from "./report.ts";
import { VERSION } from "./version.gen.js";

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

/** Runs passes by name in the given order: `a,b{"option": 1}`. Verifies the module after each. */
export function runPasses(module: Module, text: string): Result<Module> {
  const uses = parsePasses(text, passes);
  return uses.ok ? runPipeline(module, uses.value, { verifyEach: true }) : uses;
}

/** The two modules of a lowered program, which share addresses, and the sizes of their memory. */
async function assemble(lowered: LoweredProgram, target: WasmTarget) {
  const { assembleModule } = await import("./backends/wasm/module.ts");
  const place = layout(lowered.program, lowered.offsets);
  const { addresses, memoryPages } = place;
  const withRelaxed = target !== "wasm-simd";
  const kernels = legalize(lowered.program, wasmSimd);
  const baseline = await assembleModule({
    program: target === "wasm-relaxed" ? { ...kernels, kernels: [] } : kernels,
    addresses,
    kind: "baseline",
    memoryPages,
    exportsMemory: true,
    data: true,
  });
  const relaxed = withRelaxed
    ? await assembleModule({
        program: lowered.program,
        addresses,
        kind: "relaxed",
        memoryPages,
        exportsMemory: false,
        data: false,
      })
    : undefined;
  return { place, baseline, ...(relaxed && { relaxed }) };
}

/** Compiles a model for a WebAssembly target. Errors come back as diagnostics; a throw is a bug in qc. */
export async function compileModel(bytes: Uint8Array, options: CompileOptions): Promise<Result<Compiled>> {
  const { target, debug = false, onPhase } = options;
  onPhase?.("import");
  const imported = importModel(bytes, options);
  if (!imported.ok) return imported;
  const diagnostics: Diagnostic[] = [...imported.diagnostics];
  const run = (module: Module, uses: readonly PassUse[], graph?: (m: Module) => void): Module | undefined => {
    const result = runPipeline(module, uses, {
      onModule: (pass, m) => {
        if (pass === "integerize") graph?.(m);
      },
    });
    diagnostics.push(...result.diagnostics);
    return result.ok ? result.value : undefined;
  };
  onPhase?.("integers");
  let graph = imported.value;
  const integer = run(imported.value, toIntegers(debug), (m) => {
    graph = m;
  });
  const fused = integer && run(integer, toKernels);
  if (!integer || !fused) return fail(...diagnostics);

  onPhase?.("lower");
  const { lowerModule } = await import("./passes/lower/index.ts");
  const lowered = lowerModule(fused, target === "wasm-simd" ? wasmSimd : wasmRelaxed);
  diagnostics.push(...lowered.diagnostics);
  if (!lowered.ok) return fail(...diagnostics);

  onPhase?.("assemble");
  const { place, baseline, relaxed } = await assemble(lowered.value, target);
  const [file, main] = [imported.value.funcs[0]!, graph.funcs[0]!];
  const inputs = portLayouts(lowered.value.inputs, place.addresses, main.params, file.params);
  const n = file.results.length;
  const { outputs: results } = lowered.value;
  const outputs = portLayouts(results.slice(0, n), place.addresses, main.results.slice(0, n), file.results);
  const taps = results.slice(n).flatMap((p) => portLayouts([p], place.addresses, [], []));
  const manifest: Manifest = {
    format: "qc-wasm",
    version: FORMAT_VERSION,
    generator: `qc ${VERSION}`,
    model: options.name ?? file.name,
    target,
    inputs,
    outputs,
    hashes: {
      wasm: await sha256(baseline),
      ...(relaxed && { relaxed: await sha256(relaxed) }),
      weights: await sha256(constants(lowered.value.program)),
    },
    sizes: {
      weights: place.constBytes,
      code: { baseline: codeBytes(baseline), ...(relaxed && { relaxed: codeBytes(relaxed) }) },
      arenaPeak: lowered.value.peak,
      memory: place.memoryPages * 65536,
    },
    coverage: coverage(imported.value),
    macs: macs(imported.value, integer),
    constantChannels: { folded: 0, total: 0 },
    rescales: rescales(integer),
    ...(debug && { taps }),
  };
  const report = { ops: { before: opCounts(imported.value), after: opCounts(integer) }, layers: layers(integer) };
  return ok({ manifest, baseline, ...(relaxed && { relaxed }), report, module: integer }, diagnostics);
}

/** All constant data of a program, in order. */
function constants(program: Program): Uint8Array {
  const parts = program.buffers.flatMap((b) => (b.data ? [b.data] : []));
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}
