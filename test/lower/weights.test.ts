/** Packed weights against their definition, element by element. */
import { describe, expect, it } from "vitest";
import type { Dense } from "../../compiler/ir/module.ts";
import { int } from "../../compiler/ir/types.ts";
import { packedPanels, splitWeights, type WeightRows } from "../../compiler/passes/lower/weights.ts";
import { randomFrom } from "./rescales.ts";

/** Weights in ±limit for `groups` groups of n channels, in segments of the given lengths. */
function randomRows(seed: number, groups: number, n: number, lengths: readonly number[], limit: number) {
  const next = randomFrom(seed);
  const k = lengths.reduce((a, b) => a + b, 0);
  const data = Int32Array.from({ length: groups * n * k }, () => next(2 * limit + 1) - limit);
  const dense: Dense = { kind: "dense", elem: int(true, limit > 127 ? 16 : 8), shape: [groups * n, k], data };
  const starts = lengths.map((_, s) => lengths.slice(0, s).reduce((a, b) => a + b, 0));
  const at = (o: number, s: number, i: number): number =>
    i < lengths[s]! ? data[o * k + starts[s]! + i]! : 0;
  let calls = 0;
  const rows: WeightRows = {
    dense,
    groups,
    n,
    segments: lengths.map((length, s) => ({ offset: 1000 * s, length })),
    row: (o, s, to) => {
      calls++;
      for (let i = 0; i < lengths[s]!; i++) to[i] = at(o, s, i);
    },
  };
  return { rows, at, calls: () => calls };
}

const CASES = [
  { groups: 1, n: 8, lengths: [12], limit: 127 },
  { groups: 1, n: 13, lengths: [7, 7, 7], limit: 100 },
  { groups: 3, n: 5, lengths: [9], limit: 127 },
  { groups: 1, n: 11, lengths: [10, 3], limit: 255 },
  { groups: 2, n: 9, lengths: [6, 6], limit: 400 },
] as const;

describe("packed weights", () => {
  it.each(CASES)("of $groups × $n channels, $lengths, up to $limit, add up to the weights", (c) => {
    const { rows, at } = randomRows(1, c.groups, c.n, c.lengths, c.limit);
    const terms = splitWeights(rows, 4, false);
    const packed = new Int8Array(packedPanels(rows, terms, 4, false).buffer);
    const blocks = Math.ceil(c.n / 8);
    const kGroups = terms.reduce((sum, t) => sum + t.groups, 0);
    expect(packed.length).toBe(c.groups * blocks * kGroups * 32);
    const parts = terms.some((t) => t.addsTo !== undefined);
    expect(parts).toBe(c.limit > 127);
    for (let o = 0; o < c.groups * c.n; o++) {
      const [group, channel] = [Math.floor(o / c.n), o % c.n];
      const panel = (group * blocks + Math.floor(channel / 8)) * kGroups;
      const sums = c.lengths.map((length) => new Array<number>(Math.ceil(length / 4) * 4).fill(0));
      let k = 0;
      for (const t of terms)
        for (let i = 0; i < t.groups * 4; i++) {
          const element = packed[(panel + k + Math.floor(i / 4)) * 32 + (channel % 8) * 4 + (i % 4)]!;
          sums[t.segment]![t.first + i]! += element;
          if (i === t.groups * 4 - 1) k += t.groups;
        }
      sums.forEach((row, s) => {
        expect(row).toEqual(row.map((_, i) => at(o, s, i)));
      });
    }
  });

  it("of 16 bits stay whole", () => {
    const { rows, at } = randomRows(2, 1, 3, [5], 3000);
    const terms = splitWeights(rows, 2, true);
    expect(terms.length).toBe(1);
    const packed = new Int16Array(packedPanels(rows, terms, 2, true).buffer);
    for (let o = 0; o < 8; o++)
      for (let i = 0; i < 6; i++)
        expect(packed[Math.floor(i / 2) * 16 + o * 2 + (i % 2)]).toBe(o < 3 ? at(o, 0, i) : 0);
  });

  it("are made once for all targets", () => {
    const { rows, calls } = randomRows(3, 1, 8, [16, 16], 127);
    const known = new Map();
    const first = packedPanels(rows, splitWeights(rows, 4, false), 4, false, known);
    const reads = calls();
    expect(reads).toBe(16);
    expect(packedPanels(rows, splitWeights(rows, 4, false), 4, false, known)).toBe(first);
    expect(calls()).toBe(reads);
  });
});
