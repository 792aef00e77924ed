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

/** Rounds without news before samples count, and milliseconds after which they count anyway. */
const QUIET_ROUNDS = 2;
const SETTLE_MS = 1500;

/**
 * Engines compile what is called often once more, on the side: rounds that do not count until no entrant gets faster by a tenth.
 * Returns the calls per sample of `ms`.
 */
async function settle(
  entrants: readonly Entrant[],
  counts: readonly number[],
  ms: number,
): Promise<readonly number[]> {
  const best = counts.map(() => Number.POSITIVE_INFINITY);
  const start = performance.now();
  for (let quiet = 0; quiet < QUIET_ROUNDS && performance.now() - start < SETTLE_MS; quiet++)
    for (const [i, { run }] of entrants.entries()) {
      const each = await sample(run, counts[i]!);
      if (each < 0.9 * best[i]!) quiet = -1;
      best[i] = Math.min(best[i]!, each);
    }
  return best.map((each) => Math.max(1, Math.round(ms / each)));
}

/** Milliseconds per call of every entrant, round by round: the i-th samples of all entrants are neighbours in time. */
export async function interleave(
  entrants: readonly Entrant[],
  { rounds, sampleMs, limitMs = Number.POSITIVE_INFINITY }: Sampling,
): Promise<number[][]> {
  const first: number[] = [];
  for (const { run } of entrants) {
    await sample(run, 3);
    first.push(await calibrate(run, sampleMs));
  }
  const counts = await settle(entrants, first, sampleMs);
  const samples: number[][] = entrants.map(() => []);
  const start = performance.now();
  for (let r = 0; r < rounds && (r < 3 || performance.now() - start < limitMs); r++)
    for (const [i, { run }] of entrants.entries()) samples[i]!.push(await sample(run, counts[i]!));
  return samples;
}

/** Median over the rounds of a / b. */
export const ratioOf = (a: readonly number[], b: readonly number[]): Spread =>
  spreadOf(a.map((x, i) => x / b[i]!));
