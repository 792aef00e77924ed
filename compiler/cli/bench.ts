/** `qc bench`: what one inference takes in this engine, by itself, kernel by kernel, and against another runtime. */
import { writeFileSync } from "node:fs";
import type { ThreadsModule, WasmTarget } from "../../runtime/format.ts";
import { type Backend, loadModel, type Manifest, type ThreadedModel } from "../../runtime/index.ts";
import {
  type Compiled,
  cannotWrite,
  compileModel,
  type Diagnostic,
  fail,
  ok,
  type Result,
  runFailed,
} from "../index.ts";
import { isArtifact, loadStored, openArtifact } from "./artifact.ts";
import { type Profile, profile } from "./bench/profile.ts";
import { type Entrant, interleave, ratioOf, type Sampling, spreadOf } from "./bench/sampling.ts";
import { type Latency, latencyText, type Measured, profileText } from "./bench/text.ts";
import { traceOf } from "./bench/trace.ts";
import { onnxruntimeWeb } from "./bench/web.ts";
import { modelOptions } from "./calib.ts";
import { readBytes } from "./external-data.ts";
import { forModelsOnly, type ModelChoices } from "./model.ts";
import { randomInputs } from "./random-inputs.ts";
import { EXIT, report } from "./report.ts";
import { asObject } from "./tensors.ts";
import { type CommonOptions, progress, type Terminal } from "./terminal.ts";

export interface BenchCommand extends CommonOptions, ModelChoices {
  readonly target: WasmTarget;
  readonly seconds: number;
  /** Where to write the trace. */
  readonly profile?: string;
  readonly against?: "onnxruntime-web";
  readonly threads?: number;
}

/** Something to time: an artifact's files, or a model compiled here. */
interface Subject {
  readonly manifest: Manifest;
  readonly load: (backend: "auto" | "baseline", threads?: number) => Promise<Result<ThreadedModel>>;
  /** Absent for artifacts. */
  readonly source?: { readonly onnx: Uint8Array; readonly compiled: Compiled };
}

/** A round lasts as long as its samples; ten milliseconds each, or less so that `seconds` hold five rounds. */
function samplingFor(seconds: number, entrants: number): Sampling {
  const sampleMs = Math.min(10, (seconds * 1000) / (5 * entrants));
  return {
    rounds: Math.max(5, Math.round((seconds * 1000) / (sampleMs * entrants))),
    sampleMs,
    limitMs: seconds * 1000,
  };
}

/** Errors of the loader are the user's: kernels that this engine cannot run. */
async function loading(load: () => Promise<ThreadedModel>): Promise<Result<ThreadedModel>> {
  try {
    return ok(await load());
  } catch (error) {
    if (error instanceof Error && error.name === "LoadError") return fail(runFailed(error.message));
    throw error;
  }
}

async function open(
  path: string,
  options: BenchCommand,
  onPhase: (p: string) => void,
): Promise<Result<Subject>> {
  if (isArtifact(path)) {
    const fits = forModelsOnly(path, options);
    const stored = fits.ok ? openArtifact(path) : fits;
    if (!stored.ok) return stored;
    const { manifest } = stored.value;
    return ok({ manifest, load: (backend, threads = 1) => loadStored(stored.value, { backend, threads }) });
  }
  const onnx = readBytes(path);
  if (!(onnx instanceof Uint8Array)) return fail(onnx);
  const choices = await modelOptions(path, onnx, options);
  if (!choices.ok) return choices;
  const result = await compileModel(onnx, {
    target: options.target,
    ...choices.value,
    profile: options.profile !== undefined,
    threads: options.threads !== undefined,
    onPhase,
  });
  if (!result.ok) return result;
  const compiled = result.value;
  const bytes = (b: Uint8Array) => b as Uint8Array<ArrayBuffer>;
  const modules = {
    wasm: bytes(compiled.baseline),
    ...(compiled.relaxed && { relaxed: bytes(compiled.relaxed) }),
    ...(compiled.relaxedS8 && { relaxedS8: bytes(compiled.relaxedS8) }),
    ...(compiled.threads as { readonly [m in ThreadsModule]?: Uint8Array<ArrayBuffer> }),
  };
  return ok(
    {
      manifest: compiled.manifest,
      load: (backend, threads = 1) =>
        loading(() => loadModel(compiled.manifest, {}, { ...modules, backend, threads })),
      source: { onnx, compiled },
    },
    [...choices.diagnostics, ...result.diagnostics],
  );
}

