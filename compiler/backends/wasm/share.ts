/**
 * Parts of kernels as functions of their own: engines replace a function by its optimized code only between two calls, and parts that
 * differ in numbers only (sizes, places, counts) are one function, compiled once for all of them.
 */
import { c32, type Expr, type Kernel, ref, type Stmt } from "../../ir/kernel/ir.ts";
import { anchorPointers } from "./anchors.ts";
import type { Code, Param, Procedure } from "./code.ts";
import { freeNames } from "./free.ts";
import { numbersOf, withNumbers } from "./numbers.ts";
import { usePointers } from "./pointers.ts";
import { express } from "./solve.ts";

/**
 * Operations from which the turns of all loops that become one function are worth it: with about as many, engines start to optimize
 * a function.
 */
const WORTH = 1_000_000;
/** The share of it that a loop has to execute in one inference, and in one turn: a call costs some ten operations. */
const OF_LOOP = 1 / 50;
const OF_TURN = 1 / 500;
/** Turns below which a loop is not cut, but those inside of it. */
const LEAST_TURNS = 4;

/** A loop whose body becomes a function. */
interface Unit {
  readonly loop: Stmt & { readonly k: "for" };
  readonly free: readonly Param[];
  readonly work: number;
}

interface Site extends Unit {
  readonly numbers: readonly number[];
}

/** Equal results. Kernels keep names and order; `procedures` are what they call. `worth`: instead of the default, for tests. */
export function shareParts(
  kernels: readonly Kernel[],
  addresses: ReadonlyMap<string, number>,
  worth = WORTH,
): { readonly kernels: readonly Procedure[]; readonly procedures: readonly Procedure[] } {
  const groups = new Map<string, Site[]>();
  const bodies = kernels.map((k) => anchorPointers(usePointers(k), addresses).body);
  for (const body of bodies)
    for (const unit of unitsOf(body, worth)) {
      const { key, numbers } = numbersOf(unit.loop.body, unit.free, addresses);
      const site = { ...unit, numbers };
      const group = groups.get(key);
      if (group) group.push(site);
      else groups.set(key, [site]);
    }
  const calls = new Map<Stmt, Code>();
  const procedures: Procedure[] = [];
  for (const sites of groups.values()) {
    const [first] = sites as [Site, ...Site[]];
    if (sites.reduce((sum, s) => sum + s.work, 0) < worth) continue;
    const name = `p${procedures.length}`;
    const { params, holes, derived } = express(sites.map((s) => s.numbers));
    const body = withNumbers(first.loop.body, holes, addresses);
    procedures.push({
      name,
      params: [...first.free, ...params.map((p): Param => ({ name: p.name, type: "i32" }))],
      body: [...derived, ...body],
    });
    sites.forEach((site, i) => {
      const args: Expr[] = [
        ...site.free.map((p) => ref(p.name, p.type)),
        ...params.map((p) => c32(p.values[i]!)),
      ];
      calls.set(site.loop, { ...site.loop, body: [{ k: "call", to: name, args }] });
    });
  }
  const replaced = (stmts: readonly Stmt[]): Code[] =>
    stmts.map((s): Code => {
      const call = calls.get(s);
      if (call) return call;
      if (s.k === "for") return { ...s, body: replaced(s.body) };
      // biome-ignore lint/suspicious/noThenProperty: a branch of an `if`.
      return s.k === "if" ? { ...s, then: replaced(s.then), else: replaced(s.else) } : s;
    });
  return {
    procedures,
    kernels: kernels.map((k, i) => ({ name: k.name, params: [], body: replaced(bodies[i]!) })),
  };
}

const turnsOf = ({ start, end, step }: Stmt & { readonly k: "for" }): number =>
  start.k === "const" && end.k === "const"
    ? Math.max(1, Math.ceil((Number(end.value) - Number(start.value)) / step))
    : LEAST_TURNS;

const sizeOf = (e: Expr): number =>
  e.k === "op" ? 1 + e.args.reduce((n, a) => n + sizeOf(a), 0) : e.k === "load" ? 1 + sizeOf(e.addr) : 0;

/** Operations executed, roughly. */
function workOf(stmts: readonly Stmt[]): number {
  let work = 0;
  for (const s of stmts)
    switch (s.k) {
      case "let":
      case "var":
      case "set":
        work += sizeOf(s.value);
        break;
      case "store":
        work += 1 + sizeOf(s.addr) + sizeOf(s.value);
        break;
      case "fill":
      case "copy":
        work += 1 + s.bytes / 16;
        break;
      case "if":
        work += workOf(s.then) + workOf(s.else);
        break;
      case "for":
        work += turnsOf(s) * workOf(s.body);
        break;
    }
  return work;
}

function unitsOf(body: readonly Stmt[], worth: number): Unit[] {
  const units: Unit[] = [];
  const visit = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      if (s.k === "if") [s.then, s.else].forEach(visit);
      if (s.k !== "for") continue;
      const turn = workOf(s.body);
      const turns = turnsOf(s);
      if (turn * turns < worth * OF_LOOP) continue;
      const free = turns >= LEAST_TURNS && turn >= worth * OF_TURN ? freeNames(s.body) : undefined;
      if (free) units.push({ loop: s, free, work: turn * turns });
      else visit(s.body);
    }
  };
  visit(body);
  return units;
}
