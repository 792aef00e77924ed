/**
 * Shares out the loops of every kernel between threads. A kernel whose parts need each other's results becomes several, since
 * threads only wait for each other between kernels; one with too little work stays as it is and runs on one thread.
 */
import { type Accesses, accessesOf, assigned, type For } from "./accesses.ts";
import { writesBeforeReads } from "./dry-run.ts";
import { type Buffer, c32, type Expr, type Kernel, type Program, type Stmt } from "./ir.ts";
import { type Marks, raceOf } from "./races.ts";

/** Weight of what two threads have to save before a kernel is shared out: some microseconds of vector operations. */
const LEAST_GAIN = 6000;

/** Sharing out parts of a loop's body has to save this much of its time. */
const WORTHWHILE = 0.9;

/** Thread numbers a split is judged by. */
const THREADS = [2, 4] as const;

/**
 * Equal results for any number of threads. Adds the threads' own copies of scratch buffers. `leastGain`: number of operations that
 * two threads have to save before a kernel is shared out.
 */
export function parallelize(program: Program, { leastGain = LEAST_GAIN } = {}): Program {
  const users = new Map<string, number>();
  for (const k of program.kernels)
    for (const name of new Set([...k.reads, ...k.writes])) users.set(name, (users.get(name) ?? 0) + 1);
  const buffers = new Map(program.buffers.map((b) => [b.name, b]));
  const scratch = (name: string): boolean => buffers.get(name)?.role === "temp" && users.get(name) === 1;
  const constants = new Set(program.buffers.flatMap((b) => (b.role === "const" ? [b.name] : [])));
  const copies = new Map<string, Buffer>();
  const kernels = program.kernels.flatMap((kernel) =>
    shareOut(kernel, { scratch, constants, buffers, copies, leastGain }),
  );
  return { buffers: [...program.buffers, ...copies.values()], kernels };
}

interface Context {
  /** Whether the buffer only lives while one kernel runs. */
  readonly scratch: (name: string) => boolean;
  readonly constants: ReadonlySet<string>;
  readonly buffers: ReadonlyMap<string, Buffer>;
  /** The threads' own copies, by the name of the buffer they replace. */
  readonly copies: Map<string, Buffer>;
  readonly leastGain: number;
}

/** How a statement is shared out, and the work of the busiest thread for each of `THREADS`. */
interface Split {
  readonly marks: Marks;
  readonly own: ReadonlySet<string>;
  readonly times: readonly number[];
}

const weight = (times: readonly number[]): number => times.reduce((a, b) => a + b, 0);

function shareOut(original: Kernel, cx: Context): readonly Kernel[] {
  let ones = 0;
  const fresh = (): string => `one.${ones++}`;
  const kernel = { ...original, body: withTails(original.body, fresh) };
  const facts = accessesOf(kernel, cx.buffers);
  const lets: Stmt[] = [];
  const work: Stmt[] = [];
  for (const s of kernel.body) (s.k === "let" || s.k === "comment" ? lets : work).push(s);
  // Bindings are repeated in every part, so they must be the same at any time.
  const fixed =
    work.every((s) => s.k !== "var" && s.k !== "set") &&
    facts.list.every(
      (a) => a.stmt.k !== "let" || a.loops.length > 0 || a.ifs.length > 0 || cx.constants.has(a.buf),
    );
  if (!fixed) return [original];

  const parts: { readonly stmts: Stmt[]; split: Split }[] = [];
  for (const s of work) {
    const own = within(facts, [s]).list.every((a) => !a.write || cx.scratch(a.buf));
    const split = own && cost([s], facts) < 2 * cx.leastGain ? alone(s, facts) : splitOf(s, facts, cx);
    const last = parts.at(-1);
    const joined = last && join(last.split, split);
    if (last && joined && raceFree(within(facts, [...last.stmts, s]), joined, cx)) {
      last.stmts.push(s);
      last.split = joined;
    } else parts.push({ stmts: [s], split });
  }
  const gains = parts.map((p) => cost(p.stmts, facts) - p.split.times[0]! >= cx.leastGain);
  if (!gains.some(Boolean)) return [original];
  const inCopies = (name: string, i: number): boolean => gains[i] === true && parts[i]!.split.own.has(name);
  const copied = new Set(parts.flatMap((p, i) => [...p.split.own].filter((name) => inCopies(name, i))));
  for (const name of copied)
    if (
      readsWhatCopiesHold(
        name,
        parts.map((p) => p.stmts),
        (i) => inCopies(name, i),
        lets,
        facts,
      )
    )
      return [original];
  return parts.map(({ stmts, split }, i): Kernel => {
    const own = gains[i] ? split.own : new Set<string>();
    const body = gains[i] ? stmts.map((s) => marked(s, split.marks, fresh)) : stmts;
    const rename = new Map([...own].map((name) => [name, copyOf(name, cx)]));
    const used = within(facts, [...lets, ...stmts]).list;
    const names = (write: boolean): string[] => [
      ...new Set(used.filter((a) => a.write === write).map((a) => rename.get(a.buf) ?? a.buf)),
    ];
    return {
      name: i === 0 ? kernel.name : `${kernel.name}.${i}`,
      reads: names(false),
      writes: names(true),
      ...(own.size > 0 && { private: [...rename.values()] }),
      body: [...lets, ...body.map((s) => renamed(s, rename))],
    };
  });
}

