/**
 * Which bytes a kernel touches, as linear functions of its loops: the facts behind parallel loops. An address that is not a
 * linear function with constant coefficients counts as the whole buffer.
 */
import type { Buffer, Expr, Kernel, Stmt } from "./ir.ts";
import { loadBytes, storeBytes } from "./widths.ts";

export type For = Stmt & { readonly k: "for" };

/**
 * Σ coefficient · turn + constant; `turn` counts the turns of the loop of that variable from 0. Variables are unique in a kernel.
 * An entry of a table of constants counts as the least entry plus a number of turns of its own.
 */
export interface Linear {
  readonly terms: ReadonlyMap<string, number>;
  readonly constant: number;
}

export interface Access {
  readonly buf: string;
  readonly write: boolean;
  readonly bytes: number;
  /** First byte; `undefined`: anywhere in the buffer. */
  readonly at: Linear | undefined;
  /** The loops around it, outside in. */
  readonly loops: readonly For[];
  /** The `if`s around it, outside in: with any, it is perhaps not executed. */
  readonly ifs: readonly Stmt[];
  /** The statement it belongs to; of a `let` or a `for`, those its own expressions make. */
  readonly stmt: Stmt;
}

export interface Accesses {
  /** In textual order, reads of a statement before its writes. */
  readonly list: readonly Access[];
  /** Of each statement, what is inside it included: the first of its accesses in the list, and the first behind them. */
  readonly spans: ReadonlyMap<Stmt, readonly [number, number]>;
  /** How often the body of each loop runs, at most; loops of unknown bounds are missing. */
  readonly turns: ReadonlyMap<string, number>;
  /** Loops that may run less often. */
  readonly inexact: ReadonlySet<string>;
  readonly kernel: Kernel;
  readonly buffers: ReadonlyMap<string, Buffer>;
}

type Value = Linear | undefined;

const constant = (n: number): Linear => ({ terms: new Map(), constant: n });

/** a + factor · b. */
function combine(a: Value, b: Value, factor: number): Value {
  if (a === undefined || b === undefined) return undefined;
  const terms = new Map(a.terms);
  for (const [name, c] of b.terms) {
    const sum = (terms.get(name) ?? 0) + factor * c;
    if (sum === 0) terms.delete(name);
    else terms.set(name, sum);
  }
  return { terms, constant: a.constant + factor * b.constant };
}

function linearOp(name: string, args: readonly Value[]): Value {
  const [a, b] = args;
  if (a === undefined || b === undefined) return undefined;
  if (name === "add.i32") return combine(a, b, 1);
  if (name === "sub.i32") return combine(a, b, -1);
  if (name === "mul.i32" && b.terms.size === 0) return combine(constant(0), a, b.constant);
  if (name === "mul.i32" && a.terms.size === 0) return combine(constant(0), b, a.constant);
  if (name === "shl_v.i32" && b.terms.size === 0 && b.constant >= 0 && b.constant < 31)
    return combine(constant(0), a, 2 ** b.constant);
  return undefined;
}

