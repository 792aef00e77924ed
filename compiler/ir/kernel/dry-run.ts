/**
 * Whether a piece of a kernel writes every byte of a scratch buffer that it uses before it reads it: its addresses are followed step
 * by step, its data is not. That proves what hulls cannot, such as rings of rows.
 */
import { assigned, type For } from "./accesses.ts";
import type { Buffer, Expr, LoadOp, Stmt } from "./ir.ts";

/** Steps before the answer is no. */
const PATIENCE = 4_000_000;

interface Run {
  readonly buf: string;
  readonly written: Uint8Array;
  readonly buffers: ReadonlyMap<string, Buffer>;
  readonly env: Map<string, number>;
  /** Loops known to touch the same bytes of the buffer in every turn, and others. */
  readonly alike: Map<For, boolean>;
  steps: number;
}

/** Thrown inside this file only: an unwritten byte, an unknown address, or too many steps. */
const NO = Symbol();

/**
 * Runs `unit` once, from the first turn of every loop around it in `body`; if it is a `parallel` loop, its first turn, which then has to
 * stand for all of them: no address in the buffer and no branch may depend on the loop, or on one around it.
 */
export function writesBeforeReads(
  body: readonly Stmt[],
  unit: Stmt,
  parallel: boolean,
  buf: string,
  buffers: ReadonlyMap<string, Buffer>,
): boolean {
  const bytes = buffers.get(buf)?.bytes ?? 0;
  const run: Run = {
    buf,
    written: new Uint8Array(bytes),
    buffers,
    env: new Map(),
    alike: new Map(),
    steps: 0,
  };
  const outer: For[] = [];
  const find = (stmts: readonly Stmt[]): boolean => {
    for (const s of stmts) {
      if (s === unit) return true;
      if (s.k === "let" && s.value.type === "i32") bind(run, s.name, s.value);
      if (s.k !== "for" || !contains(s.body, unit)) continue;
      outer.push(s);
      bind(run, s.i, s.start);
      return find(s.body);
    }
    return false;
  };
  if (!find(body)) return false;
  const turns = parallel && unit.k === "for" ? unit : undefined;
  const piece = turns ? turns.body : [unit];
  if (turns) bind(run, turns.i, turns.start);
  const varying = [...outer, ...(turns ? [turns] : [])].map((l) => l.i);
  if (dependsOn(varying, turns ? turns.body : [unit], outer, buf)) return false;
  try {
    execute(run, piece);
    return true;
  } catch (e) {
    if (e === NO) return false;
    throw e;
  }
}

const contains = (stmts: readonly Stmt[], unit: Stmt): boolean =>
  stmts.some(
    (s) =>
      s === unit ||
      (s.k === "for" && contains(s.body, unit)) ||
      (s.k === "if" && (contains(s.then, unit) || contains(s.else, unit))),
  );

function bind(run: Run, name: string, value: Expr): void {
  const v = scalar(run, value);
  if (v === undefined) run.env.delete(name);
  else run.env.set(name, v);
}

/** Whether addresses in the buffer, or what is executed at all, depend on some variables. */
function dependsOn(
  names: readonly string[],
  piece: readonly Stmt[],
  around: readonly For[],
  buf: string,
): boolean {
  const tainted = new Set(names);
  const mentions = (e: Expr): boolean =>
    e.k === "var"
      ? tainted.has(e.name)
      : e.k === "op"
        ? e.args.some(mentions)
        : e.k === "load" && mentions(e.addr);
  const reads = (e: Expr): boolean =>
    e.k === "load"
      ? (e.buf === buf && mentions(e.addr)) || reads(e.addr)
      : e.k === "op" && e.args.some(reads);
  const taint = (s: Stmt): void => {
    if ((s.k === "let" || s.k === "var" || s.k === "set") && s.value.type === "i32" && mentions(s.value))
      tainted.add(s.name);
    if (s.k === "for") {
      if (mentions(s.start)) tainted.add(s.i);
      s.body.forEach(taint);
    }
    if (s.k === "if") [...s.then, ...s.else].forEach(taint);
  };
  for (let before = -1; before !== tainted.size; ) {
    before = tainted.size;
    for (const l of around) l.body.forEach(taint);
    piece.forEach(taint);
  }
  const varies = (s: Stmt): boolean => {
    switch (s.k) {
      case "comment":
        return false;
      case "let":
      case "var":
      case "set":
        return reads(s.value);
      case "for":
        return mentions(s.start) || mentions(s.end) || s.body.some(varies);
      case "if":
        return mentions(s.cond) || [...s.then, ...s.else].some(varies);
      case "store":
        return (s.buf === buf && mentions(s.addr)) || reads(s.value) || reads(s.addr);
      case "fill":
        return s.buf === buf && mentions(s.addr);
      case "copy":
        return (s.to === buf && mentions(s.toAddr)) || (s.from === buf && mentions(s.fromAddr));
    }
  };
  return piece.some(varies);
}