/** Whether parts that use the buffer itself may need what parts that work on copies of it wrote there. */
function readsWhatCopiesHold(
  name: string,
  parts: readonly (readonly Stmt[])[],
  inCopies: (part: number) => boolean,
  lets: readonly Stmt[],
  facts: Accesses,
): boolean {
  const first = parts.findIndex((_, i) => inCopies(i));
  for (let from = first + 1; from < parts.length; from++) {
    const rest = parts.slice(from);
    const until = rest.findIndex((_, i) => inCopies(from + i));
    const body = rest.slice(0, until < 0 ? undefined : until).flat();
    from += until < 0 ? rest.length : until;
    if (!within(facts, body).list.some((a) => a.buf === name && !a.write)) continue;
    const all: Stmt = { k: "for", i: "part", start: c32(0), end: c32(1), step: 1, body };
    if (!writesBeforeReads([...lets, all], all, false, name, facts.buffers)) return true;
  }
  return false;
}

/**
 * What follows the last loop of a block that carries no value from turn to turn, such as a narrower last tile, becomes a loop of
 * one turn: its bindings are not used elsewhere, and one thread can execute all of it.
 */
function withTails(stmts: readonly Stmt[], fresh: () => string): readonly Stmt[] {
  const body = stmts.map((s) => (s.k === "for" ? { ...s, body: withTails(s.body, fresh) } : s));
  const last = body.findLastIndex((s) => s.k === "for" && assigned(s.body).size === 0);
  const tail = body.slice(last + 1);
  if (last < 0 || !tail.some((s) => s.k === "var")) return body;
  return [
    ...body.slice(0, last + 1),
    { k: "for", i: fresh(), start: c32(0), end: c32(1), step: 1, body: tail },
  ];
}

function copyOf(name: string, { buffers, copies }: Context): string {
  const copy = copies.get(name) ?? { ...buffers.get(name)!, name: `${name}.own` };
  copies.set(name, copy);
  return copy.name;
}

/** The accesses inside some statements, which are in textual order. */
function within(facts: Accesses, stmts: readonly Stmt[]): Accesses {
  const list = stmts.flatMap((s) => facts.list.slice(...facts.spans.get(s)!));
  return { ...facts, list };
}

const raceFree = (facts: Accesses, split: Pick<Split, "marks" | "own">, cx: Context): boolean =>
  raceOf(facts, split.marks, (name) => split.own.has(name), cx.constants) === undefined;

function join(a: Split, b: Split): Split {
  return {
    marks: new Map([...a.marks, ...b.marks]),
    own: new Set([...a.own, ...b.own]),
    times: a.times.map((t, i) => t + b.times[i]!),
  };
}

/** The best way to share out one statement; some one thread executes it where there is none. */
function splitOf(s: Stmt, facts: Accesses, cx: Context): Split {
  const whole: Split = {
    marks: new Map([[s, "whole"]]),
    own: new Set(),
    times: THREADS.map(() => cost([s], facts)),
  };
  if (s.k !== "for" || facts.turns.get(s.i) === 1) return whole;
  const options = [byTurns(s, facts, cx), inside(s, facts, cx), whole];
  return options.reduce<Split>(
    (best, o) => (o && weight(o.times) < weight(best.times) * 0.97 ? o : best),
    options[0] ?? whole,
  );
}

