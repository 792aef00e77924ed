/** Structural equality of modules, up to value names. */
import { sameDense } from "../../compiler/ir/dense.ts";
import type { Attr, Func, Module, Port, Value } from "../../compiler/ir/module.ts";
import { sameAttr } from "../../compiler/ir/text/attrs.ts";
import { sameType } from "../../compiler/ir/types.ts";

/** Where the modules first differ; `undefined` if they are the same. Locations count if `locs`. */
export function difference(a: Module, b: Module, locs: boolean): string | undefined {
  if (a.funcs.length !== b.funcs.length) return "number of functions";
  for (const [i, f] of a.funcs.entries()) {
    const d = funcDifference(f, b.funcs[i]!, locs);
    if (d !== undefined) return `@${f.name}: ${d}`;
  }
  return undefined;
}

const same = (a: unknown, b: unknown): boolean => sameAttr(a as Attr, b as Attr, sameDense);

function funcDifference(a: Func, b: Func, locs: boolean): string | undefined {
  const map = new Map<Value, Value>();
  const bind = (x: readonly Value[], y: readonly Value[]): boolean =>
    x.length === y.length &&
    x.every((v, i) => {
      map.set(v, y[i]!);
      return sameType(v.type, y[i]!.type);
    });
  const ports = (x: readonly Port[], y: readonly Port[]): boolean =>
    x.every((p, i) => p.name === y[i]!.name && p.dtype === y[i]!.dtype && same(p.boundary, y[i]!.boundary));
  const values = (x: readonly Value[], y: readonly Value[]): boolean =>
    x.length === y.length && x.every((v, i) => map.get(v) === y[i]);
  if (a.name !== b.name) return "name";
  if (
    !bind(
      a.params.map((p) => p.value),
      b.params.map((p) => p.value),
    )
  )
    return "params";
  if (!ports(a.params, b.params)) return "param ports";
  if (a.ops.length !== b.ops.length) return "number of ops";
  for (const [i, x] of a.ops.entries()) {
    const y = b.ops[i]!;
    if (x.name !== y.name) return `op ${i}: name`;
    if (!values(x.operands, y.operands)) return `op ${i}: operands`;
    if (!same(x.attrs, y.attrs)) return `op ${i}: attributes`;
    if (!bind(x.results, y.results)) return `op ${i}: results`;
    if (locs && x.loc !== undefined && !same(x.loc, y.loc)) return `op ${i}: location`;
  }
  if (
    !values(
      a.results.map((p) => p.value),
      b.results.map((p) => p.value),
    )
  )
    return "results";
  return ports(a.results, b.results) ? undefined : "result ports";
}
