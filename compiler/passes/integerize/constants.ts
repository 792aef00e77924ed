/** Arithmetic on constants, exact where the importer's would round. */
import type { Op } from "../../ir/module.ts";
import { add, div, mul, neg, type Rational, sign, sub } from "../../ir/rational.ts";
import { sizeOf, stridesOf } from "../../ir/types.ts";
import { type Constant, channelsOf, collapse, type Rep, zip } from "./rep.ts";

const ARITHMETIC: { readonly [op: string]: (a: Rational, b: Rational) => Rational } = {
  "float.add": add,
  "float.sub": sub,
  "float.mul": mul,
  "float.div": div,
};

/** Index into a tensor of shape `from` for each element of what it broadcasts to. */
function broadcastIndex(from: readonly number[], to: readonly number[]): (index: number) => number {
  if (sizeOf(from) === sizeOf(to)) return (i) => i;
  const outer = stridesOf(to);
  const inner = stridesOf(from);
  const missing = to.length - from.length;
  return (index) => {
    let at = 0;
    for (let axis = missing; axis < to.length; axis++) {
      const size = from[axis - missing]!;
      if (size > 1) at += (Math.floor(index / outer[axis]!) % size) * inner[axis - missing]!;
    }
    return at;
  };
}

/** The grid of c·k, k being one number or one per index of the grid's own axis. */
function scaledGrid(c: Constant, k: Constant, shape: readonly number[]): Constant["grid"] {
  const { grid } = c;
  const by = sizeOf(c.shape) === sizeOf(shape) ? channelsOf(k, shape) : undefined;
  if (grid === undefined || by === undefined || by.list.some((s) => sign(s) <= 0)) return undefined;
  const axis = shape.length - by.axis;
  const single = grid.scale.length === 1;
  if (by.list.length > 1 && !single && grid.axis !== axis) return undefined;
  return {
    ...grid,
    scale: collapse(zip(grid.scale, by.list, mul)),
    axis: by.list.length > 1 ? axis : grid.axis,
  };
}

/** −a, a + b, a − b, a·b or a/b of constants; undefined for anything else, and where a divisor is 0. */
export function liftConstants(op: Op, reps: readonly Rep[]): Constant | undefined {
  const { shape } = op.results[0]!.type;
  const [a, b] = reps;
  const loc = op.loc ? { loc: op.loc } : {};
  if (a?.kind !== "constant") return undefined;
  if (op.name === "float.neg") return { kind: "constant", shape, at: (i) => neg(a.at(i)), ...loc };
  const f = ARITHMETIC[op.name];
  if (f === undefined || b?.kind !== "constant") return undefined;
  if (op.name === "float.div")
    for (let i = 0; i < sizeOf(b.shape); i++) if (sign(b.at(i)) === 0) return undefined;
  const [left, right] = [broadcastIndex(a.shape, shape), broadcastIndex(b.shape, shape)];
  const grid = op.name === "float.mul" ? (scaledGrid(a, b, shape) ?? scaledGrid(b, a, shape)) : undefined;
  return {
    kind: "constant",
    shape,
    at: (i) => f(a.at(left(i)), b.at(right(i))),
    ...(grid && { grid }),
    ...loc,
  };
}
