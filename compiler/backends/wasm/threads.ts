/**
 * Modules for several threads, on a shared memory that is imported. Every thread has an instance and executes `run`, the same
 * kernels in the same order, with its share of the turns of parallel loops; what a kernel needs of others' work is behind a barrier.
 */
import type { ThreadsLayout as RuntimeLayout } from "../../../runtime/format.ts";
import { isShared } from "../../ir/kernel/interpreter.ts";
import {
  add,
  c32,
  type Expr,
  type Kernel,
  op,
  type Program,
  ref,
  SLACK,
  type Stmt,
  scale,
} from "../../ir/kernel/ir.ts";
import { parallelize } from "../../ir/kernel/parallelize.ts";
import { assemble, type Binaryen, type Builder } from "./assemble.ts";
import { emitProcedure } from "./emit.ts";
import { constantData } from "./module.ts";
import { shareParts } from "./share.ts";

/** What the threads need beyond the memory of one: where they meet, and where each has its scratch buffers. */
export interface ThreadsLayout {
  /** Address of the words they synchronize by, each on a cache line of its own. */
  readonly sync: number;
  /** Address of the first thread's scratch buffers, and bytes from one thread's to the next one's. */
  readonly scratch: number;
  readonly stride: number;
}

/** A program made for several threads. */
export interface ThreadsProgram {
  readonly program: Program;
  /** Places of private buffers relative to the thread's scratch. */
  readonly own: ReadonlyMap<string, number>;
  readonly ownBytes: number;
}

/** Bytes that keep two threads' data on different cache lines, neighbouring lines fetched in pairs. */
const LINE = 128;
const GENERATION = 0;
const ARRIVED = LINE;
const PARKED = 2 * LINE;
const STOP = 3 * LINE;
const SYNC_BYTES = 4 * LINE;

/** Looks at the generation before a worker parks: some tens of microseconds. */
const SPINS_BEFORE_PARKING = 20_000;
/** Looks at a barrier before a thread that may wait lets others have its processor, for so many nanoseconds at a time. */
const SPINS_BEFORE_YIELDING = 20_000;
const YIELD_NS = 50_000n;

const alignUp = (n: number, align: number): number => Math.ceil(n / align) * align;

/** `program`: legal for its target. */
export function threadsProgram(program: Program): ThreadsProgram {
  const parallel = parallelize(program);
  const bytes = new Map(parallel.buffers.map((b) => [b.name, b.bytes]));
  const own = new Map<string, number>();
  let ownBytes = 0;
  for (const k of parallel.kernels) {
    const names = k.private ?? [];
    let at = Math.max(SLACK, ...names.map((n) => (own.has(n) ? own.get(n)! + bytes.get(n)! + SLACK : 0)));
    for (const n of names) {
      if (own.has(n)) continue;
      at = alignUp(at, 64);
      own.set(n, at);
      at += bytes.get(n)! + SLACK;
    }
    ownBytes = Math.max(ownBytes, names.length > 0 ? at : 0);
  }
  return { program: parallel, own, ownBytes };
}

/** Behind the `pages` of memory that one thread needs; for all modules of an artifact. */
export function threadsLayout(pages: number, programs: readonly ThreadsProgram[]): ThreadsLayout {
  const sync = pages * 65536;
  const stride = alignUp(Math.max(0, ...programs.map((p) => p.ownBytes)), LINE);
  return { sync, scratch: sync + SYNC_BYTES, stride };
}

/** A program that one thread can run, and how its module for several is made. */
export interface ThreadsSource extends Omit<ThreadsModuleOptions, "layout"> {
  /** Legal for its target. */
  readonly program: Program;
}

export interface ThreadsModules<K extends string> {
  readonly layout: RuntimeLayout;
  readonly modules: { readonly [k in K]?: Uint8Array };
}

