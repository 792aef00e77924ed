/** `qc tune`: measures the schedules of a model's kernels in an engine and writes down the fastest. */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import type { WasmTarget } from "../../runtime/format.ts";
import {
  type Candidate,
  cannotWrite,
  compileModel,
  engineFailed,
  fail,
  ok,
  type Result,
  schedulesDiffer,
  type Tunable,
  type TuningEntry,
  tunablesOf,
  tuningFile,
} from "../index.ts";
import { quantile, type Spread, spreadOf } from "./bench/sampling.ts";
import { modelOptions } from "./calib.ts";
import { readBytes } from "./external-data.ts";
import type { ModelChoices } from "./model.ts";
import { plain, plural, table } from "./print.ts";
import { EXIT, report } from "./report.ts";
import { type CommonOptions, progress, type Terminal } from "./terminal.ts";
import { chromiumEngine, type Engine, nodeEngine } from "./tune/engines.ts";
import type { TrialModule, TrialTimes } from "./tune/measure.ts";

export interface TuneCommand extends CommonOptions, ModelChoices {
  readonly target: WasmTarget;
  /** The file to write. */
  readonly output: string;
  readonly engine: "node" | "chromium";
  /** Schedules to measure of each kernel: those the cost model finds cheapest. */
  readonly candidates: number;
  readonly rounds: number;
}

/** What was measured of one kernel. */
export interface Outcome {
  readonly tunable: Tunable;
  readonly best: Candidate;
  /** Its time over that of the cost model's choice. */
  readonly ratio: Spread;
  /** Milliseconds a call of the cost model's choice takes. */
  readonly ms: number;
}

const SAMPLE_MS = 0.5;
/** Less than this is noise: the cost model's choice stays. */
const WORTH = 0.98;

async function trialOf(build: Candidate["build"]): Promise<TrialModule> {
  const { binary, inputs, outputs } = await build();
  const pair = ({ offset, bytes }: { offset: number; bytes: number }) => [offset, bytes] as const;
  return { binary, inputs: inputs.map(pair), outputs: outputs.map(pair) };
}

/** The cheapest of every tile in the eyes of the cost model, as far as two thirds of `most` go, then the next cheapest of any. */
export function varied(candidates: readonly Candidate[], most: number): readonly Candidate[] {
  const tiles = new Map<string, Candidate>();
  for (const c of candidates) {
    const tile = c.text.split(",")[0]!;
    if (!tiles.has(tile)) tiles.set(tile, c);
  }
  const first = [...tiles.values()].slice(0, Math.ceil((2 * most) / 3));
  const rest = candidates.filter((c) => !first.includes(c));
  return [...first, ...rest].slice(0, most);
}

/**
 * The best of the candidates in the even rounds, with its ratio in the odd ones, so that luck does not choose. Without rounds, the
 * engine does not compute what the instructions of the target mean.
 */
function outcomeOf(
  tunable: Tunable,
  candidates: readonly Candidate[],
  { rounds }: TrialTimes,
): Outcome | undefined {
  if (rounds.length === 0) return undefined;
  const ratioIn = (list: typeof rounds, i: number): Spread => spreadOf(list.map((r) => r[i]! / r[0]!));
  const even = rounds.filter((_, r) => r % 2 === 0);
  const odd = rounds.length > 1 ? rounds.filter((_, r) => r % 2 === 1) : rounds;
  const medians = candidates.map((_, i) => ratioIn(even, i).median);
  const least = medians.indexOf(Math.min(...medians));
  const best = ratioIn(odd, least).median > WORTH ? 0 : least;
  const own = rounds.map((r) => r[0]!).sort((a, b) => a - b);
  return { tunable, best: candidates[best]!, ratio: ratioIn(odd, best), ms: quantile(own, 0.5) };
}

export interface Tuned {
  readonly outcomes: readonly Outcome[];
  /** Targets whose instructions this engine computes otherwise. */
  readonly refused: readonly string[];
}

/** Measures kernel by kernel; a target that the engine computes otherwise is left out. */
export async function measureAll(
  tunables: readonly Tunable[],
  engine: Engine,
  { candidates: most, rounds }: Pick<TuneCommand, "candidates" | "rounds">,
  onKernel: (text: string) => void,
): Promise<Result<Tuned>> {
  const outcomes: Outcome[] = [];
  const refused = new Set<string>();
  for (const [i, tunable] of tunables.entries()) {
    if (refused.has(tunable.target)) continue;
    onKernel(`kernel ${i + 1} of ${tunables.length}`);
    const candidates = varied(tunable.candidates, most);
    const timed: TrialModule[] = [];
    for (const c of candidates) timed.push(await trialOf(c.build));
    const reference = tunable.reference && { reference: await trialOf(tunable.reference) };
    let times: TrialTimes;
    try {
      times = await engine.measure({ timed, rounds, sampleMs: SAMPLE_MS, ...reference });
    } catch (error) {
      if (tunable.target === "wasm-relaxed" && error instanceof WebAssembly.CompileError) {
        refused.add(tunable.target);
        continue;
      }
      return fail(engineFailed(error instanceof Error ? error.message : String(error)));
    }
    if (!times.expected) refused.add(tunable.target);
    else if (!times.agree) return fail(schedulesDiffer(tunable.key));
    const outcome = outcomeOf(tunable, candidates, times);
    if (outcome) outcomes.push(outcome);
  }
  return ok({ outcomes: outcomes.filter((o) => !refused.has(o.tunable.target)), refused: [...refused] });
}

