/**
 * Places of buffers in pointers instead of instructions: what is only an address in one buffer starts from that buffer's place, and the
 * immediate offsets are small and the same in every kernel. Fewer bytes, and they compress. In an inner loop nothing changes.
 */
import { add, c32, type Expr, type Kernel, ref, type Stmt } from "../../ir/kernel/ir.ts";

/** Buffer of the anchored accesses: all of memory. */
export const MEMORY = "$memory";

/** Accesses through one name that are worth an addition, and at constant places of one buffer that are worth a local. */
const WORTH = 2;
const WORTH_LOCAL = 8;

interface Pointer {
  readonly buf: string;
  /** Least offset of an access. */
  least: number;
  accesses: number;
}

/** Anchored names: what is added to each, and how much less its accesses add. */
interface Anchor {
  readonly start: number;
  readonly least: number;
}

/** The same kernel; anchored accesses are to `MEMORY`, whose address is 0. */
export function anchorPointers(kernel: Kernel, addresses: ReadonlyMap<string, number>): Kernel {
  const { anchors, bases } = anchorsOf(kernel.body, addresses);
  const start = (name: string, value: Expr): Expr => {
    const anchor = anchors.get(name);
    return anchor ? add(value, anchor.start) : value;
  };
  const place = <T extends { readonly buf: string; readonly addr: Expr; readonly offset: number }>(
    x: T,
  ): T => {
    const base = x.addr.k === "const" ? bases.get(x.buf) : undefined;
    if (base && x.addr.k === "const") {
      const offset = x.offset + Number(x.addr.value) - base.least;
      return { ...x, buf: MEMORY, addr: ref(base.name), offset };
    }
    const anchor = x.addr.k === "var" ? anchors.get(x.addr.name) : undefined;
    if (anchor) return { ...x, buf: MEMORY, offset: x.offset - anchor.least };
    return { ...x, addr: expr(x.addr) };
  };
  const expr = (e: Expr): Expr => {
    if (e.k === "load") return place(e);
    return e.k === "op" ? { ...e, args: e.args.map(expr) } : e;
  };
  const stmt = (s: Stmt): Stmt => {
    switch (s.k) {
      case "comment":
        return s;
      case "let":
      case "var":
        return { ...s, value: start(s.name, expr(s.value)) };
      case "set":
        return { ...s, value: expr(s.value) };
      case "store":
        return { ...place(s), value: expr(s.value) };
      case "fill":
        return place(s);
      case "copy":
        return { ...s, toAddr: expr(s.toAddr), fromAddr: expr(s.fromAddr) };
      case "if":
        // biome-ignore lint/suspicious/noThenProperty: a branch of an `if`.
        return { ...s, cond: expr(s.cond), then: s.then.map(stmt), else: s.else.map(stmt) };
      case "for": {
        const body = s.body.map(stmt);
        return { ...s, start: start(s.i, expr(s.start)), end: start(s.i, expr(s.end)), body };
      }
    }
  };
  // Variables: the constants would be inlined again.
  const locals = [...bases.values()].map((b): Stmt => ({ k: "var", name: b.name, value: c32(b.start) }));
  return { ...kernel, body: [...locals, ...kernel.body.map(stmt)] };
}

function anchorsOf(
  body: readonly Stmt[],
  addresses: ReadonlyMap<string, number>,
): {
  readonly anchors: ReadonlyMap<string, Anchor>;
  readonly bases: ReadonlyMap<string, Anchor & { readonly name: string }>;
} {
  const declared = new Set<string>();
  const pointers = new Map<string, Pointer>();
  const constant = new Map<string, Pointer>();
  const spoiled = new Set<string>();
  const declare = (name: string): void => {
    if (declared.has(name)) spoiled.add(name);
    declared.add(name);
  };
  const access = (x: { readonly buf: string; readonly addr: Expr; readonly offset: number }): void => {
    if (x.addr.k === "const") note(constant, x.buf, x.buf, x.offset + Number(x.addr.value));
    else if (x.addr.k === "var") note(pointers, x.addr.name, x.buf, x.offset);
    else visit(x.addr);
  };
  const note = (to: Map<string, Pointer>, name: string, buf: string, offset: number): void => {
    const p = to.get(name) ?? { buf, least: offset, accesses: 0 };
    if (p.buf !== buf) spoiled.add(name);
    p.least = Math.min(p.least, offset);
    p.accesses++;
    to.set(name, p);
  };
  const visit = (e: Expr): void => {
    if (e.k === "var") spoiled.add(e.name);
    if (e.k === "load") access(e);
    if (e.k === "op") e.args.forEach(visit);
  };
  const stmt = (s: Stmt): void => {
    switch (s.k) {
      case "comment":
        return;
      case "let":
      case "var":
        declare(s.name);
        visit(s.value);
        return;
      case "set":
        if (!advances(s.name, s.value)) {
          spoiled.add(s.name);
          visit(s.value);
        }
        return;
      case "store":
        access(s);
        visit(s.value);
        return;
      case "fill":
        access(s);
        return;
      case "copy":
        visit(s.toAddr);
        visit(s.fromAddr);
        return;
      case "if":
        visit(s.cond);
        [...s.then, ...s.else].forEach(stmt);
        return;
      case "for":
        declare(s.i);
        visit(s.start);
        visit(s.end);
        s.body.forEach(stmt);
        return;
    }
  };
  body.forEach(stmt);
  const anchors = new Map<string, Anchor>();
  for (const [name, { buf, least, accesses }] of pointers) {
    const address = addresses.get(buf);
    if (!declared.has(name) || spoiled.has(name) || accesses < WORTH || address === undefined) continue;
    anchors.set(name, { start: address + least, least });
  }
  const bases = new Map<string, Anchor & { readonly name: string }>();
  for (const [buf, { least, accesses }] of constant) {
    const address = addresses.get(buf);
    if (accesses < WORTH_LOCAL || address === undefined) continue;
    bases.set(buf, { name: `$base${bases.size}`, start: address + least, least });
  }
  return { anchors, bases };
}

/** Whether `value` is the variable plus a constant. */
const advances = (name: string, value: Expr): boolean =>
  value.k === "op" &&
  value.op === "add.i32" &&
  value.args[0]?.k === "var" &&
  value.args[0].name === name &&
  value.args[1]?.k === "const";
