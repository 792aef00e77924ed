import type { Expr } from "../../ir/kernel/ir.ts";
import type { Code } from "./code.ts";

/** Calls `f` for every expression of a block, outside in, with the depth of the loops around it. */
export function visitExprs(stmts: readonly Code[], f: (e: Expr, loops: number) => void, loops = 0): void {
  const expr = (e: Expr): void => {
    f(e, loops);
    if (e.k === "load") expr(e.addr);
    if (e.k === "op") e.args.forEach(expr);
  };
  for (const s of stmts)
    switch (s.k) {
      case "let":
      case "var":
      case "set":
        expr(s.value);
        break;
      case "for":
        expr(s.start);
        expr(s.end);
        visitExprs(s.body, f, loops + 1);
        break;
      case "if":
        expr(s.cond);
        visitExprs(s.then, f, loops);
        visitExprs(s.else, f, loops);
        break;
      case "store":
        expr(s.addr);
        expr(s.value);
        break;
      case "fill":
        expr(s.addr);
        break;
      case "copy":
        expr(s.toAddr);
        expr(s.fromAddr);
        break;
      case "call":
        s.args.forEach(expr);
        break;
      case "comment":
        break;
    }
}

/** How often each name is read, reads by `let`s nobody reads not counted. */
export function countUses(stmts: readonly Code[]): Map<string, number> {
  const uses = new Map<string, number>();
  const count = (e: Expr, by: number): void => {
    if (e.k === "var") uses.set(e.name, (uses.get(e.name) ?? 0) + by);
  };
  visitExprs(stmts, (e) => count(e, 1));
  const lets = new Map<string, Code & { readonly k: "let" }>();
  const collect = (block: readonly Code[]): void => {
    for (const s of block) {
      if (s.k === "let") lets.set(s.name, s);
      if (s.k === "for") collect(s.body);
      if (s.k === "if") [s.then, s.else].forEach(collect);
    }
  };
  collect(stmts);
  const dead = [...lets.values()].filter((s) => !uses.get(s.name));
  for (let s = dead.pop(); s; s = dead.pop())
    visitExprs([s], (e) => {
      count(e, -1);
      const source = e.k === "var" && uses.get(e.name) === 0 ? lets.get(e.name) : undefined;
      if (source) dead.push(source);
    });
  return uses;
}

/** Vector constants a loop would make anew every turn, those bound by a `let` outside of it included. */
export function vectorConstantsInLoops(stmts: readonly Code[]): (Expr & { readonly k: "const" })[] {
  const bound = new Map<string, Expr & { readonly k: "const" }>();
  const lets = (block: readonly Code[]): void => {
    for (const s of block) {
      if (s.k === "let" && s.value.k === "const") bound.set(s.name, s.value);
      if (s.k === "for") lets(s.body);
      if (s.k === "if") [s.then, s.else].forEach(lets);
    }
  };
  lets(stmts);
  const found: (Expr & { readonly k: "const" })[] = [];
  visitExprs(stmts, (e, loops) => {
    const value = e.k === "var" ? bound.get(e.name) : e;
    if (loops > 0 && value?.k === "const" && value.type.includes("x")) found.push(value);
  });
  return found;
}