const entryOf = ({ tunable, best, ratio }: Outcome): TuningEntry => {
  const round = (x: number): number => Math.round(x * 1000) / 1000;
  return {
    target: tunable.target,
    key: tunable.key,
    schedule: best.schedule,
    ratio: { median: round(ratio.median), p10: round(ratio.p10), p90: round(ratio.p90) },
  };
};

const differs = ({ best, tunable }: Outcome): boolean => best !== tunable.candidates[0];

/** Where choice and best differ, the largest gain first, and what they add up to by target. */
export function tuneText({ outcomes, refused }: Tuned): string {
  const gain = (o: Outcome): number => (1 - o.ratio.median) * o.ms * o.tunable.kernels.length;
  const changed = outcomes.filter(differs).sort((a, b) => gain(b) - gain(a));
  const rows = changed.map(({ tunable, best, ratio, ms }) => [
    tunable.target.replace("wasm-", ""),
    plain(tunable.kernels[0]!) +
      (tunable.kernels.length > 1 ? ` and ${tunable.kernels.length - 1} more` : ""),
    (ms * 1000).toFixed(1),
    tunable.candidates[0]!.text,
    best.text,
    ratio.median.toFixed(3),
    `${ratio.p10.toFixed(2)}–${ratio.p90.toFixed(2)}`,
  ]);
  const head = ["", "kernel", "µs", "cost model's choice", "best measured", "time", "10th–90th percentile"];
  const lines = [...new Set(outcomes.map((o) => o.tunable.target))].map((target) => {
    const own = outcomes.filter((o) => o.tunable.target === target);
    const sum = (f: (o: Outcome) => number): number =>
      own.reduce((n, o) => n + f(o) * o.ms * o.tunable.kernels.length, 0);
    const ratio = sum((o) => o.ratio.median) / sum(() => 1);
    return `${target}: ${plural(own.length, "distinct kernel")}, ${own.filter(differs).length} with a better schedule than the cost model's; together ${ratio.toFixed(3)} of its time\n`;
  });
  const notes = refused.map(
    (target) => `${target}: not measured, this engine computes its instructions otherwise or not at all\n`,
  );
  const body = rows.length > 0 ? `${table([head, ...rows], [2, 5])}\n` : "";
  return `${body}${lines.join("")}${notes.join("")}`;
}

export async function tune(path: string, options: TuneCommand, terminal: Terminal): Promise<number> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return report(terminal, options, [bytes]);
  const choices = await modelOptions(path, bytes, options);
  if (!choices.ok) return report(terminal, options, choices.diagnostics);
  const meter = progress(terminal, options);
  const made = { target: options.target, ...choices.value, onPhase: meter.phase };
  const compiled = await compileModel(bytes, made);
  const found = [...choices.diagnostics, ...compiled.diagnostics];
  if (!compiled.ok) {
    meter.done();
    return report(terminal, options, found);
  }
  const opened = options.engine === "node" ? ok(nodeEngine()) : await chromiumEngine();
  if (!opened.ok) {
    meter.done();
    return report(terminal, options, opened.diagnostics);
  }
  const engine = opened.value;
  const tuned = await measureAll(tunablesOf(compiled.value), engine, options, meter.phase);
  engine.close();
  meter.done();
  if (!tuned.ok) return report(terminal, options, [...found, ...tuned.diagnostics]);
  const { outcomes, refused } = tuned.value;
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  const file = tuningFile({ engine: engine.name, cpu, entries: outcomes.map(entryOf) });
  try {
    writeFileSync(options.output, `${JSON.stringify(file, undefined, 1)}\n`);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return report(terminal, options, [...found, cannotWrite(options.output, code)]);
  }
  const kernels = outcomes.map((o) => ({
    ...entryOf(o),
    kernels: o.tunable.kernels,
    microseconds: o.ms * 1000,
    chosen: o.tunable.candidates[0]!.schedule,
  }));
  const facts = { engine: engine.name, cpu, file: options.output, kernels, refused };
  const code = report(terminal, options, found, facts);
  if (code !== EXIT.ok || options.json || options.quiet) return code;
  terminal.out(tuneText(tuned.value));
  terminal.err(`${engine.name}, ${cpu}\n`);
  return code;
}
