/** Tuning files: measured schedules, by target and by the key of a kernel's work. Plain JSON, read and checked without I/O. */
import { type Diagnostic, fail, ok, type Result } from "./ir/diagnostics.ts";
import { notATuning, refusedTuning, staleTuning, unusedTuning } from "./ir/messages-tuning.ts";
import type { LoweredProgram } from "./passes/lower/index.ts";
import { REVISION, type Schedule, type Tuning } from "./passes/lower/schedule/schedule.ts";

export interface TuningEntry {
  /** `wasm-simd` or `wasm-relaxed`. */
  readonly target: string;
  /** The kernel's work: its shape, types and what follows it. */
  readonly key: string;
  /** The fastest of those measured. */
  readonly schedule: Schedule;
  /** Its time over that of the cost model's choice, in neighbouring samples: median and tenth and ninetieth percentiles. */
  readonly ratio: { readonly median: number; readonly p10: number; readonly p90: number };
}

export interface TuningFile {
  readonly format: "qc-tuning";
  /** Of the file. */
  readonly version: 1;
  /** Of the schedules: what keys and schedules mean. */
  readonly schedules: number;
  /** Where it was measured. For readers only. */
  readonly engine: string;
  readonly cpu: string;
  readonly entries: readonly TuningEntry[];
}

export const tuningFile = (facts: Pick<TuningFile, "engine" | "cpu" | "entries">): TuningFile => ({
  format: "qc-tuning",
  version: 1,
  schedules: REVISION,
  ...facts,
});

const isRecord = (x: unknown): x is { readonly [key: string]: unknown } =>
  typeof x === "object" && x !== null && !Array.isArray(x);

/** Text of a tuning file. `path` is shown in diagnostics. Schedules are not checked before they are used. */
export function parseTuning(text: string, path?: string): Result<TuningFile> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail(notATuning(path, "it is not JSON"));
  }
  if (!isRecord(value) || value.format !== "qc-tuning")
    return fail(notATuning(path, "its format is not qc-tuning"));
  if (typeof value.version !== "number" || typeof value.schedules !== "number")
    return fail(notATuning(path, "it does not say its version"));
  const { version, schedules } = value;
  const facts = { format: "qc-tuning", version: 1, schedules, engine: "", cpu: "" } as const;
  if (version !== 1 || schedules !== REVISION) {
    const say = (v: number, s: number): string => `format ${v}, schedules ${s}`;
    return ok({ ...facts, entries: [] }, [staleTuning(path, say(version, schedules), say(1, REVISION))]);
  }
  if (!Array.isArray(value.entries)) return fail(notATuning(path, "it has no list of entries"));
  const entries: TuningEntry[] = [];
  const seen = new Set<string>();
  for (const [i, e] of (value.entries as readonly unknown[]).entries()) {
    if (!isRecord(e) || typeof e.target !== "string" || typeof e.key !== "string" || !isRecord(e.schedule))
      return fail(notATuning(path, `entry ${i} lacks target, key or schedule`));
    const id = `${e.target} ${e.key}`;
    if (seen.has(id)) return fail(notATuning(path, `entry ${i} is for the same work as an earlier one`));
    seen.add(id);
    entries.push(e as unknown as TuningEntry);
  }
  const string = (x: unknown): string => (typeof x === "string" ? x : "");
  return ok({ ...facts, engine: string(value.engine), cpu: string(value.cpu), entries });
}

/** What the lowering for a target takes of the file. */
export const tuningFor = (file: TuningFile | undefined, target: string): Tuning | undefined =>
  file && new Map(file.entries.filter((e) => e.target === target).map((e) => [e.key, e.schedule]));

/** Entries that fit no kernel of any of the programs, by target, and schedules that a kernel cannot have. */
export function tuningFindings(
  file: TuningFile,
  programs: ReadonlyMap<string, LoweredProgram>,
  path?: string,
): Diagnostic[] {
  const findings: Diagnostic[] = [];
  const used = new Set<string>();
  for (const [target, { steps }] of programs)
    for (const { kernel, scheduled } of steps) {
      if (!scheduled) continue;
      const { key, from } = scheduled.choice;
      const id = `${target} ${key}`;
      if (from === "refused tuning" && !used.has(id)) findings.push(refusedTuning(path, kernel, id));
      used.add(id);
    }
  // Entries of a target that is not compiled for are not at fault.
  const own = file.entries.filter((e) => programs.has(e.target));
  const unused = own.filter((e) => !used.has(`${e.target} ${e.key}`));
  if (unused.length > 0) findings.push(unusedTuning(path, unused.length, own.length, unused[0]!.key));
  return findings;
}
