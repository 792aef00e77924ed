/**
 * dot4 in terms of dot2. Both operands are widened to i16: the low halves give lanes [c0 k01, c0 k23, c1 k01, c1 k23],
 * the high halves the same for c2, c3. A variable that only accumulates becomes two such accumulators, folded where it
 * is read: [l0+l1, l2+l3, h0+h1, h2+h3].
 */
import { type Expr, konst, op, ref, type Stmt } from "./ir.ts";

/** The operands widened to i16x8, low and high eight bytes. */
type Halves = { readonly low: Expr; readonly high: Expr };
/** How an operand is widened: signed as all weights are, or unsigned. */
type Side = "w" | "x";

const ZERO = konst("i32x4", 0);
const EVEN = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];
/** [b0, 0, b1, 0] and [b2, 0, b3, 0]: accumulators whose fold is b. */
const PLACE_LOW = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const PLACE_HIGH = [8, 9, 10, 11, 16, 17, 18, 19, 12, 13, 14, 15, 20, 21, 22, 23];

const isDot4 = (e: Expr): e is Expr & { readonly k: "op" } =>
  e.k === "op" && (e.op === "dot4_s8u8.i32x4" || e.op === "dot4_s8s8.i32x4");
/** How a dot4 takes its last operand. */
const lastSide = (e: Expr): Side => (e.k === "op" && e.op === "dot4_s8s8.i32x4" ? "w" : "x");

/** acc + Σ w·x of nested dot4s, innermost first. */
function chain(e: Expr): {
  readonly root: Expr;
  readonly terms: readonly { readonly w: Expr; readonly x: Expr; readonly side: Side }[];
} {
  const terms: { w: Expr; x: Expr; side: Side }[] = [];
  let root = e;
  while (isDot4(root)) {
    const [acc, w, x] = root.args;
    terms.unshift({ w: w!, x: x!, side: lastSide(root) });
    root = acc!;
  }
  return { root, terms };
}

const fold = (low: Expr, high: Expr): Expr =>
  op("add.i32x4", [op("shuffle.i32x4", [low, high], EVEN), op("shuffle.i32x4", [low, high], ODD)]);

function spread(e: Expr): Halves {
  if (e.k !== "const")
    return {
      low: op("shuffle.i32x4", [e, ZERO], PLACE_LOW),
      high: op("shuffle.i32x4", [e, ZERO], PLACE_HIGH),
    };
  const v = typeof e.value === "number" ? [e.value, e.value, e.value, e.value] : e.value;
  const pair = (a: number, b: number): Expr => (a === 0 && b === 0 ? ZERO : konst("i32x4", [a, 0, b, 0]));
  return { low: pair(v[0]!, v[1]!), high: pair(v[2]!, v[3]!) };
}

/** Loads that put the same eight bytes into both halves. */
const equalHalves = (e: Expr): boolean =>
  e.k === "load" && ["load8_splat", "load16_splat", "load32_splat", "load64_splat"].includes(e.op);

const children = (e: Expr): readonly Expr[] => (e.k === "op" ? e.args : e.k === "load" ? [e.addr] : []);
const withChildren = (e: Expr, c: readonly Expr[]): Expr =>
  e.k === "op" ? { ...e, args: c } : e.k === "load" ? { ...e, addr: c[0]! } : e;

interface Facts {
  /** Variables that become two accumulators. */
  readonly split: ReadonlySet<string>;
  /** Uses of each name as an operand of a dot4, and elsewhere. */
  readonly uses: ReadonlyMap<string, { readonly w: number; readonly x: number; readonly other: number }>;
  readonly names: Set<string>;
}

