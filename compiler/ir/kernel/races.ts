/**
 * When the turns of parallel loops may run in any order, or at once on several threads. Every thread executes the whole kernel;
 * of a parallel loop it takes its share of the turns; loops of one turn all go to the same thread. So outside of parallel loops
 * only `private` buffers are written, of which every thread has its own copy.
 */
import { type Access, type Accesses, assigned, type For } from "./accesses.ts";
import { disjoint, hull } from "./disjoint.ts";
import { writesBeforeReads } from "./dry-run.ts";
import type { Stmt } from "./ir.ts";

/** How statements are shared out: the turns of a loop, or a statement as a whole to the one thread that gets such statements. */
export type Marks = ReadonlyMap<Stmt, "turns" | "whole">;

/** Which bytes past what was written a read may touch without using them. */
const OVERREAD = 16;

export interface Race {
  /** The buffer whose bytes are in doubt, where there is one. */
  readonly buf?: string;
  readonly text: string;
}

/** The first reason why the accesses of a kernel, or of a part of it, are not safe to share out like this. */
export function raceOf(
  facts: Accesses,
  marks: Marks,
  isPrivate: (buf: string) => boolean,
  constants: ReadonlySet<string>,
): Race | undefined {
  const { list, turns, inexact } = facts;
  for (const [s, how] of marks)
    if (how === "turns" && s.k === "for") {
      if (!turns.has(s.i) || inexact.has(s.i))
        return { text: `the parallel loop %${s.i} has no constant number of turns` };
      const [name] = assigned(s.body);
      if (name !== undefined) return { text: `the parallel loop %${s.i} assigns %${name}` };
    }
  const unitOf = (a: Access): Stmt | undefined => [...a.loops, ...a.ifs, a.stmt].find((s) => marks.has(s));
  const units = new Map(list.map((a) => [a, unitOf(a)]));
  const byBuffer = new Map<string, Access[]>();
  for (const a of list) if (!constants.has(a.buf)) byBuffer.set(a.buf, [...(byBuffer.get(a.buf) ?? []), a]);
  for (const [buf, all] of byBuffer) {
    if (!all.some((a) => a.write)) continue;
    const text = isPrivate(buf)
      ? privateRace(buf, all, units, marks, facts)
      : sharedRace(all, units, marks, turns);
    if (text !== undefined) return { buf, text: `${text} @${buf}` };
  }
  return undefined;
}

type Units = ReadonlyMap<Access, Stmt | undefined>;
type Turns = Accesses["turns"];

/** Accesses that differ in their constant only. */
interface Family {
  readonly unit: Stmt | undefined;
  readonly members: Map<number, Access>;
}

function familiesOf(accesses: readonly Access[], units: Units): Family[] {
  const ids = new Map<Stmt | undefined, number>();
  const families = new Map<string, Family>();
  for (const a of accesses) {
    const unit = units.get(a);
    if (!ids.has(unit)) ids.set(unit, ids.size);
    const terms = a.at === undefined ? "?" : [...a.at.terms].map(([n, c]) => `${n}*${c}`).sort();
    const key = `${ids.get(unit)} ${a.bytes} ${a.write} ${terms}`;
    const family = families.get(key) ?? { unit, members: new Map() };
    families.set(key, family);
    family.members.set(a.at?.constant ?? 0, a);
  }
  return [...families.values()];
}

function sharedRace(all: readonly Access[], units: Units, marks: Marks, turns: Turns): string | undefined {
  const families = familiesOf(all, units);
  const onOneThread = (unit: Stmt | undefined): boolean =>
    unit !== undefined && (marks.get(unit) === "whole" || turns.get((unit as For).i) === 1);
  for (const w of families) {
    const [first] = w.members.values();
    if (!first!.write) continue;
    const { unit } = w;
    if (unit === undefined) return "every thread writes";
    const loop = marks.get(unit) === "turns" ? (unit as For).i : undefined;
    for (const x of families) {
      if (onOneThread(unit) && onOneThread(x.unit)) continue;
      const distances = new Set<number>();
      for (const [at, a] of w.members)
        for (const [to, b] of x.members) {
          if (distances.has(at - to)) continue;
          distances.add(at - to);
          if (!disjoint(a, b, turns, x.unit === unit ? loop : undefined))
            return `two threads may ${b.write ? "write" : "read and write"} the same byte of`;
        }
    }
  }
  return undefined;
}

/**
 * A thread finds in its copy what it wrote itself: all that a read uses was written before, by the same turn where that writes at
 * all and otherwise by every thread, with no other shared-out write in between.
 */
function privateRace(
  buf: string,
  all: readonly Access[],
  units: Units,
  marks: Marks,
  { turns, inexact, kernel, buffers }: Accesses,
): string | undefined {
  const dry = new Map<Stmt, boolean>();
  const fills = (unit: Stmt | undefined): boolean => {
    if (unit === undefined) return false;
    const known = dry.get(unit);
    if (known !== undefined) return known;
    const split = marks.get(unit) === "turns";
    const answer = writesBeforeReads(kernel.body, unit, split, buf, buffers);
    dry.set(unit, answer);
    return answer;
  };
  const writers = new Set(all.filter((a) => a.write).map((a) => units.get(a)));
  for (const [at, r] of all.entries()) {
    if (r.write) continue;
    const unit = units.get(r);
    const from = writers.has(unit) ? unit : undefined;
    const before = all.slice(0, at).filter((w) => w.write);
    const foreign = before.findLastIndex((w) => units.get(w) !== undefined && units.get(w) !== unit);
    const certain = before
      .slice(foreign + 1)
      .filter((w) => units.get(w) === from && w.ifs.length === 0 && !w.loops.some((l) => inexact.has(l.i)));
    if (!covers(certain, r, turns) && !(from !== undefined && fills(from)))
      return "a thread may read what it did not write in its copy of";
  }
  return undefined;
}

function covers(writes: readonly Access[], read: Access, turns: Turns): boolean {
  const wanted = hull(read, turns);
  if (wanted === undefined) return false;
  const pieces = writes.flatMap((w) => {
    const common = w.loops.filter((l) => read.loops.includes(l));
    const varies = common.some((l) => w.at?.terms.has(l.i) || read.at?.terms.has(l.i));
    const piece = varies ? undefined : hull(w, turns);
    return piece === undefined ? [] : [piece];
  });
  pieces.sort((a, b) => a.from - b.from);
  let reached = wanted.from;
  for (const p of pieces) if (p.from <= reached) reached = Math.max(reached, p.to);
  return reached + OVERREAD >= wanted.to && (reached > wanted.from || wanted.to <= wanted.from);
}
