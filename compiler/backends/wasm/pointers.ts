/**
 * Addresses in innermost loops. An address that is a linear function of the loop variable becomes a variable that
 * advances by additions; one that does not depend on it is computed before the loop; constant parts become offsets.
 * Engines do none of this for WASM.
 */
import { add, c32, type Expr, type Kernel, op, ref, type Stmt, scale } from "../../ir/kernel/ir.ts";

/** Σ coefficient · term + constant, modulo 2^32. Terms are expressions that do not change in the loop, and its variable. */
interface Affine {
  readonly terms: ReadonlyMap<string, { readonly expr: Expr; readonly factor: number }>;
  readonly constant: number;
}

type For = Stmt & { readonly k: "for" };

/** More pointers than this would be spilled. */
const MAX_POINTERS = 8;

export function usePointers(kernel: Kernel): Kernel {
  const names = new Set<string>();
  collectNames(kernel.body, names);
  const fresh = (base: string): string => {
    let name = base;
    for (let i = 1; names.has(name); i++) name = `${base}${i}`;
    names.add(name);
    return name;
  };
  const block = (stmts: readonly Stmt[]): Stmt[] =>
    stmts.flatMap((s): Stmt[] => {
      if (s.k === "if") {
        const then = block(s.then);
        return [{ ...s, cond: s.cond, then, else: block(s.else) }];
      }
      if (s.k !== "for") return [s];
      return s.body.some(hasLoop) ? [{ ...s, body: block(s.body) }] : advance(s, fresh);
    });
  return { ...kernel, body: block(kernel.body) };
}

function collectNames(stmts: readonly Stmt[], names: Set<string>): void {
  for (const s of stmts) {
    if (s.k === "let" || s.k === "var") names.add(s.name);
    if (s.k === "for") {
      names.add(s.i);
      collectNames(s.body, names);
    }
    if (s.k === "if") {
      collectNames(s.then, names);
      collectNames(s.else, names);
    }
  }
}

const hasLoop = (s: Stmt): boolean => s.k === "for" || (s.k === "if" && [...s.then, ...s.else].some(hasLoop));

const combine = (a: Affine, b: Affine, factor: number): Affine => {
  const terms = new Map(a.terms);
  for (const [key, t] of b.terms) {
    const sum = (terms.get(key)?.factor ?? 0) + t.factor * factor;
    if (sum === 0) terms.delete(key);
    else terms.set(key, { expr: t.expr, factor: sum });
  }
  return { terms, constant: a.constant + b.constant * factor };
};

interface Group {
  readonly affine: Affine;
  /** Least constant among the addresses: theirs is not negative, so neither is the pointer. */
  least: number;
  uses: number;
}

