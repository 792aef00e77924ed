/** The numbers of several parts as functions of few parameters. */
import { c32, op, ref, type Stmt } from "../../ir/kernel/ir.ts";
import type { Hole } from "./numbers.ts";

export interface NumberParam {
  readonly name: string;
  /** Of each part. */
  readonly values: readonly number[];
}

export interface Expressed {
  readonly params: readonly NumberParam[];
  /** Multiples of parameters that several numbers need. */
  readonly derived: readonly Stmt[];
  readonly holes: readonly Hole[];
}

/** Numbers by part, as many in each. A number that is the same in all stays one; others are a parameter, or a multiple, plus a constant that is not negative. */
export function express(parts: readonly (readonly number[])[]): Expressed {
  const [first] = parts as [readonly number[]];
  /** Columns by what they differ from the first part in. */
  const classes = new Map<string, { readonly deltas: readonly number[]; least: number }>();
  const keys = first.map((value, h) => {
    const deltas = parts.map((p) => p[h]! - value);
    if (deltas.every((d) => d === 0)) return undefined;
    // Apart, so that the least number behind an address is never negative.
    const key = `${parts.some((p) => p[h]! < 0)} ${deltas.join()}`;
    const known = classes.get(key);
    if (known) known.least = Math.min(known.least, value);
    else classes.set(key, { deltas, least: value });
    return key;
  });
  const size = (d: readonly number[]): number => d.reduce((n, x) => n + Math.abs(x), 0);
  const ordered = [...classes].sort(([, a], [, b]) => size(a.deltas) - size(b.deltas));
  const params: NumberParam[] = [];
  const derived: Stmt[] = [];
  const independent: { readonly name: string; readonly deltas: readonly number[]; readonly least: number }[] =
    [];
  const names = new Map<string, string>();
  for (const [key, { deltas, least }] of ordered) {
    const base = independent.find((b) => multiple(deltas, b.deltas) !== undefined);
    const name = `$${base ? "m" : "n"}${names.size}`;
    names.set(key, name);
    if (base) {
      const factor = multiple(deltas, base.deltas)!;
      const product = op("mul.i32", [ref(base.name), c32(factor)]);
      const rest = least - factor * base.least;
      derived.push({ k: "var", name, value: rest === 0 ? product : op("add.i32", [product, c32(rest)]) });
    } else {
      independent.push({ name, deltas, least });
      params.push({ name, values: deltas.map((d) => least + d) });
    }
  }
  const holes = first.map((value, h): Hole => {
    const key = keys[h];
    if (key === undefined) return { k: "number", value };
    return { k: "sum", value: ref(names.get(key)!), at: value - classes.get(key)!.least };
  });
  return { params, derived, holes };
}

/** The integer by which all of `b` are multiplied in `a`. */
function multiple(a: readonly number[], b: readonly number[]): number | undefined {
  const at = b.findIndex((x) => x !== 0);
  const factor = a[at]! / b[at]!;
  return Number.isInteger(factor) && factor > 1 && a.every((x, i) => x === factor * b[i]!)
    ? factor
    : undefined;
}