/** The loops and addresses of a kernel; `buffers`: those of the program, whose constants may hold addresses. */
export function accessesOf(kernel: Kernel, buffers: ReadonlyMap<string, Buffer>): Accesses {
  const list: Access[] = [];
  const turns = new Map<string, number>();
  const spans = new Map<Stmt, readonly [number, number]>();
  const inexact = new Set<string>();
  const values = new Map<string, Value>();
  const lets = new Map<string, Expr>();

  const value = (e: Expr): Value => {
    if (e.k === "const") return typeof e.value === "number" ? constant(e.value) : undefined;
    if (e.k === "var") return values.get(e.name);
    if (e.k === "load") return entry(e);
    return e.k === "op" && e.type === "i32" ? linearOp(e.op, e.args.map(value)) : undefined;
  };

  const entry = (e: Expr & { readonly k: "load" }): Value => {
    const table = buffers.get(e.buf)?.data;
    const at = value(e.addr);
    if (e.type !== "i32" || e.op !== "load" || table === undefined || at === undefined) return undefined;
    if ([e.offset, at.constant, table.length, ...at.terms.values()].some((n) => n % 4 !== 0))
      return undefined;
    const name = `@${e.buf}`;
    const view = new DataView(table.buffer, table.byteOffset, table.length);
    let [least, most] = [view.getInt32(0, true), view.getInt32(0, true)];
    for (let i = 4; i < table.length; i += 4) {
      least = Math.min(least, view.getInt32(i, true));
      most = Math.max(most, view.getInt32(i, true));
    }
    turns.set(name, most - least + 1);
    return { terms: new Map([[name, 1]]), constant: least };
  };

  /** An upper bound of an i32. */
  const atMost = (e: Expr): number | undefined => {
    const v = value(e);
    if (v !== undefined) {
      let sum: number | undefined = v.constant;
      for (const [name, c] of v.terms) {
        const n = turns.get(name);
        sum = n === undefined || sum === undefined ? undefined : sum + Math.max(0, c * (n - 1));
      }
      return sum;
    }
    if (e.k === "var" && lets.has(e.name)) return atMost(lets.get(e.name)!);
    if (e.k !== "op" || e.op !== "min_s.i32") return undefined;
    const bounds = e.args.map(atMost).filter((b) => b !== undefined);
    return bounds.length > 0 ? Math.min(...bounds) : undefined;
  };

  const visit = (stmts: readonly Stmt[], loops: readonly For[], ifs: readonly Stmt[]): void => {
    const touch = (
      stmt: Stmt,
      write: boolean,
      buf: string,
      addr: Expr,
      offset: number,
      bytes: number,
    ): void => {
      if (bytes > 0)
        list.push({
          buf,
          write,
          bytes,
          at: combine(value(addr), constant(offset), 1),
          loops,
          ifs,
          stmt,
        });
    };
    const reads = (stmt: Stmt, e: Expr): void => {
      if (e.k === "op") for (const a of e.args) reads(stmt, a);
      if (e.k !== "load") return;
      reads(stmt, e.addr);
      touch(stmt, false, e.buf, e.addr, e.offset, loadBytes(e.op, e.type));
    };
    for (const s of stmts) {
      const from = list.length;
      switch (s.k) {
        case "comment":
          break;
        case "let":
        case "var":
        case "set":
          reads(s, s.value);
          values.set(s.name, s.value.type === "i32" ? value(s.value) : undefined);
          if (s.k === "let") lets.set(s.name, s.value);
          break;
        case "store":
          reads(s, s.addr);
          reads(s, s.value);
          touch(s, true, s.buf, s.addr, s.offset, storeBytes(s.op, s.value.type));
          break;
        case "fill":
          reads(s, s.addr);
          touch(s, true, s.buf, s.addr, s.offset, s.bytes);
          break;
        case "copy":
          reads(s, s.fromAddr);
          reads(s, s.toAddr);
          touch(s, false, s.from, s.fromAddr, 0, s.bytes);
          touch(s, true, s.to, s.toAddr, 0, s.bytes);
          break;
        case "if":
          reads(s, s.cond);
          visit(s.then, loops, [...ifs, s]);
          for (const name of assigned(s.then)) values.set(name, undefined);
          visit(s.else, loops, [...ifs, s]);
          for (const name of assigned(s.else)) values.set(name, undefined);
          break;
        case "for":
          loop(s, loops, ifs);
          break;
      }
      spans.set(s, [from, list.length]);
    }
    function loop(s: For, outer: readonly For[], around: readonly Stmt[]): void {
      reads(s, s.start);
      reads(s, s.end);
      const start = value(s.start);
      const length = combine(value(s.end), start, -1);
      const exact = length?.terms.size === 0;
      const most = exact ? length.constant : atMost(s.end);
      const base = start?.terms.size === 0 ? start.constant : undefined;
      const span = exact || most === undefined || base === undefined ? most : most - base;
      const known = span !== undefined && (exact || base !== undefined);
      const n = known ? Math.max(1, Math.ceil(span / s.step)) : undefined;
      if (n !== undefined) turns.set(s.i, n);
      if (!exact) inexact.add(s.i);
      const turn: Value = n === undefined ? undefined : { terms: new Map([[s.i, 1]]), constant: 0 };
      values.set(s.i, combine(start, turn, s.step));
      const advancing = advances(s);
      const before = new Map([...advancing.keys()].map((name) => [name, values.get(name)]));
      for (const [name, step] of advancing)
        values.set(name, step === undefined ? undefined : combine(before.get(name), turn, step));
      visit(s.body, [...outer, s], around);
      for (const [name, step] of advancing)
        values.set(
          name,
          step === undefined || n === undefined || !exact
            ? undefined
            : combine(before.get(name), constant(step * n), 1),
        );
    }
  };
  visit(kernel.body, [], []);
  return { list, spans, turns, inexact, kernel, buffers };
}

/** Names a block assigns, other than those it declares. */
export function assigned(stmts: readonly Stmt[]): Set<string> {
  const names = new Set<string>();
  const own = new Set<string>();
  const visit = (block: readonly Stmt[]): void => {
    for (const s of block) {
      if (s.k === "var") own.add(s.name);
      if (s.k === "set") names.add(s.name);
      if (s.k === "for") visit(s.body);
      if (s.k === "if") [s.then, s.else].forEach(visit);
    }
  };
  visit(stmts);
  for (const name of own) names.delete(name);
  return names;
}

/** Variables that outlive one turn of the loop and what each turn adds to them; `undefined` if that is not a constant. */
function advances(loop: For): Map<string, number | undefined> {
  const found = new Map<string, number | undefined>();
  for (const name of assigned(loop.body)) found.set(name, undefined);
  const once = new Map<string, number>();
  for (const s of loop.body) {
    if (s.k !== "set" || !found.has(s.name)) continue;
    const { value: v } = s;
    const [a, b] = v.k === "op" && v.op === "add.i32" ? v.args : [];
    if (a?.k === "var" && a.name === s.name && b?.k === "const" && !once.has(s.name))
      once.set(s.name, Number(b.value));
    else once.set(s.name, Number.NaN);
  }
  const nested = new Set(
    loop.body.flatMap((s) =>
      s.k === "for" ? [...assigned(s.body)] : s.k === "if" ? [...assigned([...s.then, ...s.else])] : [],
    ),
  );
  for (const [name, step] of once) if (!Number.isNaN(step) && !nested.has(name)) found.set(name, step);
  return found;
}