/** Rewrites one innermost loop; the result starts with what its pointers need. */
function advance(loop: For, fresh: (base: string) => string): Stmt[] {
  const lets = new Map<string, Expr>();
  const changing = new Set<string>([loop.i]);
  const scan = (stmts: readonly Stmt[], top: boolean): void => {
    for (const s of stmts) {
      if (s.k === "let" || s.k === "var" || s.k === "set") changing.add(s.name);
      if (top && s.k === "let" && s.value.type === "i32") lets.set(s.name, s.value);
      if (s.k === "if") [s.then, s.else].forEach((b) => void scan(b, false));
    }
  };
  scan(loop.body, true);

  const invariant = (e: Expr): boolean =>
    e.k === "const" ||
    (e.k === "var"
      ? !changing.has(e.name)
      : e.k === "op" && !/^(div|rem)_/.test(e.op) && e.args.every(invariant));
  const term = (expr: Expr): Affine => ({
    terms: new Map([[JSON.stringify(expr), { expr, factor: 1 }]]),
    constant: 0,
  });
  const known = new Map<string, Affine | undefined>();
  const affine = (e: Expr): Affine | undefined => {
    if (e.k === "const") return { terms: new Map(), constant: Number(e.value) };
    if (e.k === "var") {
      if (e.name === loop.i) return term(e);
      const value = lets.get(e.name);
      if (!value) return invariant(e) ? term(e) : undefined;
      if (!known.has(e.name)) known.set(e.name, affine(value));
      return known.get(e.name);
    }
    if (e.k === "op" && e.args.length === 2) {
      const [a, b] = [affine(e.args[0]!), affine(e.args[1]!)];
      if (a && b) {
        if (e.op === "add.i32") return combine(a, b, 1);
        if (e.op === "sub.i32") return combine(a, b, -1);
        if (e.op === "mul.i32" && b.terms.size === 0)
          return combine({ terms: new Map(), constant: 0 }, a, b.constant);
        if (e.op === "mul.i32" && a.terms.size === 0)
          return combine({ terms: new Map(), constant: 0 }, b, a.constant);
        if (e.op === "shl_v.i32" && b.terms.size === 0 && b.constant >= 0 && b.constant < 31)
          return combine({ terms: new Map(), constant: 0 }, a, 2 ** b.constant);
      }
    }
    return invariant(e) ? term(e) : undefined;
  };

  const keyOf = (a: Affine): string =>
    [...a.terms]
      .map(([k, t]) => `${k}*${t.factor}`)
      .sort()
      .join();
  const groups = new Map<string, Group>();
  const addresses = (visit: (addr: Expr) => void): void => {
    const expr = (e: Expr): void => {
      if (e.k === "load") visit(e.addr);
      if (e.k === "op") e.args.forEach(expr);
    };
    for (const s of loop.body) {
      if ("value" in s) expr(s.value);
      if (s.k === "store" || s.k === "fill") visit(s.addr);
    }
  };
  addresses((addr) => {
    const a = affine(addr);
    if (!a || a.terms.size === 0) return;
    const key = keyOf(a);
    const g = groups.get(key) ?? { affine: a, least: a.constant, uses: 0 };
    g.least = Math.min(g.least, a.constant);
    g.uses++;
    groups.set(key, g);
  });

  const before: Stmt[] = [];
  const after: Stmt[] = [];
  const pointers = new Map<string, { readonly at: Expr; readonly least: number }>();
  const start = affine(loop.start);
  const ordered = [...groups].sort(([, a], [, b]) => b.uses - a.uses);
  for (const [key, g] of ordered) {
    const [only] = g.affine.terms.values();
    const bare = g.affine.terms.size === 1 && only!.factor === 1 && only!.expr.k === "var";
    // The loop variable itself serves where it cannot be negative.
    const plain =
      bare &&
      (g.least === 0 ||
        (only!.expr.k === "var" &&
          only!.expr.name === loop.i &&
          start?.terms.size === 0 &&
          start.constant >= 0));
    if (plain) {
      pointers.set(key, { at: only!.expr, least: 0 });
      continue;
    }
    if (pointers.size >= MAX_POINTERS || !fits(g.least)) continue;
    const slope = g.affine.terms.get(JSON.stringify(ref(loop.i)))?.factor ?? 0;
    let initial: Expr = c32(0);
    for (const { expr, factor } of g.affine.terms.values())
      initial = add(initial, scale(expr.k === "var" && expr.name === loop.i ? loop.start : expr, factor | 0));
    initial = add(initial, g.least);
    const name = fresh("p");
    pointers.set(key, { at: ref(name), least: g.least });
    before.push({ k: slope === 0 ? "let" : "var", name, value: initial });
    if (slope !== 0)
      after.push({ k: "set", name, value: op("add.i32", [ref(name), c32((slope * loop.step) | 0)]) });
  }
  if (pointers.size === 0) return [loop];

  const place = <T extends { readonly addr: Expr; readonly offset: number }>(s: T): T => {
    const a = affine(s.addr);
    const p = a && pointers.get(keyOf(a));
    if (!a || !p || !fits(s.offset + a.constant - p.least)) return s;
    return { ...s, addr: p.at, offset: s.offset + a.constant - p.least };
  };
  const rewrite = (e: Expr): Expr => {
    if (e.k === "load") return place(e);
    return e.k === "op" ? { ...e, args: e.args.map(rewrite) } : e;
  };
  const body = loop.body.map((s): Stmt => {
    if (s.k === "let" || s.k === "var" || s.k === "set") return { ...s, value: rewrite(s.value) };
    if (s.k === "store") return { ...place(s), value: rewrite(s.value) };
    return s.k === "fill" ? place(s) : s;
  });
  return [...before, { ...loop, body: [...body, ...after] }];
}

const fits = (n: number): boolean => Math.abs(n) < 2 ** 30;
