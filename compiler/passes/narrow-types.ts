/**
 * Declares every value with the narrowest integer type that holds what it can reach. Values that must share a type because
 * elements move between them unchanged are narrowed together. Signedness stays: kernels depend on it.
 */

import { makeOp } from "../ir/builder.ts";
import { ok } from "../ir/diagnostics.ts";
import type { Func, Op, Value } from "../ir/module.ts";
import { hasTrait } from "../ir/ops/index.ts";
import { definePass } from "../ir/pass.ts";
import { analyzeRanges, type Ranges, whole } from "../ir/ranges.ts";
import { mapFuncs, rebuild } from "../ir/rewriter.ts";
import { type IntType, int, intMax, intMin, sameElem, sameType } from "../ir/types.ts";

/** Ops whose author chooses the result's type. */
const chosen = new Set([
  "qc.conv",
  "qc.matmul",
  "qc.mul",
  "qc.max",
  "qc.min",
  "qc.sum_pool",
  "qc.reduce_sum",
  "qc.requant",
  "qc.threshold",
  "qc.clamp",
  "qc.add_const",
]);

/** Ops whose result has its operands' type. */
const passesOn = (op: Op): boolean =>
  hasTrait(op, "movement") || op.name === "qc.max_pool" || op.name === "qc.insert_channels";

/** Ops with kernels for unsigned bytes and signed 16-bit integers only: a signed operand of more than 8 bits keeps more than 8. */
const products = new Set(["qc.conv", "qc.conv_transpose", "qc.matmul"]);

interface Group {
  lo: number;
  hi: number;
  fixed: boolean;
  /** Operand of a product. */
  multiplied: boolean;
}

/** The narrowest type of the same sign, of at least `least` bits. */
function narrowest(signed: boolean, lo: number, hi: number, least: number): IntType {
  let bits = least;
  while (intMin(int(signed, bits)) > lo || intMax(int(signed, bits)) < hi) bits++;
  return int(signed, bits);
}

/** Types for the values that can be narrower. */
function narrowed(func: Func, ranges: Ranges): Map<Value, IntType> {
  const leader = new Map<Value, Value>();
  const find = (v: Value): Value => {
    let at = v;
    while (leader.has(at)) at = leader.get(at)!;
    return at;
  };
  for (const op of func.ops)
    if (passesOn(op))
      for (const v of op.operands) {
        const [a, b] = [find(v), find(op.results[0]!)];
        if (a !== b) leader.set(a, b);
      }
  const groups = new Map<Value, Group>();
  const note = (v: Value, fixed: boolean): void => {
    const { min, max } = whole(ranges.of(v));
    const at = find(v);
    const g = groups.get(at) ?? { lo: min, hi: max, fixed: false, multiplied: false };
    groups.set(at, { ...g, lo: Math.min(g.lo, min), hi: Math.max(g.hi, max), fixed: g.fixed || fixed });
  };
  for (const p of func.params) note(p.value, true);
  for (const op of func.ops) for (const v of op.results) note(v, !chosen.has(op.name) && !passesOn(op));
  for (const r of func.results) note(r.value, true);
  for (const op of func.ops)
    if (products.has(op.name)) for (const v of op.operands) groups.get(find(v))!.multiplied = true;
  const types = new Map<Value, IntType>();
  for (const op of func.ops)
    for (const v of op.results) {
      const g = groups.get(find(v))!;
      const { elem } = v.type;
      if (g.fixed || elem.kind !== "int" || g.lo > g.hi) continue;
      const wide = elem.signed && elem.bits > 8 && g.multiplied;
      const type = narrowest(elem.signed, g.lo, g.hi, wide ? 9 : 1);
      if (type.bits < elem.bits) types.set(v, type);
    }
  return types;
}

function narrow(func: Func): Func {
  const types = narrowed(func, analyzeRanges(func));
  if (types.size === 0) return func;
  return rebuild(func, (op, operands, b) => {
    const [y] = op.results;
    const elem = y && types.get(y);
    const moved = operands.some((v, i) => !sameType(v.type, op.operands[i]!.type));
    if (y === undefined || (elem === undefined && !moved)) return undefined;
    const made = makeOp(op.name, operands, op.attrs, {
      loc: op.loc,
      names: op.results.map((r) => r.name),
      types: op.results.map((r) => (elem === undefined ? r.type : { ...r.type, elem })),
    });
    if (elem !== undefined && !sameElem(made.results[0]!.type.elem, elem))
      throw new Error(`${op.name} cannot have the type its operands have`);
    b.append(made);
    return made.results;
  });
}

export const narrowTypes = definePass({
  name: "narrow-types",
  summary: "Declare every value with the narrowest type of its sign that holds its proved range.",
  requires: ["lifted"],
  run: (module) => ok(mapFuncs(module, narrow)),
});
