/** Common subexpressions and dead ops: of equal ops the first stays, and of those only what a result needs. */
import { sameDense } from "../ir/dense.ts";
import type { Attr, Dense, Func, Op, Value } from "../ir/module.ts";
import type { ElemType, TensorType } from "../ir/types.ts";

/** Gives equal constants (type, shape and elements) one number, without comparing each with each. */
function numberConstants(): (d: Dense) => number {
  const known = new Map<Dense, number>();
  const buckets = new Map<string, Dense[]>();
  const SAMPLES = 32;
  return (d) => {
    const before = known.get(d);
    if (before !== undefined) return before;
    const n = d.data.length;
    const step = Math.max(1, Math.floor(n / SAMPLES));
    let key = `${typeKey(d)};`;
    for (let i = 0; i < n; i += step) key += `${d.data[i]},`;
    const bucket = buckets.get(key) ?? [];
    const same = bucket.find((other) => sameDense(other, d));
    const number = same === undefined ? known.size : known.get(same)!;
    known.set(d, number);
    if (same === undefined) buckets.set(key, [...bucket, d]);
    return number;
  };
}

/** Injective text of a number: tells −0 from 0. */
const numberKey = (x: number): string => (Object.is(x, -0) ? "-0" : String(x));

function elemKey(elem: ElemType): string {
  if (elem.kind === "float") return `f${elem.bits}`;
  if (elem.kind === "int") return `${elem.signed ? "i" : "u"}${elem.bits}`;
  const { scheme } = elem;
  const quantizers =
    scheme.kind === "tensor"
      ? `${scheme.scale}:${scheme.zeroPoint}`
      : `${scheme.axis};${scheme.scales.join()};${scheme.zeroPoints.join()}`;
  return `q${elemKey(elem.storage)}<${elem.lo}:${elem.hi};${quantizers}>`;
}

const typeKey = ({ shape, elem }: TensorType): string => `${shape.join("x")}x${elemKey(elem)}`;

function attrKey(a: Attr | undefined, constant: (d: Dense) => number): string {
  if (typeof a === "number") return numberKey(a);
  if (typeof a === "bigint") return `${a}n`;
  if (typeof a !== "object" || a === null) return JSON.stringify(a) ?? "";
  if (Array.isArray(a)) return `[${a.map((item: Attr) => attrKey(item, constant)).join()}]`;
  if ("kind" in a && a.kind === "dense") return `@${constant(a as Dense)}`;
  return `{${Object.entries(a)
    .map(([name, item]) => `${JSON.stringify(name)}=${attrKey(item as Attr, constant)}`)
    .sort()
    .join()}}`;
}

/** Time linear in the ops and the size of the constants. `names` are hints for the new values. */
export function mergeEqualOps(func: Func, names: ReadonlyMap<Value, string> = new Map()): Func {
  const needed = new Set<Value>(func.results.map((port) => port.value));
  const live: Op[] = [];
  for (let i = func.ops.length - 1; i >= 0; i--) {
    const op = func.ops[i]!;
    if (!op.results.some((r) => needed.has(r))) continue;
    live.push(op);
    for (const v of op.operands) needed.add(v);
  }
  const constant = numberConstants();
  const numbers = new Map<Value, number>();
  const now = new Map<Value, Value>();
  const add = (old: Value, value: Value): void => {
    now.set(old, value);
    if (!numbers.has(value)) numbers.set(value, numbers.size);
  };
  for (const { value } of func.params) add(value, value);
  const seen = new Map<string, Op>();
  const ops: Op[] = [];
  for (const op of live.reverse()) {
    const operands = op.operands.map((v) => now.get(v)!);
    const key = [
      op.name,
      operands.map((v) => numbers.get(v)).join(),
      attrKey(op.attrs, constant),
      op.results.map((r) => typeKey(r.type)).join(),
    ].join("|");
    const before = seen.get(key);
    if (before !== undefined) {
      op.results.forEach((r, i) => {
        add(r, before.results[i]!);
      });
      continue;
    }
    const results = op.results.map((r): Value => ({ name: names.get(r) ?? r.name, type: r.type }));
    const made: Op = { ...op, operands, results };
    seen.set(key, made);
    ops.push(made);
    op.results.forEach((r, i) => {
      add(r, results[i]!);
    });
  }
  const results = func.results.map((port) => ({ ...port, value: now.get(port.value)! }));
  return { ...func, ops, results };
}