function gather(body: readonly Stmt[]): Facts {
  const split = new Set<string>();
  const uses = new Map<string, { w: number; x: number; other: number }>();
  const names = new Set<string>();
  const expr = (e: Expr, as: Side | "other"): void => {
    if (e.k === "var") {
      const u = uses.get(e.name) ?? { w: 0, x: 0, other: 0 };
      u[as]++;
      uses.set(e.name, u);
    }
    const sides: readonly (Side | "other")[] = isDot4(e) ? ["other", "w", lastSide(e)] : [];
    children(e).forEach((c, i) => {
      expr(c, sides[i] ?? "other");
    });
  };
  const block = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      for (const e of exprsOf(s)) expr(e, "other");
      if (s.k === "let" || s.k === "var") names.add(s.name);
      if (s.k === "set" && isDot4(s.value)) {
        const { root } = chain(s.value);
        if (root.k === "var" && root.name === s.name) split.add(s.name);
      }
      if (s.k === "for") {
        names.add(s.i);
        block(s.body);
      }
      if (s.k === "if") [s.then, s.else].forEach(block);
    }
  };
  block(body);
  return { split, uses, names };
}

/** The expressions of a statement itself, not of the blocks in it. */
function exprsOf(s: Stmt): readonly Expr[] {
  switch (s.k) {
    case "let":
    case "var":
    case "set":
      return [s.value];
    case "for":
      return [s.start, s.end];
    case "if":
      return [s.cond];
    case "store":
      return [s.addr, s.value];
    case "fill":
      return [s.addr];
    case "copy":
      return [s.toAddr, s.fromAddr];
    case "comment":
      return [];
  }
}

/**
 * Sums written as several `let`s become one nested chain, so that they are folded once. A dot4 moves only past other
 * `let`s, which change nothing it reads.
 */
function joinChains(stmts: readonly Stmt[], uses: Facts["uses"]): Stmt[] {
  const out: Stmt[] = [];
  let waiting = new Map<string, Stmt & { readonly k: "let" }>();
  const flush = (): void => {
    out.push(...waiting.values());
    waiting = new Map();
  };
  const inline = (e: Expr): Expr => {
    if (!isDot4(e)) return e;
    const [acc, ...rest] = e.args;
    const link = acc?.k === "var" ? waiting.get(acc.name) : undefined;
    if (!link) return withChildren(e, [inline(acc!), ...rest]);
    waiting.delete(link.name);
    return withChildren(e, [link.value, ...rest]);
  };
  for (const s of stmts) {
    const joined = s.k === "let" || s.k === "var" || s.k === "set" ? { ...s, value: inline(s.value) } : s;
    if (joined.k === "let") {
      const u = uses.get(joined.name);
      const once = u !== undefined && u.w + u.x === 0 && u.other === 1;
      if (once && isDot4(joined.value)) {
        waiting.set(joined.name, joined);
        continue;
      }
      // What does not join must stay before its use.
      if (exprsOf(joined).some((e) => [...waiting.keys()].some((n) => mentionsName(e, n)))) flush();
      out.push(joined);
      continue;
    }
    flush();
    if (joined.k === "for") out.push({ ...joined, body: joinChains(joined.body, uses) });
    else if (joined.k === "if") {
      const then = joinChains(joined.then, uses);
      const otherwise = joinChains(joined.else, uses);
      out.push({ ...joined, then, else: otherwise });
    } else out.push(joined);
  }
  flush();
  return out;
}

const mentionsName = (e: Expr, name: string): boolean =>
  (e.k === "var" && e.name === name) || children(e).some((c) => mentionsName(c, name));

