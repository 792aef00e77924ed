/** Weights as the dot products take them: signed bytes. Wider ones are split into a sum of byte-sized terms. */

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
  /** Weight of output channel o at element i of the part. */
  readonly weight: (o: number, i: number) => number;
}

interface Segment {
  readonly offset: number;
  readonly length: number;
}

const clampByte = (w: number): number => Math.min(127, Math.max(-128, w));

/** The k-th byte-sized part of w: Σ_k part(w, k) = w. */
export function bytePart(w: number, k: number): number {
  let rest = w;
  for (let i = 0; i < k; i++) rest -= clampByte(rest);
  return clampByte(rest);
}

/**
 * One term per segment with the weights clamped to signed bytes, then a short term for each K-group in which some channel
 * needs more: a few outliers of zero-pointed uint8 weights cost a few K-groups. `wide`: 16-bit weights, never split.
 */
export function splitWeights(
  segments: readonly Segment[],
  weight: (o: number, segment: number, i: number) => number,
  outputs: number,
  groupSize: number,
  wide: boolean,
): WeightTerm[] {
  const padded = (s: number) => (o: number, i: number) => (i < segments[s]!.length ? weight(o, s, i) : 0);
  const groupsOf = (s: Segment) => Math.ceil(s.length / groupSize);
  const terms: WeightTerm[] = segments.map((s, index) => {
    const at = padded(index);
    const weight = wide ? at : (o: number, i: number) => clampByte(at(o, i));
    return { offset: s.offset, groups: groupsOf(s), length: s.length, weight };
  });
  if (wide) return terms;
  let before = 0;
  segments.forEach((s, index) => {
    const at = padded(index);
    for (let g = 0; g < groupsOf(s); g++)
      for (let k = 1; needsPart(at, outputs, g * groupSize, groupSize, k); k++)
        terms.push({
          offset: s.offset + g * groupSize,
          groups: 1,
          length: groupSize,
          addsTo: before + g,
          weight: (o, i) => bytePart(at(o, g * groupSize + i), k),
        });
    before += groupsOf(s);
  });
  return terms;
}

function needsPart(
  at: (o: number, i: number) => number,
  outputs: number,
  first: number,
  count: number,
  k: number,
): boolean {
  for (let o = 0; o < outputs; o++)
    for (let i = first; i < first + count; i++) {
      const w = at(o, i);
      if ((w > 127 || w < -128) && bytePart(w, k) !== 0) return true;
    }
  return false;
}
