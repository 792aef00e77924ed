/** Normalized rows that are moved before they are scaled: what varies is taken back to the axes of the rows. */
import type { Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { sameShape, sizeOf, stridesOf } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import type { Normalized, Rationals } from "./rep.ts";

type Shape = readonly number[];

/** The axes of `from` that each axis of `to` merges; undefined if an axis is split. Axes of size 1 come and go. */
function merged(from: Shape, to: Shape): readonly (readonly number[])[] | undefined {
  let next = 0;
  const groups: number[][] = [];
  for (const size of to) {
    const group: number[] = [];
    let n = 1;
    while (n < size && next < from.length) {
      n *= from[next]!;
      group.push(next++);
    }
    if (n !== size) return undefined;
    groups.push(group);
  }
  return from.slice(next).every((d) => d === 1) ? groups : undefined;
}

/** The shape of which both shapes merge axes, or undefined if they interlock. */
function refinement(a: Shape, b: Shape): readonly number[] | undefined {
  const [x, y] = [a.filter((d) => d !== 1), b.filter((d) => d !== 1)];
  const out: number[] = [];
  while (x.length > 0 && y.length > 0) {
    const [p, q] = [x[0]!, y[0]!];
    const d = Math.min(p, q);
    if (p % d !== 0 || q % d !== 0) return undefined;
    out.push(d);
    if (p === d) x.shift();
    else x[0] = p / d;
    if (q === d) y.shift();
    else y[0] = q / d;
  }
  return out;
}

/** Splits the axes of a tensor that broadcasts to `from`; `to` is a refinement of `from`. */
function split(c: Rationals, from: Shape, to: Shape): Rationals | undefined {
  if (c.list.length === 1) return { shape: [], list: c.list };
  const groups = merged(to, from);
  if (groups === undefined) return undefined;
  const padded = [...from.slice(c.shape.length).map(() => 1), ...c.shape];
  const shape = to.map(() => 1);
  groups.forEach((group, a) => {
    if (padded[a] !== 1) for (const r of group) shape[r] = to[r]!;
  });
  return { shape, list: c.list };
}

/** Data movement behind a normalization. A reshape that splits what later varies is done before it instead. */
export function moveNormalized(ctx: Context, r: Normalized, op: Op): Normalized {
  const shape = op.results[0]!.type.shape;
  const after: Normalized = { ...r, shape, moves: [...r.moves, op] };
  const from = r.input.type.shape;
  if (op.name !== "layout.reshape" || r.moves.length > 0 || merged(from, shape)) return after;
  const fine = refinement(from, shape);
  const gain = fine && split(r.gain, from, fine);
  const bias = fine && split(r.bias, from, fine);
  if (fine === undefined || gain === undefined || bias === undefined) return after;
  const before = sizeOf(from.slice(0, r.axis));
  const axis = fine.findIndex((_, a) => sizeOf(fine.slice(0, a)) === before);
  if (axis < 0) return after;
  const input = ctx.emit("layout.reshape", [r.input], { shape: fine }, op.loc ? { loc: op.loc } : {});
  return { ...after, input, axis, gain, bias };
}

/** The same numbers broadcast to the input of the normalization instead of its moved result; undefined if they cannot. */
export function unmoved(c: Rationals, r: Normalized): Rationals | undefined {
  if (c.list.length === 1) return { shape: [], list: c.list };
  let at = r.shape;
  let { list } = c;
  let shape = [...at.slice(c.shape.length).map(() => 1), ...c.shape];
  for (let i = r.moves.length - 1; i >= 0; i--) {
    const move = r.moves[i]!;
    const from = i === 0 ? r.input.type.shape : r.moves[i - 1]!.results[0]!.type.shape;
    if (move.name === "layout.transpose") {
      const perm = attr<readonly number[]>(move, "perm");
      const back = perm.map((_, a) => perm.indexOf(a));
      const turned = back.map((a) => shape[a]!);
      const [strides, outer] = [stridesOf(shape), stridesOf(turned)];
      const old = list;
      list = old.map((_, k) => {
        const place = turned.reduce((s, d, a) => s + (Math.floor(k / outer[a]!) % d) * strides[back[a]!]!, 0);
        return old[place]!;
      });
      shape = turned;
    } else {
      const same = sameShape(from, at);
      const groups = move.name === "layout.reshape" && !same ? merged(from, at) : undefined;
      if (groups === undefined && !same) return undefined;
      if (groups) {
        const wide = from.map(() => 1);
        groups.forEach((group, a) => {
          if (shape[a] !== 1) for (const g of group) wide[g] = from[g]!;
        });
        shape = wide;
      }
    }
    at = from;
  }
  return { shape, list };
}
