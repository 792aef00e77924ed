/** One cost model for all kernels that have schedules: the legal ones of a work, and the cheapest. */
import type { Target } from "../../../ir/target.ts";
import { contractionSchedules, gemvSchedules } from "./contraction.ts";
import { contractionCycles, gemvCycles } from "./contraction-cost.ts";
import { depthwiseCycles, depthwiseSchedules } from "./depthwise.ts";
import { type Choice, keyOf, type Schedule, type Tuning, type Work } from "./schedule.ts";
import { winogradCycles, winogradSchedules } from "./winograd.ts";

/** Every schedule the kernel can have; at least one. */
export const legalSchedules = (work: Work, target: Target): readonly Schedule[] =>
  work.family === "depthwise"
    ? depthwiseSchedules(work)
    : [
        ...gemvSchedules(work, target),
        ...contractionSchedules(work, target),
        ...winogradSchedules(work, target),
      ];

/** Estimated cycles of a call. */
export function costOf(schedule: Schedule, work: Work, target: Target): number {
  if (work.family === "depthwise") {
    if (schedule.family !== "depthwise") throw new Error(`${schedule.family} schedule of a depthwise kernel`);
    return depthwiseCycles(schedule, work, target);
  }
  switch (schedule.family) {
    case "gemv":
      return gemvCycles(schedule, work, target);
    case "winograd":
      return winogradCycles(schedule, work, target);
    case "contraction":
      return contractionCycles(schedule, work, target);
    case "depthwise":
      throw new Error("depthwise schedule of a contraction");
  }
}

/** The tuning's schedule where it has a legal one for this work, else the cheapest, the first of equals. */
export function choose(work: Work, target: Target, tuning: Tuning | undefined): Choice {
  const key = keyOf(work);
  const legal = legalSchedules(work, target);
  const wanted = tuning?.get(key);
  const text = wanted === undefined ? undefined : canonical(wanted);
  const found = text && legal.find((s) => canonical(s) === text);
  if (found) return { key, work, schedule: found, from: "tuning" };
  let best = legal[0]!;
  let least = costOf(best, work, target);
  for (const s of legal.slice(1)) {
    const cycles = costOf(s, work, target);
    if (cycles < least) [best, least] = [s, cycles];
  }
  return { key, work, schedule: best, from: text ? "refused tuning" : "cost model" };
}

/** JSON with the members of objects in order. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === "object" && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );

/** One line that tells schedules apart. */
export function scheduleText(s: Schedule): string {
  if (s.family === "gemv") return `all positions x${s.vectors * 4}, weights widened in registers`;
  if (s.family === "depthwise") return `rows of ${8 * s.blocks} channels together`;
  if (s.family === "winograd")
    return `Winograd 2x2, ${s.rows}x8, ${s.lines} rows of tiles transformed, ${s.chunk} multiplied at a time`;
  const widened = { nothing: "bytes", input: "input widened", both: "both widened" }[s.widen];
  return `${s.rows}x${s.panels * 8} ${widened}, unroll ${s.unroll}, strip ${s.strip.rows}x${s.strip.pixels}`;
}
