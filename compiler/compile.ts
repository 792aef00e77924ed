/** Bytes → module → pipeline → backend → artifact. No I/O. */
import { manifestOf } from "./backends/wasm/artifact/build-manifest.ts";
import { preload } from "./backends/wasm/assemble.ts";
import { buildWasm, targetsOf } from "./backends/wasm/build.ts";
import type { Compiled, CompileOptions } from "./compiled.ts";
import { parseEncodings } from "./frontend/encodings.ts";
import { importModel as importOrdered } from "./frontend/import.ts";
import type { ExternalData } from "./frontend/onnx/convert-tensor.ts";
import { orderModel } from "./frontend/onnx/graph.ts";
import { readModel } from "./frontend/onnx/reader.ts";
import { type Diagnostic, fail, ok, type Result } from "./ir/diagnostics.ts";
import { macsOf } from "./ir/macs.ts";
import { unsupportedType } from "./ir/messages.ts";
import type { Module, Port } from "./ir/module.ts";
import { type Pass, type PassUse, parsePasses, runPipeline } from "./ir/pass.ts";
import type { Target } from "./ir/target.ts";
import { insertQuantizers } from "./passes/insert-quantizers.ts";
import { both, type Exactness } from "./passes/lower/dot-proof.ts";
import { type LoweredProgram, lowerModule } from "./passes/lower/index.ts";
import type { Tuning } from "./passes/lower/schedule/schedule.ts";
import type { PackedPanels } from "./passes/lower/weights.ts";
import { allPasses, integerPasses, kernelPasses, provingPasses, signedPasses } from "./pipeline.ts";
import { layerReports, opCounts } from "./report.ts";
import { tuningFindings, tuningFor } from "./tuning.ts";

export interface ImportOptions {
  /** Shown in diagnostics that concern the file as a whole. */
  readonly path?: string;
  readonly external?: ExternalData;
  /** Value of symbolic batch dimensions. Default 1. */
  readonly batch?: number;
  /** Text of an `.encodings` file of AIMET: quantizers by tensor name. */
  readonly encodings?: string;
  /** Where `encodings` comes from, for diagnostics. */
  readonly encodingsPath?: string;
  /** Grids for float tensors: `tensor=u8@scale,zero`. */
  readonly grids?: readonly string[];
}

/** The module with tensors put on grids, `tensor=u8@scale,zero`, for all that read them. */
export function withGrids(module: Module, grids: readonly string[]): Result<Module> {
  const use = { pass: insertQuantizers, options: { grids } };
  return grids.length === 0 ? ok(module) : runPipeline(module, [use]);
}

/**
 * Reads an ONNX model into the graph IR, as the file and the options have it: fake-quantized, float between the quantizers.
 */
export function importModel(bytes: Uint8Array, options: ImportOptions = {}): Result<Module> {
  const { path, external, batch, encodings: text, encodingsPath = "encodings" } = options;
  const encodings = text === undefined ? undefined : parseEncodings(text, encodingsPath);
  if (encodings && !encodings.ok) return encodings;
  const read = readModel(bytes, { ...(path !== undefined && { path }), ...(external && { external }) });
  if (!read.ok) return read;
  const ordered = orderModel(read.value);
  if (!ordered.ok) return fail(...read.diagnostics, ...ordered.diagnostics);
  const module = importOrdered(ordered.value, {
    ...(batch !== undefined && { batch }),
    ...(encodings && { encodings: encodings.value }),
  });
  const quantized = module.ok ? withGrids(module.value, options.grids ?? []) : fail();
  const own = [...module.diagnostics, ...quantized.diagnostics];
  const diagnostics = [...read.diagnostics, ...ordered.diagnostics, ...own];
  return quantized.ok ? ok(quantized.value, diagnostics) : fail(...diagnostics);
}

/** Text of the graph IR to a module. Loads the parser when it is first called. */
export async function parseModule(text: string, file?: string): Promise<Result<Module>> {
  return (await import("./ir/parser.ts")).parseModule(text, file);
}

/** Passes that `qc opt` can run, by name. */
export const passes: ReadonlyMap<string, Pass> = new Map(allPasses.map((p) => [p.name, p]));

/** Runs passes by name in the given order: `a,b{"option": 1}`. Verifies the module after each. */
export function runPasses(module: Module, text: string): Result<Module> {
  const uses = parsePasses(text, passes);
  return uses.ok ? runPipeline(module, uses.value, { verifyEach: true }) : uses;
}

/** Graph inputs and outputs of types that no typed array of the runtime holds. */
function uncarriedPorts({ funcs }: Module): Diagnostic[] {
  const check = (where: string) => (p: Port) =>
    p.dtype === "float16" || p.dtype === "bfloat16"
      ? [unsupportedType({ kind: "tensor", name: p.name }, p.name, p.dtype, where)]
      : [];
  const { params, results } = funcs[0]!;
  return [...params.flatMap(check("the graph input")), ...results.flatMap(check("the graph output"))];
}

/** On which engines all relaxed dot products of a program are exact. */
const exactnessOf = ({ steps }: LoweredProgram): Exactness =>
  steps.reduce((all, s) => both(all, s.exact), "any" as Exactness);