/** The modules for several threads beside those for one, which need `pages` of memory. */
export async function buildThreads<K extends string>(
  sources: { readonly [k in K]?: ThreadsSource | undefined },
  pages: number,
): Promise<ThreadsModules<K>> {
  const entries = (Object.entries(sources) as [K, ThreadsSource | undefined][]).flatMap(([key, source]) =>
    source ? [{ key, source, made: threadsProgram(source.program) }] : [],
  );
  const layout = threadsLayout(
    pages,
    entries.map((e) => e.made),
  );
  const modules: { [k in K]?: Uint8Array } = {};
  for (const { key, source, made } of entries)
    modules[key] = await assembleThreads(made, { ...source, layout });
  return { layout: { memory: layout.scratch, scratch: layout.stride }, modules };
}

export interface ThreadsModuleOptions {
  readonly addresses: ReadonlyMap<string, number>;
  readonly layout: ThreadsLayout;
  readonly kind: "baseline" | "relaxed";
  /** Include the constants that have data: the memory does not have them yet. */
  readonly data: boolean;
}

/**
 * Imports the shared `env.memory`. Exports `infer(threads, waits)`, one inference as thread 0 executes it, with the others taking
 * part (`waits`: it may let others have its processor where it has to wait); `loop(thread, threads)`, in which the others wait
 * for inferences, and `stop()`, which ends that.
 */
export function assembleThreads(
  { program, own }: ThreadsProgram,
  { addresses: common, layout, kind, data }: ThreadsModuleOptions,
): Promise<Uint8Array> {
  const addresses = new Map(common);
  for (const [name, at] of own) addresses.set(name, layout.scratch + at);
  const pages = Math.ceil((layout.scratch + layout.stride) / 65536);
  return assemble(
    (b, m) => {
      const segment = data ? constantData(program, addresses) : undefined;
      const segments = segment
        ? [{ offset: m.i32.const(segment.address), data: segment.bytes, passive: false }]
        : [];
      m.setMemory(pages, 65536, null, segments, true, false, "memory");
      m.addMemoryImport("memory", "env", "memory", true);
      const cx = { b, m, relaxed: kind === "relaxed" };
      const shares = program.kernels.map((k) => (isShared(k.body) ? shareOf(k, layout.stride) : k));
      const { kernels, procedures } = shareParts(shares, addresses);
      for (const p of procedures) emitProcedure(cx, p, addresses);
      kernels.forEach((k, i) => {
        const params = isShared(program.kernels[i]!.body) ? [THREAD, THREADS] : [];
        const typed = params.map((name) => ({ name, type: "i32" as const }));
        emitProcedure(cx, { ...k, name: `k${i}`, params: typed }, addresses);
      });
      emitBarrier(b, m, layout.sync);
      emitRun(b, m, program, addresses);
      emitControl(b, m, layout.sync);
    },
    kind === "relaxed",
    true,
  );
}

const THREAD = "$thread";
const THREADS = "$threads";

/** The kernel as the thread `$thread` of `$threads` executes it, in terms without parallel loops and private buffers. */
function shareOf(kernel: Kernel, stride: number): Kernel {
  const own = new Set(kernel.private);
  const base = ref("$own");
  let loops = 0;
  const place = <T extends { readonly buf: string; readonly addr: Expr }>(s: T): T =>
    own.has(s.buf) ? { ...s, addr: add(expr(s.addr), base) } : { ...s, addr: expr(s.addr) };
  const expr = (e: Expr): Expr => {
    if (e.k === "load") return place(e);
    return e.k === "op" ? { ...e, args: e.args.map(expr) } : e;
  };
  const block = (stmts: readonly Stmt[]): Stmt[] => stmts.flatMap(stmt);
  const stmt = (s: Stmt): Stmt[] => {
    switch (s.k) {
      case "comment":
        return [s];
      case "let":
      case "var":
      case "set":
        return [{ ...s, value: expr(s.value) }];
      case "store":
        return [{ ...place(s), value: expr(s.value) }];
      case "fill":
        return [place(s)];
      case "copy": {
        const to = place({ buf: s.to, addr: s.toAddr });
        const from = place({ buf: s.from, addr: s.fromAddr });
        return [{ ...s, toAddr: to.addr, fromAddr: from.addr }];
      }
      case "if":
        // biome-ignore lint/suspicious/noThenProperty: a branch of an `if`.
        return [{ ...s, cond: expr(s.cond), then: block(s.then), else: block(s.else) }];
      case "for": {
        const loop: Stmt = {
          k: "for",
          i: s.i,
          start: expr(s.start),
          end: expr(s.end),
          step: s.step,
          body: block(s.body),
        };
        return s.parallel ? turnsOf(loop, loops++) : [loop];
      }
    }
  };
  const copies: Stmt[] = own.size > 0 ? [{ k: "let", name: "$own", value: scale(ref(THREAD), stride) }] : [];
  return { ...kernel, body: [...copies, ...block(kernel.body)] };
}

