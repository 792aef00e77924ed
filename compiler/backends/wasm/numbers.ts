/** Code without its numbers: its scalar constants and places in memory as a list, and the code with others in their stead. */
import { add, c32, type Expr, type Stmt } from "../../ir/kernel/ir.ts";
import { MEMORY } from "./anchors.ts";
import type { Param } from "./code.ts";

/** What stands for a number of the code: a number, or an expression plus one that is not negative. */
export type Hole =
  | { readonly k: "number"; readonly value: number }
  | { readonly k: "sum"; readonly value: Expr; readonly at: number };

interface Hooks {
  readonly name: (name: string) => string;
  readonly scalar: (value: number) => Expr;
  /** Of an access: its address is that of the code plus `base`; `offset` remains. */
  readonly place: (at: number) => { readonly base?: Expr; readonly offset: number };
  /** Of a loop: whether it is known to have one turn. */
  readonly once: (x: boolean) => void;
}

function rebuild(stmts: readonly Stmt[], addresses: ReadonlyMap<string, number>, h: Hooks): Stmt[] {
  const access = (buf: string, addr: Expr, offset: number) => {
    const base = buf === MEMORY ? 0 : addresses.get(buf);
    if (base === undefined) throw new Error(`buffer ${buf} has no address`);
    const at = base + offset;
    const own = addr.k === "const" ? c32(0) : expr(addr);
    const place = h.place(addr.k === "const" ? at + Number(addr.value) : at);
    return { buf: MEMORY, addr: place.base ? add(own, place.base) : own, offset: place.offset };
  };
  const expr = (e: Expr): Expr => {
    switch (e.k) {
      case "const":
        return e.type === "i32" ? h.scalar(Number(e.value) | 0) : e;
      case "var":
        return { ...e, name: h.name(e.name) };
      case "load":
        return { ...e, ...access(e.buf, e.addr, e.offset) };
      case "op":
        return { ...e, args: e.args.map(expr) };
    }
  };
  const block = (list: readonly Stmt[]): Stmt[] => list.flatMap(stmt);
  const stmt = (s: Stmt): Stmt[] => {
    switch (s.k) {
      case "comment":
        return [];
      case "let":
      case "var":
      case "set":
        return [{ k: s.k, value: expr(s.value), name: h.name(s.name) }];
      case "store": {
        const value = expr(s.value);
        return [{ ...s, ...access(s.buf, s.addr, s.offset), value }];
      }
      case "fill":
        return [{ ...s, ...access(s.buf, s.addr, s.offset) }];
      case "copy": {
        const to = access(s.to, s.toAddr, 0);
        const from = access(s.from, s.fromAddr, 0);
        return [
          {
            ...s,
            to: MEMORY,
            toAddr: add(to.addr, to.offset),
            from: MEMORY,
            fromAddr: add(from.addr, from.offset),
          },
        ];
      }
      case "if":
        // biome-ignore lint/suspicious/noThenProperty: a branch of an `if`.
        return [{ ...s, cond: expr(s.cond), then: block(s.then), else: block(s.else) }];
      case "for": {
        const { start, end, step } = s;
        h.once(start.k === "const" && end.k === "const" && Number(start.value) + step >= Number(end.value));
        return [{ k: "for", i: h.name(s.i), start: expr(start), end: expr(end), step, body: block(s.body) }];
      }
    }
  };
  return block(stmts);
}

/** `key` is the same for parts that differ in numbers and names only; those have as many numbers. */
export function numbersOf(
  part: readonly Stmt[],
  free: readonly Param[],
  addresses: ReadonlyMap<string, number>,
): { readonly key: string; readonly numbers: readonly number[] } {
  const numbers: number[] = [];
  const loops: string[] = [];
  const names = new Map<string, string>(free.map((p, i) => [p.name, `${i}${p.type}`]));
  const shape = rebuild(part, addresses, {
    name: (n) => {
      const known = names.get(n);
      if (known !== undefined) return known;
      names.set(n, `${names.size}`);
      return `${names.size - 1}`;
    },
    scalar: (value) => {
      numbers.push(value);
      return c32(0);
    },
    place: (at) => {
      numbers.push(at);
      return { offset: 0 };
    },
    once: (x) => loops.push(x ? "1" : "n"),
  });
  return { key: `${loops.join("")} ${JSON.stringify(shape)}`, numbers };
}

/** The part with other numbers, in the order of `numbersOf`. */
export function withNumbers(
  part: readonly Stmt[],
  holes: readonly Hole[],
  addresses: ReadonlyMap<string, number>,
): Stmt[] {
  let next = 0;
  const take = (): Hole => holes[next++]!;
  return rebuild(part, addresses, {
    name: (n) => n,
    scalar: () => {
      const h = take();
      return h.k === "number" ? c32(h.value) : add(h.value, h.at);
    },
    place: () => {
      const h = take();
      return h.k === "number" ? { offset: h.value } : { base: h.value, offset: h.at };
    },
    once: () => {},
  });
}