/**
 * The program for engines whose relaxed dot product takes signed bytes. Undefined if it is not exact there: two neighbouring
 * weights of −128 may overflow.
 */
export function lowerSigned(
  proved: Module,
  target: Target,
  panels: PackedPanels = new Map(),
  tuning?: Tuning,
): LoweredProgram | undefined {
  const fused = runPipeline(proved, signedPasses);
  const lowered = fused.ok ? lowerModule(fused.value, target, { panels, tuning }) : fused;
  if (!lowered.ok) throw new Error(lowered.diagnostics.map((d) => d.message).join("\n"));
  const exact = exactnessOf(lowered.value);
  return exact === "any" || exact.includes("s8s8") ? lowered.value : undefined;
}

/** Lets others have the thread between two phases: what is being loaded, a page that shows progress. */
const turn = (): Promise<void> => new Promise((done) => setTimeout(done));

/** Compiles a model for a WebAssembly target. Errors come back as diagnostics; a throw is a bug in qc. */
export async function compileModel(bytes: Uint8Array, options: CompileOptions): Promise<Result<Compiled>> {
  const phase = (name: string, share?: number): void => options.onPhase?.(name, share);
  const diagnostics: Diagnostic[] = [];
  const run = (module: Module, list: readonly (Pass | PassUse)[]): Result<Module> => {
    const r = runPipeline(module, list, { onStart: phase, onProgress: phase });
    diagnostics.push(...r.diagnostics);
    return r;
  };
  preload();
  phase("import");
  const imported = importModel(bytes, options);
  if (!imported.ok) return imported;
  await turn();
  diagnostics.push(...imported.diagnostics);
  const uncarried = uncarriedPorts(imported.value);
  if (uncarried.length > 0) return fail(...diagnostics, ...uncarried);
  const choices = {
    keepQuantizers: options.debug === true,
    foldConstants: options.foldConstants !== false,
    allowFloat: options.allowFloat ?? false,
  };
  const integer = run(imported.value, integerPasses(choices));
  if (!integer.ok) return fail(...diagnostics);
  await turn();
  const proved = run(integer.value, provingPasses(choices));
  if (!proved.ok) return fail(...diagnostics);
  const fused = run(proved.value, kernelPasses);
  if (!fused.ok) return fail(...diagnostics);

  phase("lower");
  const targets = targetsOf(options.target);
  const panels: PackedPanels = new Map();
  const { tuning } = options;
  const baseline = lowerModule(fused.value, targets.baseline, {
    panels,
    tuning: tuningFor(tuning, targets.baseline.name),
  });
  if (!baseline.ok) return fail(...diagnostics, ...baseline.diagnostics);
  const relaxed =
    targets.relaxed &&
    lowerModule(fused.value, targets.relaxed, { panels, tuning: tuningFor(tuning, targets.relaxed.name) });
  if (relaxed && !relaxed.ok) return fail(...diagnostics, ...relaxed.diagnostics);
  const { program, offsets, inputs, outputs } = baseline.value;
  if (tuning) {
    const lowered = [
      ...(options.target === "wasm-relaxed" ? [] : [[targets.baseline.name, baseline.value] as const]),
      ...(relaxed ? [["wasm-relaxed", relaxed.value] as const] : []),
    ];
    diagnostics.push(...tuningFindings(tuning, new Map(lowered), options.tuningPath));
  }
  const exact = relaxed && exactnessOf(relaxed.value);
  const signed =
    relaxed && exact !== "any"
      ? lowerSigned(proved.value, targets.relaxed!, panels, tuningFor(tuning, "wasm-relaxed"))
      : undefined;

  phase("assemble");
  const modules = await buildWasm(
    { baseline: program, relaxed: relaxed?.value.program, signed, offsets, inputs, outputs },
    options.target,
    { profile: options.profile === true, threads: options.threads === true },
  );
  const nominal = macsOf(integer.value.funcs[0]!);
  const executed = fused.value.funcs.reduce((n, f) => n + macsOf(f), 0);
  const layers = layerReports(integer.value, fused.value);
  const manifest = await manifestOf({
    name: options.name ?? imported.value.funcs[0]!.name,
    target: options.target,
    modules,
    exactOn: {
      ...(exact && { relaxed: exact }),
      ...(signed && { relaxedS8: exactnessOf(signed) }),
    },
    peak: baseline.value.peak,
    imported: imported.value,
    integer: integer.value,
    fused: fused.value,
    macs: { nominal, executed },
    results: imported.value.funcs[0]!.results.length,
  });
  const report = { ops: { before: opCounts(imported.value), after: opCounts(fused.value) }, layers };
  const { baseline: owner, relaxed: unsigned, relaxedS8 } = modules;
  const built = {
    baseline: owner,
    ...(unsigned && { relaxed: unsigned }),
    ...(relaxedS8 && { relaxedS8 }),
    ...(modules.threads && { threads: modules.threads.modules }),
  };
  return ok({ manifest, ...built, report, module: fused.value, exact: integer.value }, diagnostics);
}