/** Turns ⌊n·thread/threads⌋ to ⌊n·(thread+1)/threads⌋ of a loop of n turns. */
function turnsOf(loop: Stmt & { readonly k: "for" }, id: number): Stmt[] {
  const { start, end, step } = loop;
  const count = op("div_s.i32", [add(op("sub.i32", [end, start]), step - 1), c32(step)]);
  const n =
    start.k === "const" && end.k === "const"
      ? c32(Math.ceil((Number(end.value) - Number(start.value)) / step))
      : count;
  const first = `$first${id}`;
  const last = `$last${id}`;
  const share = (thread: Expr): Expr => op("div_u.i32", [op("mul.i32", [thread, n]), ref(THREADS)]);
  const at = (turn: string): Expr => add(start, scale(ref(turn), step));
  return [
    { k: "let", name: first, value: share(ref(THREAD)) },
    { k: "let", name: last, value: share(add(ref(THREAD), 1)) },
    {
      k: "if",
      cond: op("lt_s.i32", [ref(first), ref(last)]),
      // biome-ignore lint/suspicious/noThenProperty: a branch of an `if`.
      then: [{ ...loop, start: at(first), end: at(last) }],
      else: [],
    },
  ];
}

/** Waits until all threads have called it as often as this one. */
function emitBarrier(b: Binaryen, m: Builder, sync: number): void {
  m.addGlobal("expected", b.i32, true, m.i32.const(0));
  m.addGlobal("waits", b.i32, true, m.i32.const(0));
  const address = () => m.i32.const(sync + ARRIVED);
  const expected = () => m.global.get("expected", b.i32);
  const spins = () => m.local.get(1, b.i32);
  const seen = () => m.local.get(2, b.i32);
  m.addFunction(
    "barrier",
    b.createType([b.i32]),
    b.none,
    [b.i32, b.i32],
    m.block(null, [
      m.global.set("expected", m.i32.add(expected(), m.local.get(0, b.i32))),
      m.drop(m.i32.atomic.rmw.add(0, address(), m.i32.const(1))),
      m.loop(
        "again",
        m.if(
          m.i32.lt_s(
            m.i32.sub(m.local.tee(2, m.i32.atomic.load(0, address()), b.i32), expected()),
            m.i32.const(0),
          ),
          m.block(null, [
            m.if(
              m.i32.and(
                m.i32.gt_s(
                  m.local.tee(1, m.i32.add(spins(), m.i32.const(1)), b.i32),
                  m.i32.const(SPINS_BEFORE_YIELDING),
                ),
                m.global.get("waits", b.i32),
              ),
              m.drop(m.memory.atomic.wait32(address(), seen(), m.i64.const(YIELD_NS))),
            ),
            m.br("again"),
          ]),
        ),
      ),
    ]),
  );
}

/** Who touches which bytes since the last barrier. */
interface Touch {
  readonly from: number;
  readonly to: number;
  readonly write: boolean;
  /** By all threads, or by the first only. */
  readonly all: boolean;
}

