/** What a contraction costs, in cycles: a sum over its tiles of inner loop, epilogue and overhead, and the widening of operands. */
import type { Costs, Target } from "../../../ir/target.ts";
import { groupsOf, PANEL, registersOf, spanOf } from "./contraction.ts";
import type { ContractionSchedule, ContractionWork, GemvSchedule } from "./schedule.ts";

/** How many tiles of each size cover `count`: whole ones and a last one. */
function cut(count: number, size: number): { readonly size: number; readonly count: number }[] {
  const rest = count % size;
  const whole = { size, count: Math.floor(count / size) };
  return [...(whole.count > 0 ? [whole] : []), ...(rest > 0 ? [{ size: rest, count: 1 }] : [])];
}

/** What a K-group of a tile takes: dot products, vectors of weights, extensions of bytes that loads do not do. */
function formOf(rows: number, panels: number, s: ContractionSchedule, w: ContractionWork, target: Target) {
  const fused = target.dot4 && w.input === "u8";
  const each = fused || w.input === "i16" || s.widen === "both" ? 2 : 4;
  const vectors = panels * each;
  const extensions = each === 2 ? 0 : vectors + (s.widen === "input" ? 0 : rows);
  return { dots: rows * vectors, vectors, extensions, fused };
}

/** Cycles of one K-group of a tile of `rows` × `panels`. */
export function groupCycles(
  rows: number,
  panels: number,
  s: ContractionSchedule,
  w: ContractionWork,
  target: Target,
): number {
  const { costs } = target;
  const { dots, vectors, extensions, fused } = formOf(rows, panels, s, w, target);
  const spilled = Math.max(0, registersOf({ ...s, rows, panels }, w, target) - target.registers);
  // Half of the extensions run beside the dot products.
  const multiply = dots / costs.dots + extensions / (2 * costs.shuffles);
  const streams = s.widen === "both" ? 0 : (panels - 1) * costs.stream;
  const read = (vectors + rows + spilled) / costs.loads;
  const busy = Math.max(multiply, read, fused ? costs.latency : 1);
  // A single row multiplies from memory, unless bytes are widened on the way.
  const weight = rows === 1 && s.widen !== "input" ? costs.weight / 2 : costs.weight;
  return busy + streams + vectors * weight + rows * costs.splat + spilled * costs.spill;
}

const turnsOf = (groups: number, unroll: number): number =>
  groups <= unroll ? 0 : Math.floor(groups / unroll);

/** Cycles after the sums of a tile, for `vectors` of four columns in each of `rows`. */
function finishCycles(vectors: number, s: ContractionSchedule, w: ContractionWork, costs: Costs): number {
  const classes = w.epilogue.reduce((sum, c) => sum + (costs.epilogue[c] ?? costs.epilogue.limb!), 0);
  const joined = s.widen === "both" || w.input === "i16" || costs.fused ? 0 : costs.join;
  return vectors * (classes + joined + (w.residual ? costs.residual : 0) + (w.pool ? costs.pool : 0));
}

export function contractionCycles(s: ContractionSchedule, w: ContractionWork, target: Target): number {
  const { costs } = target;
  const groups = groupsOf(w, s.widen);
  // Outliers are added to widened weights beforehand, and are short pieces of K otherwise.
  const extra = s.widen === "both" ? 0 : w.extra;
  const turns = w.pieces * turnsOf(groups, s.unroll);
  const loops =
    w.pieces * (turnsOf(groups, s.unroll) > 0 ? costs.loop : 0) + (w.pieces > 1 ? w.pieces * costs.turn : 0);
  const tile = (rows: number, panels: number): number =>
    (w.pieces * groups + extra) * groupCycles(rows, panels, s, w, target) +
    turns * costs.turn +
    loops +
    finishCycles(rows * panels * 2, s, w, costs) +
    costs.tile +
    rows * costs.row;
  const blocks = Math.ceil(w.n / PANEL);
  const [lines, length] = w.pool
    ? [w.rows * Math.ceil(w.pixels / w.pool[1]), w.pool[1]]
    : [s.strip.rows, s.strip.pixels];
  let cycles = 0;
  let code = 0;
  for (const columns of cut(blocks, s.panels))
    for (const rows of cut(length, s.rows)) {
      cycles += columns.count * rows.count * lines * tile(rows.size, columns.size);
      code += instructionsOf(rows.size, columns.size, Math.min(s.unroll, groups), s, w, target);
    }
  if (s.widen === "both")
    cycles += blocks * (w.pieces * Math.ceil(w.length / 4) + w.extra) * costs.widenWeights;
  cycles *= w.groups;
  if (s.widen !== "nothing") {
    const bytes = spanOf(w, s.strip);
    cycles += (bytes / 16) * costs.widenInput;
    // A widened input that has left the first cache is read from the second by every pass over it.
    const passes = Math.ceil(blocks / s.panels);
    cycles += (Math.max(0, 2 * bytes - costs.cacheBytes) / 64) * passes * costs.miss;
  }
  const parts = (w.rows * w.pixels) / (s.strip.rows * s.strip.pixels);
  return cycles * parts * w.images + code * costs.code;
}

/** Gathering the activations, then tiles of all positions: two sums and two shifts for each vector of weights. */
export function gemvCycles(
  { vectors }: GemvSchedule,
  w: ContractionWork,
  { costs, registers }: Target,
): number {
  const positions = w.rows * w.pixels;
  const groups = w.pieces * Math.ceil(w.length / 4) + w.extra;
  const tile = (v: number): number => {
    const dots = (2 * v * positions) / costs.dots + v / costs.shuffles;
    // Sums, activations that several vectors share, a vector of weights and its two halves.
    const alive = 2 * v * positions + (v > 1 ? 2 * positions : 1) + 3;
    const spilled = (Math.max(0, alive + 2 - registers) * costs.spill) / 2;
    const loads = spilled + 2 * positions * (v === 1 ? costs.splat / 2 : costs.splat) + v * costs.weight;
    const finish = v * positions * ((w.epilogue.length || 1) * (costs.epilogue.hi32 ?? 0) + costs.join);
    return (
      groups * (Math.max(dots, costs.latency) + loads + 2 * costs.turn) + finish + costs.tile + costs.loop
    );
  };
  const columns = cut(Math.ceil(w.n / 4), vectors);
  const gathered = (positions * groups * 4) / 16;
  const tiles = columns.reduce((sum, c) => sum + c.count * tile(c.size), 0);
  return w.images * w.groups * (tiles + gathered * costs.widenInput);
}

/** Of the K loop's body: loads, dot products, additions. */
function instructionsOf(
  rows: number,
  panels: number,
  unroll: number,
  s: ContractionSchedule,
  w: ContractionWork,
  target: Target,
): number {
  const { dots, vectors, extensions, fused } = formOf(rows, panels, s, w, target);
  return unroll * (vectors + rows + extensions + dots * (fused ? 1 : 2));
}