export function expandDot4(source: readonly Stmt[]): readonly Stmt[] {
  const body = joinChains(source, gather(source).uses);
  const facts = gather(body);
  const { names, split, uses } = facts;
  const fresh = (base: string): string => {
    let name = base;
    for (let i = 1; names.has(name); i++) name = `${base}${i}`;
    names.add(name);
    return name;
  };
  const accumulators = new Map<string, { readonly low: string; readonly high: string }>();
  /** Widened forms of immutable names, made where the name is bound. */
  const widened = new Map<string, Halves>();
  /** Names that exist only in widened form. */
  const replaced = new Set<string>();

  /** Bindings made for the current statements, to be shared by the following ones until something they read changes. */
  type Shared = { readonly halves: Halves; readonly source: Expr };
  let shared = new Map<string, Shared>();

  const bindTo = (out: Stmt[], base: string, value: Expr): Expr => {
    if (value.k === "const") return value;
    const name = fresh(base);
    out.push({ k: "let", name, value });
    return ref(name, value.type);
  };

  /** Widens an operand whose own dot4s are already rewritten. */
  const widen = (e: Expr, side: Side, base: string, out: Stmt[]): Halves => {
    const sign = side === "w" ? "s" : "u";
    if (e.k === "const") {
      const v = typeof e.value === "number" ? new Array<number>(16).fill(e.value) : e.value;
      const wrap = side === "w" ? (x: number) => (x << 24) >> 24 : (x: number) => x & 255;
      return { low: konst("i16x8", v.slice(0, 8).map(wrap)), high: konst("i16x8", v.slice(8).map(wrap)) };
    }
    if (e.k === "load" && e.op === "load") {
      const half = (offset: number): Expr => ({ ...e, type: "i16x8", op: `load8x8_${sign}`, offset });
      return {
        low: bindTo(out, `${base}.${side}l`, half(e.offset)),
        high: bindTo(out, `${base}.${side}h`, half(e.offset + 8)),
      };
    }
    const low = bindTo(out, `${base}.${side}l`, op(`extend_low_${sign}.i16x8`, [e]));
    if (equalHalves(e)) return { low, high: low };
    return { low, high: bindTo(out, `${base}.${side}h`, op(`extend_high_${sign}.i16x8`, [e])) };
  };

  const operand = (e: Expr, side: Side, out: Stmt[]): Halves => {
    if (e.k === "var") {
      const known = widened.get(`${side} ${e.name}`);
      if (known) return known;
    }
    const source = rewrite(e, out);
    const key = `${side} ${JSON.stringify(source)}`;
    const known = shared.get(key);
    if (known) return known.halves;
    // A whole vector that is not a load is used by both halves.
    const whole = source.k === "op" ? bindTo(out, "t", source) : source;
    const halves = widen(whole, side, "t", out);
    shared.set(key, { halves, source });
    return halves;
  };

  /** `low` and `high` plus the products of all terms. */
  const accumulate = (e: Expr, low: Expr | undefined, high: Expr | undefined, out: Stmt[]): Halves => {
    let sum: { low: Expr | undefined; high: Expr | undefined } = { low, high };
    const plus = (a: Expr | undefined, b: Expr): Expr => (a ? op("add.i32x4", [a, b]) : b);
    for (const { w, x, side } of chain(e).terms) {
      const ww = operand(w, "w", out);
      const xx = operand(x, side, out);
      sum = {
        low: plus(sum.low, op("dot2.i32x4", [ww.low, xx.low])),
        high: plus(sum.high, op("dot2.i32x4", [ww.high, xx.high])),
      };
    }
    return { low: sum.low!, high: sum.high! };
  };

  const rewrite = (e: Expr, out: Stmt[]): Expr => {
    if (isDot4(e)) {
      const root = rewrite(chain(e).root, out);
      const sum = accumulate(e, undefined, undefined, out);
      const folded = fold(bindTo(out, "dot.l", sum.low), bindTo(out, "dot.h", sum.high));
      return root.k === "const" && root.value === 0 ? folded : op("add.i32x4", [root, folded]);
    }
    if (e.k === "var") {
      const acc = accumulators.get(e.name);
      if (!acc) return e;
      const key = `fold ${e.name}`;
      const known = shared.get(key);
      if (known) return known.halves.low;
      const value = bindTo(out, `${e.name}.sum`, fold(ref(acc.low, "i32x4"), ref(acc.high, "i32x4")));
      shared.set(key, { halves: { low: value, high: value }, source: e });
      return value;
    }
    return withChildren(
      e,
      children(e).map((c) => rewrite(c, out)),
    );
  };

  const mentions = (e: Expr, hit: (e: Expr) => boolean): boolean =>
    hit(e) || children(e).some((c) => mentions(c, hit));
  const forget = (hit: (e: Expr) => boolean): void => {
    for (const [key, { source }] of shared) if (mentions(source, hit)) shared.delete(key);
  };
  const forgetName = (name: string): void => forget((e) => e.k === "var" && e.name === name);
  const forgetLoads = (): void => forget((e) => e.k === "load");

  /** A block sees no shared binding of its surroundings, whose values it may change while it repeats. */
  const inner = (stmts: readonly Stmt[]): readonly Stmt[] => {
    const saved = shared;
    shared = new Map();
    const out: Stmt[] = [];
    for (const s of stmts) stmt(s, out);
    shared = saved;
    return out;
  };

  const bindLet = (s: Stmt & { readonly k: "let" }, out: Stmt[]): void => {
    const u = uses.get(s.name);
    const value = rewrite(s.value, out);
    const sides = (["w", "x"] as const).filter((side) => u && u[side] > 0);
    const wholeLoad = value.k === "load" && value.op === "load" && value.type === "i8x16";
    const direct = wholeLoad && u?.other === 0;
    const constant = value.k === "const" && u?.other === 0;
    if (sides.length > 0 && (direct || constant)) replaced.add(s.name);
    else out.push({ ...s, value });
    for (const side of sides) {
      // The bound vector may be read again, a load only if nothing else keeps it.
      const source = direct || constant ? value : ref(s.name, "i8x16");
      let halves: Halves;
      if (!direct && !constant && equalHalves(value)) {
        const sign = side === "w" ? "s" : "u";
        const low = bindTo(out, `${s.name}.${side}l`, op(`extend_low_${sign}.i16x8`, [source]));
        halves = { low, high: low };
      } else halves = widen(source, side, s.name, out);
      widened.set(`${side} ${s.name}`, halves);
    }
  };

  const stmt = (s: Stmt, out: Stmt[]): void => {
    switch (s.k) {
      case "comment":
        out.push(s);
        return;
      case "let":
        bindLet(s, out);
        return;
      case "var":
      case "set":
        assign(s, out);
        return;
      case "for": {
        const start = rewrite(s.start, out);
        const end = rewrite(s.end, out);
        out.push({ ...s, start, end, body: inner(s.body) });
        shared.clear();
        return;
      }
      case "if": {
        const cond = rewrite(s.cond, out);
        const then = inner(s.then);
        const otherwise = inner(s.else);
        out.push({ ...s, cond, then, else: otherwise });
        shared.clear();
        return;
      }
      case "store": {
        const addr = rewrite(s.addr, out);
        out.push({ ...s, addr, value: rewrite(s.value, out) });
        forgetLoads();
        return;
      }
      case "fill":
        out.push({ ...s, addr: rewrite(s.addr, out) });
        forgetLoads();
        return;
      case "copy": {
        const toAddr = rewrite(s.toAddr, out);
        out.push({ ...s, toAddr, fromAddr: rewrite(s.fromAddr, out) });
        forgetLoads();
        return;
      }
    }
  };

  const assign = (s: Stmt & { readonly k: "var" | "set" }, out: Stmt[]): void => {
    if (!split.has(s.name)) {
      out.push({ ...s, value: rewrite(s.value, out) });
      forgetName(s.name);
      return;
    }
    const acc = accumulators.get(s.name) ?? { low: fresh(`${s.name}.l`), high: fresh(`${s.name}.h`) };
    const low = ref(acc.low, "i32x4");
    const high = ref(acc.high, "i32x4");
    const { root } = chain(s.value);
    const own = s.k === "set" && root.k === "var" && root.name === s.name;
    let next: Halves;
    if (own) next = accumulate(s.value, low, high, out);
    else {
      const start = rewrite(root, out);
      const whole = start.k === "op" || start.k === "load" ? bindTo(out, "t", start) : start;
      const from = spread(whole);
      next = isDot4(s.value) ? accumulate(s.value, from.low, from.high, out) : from;
    }
    out.push({ k: s.k, name: acc.low, value: next.low }, { k: s.k, name: acc.high, value: next.high });
    accumulators.set(s.name, acc);
    forgetName(s.name);
  };

  const out: Stmt[] = [];
  for (const s of body) stmt(s, out);
  return out;
}