function emitRun(b: Binaryen, m: Builder, program: Program, addresses: ReadonlyMap<string, number>): void {
  const buffers = new Map(program.buffers.map((x) => [x.name, x]));
  const [thread, threads] = [() => m.local.get(0, b.i32), () => m.local.get(1, b.i32)];
  const meet = (): number => m.call("barrier", [threads()], b.none);
  const body: number[] = [];
  let pending: Touch[] = [];
  program.kernels.forEach((k, i) => {
    const all = isShared(k.body);
    const touches = [false, true].flatMap((write) =>
      (write ? k.writes : k.reads).flatMap((name): Touch[] => {
        const { role, bytes } = buffers.get(name)!;
        if (role === "const" || k.private?.includes(name)) return [];
        const from = addresses.get(name)!;
        return [{ from, to: from + bytes, write, all }];
      }),
    );
    const clash = (p: Touch, q: Touch): boolean =>
      (p.write || q.write) && (p.all || q.all) && p.from < q.to && q.from < p.to;
    if (pending.some((p) => touches.some((q) => clash(p, q)))) {
      body.push(meet());
      pending = [];
    }
    pending.push(...touches);
    body.push(
      all
        ? m.call(`k${i}`, [thread(), threads()], b.none)
        : m.if(m.i32.eqz(thread()), m.call(`k${i}`, [], b.none)),
    );
  });
  body.push(meet());
  m.addFunction("run", b.createType([b.i32, b.i32]), b.none, [], m.block(null, body));
}

/** How inferences start and workers wait for them. */
function emitControl(b: Binaryen, m: Builder, sync: number): void {
  const word = (at: number): number => m.i32.const(sync + at);
  const raise = (): number => m.drop(m.i32.atomic.rmw.add(0, word(GENERATION), m.i32.const(1)));
  const wake = (): number => m.drop(m.memory.atomic.notify(word(GENERATION), m.i32.const(-1)));
  m.addFunction(
    "infer",
    b.createType([b.i32, b.i32]),
    b.none,
    [],
    m.block(null, [
      m.global.set("waits", m.local.get(1, b.i32)),
      raise(),
      m.if(m.i32.atomic.load(0, word(PARKED)), wake()),
      m.call("run", [m.i32.const(0), m.local.get(0, b.i32)], b.none),
    ]),
  );
  m.addFunctionExport("infer", "infer");
  m.addFunction(
    "stop",
    b.none,
    b.none,
    [],
    m.block(null, [m.i32.atomic.store(0, word(STOP), m.i32.const(1)), raise(), wake()]),
  );
  m.addFunctionExport("stop", "stop");

  const [seen, spins] = [() => m.local.get(2, b.i32), () => m.local.get(3, b.i32)];
  const park = m.block(null, [
    m.drop(m.i32.atomic.rmw.add(0, word(PARKED), m.i32.const(1))),
    m.drop(m.memory.atomic.wait32(word(GENERATION), seen(), m.i64.const(-1n))),
    m.drop(m.i32.atomic.rmw.sub(0, word(PARKED), m.i32.const(1))),
  ]);
  const more = m.i32.gt_s(
    m.local.tee(3, m.i32.add(spins(), m.i32.const(1)), b.i32),
    m.i32.const(SPINS_BEFORE_PARKING),
  );
  m.addFunction(
    "loop",
    b.createType([b.i32, b.i32]),
    b.none,
    [b.i32, b.i32],
    m.block(null, [
      m.global.set("waits", m.i32.const(1)),
      m.loop(
        "next",
        m.block(null, [
          m.local.set(3, m.i32.const(0)),
          m.loop(
            "wait",
            m.if(
              m.i32.eq(m.i32.atomic.load(0, word(GENERATION)), seen()),
              m.block(null, [m.if(more, park), m.br("wait")]),
            ),
          ),
          m.local.set(2, m.i32.add(seen(), m.i32.const(1))),
          m.if(m.i32.atomic.load(0, word(STOP)), m.return()),
          m.call("run", [m.local.get(0, b.i32), m.local.get(1, b.i32)], b.none),
          m.br("next"),
        ]),
      ),
    ]),
  );
  m.addFunctionExport("loop", "loop");
}
