/** What a part of a kernel reads of the rest. */
import type { Expr, Stmt } from "../../ir/kernel/ir.ts";
import type { Param } from "./code.ts";

/** Names that `part` reads and does not declare, in the order in which it does. Undefined if it assigns to one. */
export function freeNames(part: readonly Stmt[]): readonly Param[] | undefined {
  const own = new Set<string>();
  const free = new Map<string, Param>();
  let assigns = false;
  const expr = (e: Expr): void => {
    if (e.k === "var" && !own.has(e.name)) free.set(e.name, { name: e.name, type: e.type });
    if (e.k === "load") expr(e.addr);
    if (e.k === "op") e.args.forEach(expr);
  };
  const block = (stmts: readonly Stmt[]): void => stmts.forEach(stmt);
  const stmt = (s: Stmt): void => {
    switch (s.k) {
      case "comment":
        return;
      case "let":
      case "var":
        expr(s.value);
        own.add(s.name);
        return;
      case "set":
        expr(s.value);
        if (!own.has(s.name)) assigns = true;
        return;
      case "for":
        expr(s.start);
        expr(s.end);
        own.add(s.i);
        block(s.body);
        return;
      case "if":
        expr(s.cond);
        block(s.then);
        block(s.else);
        return;
      case "store":
        expr(s.addr);
        expr(s.value);
        return;
      case "fill":
        expr(s.addr);
        return;
      case "copy":
        expr(s.toAddr);
        expr(s.fromAddr);
        return;
    }
  };
  block(part);
  return assigns ? undefined : [...free.values()];
}
