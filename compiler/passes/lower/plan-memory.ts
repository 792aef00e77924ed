/** Static memory plan: buffers that are never alive together share addresses. */

export interface Lifetime {
  readonly name: string;
  readonly bytes: number;
  /** Steps (kernel indices) during which the contents matter, inclusive. */
  readonly first: number;
  readonly last: number;
}

/** Offsets are multiples of this many bytes. */
const ALIGN = 64;

const roundUp = (n: number): number => Math.ceil(n / ALIGN) * ALIGN;

/**
 * Greedy by size: the largest buffer first, each at the lowest offset where it overlaps no buffer that is alive at the same time.
 * Returns the offset of every buffer and the peak in bytes.
 */
export function planMemory(lifetimes: readonly Lifetime[]): {
  readonly offsets: ReadonlyMap<string, number>;
  readonly peak: number;
} {
  const placed: { from: number; to: number; first: number; last: number }[] = [];
  const offsets = new Map<string, number>();
  let peak = 0;
  const order = [...lifetimes].sort(
    (a, b) => b.bytes - a.bytes || a.first - b.first || (a.name < b.name ? -1 : 1),
  );
  for (const l of order) {
    const rivals = placed
      .filter((p) => p.first <= l.last && l.first <= p.last)
      .sort((a, b) => a.from - b.from);
    let at = 0;
    for (const r of rivals) {
      if (at + l.bytes <= r.from) break;
      at = Math.max(at, roundUp(r.to));
    }
    offsets.set(l.name, at);
    placed.push({ from: at, to: at + l.bytes, first: l.first, last: l.last });
    peak = Math.max(peak, at + l.bytes);
  }
  return { offsets, peak };
}