/** The chosen backend, the baseline where it is another one, and the peer, in turn on the same input. */
async function measure(
  { manifest, load, source }: Subject,
  { seconds, against, threads }: BenchCommand,
): Promise<Result<Measured>> {
  const chosen = await load("auto");
  if (!chosen.ok) return chosen;
  const models = [chosen.value];
  if (chosen.value.backend === "relaxed" && manifest.target !== "wasm-relaxed") {
    const baseline = await load("baseline");
    if (!baseline.ok) return baseline;
    models.push(baseline.value);
  }
  if (threads !== undefined) {
    const several = await load("auto", threads);
    if (!several.ok) return several;
    models.push(several.value);
  }
  const inputs = randomInputs(manifest.inputs, 1, 1).at(-1)!;
  const data = asObject(inputs);
  const notes: string[] = [];
  let peer: Entrant | undefined;
  if (against && !source) notes.push(`not timed: ${against}, which needs the model instead of the artifact`);
  if (against && source) {
    const opened = await onnxruntimeWeb(source.onnx, manifest.inputs, inputs);
    if (opened.ok) peer = opened.value;
    else notes.push(`not timed: ${opened.diagnostics.map((d) => d.message).join("; ")}`);
  }
  const entrants: Entrant[] = models.map((m) => ({ name: m.backend, run: () => m.run(data) }));
  if (peer) entrants.push(peer);
  const samples = await interleave(entrants, samplingFor(seconds, entrants.length));
  const latencies = models.map((m, i): Latency => {
    const spread = spreadOf(samples[i]!);
    const macsPerSecond = (manifest.macs.nominal / spread.median) * 1000;
    const latency = { backend: m.backend, reason: m.backendReason, macsPerSecond, ...spread };
    if (threads === undefined || i !== models.length - 1) return latency;
    const speedup = ratioOf(samples[0]!, samples[i]!);
    return { ...latency, threads: { count: m.threads, reason: m.threadsReason, speedup } };
  });
  for (const m of models) m.dispose();
  const theirs = samples[models.length];
  return ok({
    latencies,
    notes,
    ...(peer &&
      theirs && {
        peer: { name: peer.name, ...spreadOf(theirs), ratio: ratioOf(theirs, samples[0]!) },
      }),
  });
}

/** The profile of the chosen backend, written as a trace. */
async function profileTo(
  path: string,
  { manifest, source }: Subject,
  backend: Backend,
  seconds: number,
): Promise<Profile | Diagnostic> {
  const inputs = randomInputs(manifest.inputs, 1, 1).at(-1)!;
  // The peak and the reference take about a millisecond a call.
  const sampling = { rounds: 61, sampleMs: 1, limitMs: seconds * 1000 };
  const p = await profile(source!.compiled, backend, inputs, sampling);
  try {
    writeFileSync(path, `${JSON.stringify(traceOf(manifest.model, ENGINE, p), undefined, 1)}\n`);
    return p;
  } catch (error) {
    return cannotWrite(path, error instanceof Error && "code" in error ? String(error.code) : String(error));
  }
}

const ENGINE = `Node ${process.versions.node}, V8 ${process.versions.v8}`;
const NEEDS_MODEL = "a profile needs the model: an artifact does not export its kernels";

/** Exit code 2 for `--profile` with an artifact. */
export async function bench(path: string, options: BenchCommand, terminal: Terminal): Promise<number> {
  if (options.profile !== undefined && isArtifact(path)) {
    report(terminal, options, [runFailed(NEEDS_MODEL)]);
    return EXIT.usage;
  }
  const meter = progress(terminal, options);
  const subject = await open(path, options, meter.phase);
  if (!subject.ok) {
    meter.done();
    return report(terminal, options, subject.diagnostics);
  }
  meter.phase("measure");
  const measured = await measure(subject.value, options);
  if (!measured.ok) {
    meter.done();
    return report(terminal, options, [...subject.diagnostics, ...measured.diagnostics]);
  }
  meter.phase("profile");
  const { backend } = measured.value.latencies[0]!;
  const profiled =
    options.profile === undefined
      ? undefined
      : await profileTo(options.profile, subject.value, backend, options.seconds);
  meter.done();
  const failure = profiled && "code" in profiled ? profiled : undefined;
  const kernels = profiled && "kernels" in profiled ? profiled : undefined;
  const { manifest } = subject.value;
  const facts = { model: manifest.model, engine: ENGINE, macs: manifest.macs, ...measured.value };
  const code = report(terminal, options, [...subject.diagnostics, ...(failure ? [failure] : [])], {
    ...facts,
    ...(kernels && { profile: kernels, trace: options.profile }),
  });
  if (options.json) return code;
  for (const note of measured.value.notes) terminal.err(`${note}\n`);
  terminal.out(latencyText(manifest, measured.value));
  if (kernels) terminal.out(`\n${profileText(kernels)}`);
  if (code === EXIT.ok && !options.quiet)
    terminal.err(`${ENGINE}${options.threads === undefined ? ", one thread" : ""}\n`);
  return code;
}
