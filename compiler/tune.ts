/** What a measurement of schedules runs: each distinct kernel of a model by itself, under each of its schedules. No I/O. */
import { targetsOf } from "./backends/wasm/build.ts";
import { buildTrial, type Trial } from "./backends/wasm/trial.ts";
import type { Compiled } from "./compiled.ts";
import { macsOf } from "./ir/macs.ts";
import type { Target } from "./ir/target.ts";
import { type LoweredProgram, lowerModule, lowerStage } from "./passes/lower/index.ts";
import { costOf, legalSchedules, scheduleText } from "./passes/lower/schedule/index.ts";
import type { Choice, Schedule } from "./passes/lower/schedule/schedule.ts";
import type { Stage } from "./passes/lower/stage.ts";

export interface Candidate {
  readonly schedule: Schedule;
  /** The schedule in a few words. */
  readonly text: string;
  /** What the cost model expects of a call. */
  readonly cycles: number;
  readonly build: () => Promise<Trial>;
}

/** A kernel whose schedule can be chosen. */
export interface Tunable {
  readonly target: Target["name"];
  readonly key: string;
  /** The kernels that have this key. */
  readonly kernels: readonly string[];
  /** Multiply-accumulates of a call. */
  readonly macs: number;
  /** Best first in the eyes of the cost model: the first one is its choice. */
  readonly candidates: readonly Candidate[];
  /** The first candidate in instructions that mean the same in every engine; absent where the candidates are such. */
  readonly reference?: () => Promise<Trial>;
}

/** The distinct kernels of a compiled model, by target and key, in the order in which they run. */
export function tunablesOf({ module, manifest }: Compiled): readonly Tunable[] {
  const { baseline, relaxed } = targetsOf(manifest.target);
  const targets = manifest.target === "wasm-relaxed" ? [] : [baseline];
  return [...targets, ...(relaxed ? [relaxed] : [])].flatMap((target) => {
    const lowered = lowerModule(module, target);
    if (!lowered.ok) throw new Error(`lowered before, not now: ${lowered.diagnostics[0]?.message}`);
    const byKey = new Map<string, { tunable: Tunable; kernels: string[] }>();
    for (const { kernel, scheduled } of lowered.value.steps) {
      if (!scheduled) continue;
      const { stage, choice } = scheduled;
      const known = byKey.get(choice.key);
      if (known) {
        known.kernels.push(kernel);
        continue;
      }
      const kernels = [kernel];
      const tunable = {
        target: target.name,
        key: choice.key,
        kernels,
        macs: macsOf(stage.func),
        ...candidatesOf(lowered.value, stage, choice, target),
      };
      byKey.set(choice.key, { tunable, kernels });
    }
    return [...byKey.values()].map((e) => e.tunable);
  });
}

function candidatesOf(
  { program }: LoweredProgram,
  stage: Stage,
  { key, work }: Choice,
  target: Target,
): Pick<Tunable, "candidates" | "reference"> {
  const around = new Set([...stage.inputs, ...stage.outputs].map((l) => l.buffer));
  const outside = program.buffers.filter((b) => around.has(b.name));
  const build = (schedule: Schedule, to: Target): Promise<Trial> => {
    const lowered = lowerStage({ ...stage, tuning: new Map([[key, schedule]]) });
    if (!lowered) throw new Error(`${stage.name}: lowered before, not now`);
    const own = new Set(lowered.buffers.map((b) => b.name));
    return buildTrial(lowered.kernel, [...outside, ...lowered.buffers], own, to);
  };
  const candidates = legalSchedules(work, target)
    .map(
      (schedule): Candidate => ({
        schedule,
        text: scheduleText(schedule),
        cycles: costOf(schedule, work, target),
        build: () => build(schedule, target),
      }),
    )
    .sort((a, b) => a.cycles - b.cycles);
  if (!target.dot4) return { candidates };
  const reference = () => build(candidates[0]!.schedule, { ...target, dot4: false });
  return { candidates, reference };
}