/** Whether a loop's turns all touch the bytes of its first one: what that proves holds for the others. */
function turnsAlike(run: Run, loop: For): boolean {
  const known = run.alike.get(loop);
  if (known !== undefined) return known;
  const alike = assigned(loop.body).size === 0 && !dependsOn([loop.i], loop.body, [], run.buf);
  run.alike.set(loop, alike);
  return alike;
}

const WIDTH: { readonly [op in LoadOp]?: number } = {
  load8_u: 1,
  load8_s: 1,
  load8_splat: 1,
  load16_u: 2,
  load16_s: 2,
  load16_splat: 2,
  load32_splat: 4,
  load32_zero: 4,
};

/** The value of an i32, where it can be known. */
function scalar(run: Run, e: Expr): number | undefined {
  if (e.k === "const") return typeof e.value === "number" ? e.value : undefined;
  if (e.k === "var") return run.env.get(e.name);
  if (e.k === "load") {
    const data = run.buffers.get(e.buf)?.data;
    const addr = scalar(run, e.addr);
    if (data === undefined || addr === undefined || e.op !== "load" || e.type !== "i32") return undefined;
    const at = addr + e.offset;
    if (at < 0 || at + 4 > data.length) return undefined;
    return data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
  }
  const [a, b] = e.args.map((x) => scalar(run, x));
  if (a === undefined || b === undefined || e.args.length !== 2) return undefined;
  switch (e.op) {
    case "add.i32":
      return (a + b) | 0;
    case "sub.i32":
      return (a - b) | 0;
    case "mul.i32":
      return Math.imul(a, b);
    case "and.i32":
      return a & b;
    case "shl_v.i32":
      return a << b;
    case "shr_u_v.i32":
      return (a >>> b) | 0;
    case "shr_s_v.i32":
      return a >> b;
    case "min_s.i32":
      return Math.min(a, b);
    case "max_s.i32":
      return Math.max(a, b);
    default:
      return undefined;
  }
}

/** The bytes past the first of an access may be more than it uses. */
function read(run: Run, addr: Expr, offset: number): void {
  const at = scalar(run, addr);
  if (at === undefined || run.written[at + offset] !== 1) throw NO;
}

function write(run: Run, addr: Expr, offset: number, bytes: number): void {
  const at = scalar(run, addr);
  if (at === undefined) throw NO;
  run.written.fill(1, at + offset, at + offset + bytes);
}

const STORED: { readonly [op: string]: number } = {
  store8: 1,
  store8_lane: 1,
  store16: 2,
  store16_lane: 2,
  store32_lane: 4,
  store64_lane: 8,
};

function visitReads(run: Run, e: Expr): void {
  if (e.k === "op") for (const a of e.args) visitReads(run, a);
  if (e.k !== "load") return;
  visitReads(run, e.addr);
  if (e.buf !== run.buf) return;
  read(run, e.addr, e.offset);
  if (WIDTH[e.op] === 4) read(run, e.addr, e.offset + 3);
}

function execute(run: Run, stmts: readonly Stmt[]): void {
  for (const s of stmts) {
    if (++run.steps > PATIENCE) throw NO;
    switch (s.k) {
      case "comment":
        break;
      case "let":
      case "var":
      case "set":
        visitReads(run, s.value);
        if (s.value.type === "i32") bind(run, s.name, s.value);
        break;
      case "for": {
        const from = scalar(run, s.start);
        const to = scalar(run, s.end);
        if (from === undefined || to === undefined) throw NO;
        for (let i = from, first = true; first || i < to; i += s.step, first = false) {
          run.env.set(s.i, i);
          execute(run, s.body);
          if (turnsAlike(run, s)) break;
        }
        break;
      }
      case "if":
        throw NO;
      case "store":
        visitReads(run, s.value);
        if (s.buf === run.buf)
          write(
            run,
            s.addr,
            s.offset,
            STORED[s.op] ?? (s.value.type === "i32" ? 4 : s.value.type === "i64" ? 8 : 16),
          );
        break;
      case "fill":
        if (s.buf === run.buf) write(run, s.addr, s.offset, s.bytes);
        break;
      case "copy":
        if (s.from === run.buf) read(run, s.fromAddr, 0);
        if (s.to === run.buf) write(run, s.toAddr, 0, s.bytes);
        break;
    }
  }
}
