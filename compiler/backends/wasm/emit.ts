/** A kernel or a part of it → one WASM function. Every loop runs on one thread. */
import type { Expr, KType } from "../../ir/kernel/ir.ts";
import { MEMORY } from "./anchors.ts";
import type { Ref } from "./assemble.ts";
import type { Code, Procedure } from "./code.ts";
import { bytesOfConst, emitScalarConst, isCheapConst } from "./constants.ts";
import { endsOf, localPool } from "./locals.ts";
import { emitLoad, emitStore, type Memory, moveBytes, setBytes } from "./memory.ts";
import { emitOp, type OpContext, usesOperandsTwice } from "./ops.ts";
import { countUses, vectorConstantsInLoops } from "./uses.ts";

/** Adds a function without result to the module. */
export function emitProcedure(cx: OpContext, kernel: Procedure, places: ReadonlyMap<string, number>): void {
  const { params } = kernel;
  const addresses = new Map(places).set(MEMORY, 0);
  const { b, m } = cx;
  const wasmType = (t: KType): number => (t === "i32" ? b.i32 : t === "i64" ? b.i64 : b.v128);
  const locals = localPool(params.length);
  const newLocal = (t: KType): number => locals.take(wasmType(t));

  const slots = new Map<string, number>(params.map((p, i) => [p.name, i]));
  const uses = countUses(kernel.body);
  /** Bindings that are not locals: constants, and values used once that wait for their use. */
  const constants = new Map<string, Expr>();
  const pending = new Map<string, Expr>();
  const hoisted = new Map<string, number>();
  let labels = 0;

  const waits = (s: Code & { readonly k: "let" }): boolean => s.value.k !== "const" && uses.get(s.name) === 1;
  const ends = endsOf(kernel.body, waits);
  let position = 0;
  /** Locals of names that end at a statement. */
  const release = (at: number): void => {
    for (const name of ends.get(at) ?? []) {
      const slot = slots.get(name);
      if (slot === undefined) continue;
      slots.delete(name);
      locals.give(slot);
    }
  };

  /** Temporaries of one statement. */
  let temps: number[] = [];
  const temp = (t: KType): number => {
    const local = newLocal(t);
    temps.push(local);
    return local;
  };

  const memory: Memory = {
    m,
    addresses,
    /** An address needed several times. */
    repeat: (e: Expr) => operand(e, true),
    emit: (e: Expr) => expr(e),
  };

  /** A closure that may be called again if `twice`: the first call computes, the others read a local. */
  const operand = (e: Expr, twice: boolean): (() => Ref) => {
    if (!twice || e.k === "const" || (e.k === "var" && !pending.has(e.name))) return () => expr(e);
    let local: number | undefined;
    return () => {
      if (local !== undefined) return m.local.get(local, wasmType(e.type));
      const value = expr(e);
      local = temp(e.type);
      return m.local.tee(local, value, wasmType(e.type));
    };
  };

  const expr = (e: Expr): Ref => {
    switch (e.k) {
      case "const": {
        if (e.type === "i32" || e.type === "i64") return emitScalarConst(m, e);
        const bytes = bytesOfConst(e);
        const local = hoisted.get(bytes.join());
        return local === undefined ? m.v128.const(bytes) : m.local.get(local, b.v128);
      }
      case "var": {
        const value = constants.get(e.name) ?? pending.get(e.name);
        if (value) {
          pending.delete(e.name);
          return expr(value);
        }
        const slot = slots.get(e.name);
        if (slot === undefined) throw new Error(`kernel ${kernel.name}: %${e.name} is not defined`);
        return m.local.get(slot, wasmType(e.type));
      }
      case "load":
        return emitLoad(memory, e);
      case "op": {
        const twice = usesOperandsTwice.has(e.op);
        return emitOp[e.op](
          cx,
          e.args.map((a) => operand(a, twice)),
          e.imm,
        );
      }
    }
  };

  /** `at`: position of the statement that ends with this. */
  const bind = (name: string, value: Expr, at?: number): Ref => {
    const ref = expr(value);
    if (at !== undefined) release(at);
    const slot = newLocal(value.type);
    slots.set(name, slot);
    return m.local.set(slot, ref);
  };

  /** Gives locals to the waiting values that `used` does not contain: after it they might mean something else. */
  const flush = (out: Ref[], used: readonly Expr[]): void => {
    if (pending.size === 0) return;
    const kept = new Set<string>();
    const visit = (e: Expr): void => {
      if (e.k === "load") visit(e.addr);
      if (e.k === "op") e.args.forEach(visit);
      if (e.k === "var" && pending.has(e.name) && !kept.has(e.name)) {
        kept.add(e.name);
        visit(pending.get(e.name)!);
      }
    };
    used.forEach(visit);
    for (const [name, value] of [...pending]) {
      if (kept.has(name) || !pending.has(name)) continue;
      pending.delete(name);
      out.push(bind(name, value));
    }
  };

  const block = (stmts: readonly Code[], out: Ref[]): void => {
    for (const s of stmts) {
      const at = position++;
      const outer = temps;
      temps = [];
      stmt(s, out, at);
      temps.forEach(locals.give);
      temps = outer;
      release(at);
    }
    pending.clear();
  };
  const nested = (stmts: readonly Code[]): Ref => {
    const out: Ref[] = [];
    block(stmts, out);
    return m.block(null, out);
  };

  const loop = (s: Code & { readonly k: "for" }, out: Ref[]): void => {
    flush(out, []);
    const i = newLocal("i32");
    const start = expr(s.start);
    out.push(m.local.set(i, start));
    const once =
      s.start.k === "const" && s.end.k === "const" && Number(s.start.value) + s.step >= Number(s.end.value);
    // The end is evaluated once: what the body sets must not change it.
    let end = s.end;
    if (end.k === "var" && constants.has(end.name)) end = constants.get(end.name)!;
    let endLocal: number | undefined;
    if (end.k !== "const" && !once) {
      endLocal = newLocal("i32");
      out.push(m.local.set(endLocal, expr(end)));
    }
    slots.set(s.i, i);
    if (once) {
      block(s.body, out);
      return;
    }
    const label = `l${labels++}`;
    const body: Ref[] = [];
    block(s.body, body);
    const limit = endLocal === undefined ? expr(end) : m.local.get(endLocal, b.i32);
    const next = m.local.tee(i, m.i32.add(m.local.get(i, b.i32), m.i32.const(s.step)), b.i32);
    body.push(m.br_if(label, m.i32.lt_s(next, limit)));
    out.push(m.loop(label, m.block(null, body)));
    if (endLocal !== undefined) locals.give(endLocal);
  };

  const stmt = (s: Code, out: Ref[], at: number): void => {
    switch (s.k) {
      case "comment":
        return;
      case "let": {
        const n = uses.get(s.name) ?? 0;
        if (n === 0) return;
        if (s.value.k === "const") constants.set(s.name, s.value);
        else if (n === 1) pending.set(s.name, s.value);
        else out.push(bind(s.name, s.value, at));
        return;
      }
      case "var":
        out.push(bind(s.name, s.value, at));
        return;
      case "set": {
        flush(out, [s.value]);
        const value = expr(s.value);
        out.push(m.local.set(slots.get(s.name)!, value));
        return;
      }
      case "for":
        loop(s, out);
        return;
      case "if": {
        flush(out, []);
        const cond = expr(s.cond);
        const then = nested(s.then);
        out.push(s.else.length ? m.if(cond, then, nested(s.else)) : m.if(cond, then));
        return;
      }
      case "store":
        flush(out, [s.addr, s.value]);
        out.push(emitStore(memory, s));
        return;
      case "fill":
        flush(out, [s.addr]);
        out.push(...setBytes(memory, s));
        return;
      case "copy":
        flush(out, [s.toAddr, s.fromAddr]);
        out.push(...moveBytes(memory, s));
        return;
      case "call":
        flush(out, s.args);
        out.push(m.call(s.to, s.args.map(expr), b.none));
        return;
    }
  };

  const body: Ref[] = [];
  for (const e of vectorConstantsInLoops(kernel.body)) {
    if (isCheapConst(e)) continue;
    const bytes = bytesOfConst(e);
    const key = bytes.join();
    if (hoisted.has(key)) continue;
    const local = newLocal("i8x16");
    body.push(m.local.set(local, m.v128.const(bytes)));
    hoisted.set(key, local);
  }
  block(kernel.body, body);
  const types = b.createType(params.map((p) => wasmType(p.type)));
  m.addFunction(kernel.name, types, b.none, [...locals.types], m.block(null, body));
}
