/**
 * Which bindings of a kernel share a local: code with few locals repeats itself, which is what compressed modules are made of. Engines
 * do not care, they rename locals anyway.
 */
import type { Expr } from "../../ir/kernel/ir.ts";
import type { Code } from "./code.ts";

/**
 * By position, the names that no statement behind mentions. Positions count statements in the order in which they are written, those
 * inside of a statement after it. A name ends with a statement of the block that declares it, so that what a loop reads lives as
 * long as the loop. `waits`: a binding whose value is computed where it is read, so that what it reads lives until then.
 */
export function endsOf(
  body: readonly Code[],
  waits: (s: Code & { readonly k: "let" }) => boolean,
): ReadonlyMap<number, readonly string[]> {
  const waiting = new Map<string, Expr>();
  /** Of each name: depth of its block, or undefined if it is declared more than once. */
  const depths = new Map<string, number | undefined>();
  const last = new Map<string, number>();
  /** Position of the current statement at each depth. */
  const at: number[] = [];
  let position = 0;

  const mention = (name: string): void => {
    const depth = depths.get(name);
    if (depth === undefined) return;
    last.set(name, at[depth]!);
    const value = waiting.get(name);
    if (value) visit(value);
  };
  const visit = (e: Expr): void => {
    if (e.k === "var") mention(e.name);
    if (e.k === "load") visit(e.addr);
    if (e.k === "op") e.args.forEach(visit);
  };
  const declare = (name: string, depth: number): void => {
    depths.set(name, depths.has(name) ? undefined : depth);
    if (depths.get(name) === undefined) last.delete(name);
    else last.set(name, at[depth]!);
  };
  const block = (stmts: readonly Code[], depth: number): void => {
    for (const s of stmts) {
      at[depth] = position++;
      switch (s.k) {
        case "comment":
          break;
        case "let":
          declare(s.name, depth);
          if (waits(s)) waiting.set(s.name, s.value);
          else visit(s.value);
          break;
        case "var":
          declare(s.name, depth);
          visit(s.value);
          break;
        case "set":
          mention(s.name);
          visit(s.value);
          break;
        case "for":
          declare(s.i, depth);
          visit(s.start);
          visit(s.end);
          block(s.body, depth + 1);
          break;
        case "if":
          visit(s.cond);
          block(s.then, depth + 1);
          block(s.else, depth + 1);
          break;
        case "store":
          visit(s.addr);
          visit(s.value);
          break;
        case "fill":
          visit(s.addr);
          break;
        case "copy":
          visit(s.toAddr);
          visit(s.fromAddr);
          break;
        case "call":
          s.args.forEach(visit);
          break;
      }
    }
  };
  block(body, 0);
  const ends = new Map<number, string[]>();
  for (const [name, end] of last) ends.set(end, [...(ends.get(end) ?? []), name]);
  return ends;
}

/** Locals by type; those given back are taken again, the lowest first. */
export interface Locals {
  /** Types of all locals, in order. */
  readonly types: readonly number[];
  readonly take: (type: number) => number;
  readonly give: (local: number) => void;
}

/** `first`: index of the first local, behind the parameters. */
export function localPool(first: number): Locals {
  const types: number[] = [];
  const free = new Map<number, number[]>();
  return {
    types,
    take: (type) => {
      const list = free.get(type) ?? [];
      if (list.length === 0) return first + types.push(type) - 1;
      const least = Math.min(...list);
      list.splice(list.indexOf(least), 1);
      return least;
    },
    give: (local) => {
      const type = types[local - first]!;
      const list = free.get(type) ?? [];
      free.set(type, list);
      list.push(local);
    },
  };
}
