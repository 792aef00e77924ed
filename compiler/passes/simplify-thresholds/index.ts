/**
 * Replaces integer thresholds: by a requantization where one multiplier and one offset step at the same places, else by a
 * table where the operand is narrow.
 */
import { ok } from "../../ir/diagnostics.ts";
import type { Attr, Func, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { countSteps, type Steps, stepsOf } from "../../ir/ops/threshold.ts";
import { definePass } from "../../ir/pass.ts";
import { analyzeRanges, type Ranges, rangeAt, whole } from "../../ir/ranges.ts";
import { neg, type Rational, rational, sub, ZERO } from "../../ir/rational.ts";
import type { IntRange } from "../../ir/rescale/types.ts";
import { mapFuncs, rebuild } from "../../ir/rewriter.ts";
import { fitLine, type Point } from "./line.ts";

/** Entries of a table. */
const NARROW = 256;

interface Line {
  readonly scale: Rational;
  readonly offset: Rational;
}

/**
 * S and B with ⌊S·a + B⌋, clamped to [lo, hi], the steps of one channel for every a of `range`. For an outer step k at v = T:
 * S·T + B ≥ k, S·(T − 1) + B < k; and where an end of the range does not saturate, the same for its count.
 */
function lineOf(steps: Steps, range: IntRange, lo: number, hi: number): Line | undefined {
  const { base, mirrored, thresholds } = steps;
  const [min, max] = mirrored ? [-1 - range.max, -1 - range.min] : [range.min, range.max];
  const first = countSteps({ ...steps, mirrored: false }, min);
  const last = countSteps({ ...steps, mirrored: false }, max);
  if (first === last) return { scale: ZERO, offset: rational(first) };
  const above: Point[] = [];
  const below: Point[] = [];
  if (first > lo) above.push({ x: min, k: first });
  for (let i = 0; i < thresholds.length; i++) {
    const least = thresholds[i]! + 1;
    if (least <= min || least > max) continue;
    above.push({ x: least, k: base + i + 1 });
    below.push({ x: least - 1, k: base + i + 1 });
  }
  if (last < hi) below.push({ x: max, k: last + 1 });
  const line = fitLine(above, below);
  if (line === undefined || !mirrored) return line;
  // Of v = −1 − a.
  return { scale: neg(line.scale), offset: sub(line.offset, line.scale) };
}

/** Thresholds, and the ranges of the channels that they apply to. */
function channelsOf(op: Op, ranges: Ranges): { steps: Steps; range: IntRange }[] {
  const axis = attr<number>(op, "axis");
  const shape = op.results[0]!.type.shape;
  const rows = attr<readonly number[]>(op, "base").length;
  const reach = ranges.of(op.operands[0]!);
  const follows = rows > 1 && axis === shape.length - 1;
  return Array.from({ length: rows }, (_, c) => ({
    steps: stepsOf(op.attrs, c),
    range: follows ? rangeAt(reach, c) : whole(reach),
  }));
}

function requantOf(channels: readonly { steps: Steps; range: IntRange }[]) {
  const ends = channels.flatMap(({ steps, range }) => [
    countSteps(steps, range.min),
    countSteps(steps, range.max),
  ]);
  const [lo, hi] = [Math.min(...ends), Math.max(...ends)];
  const lines: Line[] = [];
  for (const { steps, range } of channels) {
    const line = lineOf(steps, range, lo, hi);
    if (line === undefined) return undefined;
    lines.push(line);
  }
  return { lo, hi, lines };
}

function simplify(func: Func): Func {
  if (!func.ops.some((op) => op.name === "qc.threshold")) return func;
  const ranges = analyzeRanges(func);
  return rebuild(func, (op, operands, b) => {
    if (op.name !== "qc.threshold") return undefined;
    const channels = channelsOf(op, ranges);
    if (channels.some(({ range }) => range.min > range.max)) return undefined;
    const [y] = op.results;
    const options = { loc: op.loc, names: [y!.name], types: [y!.type] };
    const made = requantOf(channels);
    if (made !== undefined) {
      const { lo, hi, lines } = made;
      const attrs = {
        axis: attr<number>(op, "axis"),
        scales: [lines.map((l) => l.scale)],
        offset: lines.map((l) => l.offset),
        zero_point: ZERO,
        lo,
        hi,
        rounding: "floor",
        order: "round_then_shift",
      };
      return [b.add1("qc.requant", operands, attrs, options)];
    }
    const { elem } = y!.type;
    const [{ steps, range }] = channels as [(typeof channels)[number]];
    if (channels.length > 1 || range.max - range.min >= NARROW || elem.kind !== "int") return undefined;
    const data = Int32Array.from({ length: range.max - range.min + 1 }, (_, i) =>
      countSteps(steps, range.min + i),
    );
    const table: Attr = { kind: "dense", elem, shape: [data.length], data };
    return [b.add1("qc.table", operands, { table, min: range.min }, options)];
  });
}

export const simplifyThresholds = definePass({
  name: "simplify-thresholds",
  summary:
    "Replace thresholds by an exact qc.requant where their steps are even, by a qc.table where x is narrow.",
  run: (module) => ok(mapFuncs(module, simplify)),
});
