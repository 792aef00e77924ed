/** Times modules against each other. The one function here also runs in browsers, which get its text. */

/** A module without imports that exports `memory` and `run`; places of its data as offset and length. */
export interface TrialModule {
  readonly binary: Uint8Array;
  readonly inputs: readonly (readonly [number, number])[];
  readonly outputs: readonly (readonly [number, number])[];
}

export interface Trials {
  /** Computes the expected results and is not timed; without it, the first of `timed` does. */
  readonly reference?: TrialModule;
  readonly timed: readonly TrialModule[];
  readonly rounds: number;
  /** Milliseconds a sample should last. */
  readonly sampleMs: number;
}

export interface TrialTimes {
  /** Milliseconds per call: of every round those of all modules, which are neighbours in time. Empty if results differ. */
  readonly rounds: readonly (readonly number[])[];
  /** Whether all timed modules give the same bytes, and whether those are the reference's. */
  readonly agree: boolean;
  readonly expected: boolean;
}

/** Rejects where the engine does not compile a module. Refers to nothing outside of itself, because browsers get its text. */
export async function measureTrials(trials: Trials): Promise<TrialTimes> {
  const open = async ({ binary, inputs, outputs }: TrialModule) => {
    const { instance } = await WebAssembly.instantiate(binary as Uint8Array<ArrayBuffer>);
    const { memory, run } = instance.exports as unknown as { memory: WebAssembly.Memory; run: () => void };
    const bytes = new Uint8Array(memory.buffer);
    let state = 1;
    for (const [offset, length] of inputs)
      for (let i = 0; i < length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        bytes[offset + i] = state >>> 24;
      }
    run();
    const result = outputs.map(([offset, length]) => bytes.slice(offset, offset + length));
    return { run, result };
  };
  const equal = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
    a.length === b.length &&
    a.every((x, i) => x.length === b[i]!.length && x.every((v, j) => v === b[i]![j]));
  const sample = (run: () => void, count: number): number => {
    const start = performance.now();
    for (let i = 0; i < count; i++) run();
    return performance.now() - start;
  };
  const timed: Awaited<ReturnType<typeof open>>[] = [];
  for (const t of trials.timed) timed.push(await open(t));
  const wanted = timed[0]!.result;
  const agree = timed.every((t) => equal(t.result, wanted));
  const expected = trials.reference === undefined || equal((await open(trials.reference)).result, wanted);
  const rounds: number[][] = [];
  if (!agree || !expected) return { rounds, agree, expected };
  const counted = (ms: number): number => Math.max(1, Math.round(trials.sampleMs / ms));
  const first = timed.map(({ run }) => {
    for (let count = 1; ; count *= 2) {
      const ms = sample(run, count);
      if (ms >= trials.sampleMs || count >= 1048576) return counted(ms / count);
    }
  });
  // Engines compile what is called often once more, on the side: until none gets faster by a tenth, but not for ever.
  const best = timed.map(() => Number.POSITIVE_INFINITY);
  const start = performance.now();
  for (let quiet = 0; quiet < 2 && performance.now() - start < 1500; quiet++)
    timed.forEach(({ run }, i) => {
      const ms = sample(run, first[i]!) / first[i]!;
      if (ms < 0.9 * best[i]!) quiet = -1;
      best[i] = Math.min(best[i]!, ms);
    });
  const counts = best.map(counted);
  for (let r = 0; r < trials.rounds; r++)
    rounds.push(timed.map(({ run }, i) => sample(run, counts[i]!) / counts[i]!));
  return { rounds, agree, expected };
}
