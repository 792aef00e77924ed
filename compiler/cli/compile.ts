/** `qc compile`: a model in, an artifact out. */
import { join } from "node:path";
import type { WasmTarget } from "../../runtime/format.ts";
import { artifactFiles, compileModel, fail, parseTuning, type Result, type TuningFile } from "../index.ts";
import { modelOptions } from "./calib.ts";
import { readBytes } from "./external-data.ts";
import { stemOf, writeArtifact } from "./files.ts";
import type { ModelChoices } from "./model.ts";
import { bytesText, footer, plain, table } from "./print.ts";
import { EXIT, report } from "./report.ts";
import { type CommonOptions, progress, type Terminal } from "./terminal.ts";

export interface CompileCommand extends CommonOptions, ModelChoices {
  readonly target: WasmTarget;
  readonly output: string;
  readonly debugTensors?: boolean;
  readonly threads?: boolean;
  /** A tuning file. */
  readonly tuning?: string;
}

function readTuning(path: string): Result<TuningFile> {
  const bytes = readBytes(path);
  return bytes instanceof Uint8Array ? parseTuning(new TextDecoder().decode(bytes), path) : fail(bytes);
}

export async function compile(path: string, options: CompileCommand, terminal: Terminal): Promise<number> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return report(terminal, options, [bytes]);
  const tuning = options.tuning === undefined ? undefined : readTuning(options.tuning);
  if (tuning && !tuning.ok) return report(terminal, options, tuning.diagnostics);
  const choices = await modelOptions(path, bytes, options);
  if (!choices.ok) return report(terminal, options, choices.diagnostics);
  const meter = progress(terminal, options);
  const result = await compileModel(bytes, {
    target: options.target,
    ...choices.value,
    debug: options.debugTensors === true,
    threads: options.threads === true,
    ...(tuning && { tuning: tuning.value, tuningPath: options.tuning! }),
    onPhase: meter.phase,
  });
  meter.done();
  const diagnostics = [...choices.diagnostics, ...(tuning?.diagnostics ?? []), ...result.diagnostics];
  if (!result.ok) return report(terminal, options, diagnostics);
  const { manifest, report: facts } = result.value;
  const stem = stemOf(path);
  const files = artifactFiles(result.value, stem);
  const failure = writeArtifact(options.output, stem, files);
  if (failure) return report(terminal, options, [...diagnostics, failure]);
  const written = files.map((f) => ({ path: join(options.output, f.name), bytes: f.bytes.length }));
  const code = report(terminal, options, diagnostics, {
    files: written,
    sizes: manifest.sizes,
    coverage: manifest.coverage,
    macs: manifest.macs,
  });
  if (code !== EXIT.ok || options.json || options.quiet) return code;
  terminal.out(
    table(
      written.map((f) => [plain(f.path), bytesText(f.bytes)]),
      [1],
    ),
  );
  terminal.out(`${footer(manifest, facts.layers, diagnostics)}\n`);
  return code;
}