function byTurns(s: For, facts: Accesses, cx: Context): Split | undefined {
  const n = facts.turns.get(s.i);
  if (n === undefined || n < 2) return undefined;
  const part = within(facts, [s]);
  const marks: Marks = new Map([[s, "turns"]]);
  const own = new Set<string>();
  const total = cost([s], facts);
  for (;;) {
    const race = raceOf(part, marks, (name) => own.has(name), cx.constants);
    if (race === undefined) return { marks, own, times: THREADS.map((t) => (total * Math.ceil(n / t)) / n) };
    if (race.buf === undefined || own.has(race.buf) || !cx.scratch(race.buf)) return undefined;
    own.add(race.buf);
  }
}

/** Every thread executes the statement, on scratch buffers of its own. */
function alone(s: Stmt, facts: Accesses): Split {
  const written = within(facts, [s]).list.flatMap((a) => (a.write ? [a.buf] : []));
  return { marks: new Map(), own: new Set(written), times: THREADS.map(() => cost([s], facts)) };
}

/** Every thread runs the loop; what is in it is shared out. */
function inside(s: For, facts: Accesses, cx: Context): Split | undefined {
  const n = facts.turns.get(s.i);
  if (n === undefined) return undefined;
  let all: Split = { marks: new Map(), own: new Set(), times: THREADS.map(() => 0) };
  for (const child of s.body) {
    const own = within(facts, [child]).list.every((a) => !a.write || cx.scratch(a.buf));
    all = join(all, own ? alone(child, facts) : splitOf(child, facts, cx));
  }
  const times = all.times.map((t) => (t + 1) * n);
  if (weight(times) > weight(THREADS.map(() => cost([s], facts))) * WORTHWHILE) return undefined;
  return raceFree(within(facts, [s]), all, cx) ? { ...all, times } : undefined;
}

/** Operations, loads and stores that a run executes. */
export function cost(stmts: readonly Stmt[], facts: Accesses): number {
  const expr = (e: Expr): number =>
    e.k === "op" ? e.args.reduce((n, a) => n + expr(a), 1) : e.k === "load" ? 1 + expr(e.addr) : 0;
  const stmt = (s: Stmt): number => {
    switch (s.k) {
      case "comment":
        return 0;
      case "let":
      case "var":
      case "set":
        return expr(s.value);
      case "for":
        return (facts.turns.get(s.i) ?? 8) * (1 + cost(s.body, facts));
      case "if":
        return expr(s.cond) + Math.max(cost(s.then, facts), cost(s.else, facts));
      case "store":
        return 1 + expr(s.value) + expr(s.addr);
      case "fill":
      case "copy":
        return 2 + s.bytes / 16;
    }
  };
  return stmts.reduce((n, s) => n + stmt(s), 0);
}

/** The statement with its loops marked; what goes to one thread as a whole becomes a parallel loop of one turn. */
function marked(s: Stmt, marks: Marks, fresh: () => string): Stmt {
  const how = marks.get(s);
  const once = s.k === "for" && s.start.k === "const" && s.end.k === "const" && s.end.value === 1;
  if (s.k === "for" && (how === "turns" || (how === "whole" && once && s.start.value === 0)))
    return { ...s, parallel: true };
  if (how === "whole")
    return { k: "for", i: fresh(), start: c32(0), end: c32(1), step: 1, parallel: true, body: [s] };
  return s.k === "for" ? { ...s, body: s.body.map((t) => marked(t, marks, fresh)) } : s;
}

/** The statement on other buffers. */
function renamed(s: Stmt, names: ReadonlyMap<string, string>): Stmt {
  if (names.size === 0) return s;
  const buf = (name: string): string => names.get(name) ?? name;
  const expr = (e: Expr): Expr => {
    if (e.k === "load") return { ...e, buf: buf(e.buf), addr: expr(e.addr) };
    return e.k === "op" ? { ...e, args: e.args.map(expr) } : e;
  };
  const stmt = (t: Stmt): Stmt => {
    switch (t.k) {
      case "comment":
        return t;
      case "let":
      case "var":
      case "set":
        return { ...t, value: expr(t.value) };
      case "for":
        return { ...t, start: expr(t.start), end: expr(t.end), body: t.body.map(stmt) };
      case "if":
        // biome-ignore lint/suspicious/noThenProperty: a branch of an `if`.
        return { ...t, cond: expr(t.cond), then: t.then.map(stmt), else: t.else.map(stmt) };
      case "store":
        return { ...t, buf: buf(t.buf), addr: expr(t.addr), value: expr(t.value) };
      case "fill":
        return { ...t, buf: buf(t.buf), addr: expr(t.addr) };
      case "copy":
        return { ...t, to: buf(t.to), from: buf(t.from), toAddr: expr(t.toAddr), fromAddr: expr(t.fromAddr) };
    }
  };
  return stmt(s);
}
