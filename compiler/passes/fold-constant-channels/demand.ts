/**
 * Which channels are read and which exist. A channel is *read* if some consumer's result depends on its value in a way
 * that the consumer cannot take as a known constant. It *exists* if a channel it is tied to one to one is read.
 * A channel that exists unread holds an arbitrary value of its own reachable range – except in an absorbing accumulator, where it is 0.
 */
import { type Dense, definitions, type Func, type Op, uses, type Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { analyzeRanges, type Ranges, rangeAt } from "../../ir/ranges.ts";
import type { Rational } from "../../ir/rational.ts";
import { fitsAnySubset, type Linear, linearOf, touches } from "./linear.ts";
import { channelsOf, type Relation, relationOf } from "./relation.ts";
import { createSlots } from "./slots.ts";

export interface Demand {
  readonly ranges: Ranges;
  readonly linear: (op: Op) => Linear | undefined;
  /** Whether an accumulator's consumers all absorb a per-channel shift of it. */
  readonly absorbing: (v: Value) => boolean;
  readonly read: (v: Value, c: number) => boolean;
  /** Channels that exist, ascending; at least one unless the value has none. */
  readonly kept: (v: Value) => readonly number[];
  /** The single value a channel can take. */
  readonly constant: (v: Value, c: number) => number | undefined;
}

interface Facts {
  readonly func: Func;
  readonly ranges: Ranges;
  readonly defs: ReadonlyMap<Value, Op>;
  readonly linears: ReadonlyMap<Op, Linear>;
  readonly relations: ReadonlyMap<Op, Relation>;
  readonly absorbing: ReadonlySet<Value>;
}

/** Whether a requant can add a constant per channel of its operand `v` to its offset. */
function absorbs(op: Op, v: Value): boolean {
  const y = op.results[0]!;
  if (op.name !== "qc.requant" || channelsOf(v) !== channelsOf(y)) return false;
  const lists = [
    ...attr<readonly (readonly Rational[])[]>(op, "scales"),
    attr<readonly Rational[]>(op, "offset"),
  ];
  return attr<number>(op, "axis") === y.type.shape.length - 1 || lists.every((l) => l.length === 1);
}

function gather(func: Func): Facts {
  const ranges = analyzeRanges(func);
  const defs = definitions(func);
  const users = uses(func);
  const results = new Set(func.results.map((r) => r.value));
  const linears = new Map<Op, Linear>();
  const relations = new Map<Op, Relation>();
  const absorbing = new Set<Value>();
  const constant = (op: Op, i: number): Dense | undefined => {
    const def = defs.get(op.operands[i]!);
    return def?.name === "const" ? attr<Dense>(def, "value") : undefined;
  };
  for (const op of func.ops) {
    const relation = relationOf(op);
    if (relation !== undefined) relations.set(op, relation);
    const linear = linearOf(op, constant);
    if (linear === undefined) continue;
    linears.set(op, linear);
    const y = op.results[0]!;
    const consumers = users.get(y) ?? [];
    if (results.has(y) || !consumers.every((u) => absorbs(u, y))) continue;
    if (fitsAnySubset(linear, ranges.of(op.operands[0]!))) absorbing.add(y);
  }
  return { func, ranges, defs, linears, relations, absorbing };
}

const constantAt = ({ ranges }: Facts, v: Value, c: number): number | undefined => {
  const { min, max } = rangeAt(ranges.of(v), c);
  return min === max ? min : undefined;
};

/** A requant of one absorbing accumulator: it can make any constant by its offset alone. */
export const finishes = (op: Op, absorbing: (v: Value) => boolean): boolean =>
  op.name === "qc.requant" && op.operands.length === 1 && absorbing(op.operands[0]!);

type Flags = Map<Value, Uint8Array>;

/** Marks what is read, from the results back. `forced` channels count as read. */
function readChannels(facts: Facts, forced: ReadonlyMap<Value, ReadonlySet<number>>): Flags {
  const { func, linears, relations, absorbing } = facts;
  const flags: Flags = new Map();
  const at = (v: Value): Uint8Array => {
    let f = flags.get(v);
    if (f === undefined) {
      f = new Uint8Array(channelsOf(v));
      flags.set(v, f);
    }
    return f;
  };
  const all = (v: Value): void => void at(v).fill(1);
  for (const [v, set] of forced) for (const c of set) at(v)[c] = 1;
  for (const r of func.results) all(r.value);
  for (const op of func.ops.toReversed()) {
    const y = op.results[0];
    if (y === undefined || op.name === "const") continue;
    const linear = linears.get(op);
    const relation = relations.get(op);
    if (linear !== undefined) {
      readLinear(facts, op, linear, at(y), at(op.operands[0]!));
      all(op.operands[1]!);
    } else if (relation !== undefined) {
      const final = finishes(op, (v) => absorbing.has(v));
      relation.forEach((pick, i) => {
        const x = op.operands[i]!;
        if (pick === undefined) all(x);
        pick?.forEach((from, c) => {
          if (from < 0 || at(y)[c] === 0) return;
          if (!final || constantAt(facts, y, c) === undefined) at(x)[from] = 1;
        });
      });
    } else {
      for (const v of op.operands) all(v);
      for (const v of op.results) all(v);
    }
  }
  return flags;
}

function readLinear(facts: Facts, op: Op, l: Linear, out: Uint8Array, input: Uint8Array): void {
  const x = op.operands[0]!;
  const absorbing = facts.absorbing.has(op.results[0]!);
  if (l.depthwise) {
    const perInput = l.outputs / l.inputs;
    for (let o = 0; o < l.outputs; o++)
      if (out[o] === 1 && touches(l, o, 0)) input[Math.floor(o / perInput)] = 1;
    return;
  }
  for (let i = 0; i < l.inputs; i++) {
    if (input[i] === 1) continue;
    const k = constantAt(facts, x, i);
    if (absorbing && k !== undefined && (l.padding === undefined || l.padding === k)) continue;
    for (let o = 0; o < l.outputs; o++)
      // An accumulator that cannot be shifted keeps every product: its unread channels must stay within their range.
      if ((out[o] === 1 || !absorbing) && touches(l, o, i)) {
        input[i] = 1;
        break;
      }
  }
}

/** Ties channels together: those that only exist together have the same class. */
function tie({ func, linears, relations }: Facts): {
  readonly classes: ReadonlyMap<Value, Int32Array>;
  readonly size: number;
} {
  const slots = createSlots();
  for (const p of func.params) slots.add(p.value);
  for (const op of func.ops) {
    for (const v of op.results) slots.add(v);
    const linear = linears.get(op);
    const y = op.results[0]!;
    if (linear?.depthwise)
      for (let o = 0; o < linear.outputs; o++)
        slots.join(op.operands[0]!, Math.floor((o * linear.inputs) / linear.outputs), y, o);
    relations.get(op)?.forEach((pick, i) => {
      pick?.forEach((from, c) => {
        if (from >= 0) slots.join(op.operands[i]!, from, y, c);
      });
    });
  }
  // After all joins, so that the classes are final.
  const values = [...func.params.map((p) => p.value), ...func.ops.flatMap((op) => op.results)];
  return { classes: new Map(values.map((v) => [v, slots.classesOf(v)])), size: slots.size() };
}

/** The channels of every value that are read, and those that exist. */
export function analyzeDemand(func: Func): Demand {
  const facts = gather(func);
  const { classes, size } = tie(facts);
  const mixed = func.ops.filter(
    (op) => op.operands.length > 1 && op.operands.some((v) => facts.absorbing.has(v)),
  );
  const forced = new Map<Value, Set<number>>();
  for (;;) {
    const flags = readChannels(facts, forced);
    const read = (v: Value, c: number): boolean => flags.get(v)?.[c] === 1;
    // A param's channels exist, read or not.
    const existing = new Uint8Array(size);
    for (const p of func.params) for (const k of classes.get(p.value)!) existing[k] = 1;
    for (const [v, own] of classes) {
      const f = flags.get(v);
      if (f !== undefined) for (let c = 0; c < own.length; c++) if (f[c] === 1) existing[own[c]!] = 1;
    }
    for (const own of classes.values())
      if (own.length > 0 && !own.some((k) => existing[k] === 1)) existing[own[0]!] = 1;
    const kept = new Map<Value, readonly number[]>();
    for (const [v, own] of classes) {
      const list: number[] = [];
      for (let c = 0; c < own.length; c++) if (existing[own[c]!] === 1) list.push(c);
      kept.set(v, list);
    }
    // A sum of several operands cannot hide an accumulator that nobody computes.
    const missing = mixed.flatMap(({ results: [y] }) =>
      kept.get(y!)!.flatMap((c) => (read(y!, c) ? [] : [[y!, c] as const])),
    );
    if (missing.length === 0)
      return {
        ranges: facts.ranges,
        linear: (op) => facts.linears.get(op),
        absorbing: (v) => facts.absorbing.has(v),
        read,
        kept: (v) => kept.get(v)!,
        constant: (v, c) => constantAt(facts, v, c),
      };
    for (const [v, c] of missing) {
      const set = forced.get(v) ?? new Set();
      forced.set(v, set.add(c));
    }
  }
}
