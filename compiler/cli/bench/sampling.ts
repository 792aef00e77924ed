/** Timing several things against each other: short samples in turn, so that drift of the machine hits all alike. */

/** Milliseconds per call over the rounds. */
export interface Spread {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

export interface Entrant {
  readonly name: string;
  /** One inference. Awaited only if it returns a promise. */
  readonly run: () => unknown;
}

export interface Sampling {
  readonly rounds: number;
  /** Milliseconds a sample should last. */
  readonly sampleMs: number;
  /** Milliseconds after which no further round begins, once there are three. */
  readonly limitMs?: number;
}

export const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), p10: quantile(sorted, 0.1), p90: quantile(sorted, 0.9) };
}

async function sample(run: () => unknown, count: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const pending = run();
    if (pending instanceof Promise) await pending;
  }
  return (performance.now() - start) / count;
}

/** Calls per sample: doubled until a sample is long enough, which also warms up. */
async function calibrate(run: () => unknown, ms: number): Promise<number> {
  for (let count = 1; ; count *= 2) {
    const each = await sample(run, count);
    if (each * count >= ms / 2 || count >= 1 << 20) return Math.max(1, Math.round(ms / each));
  }
}

/** Milliseconds per call of every entrant, round by round: the i-th samples of all entrants are neighbours in time. */
export async function interleave(
  entrants: readonly Entrant[],
  { rounds, sampleMs, limitMs = Number.POSITIVE_INFINITY }: Sampling,
): Promise<number[][]> {
  const counts: number[] = [];
  for (const { run } of entrants) {
    await sample(run, 3);
    counts.push(await calibrate(run, sampleMs));
  }
  const samples: number[][] = entrants.map(() => []);
  const start = performance.now();
  for (let r = 0; r < rounds && (r < 3 || performance.now() - start < limitMs); r++)
    for (const [i, { run }] of entrants.entries()) samples[i]!.push(await sample(run, counts[i]!));
  return samples;
}

/** Median over the rounds of a / b. */
export const ratioOf = (a: readonly number[], b: readonly number[]): Spread =>
  spreadOf(a.map((x, i) => x / b[i]!));
