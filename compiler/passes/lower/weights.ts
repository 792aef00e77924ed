/** Weights as the dot products take them: signed bytes in panels of channels. Wider ones are split into a sum of byte-sized terms. */
import type { Dense } from "../../ir/module.ts";
import { PANEL } from "./schedule/contraction.ts";

const VECTOR_BYTES = 16;
/** Bytes of one K-group of a panel: two vectors. */
export const GROUP_BYTES = 2 * VECTOR_BYTES;

/** Taps that lie side by side in memory: `length` elements from byte `offset`. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** Constant weights by output channel and segment. */
export interface WeightRows {
  readonly dense: Dense;
  readonly groups: number;
  /** Output channels per group. */
  readonly n: number;
  readonly segments: readonly Segment[];
  /** Writes the weights of output channel o (of all groups) at the elements of segment s; 0 for padding channels. */
  readonly row: (o: number, s: number, to: Int32Array) => void;
}

/** Part of a segment with the weights of one term. */
export interface WeightTerm {
  /** Byte offset of the first activation, as in the segment. */
  readonly offset: number;
  /** Number of K-groups. */
  readonly groups: number;
  /** Elements that are not padding. */
  readonly length: number;
  /** Of the short terms: the K-group, counted over all whole terms, to which it adds. */
  readonly addsTo?: number;
  readonly segment: number;
  /** First element within the segment. */
  readonly first: number;
  /** Which byte-sized part of each weight; 16-bit weights are never split. */
  readonly part: number;
}

const clampByte = (w: number): number => (w > 127 ? 127 : w < -128 ? -128 : w);

/** The k-th byte-sized part of w: Σ_k part(w, k) = w. */
export function bytePart(w: number, k: number): number {
  let rest = w;
  for (let i = 0; i < k; i++) rest -= clampByte(rest);
  return clampByte(rest);
}

/** How many parts of w are not zero, at least one. */
const partsOf = (w: number): number => {
  let k = 1;
  for (let rest = w - clampByte(w); rest !== 0; rest -= clampByte(rest)) k++;
  return k;
};

const groupsOf = (s: Segment, groupSize: number): number => Math.ceil(s.length / groupSize);

/**
 * One term per segment with the weights clamped to signed bytes, then a short term for each K-group in which some channel
 * needs more: a few outliers of zero-pointed uint8 weights cost a few K-groups. `wide`: 16-bit weights, never split.
 */
export function splitWeights(w: WeightRows, groupSize: number, wide: boolean): WeightTerm[] {
  const terms: WeightTerm[] = w.segments.map((s, segment) => ({
    offset: s.offset,
    groups: groupsOf(s, groupSize),
    length: s.length,
    segment,
    first: 0,
    part: 0,
  }));
  const { elem } = w.dense;
  if (wide || (elem.kind === "int" && elem.bits <= (elem.signed ? 8 : 7))) return terms;
  let before = 0;
  w.segments.forEach((s, segment) => {
    const most = partsPerGroup(w, segment, groupSize);
    most.forEach((parts, g) => {
      for (let part = 1; part < parts; part++)
        terms.push({
          offset: s.offset + g * groupSize,
          groups: 1,
          length: groupSize,
          addsTo: before + g,
          segment,
          first: g * groupSize,
          part,
        });
    });
    before += most.length;
  });
  return terms;
}

/** The most parts that some weight of each K-group of a segment has. */
function partsPerGroup(w: WeightRows, segment: number, groupSize: number): Uint32Array {
  const { length } = w.segments[segment]!;
  const most = new Uint32Array(Math.ceil(length / groupSize)).fill(1);
  const row = new Int32Array(length);
  for (let o = 0; o < w.n * w.groups; o++) {
    w.row(o, segment, row);
    for (let i = 0; i < length; i++) {
      const x = row[i]!;
      if (x >= -128 && x <= 127) continue;
      const g = Math.floor(i / groupSize);
      most[g] = Math.max(most[g]!, partsOf(x));
    }
  }
  return most;
}

/** Panels by weights and by what the packing depends on beside them: made once for all targets of a model. */
export type PackedPanels = Map<Dense, Map<string, Uint8Array>>;

/** Panels [groups × ⌈n / 8⌉][term][K-group][8 channels][groupSize elements], elements of one byte, or two if `wide`. */
export function packedPanels(
  w: WeightRows,
  terms: readonly WeightTerm[],
  groupSize: number,
  wide: boolean,
  known: PackedPanels = new Map(),
): Uint8Array {
  const key = JSON.stringify([groupSize, wide, w.groups, terms.map((t) => [t.length, t.addsTo ?? -1])]);
  const packings = known.get(w.dense) ?? new Map<string, Uint8Array>();
  known.set(w.dense, packings);
  const packed = packings.get(key) ?? packPanels(w, terms, groupSize, wide);
  packings.set(key, packed);
  return packed;
}

function packPanels(
  w: WeightRows,
  terms: readonly WeightTerm[],
  groupSize: number,
  wide: boolean,
): Uint8Array {
  const blocks = Math.ceil(w.n / PANEL);
  const groupElements = PANEL * groupSize;
  let panelElements = 0;
  const placed = terms.map((t) => {
    const at = panelElements;
    panelElements += t.groups * groupElements;
    return { ...t, at };
  });
  const count = w.groups * blocks * panelElements;
  const to = wide ? new Int16Array(count) : new Int8Array(count);
  const bySegment = w.segments.map((_, s) => placed.filter((t) => t.segment === s));
  for (const [s, list] of bySegment.entries()) {
    const { length } = w.segments[s]!;
    const row = new Int32Array(groupsOf(w.segments[s]!, groupSize) * groupSize);
    const inside = row.subarray(0, length);
    for (let o = 0; o < w.groups * w.n; o++) {
      w.row(o, s, inside);
      const c = o % w.n;
      const panel = Math.floor(o / w.n) * blocks + Math.floor(c / PANEL);
      const base = panel * panelElements + (c % PANEL) * groupSize;
      for (const t of list) packRow(row, t, groupSize, wide, to, base + t.at);
    }
  }
  return new Uint8Array(to.buffer);
}

/** The elements of one channel, a K-group of every eight channels' apart. */
function packRow(
  row: Int32Array,
  t: WeightTerm,
  groupSize: number,
  wide: boolean,
  to: Int8Array | Int16Array,
  at: number,
): void {
  const step = PANEL * groupSize;
  const end = t.first + t.groups * groupSize;
  for (let i = t.first, out = at; i < end; i += groupSize, out += step)
    for (let j = 0; j < groupSize; j++) {
      const x = row[i + j]!;
      to[out + j] = wide ? x : t.part === 0 ? clampByte(x) : bytePart(x, t.part);
    }
}
