/** Instructions that the loops of a kernel execute, counted on the emitted code. */
import type { Func, Instr, Loop } from "./wasm-decode.ts";

export interface LoopTree {
  /** Instructions of the loop that are in none of its inner loops. */
  readonly own: readonly Instr[];
  readonly inner: readonly LoopTree[];
}

/** The outermost loops of a function, with those inside of them. */
export function loopTree({ loops }: Func): LoopTree[] {
  const build = (list: readonly Loop[]): LoopTree[] => {
    const [first] = list;
    if (first === undefined) return [];
    let end = 1;
    while (end < list.length && list[end]!.depth > first.depth) end++;
    const inner = list.slice(1, end);
    const children = inner.filter((l) => l.depth === first.depth + 1);
    const covered = new Set(children.flatMap((l) => l.body));
    const own = first.body.filter((i) => !covered.has(i));
    return [{ own, inner: build(inner) }, ...build(list.slice(end))];
  };
  return build(loops);
}

const DOTS: readonly string[] = ["i32x4.relaxed_dot_i8x16_i7x16_add_s", "i32x4.dot_i16x8_s"];
export const dotsOf = (list: readonly Instr[]): number => list.filter((i) => DOTS.includes(i.name)).length;
export const loadsOf = (list: readonly Instr[]): number =>
  list.filter((i) => i.name.includes(".load")).length;

/** Moves between locals, constants and structure: engines spend no execution unit on them. */
const FREE = /^(?:local\.|i32\.const|v128\.const|block|loop|end|drop|nop)/;
export const working = (list: readonly Instr[]): readonly Instr[] => list.filter((i) => !FREE.test(i.name));

const allDots = (t: LoopTree): number => dotsOf(t.own) + t.inner.reduce((n, c) => n + allDots(c), 0);
const flatten = (t: LoopTree): LoopTree[] => [t, ...t.inner.flatMap(flatten)];

/** The loop with the most dot products of its own, where the time goes. */
export function hotLoop(f: Func): LoopTree {
  const all = loopTree(f).flatMap(flatten);
  const [first] = [...all].sort((a, b) => dotsOf(b.own) - dotsOf(a.own));
  if (first === undefined || dotsOf(first.own) === 0) throw new Error("no loop multiplies");
  return first;
}

/**
 * From the loop over tiles to the innermost one: the loops that multiply, outermost first. A loop over tiles stores results
 * of its own, those inside of it only accumulate.
 */
export function tileLoops(f: Func): LoopTree[] {
  const stores = (t: LoopTree): boolean => t.own.some((i) => i.name.includes(".store"));
  const chains = (t: LoopTree): LoopTree[][] => {
    if (allDots(t) === 0) return [];
    const below = t.inner.flatMap(chains);
    return below.length > 0 ? below.map((c) => [t, ...c]) : [[t]];
  };
  const [best] = loopTree(f)
    .flatMap(chains)
    .sort((a, b) => dotsOf(b.at(-1)!.own) - dotsOf(a.at(-1)!.own));
  if (best === undefined) throw new Error("no loop multiplies");
  let from = best.length - 1;
  while (from > 0 && !stores(best[from]!)) from--;
  return best.slice(from);
}
