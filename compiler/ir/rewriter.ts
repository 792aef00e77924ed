/** Building a function from another: mapped copies, local rewrites to a fixpoint, removal of unused ops. */
import { createBuilder, type FuncBuilder, makeOp } from "./builder.ts";
import type { Func, Module, Op, Value } from "./module.ts";
import { sameType } from "./types.ts";

/**
 * Called once per op, in order, with its operands in the new function. Returns the values that replace the op's
 * results, or `undefined` to copy the op.
 */
export type Replace = (op: Op, operands: readonly Value[], b: FuncBuilder) => readonly Value[] | undefined;

export interface RebuildOptions {
  /** Params of the new function; default: the same ones. Their values replace the old ones by position. */
  readonly params?: Func["params"];
  /** Called with each old value and what replaces it. */
  readonly onMap?: (from: Value, to: Value) => void;
}

/**
 * The op on other operands. Same operands: the op itself. Same operand types: same result values. Else the result
 * types are inferred anew, the old ones serving as the author's choice.
 */
export function copyOp(op: Op, operands: readonly Value[]): Op {
  if (operands.every((v, i) => v === op.operands[i])) return op;
  if (operands.every((v, i) => sameType(v.type, op.operands[i]!.type))) return { ...op, operands };
  return makeOp(op.name, operands, op.attrs, {
    loc: op.loc,
    names: op.results.map((r) => r.name),
    types: op.results.map((r) => r.type),
  });
}

/** Walks the ops in order under a value map and builds the new function. */
export function rebuild(func: Func, replace: Replace, { params, onMap }: RebuildOptions = {}): Func {
  const b = createBuilder(func.name);
  const map = new Map<Value, Value>();
  const mapped = (v: Value): Value => {
    const to = map.get(v);
    if (!to) throw new Error(`value %${v.name} is used before it is defined`);
    return to;
  };
  const bind = (from: Value, to: Value): void => {
    map.set(from, to);
    onMap?.(from, to);
  };
  func.params.forEach((p, i) => {
    const to = params?.[i] ?? p;
    b.addParam(to);
    bind(p.value, to.value);
  });
  for (const op of func.ops) {
    const operands = op.operands.map(mapped);
    let values = replace(op, operands, b);
    if (!values) {
      const copy = copyOp(op, operands);
      b.append(copy);
      values = copy.results;
    }
    if (values.length !== op.results.length)
      throw new Error(`${op.name}: ${values.length} values replace ${op.results.length} results`);
    for (let i = 0; i < op.results.length; i++) bind(op.results[i]!, values[i]!);
  }
  for (const r of func.results) b.addResult({ ...r, value: mapped(r.value) });
  return b.build();
}

/** What a local rule may ask about the function being built. */
export interface RuleContext {
  readonly b: FuncBuilder;
  /** The op that defines a value; `undefined` for a param. */
  readonly def: (v: Value) => Op | undefined;
  /** Uses of a value: operand positions and function results of the function being rewritten. */
  readonly useCount: (v: Value) => number;
}

/** A local rewrite. Its comment carries its equation. */
export interface Rule {
  readonly name: string;
  /** Op names it applies to; default: every op. */
  readonly ops?: readonly string[];
  /** Replacement of the op's results, or `undefined` if the rule does not apply. */
  readonly rewrite: (op: Op, operands: readonly Value[], ctx: RuleContext) => readonly Value[] | undefined;
}

/** One sweep of the rules; returns the same function if none applied. */
function sweep(func: Func, rules: readonly Rule[]): Func {
  const defs = new Map<Value, Op>();
  const counts = new Map<Value, number>();
  const oldCounts = new Map<Value, number>();
  const count = (v: Value): void => void oldCounts.set(v, (oldCounts.get(v) ?? 0) + 1);
  for (const op of func.ops) for (const v of op.operands) count(v);
  for (const r of func.results) count(r.value);
  let changed = false;
  let indexed = 0;
  const next = rebuild(
    func,
    (op, operands, b) => {
      for (; indexed < b.ops.length; indexed++)
        for (const r of b.ops[indexed]!.results) defs.set(r, b.ops[indexed]!);
      const ctx: RuleContext = {
        b,
        def: (v) => defs.get(v) ?? b.ops.slice(indexed).find((o) => o.results.includes(v)),
        useCount: (v) => counts.get(v) ?? 0,
      };
      for (const rule of rules) {
        if (rule.ops && !rule.ops.includes(op.name)) continue;
        const values = rule.rewrite(op, operands, ctx);
        if (values) {
          changed = true;
          return values;
        }
      }
      return undefined;
    },
    { onMap: (from, to) => void counts.set(to, (counts.get(to) ?? 0) + (oldCounts.get(from) ?? 0)) },
  );
  return changed ? next : func;
}

/** Applies local rules until none applies, dropping unused ops between sweeps. Throws if `limit` sweeps do not suffice. */
export function greedy(func: Func, rules: readonly Rule[], limit = 100): Func {
  let at = func;
  for (let i = 0; i < limit; i++) {
    const next = sweep(at, rules);
    if (next === at) return dce(at);
    at = dce(next);
  }
  throw new Error(
    `rules ${rules.map((r) => r.name).join(", ")} do not end after ${limit} sweeps of @${func.name}`,
  );
}

/** Drops ops none of whose results is used. Params stay. Returns the same function if there is nothing to drop. */
export function dce(func: Func): Func {
  const live = new Set<Value>(func.results.map((r) => r.value));
  const kept: Op[] = [];
  for (const op of func.ops.toReversed()) {
    if (!op.results.some((r) => live.has(r))) continue;
    for (const v of op.operands) live.add(v);
    kept.push(op);
  }
  return kept.length === func.ops.length ? func : { ...func, ops: kept.reverse() };
}

/** Maps every function of a module; the same module if none changes. */
export function mapFuncs(module: Module, f: (func: Func) => Func): Module {
  const funcs = module.funcs.map(f);
  return funcs.every((g, i) => g === module.funcs[i]) ? module : { ...module, funcs };
}
