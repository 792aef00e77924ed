/** Transposed convolution in a float island, as the convolution it is: zeros between the elements, weights turned around. */
import type { Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import type { Context } from "./context.ts";

type Ints = readonly number[];

/** x with stride − 1 zeros between neighbours along the spatial axes. */
function spread(ctx: Context, x: Value, strides: Ints): Value {
  if (strides.every((s) => s === 1)) return x;
  const [lead, size] = [x.type.shape.slice(0, 2), x.type.shape.slice(2)];
  const apart = ctx.emit("layout.reshape", [x], { shape: [...lead, ...size.flatMap((d) => [d, 1])] });
  const axes = apart.type.shape.map((_, a) => a);
  const before = axes.map(() => 0);
  const after = axes.map((a) => (a >= 2 && a % 2 === 1 ? strides[(a - 3) / 2]! - 1 : 0));
  const padded = ctx.emit("layout.pad", [apart], { before, after, mode: "constant", value: 0 });
  const wide = size.map((d, i) => d * strides[i]!);
  const flat = ctx.emit("layout.reshape", [padded], { shape: [...lead, ...wide] });
  // Behind the last element nothing is spread.
  return cut(
    ctx,
    flat,
    size.map(() => 0),
    size.map((_, i) => strides[i]! - 1),
  );
}

/** The spatial axes without so many elements at each end. */
function cut(ctx: Context, x: Value, begin: Ints, end: Ints): Value {
  if ([...begin, ...end].every((n) => n === 0)) return x;
  return ctx.emit("layout.slice", [x], {
    starts: begin,
    ends: end.map((n, i) => x.type.shape[i + 2]! - n),
    steps: begin.map(() => 1),
    axes: begin.map((_, i) => i + 2),
  });
}

/** [C, O / groups, …] → [O, C / groups, …], taps in reverse. */
function turned(ctx: Context, w: Value, groups: number): Value {
  const [c, o, ...kernel] = w.type.shape as [number, number, ...number[]];
  const grouped = ctx.emit("layout.reshape", [w], { shape: [groups, c / groups, o, ...kernel] });
  const perm = [0, 2, 1, ...kernel.map((_, i) => i + 3)];
  const swapped = ctx.emit("layout.transpose", [grouped], { perm });
  const weights = ctx.emit("layout.reshape", [swapped], { shape: [groups * o, c / groups, ...kernel] });
  return ctx.emit("layout.slice", [weights], {
    starts: kernel.map((k) => k - 1),
    ends: kernel.map(() => -1),
    steps: kernel.map(() => -1),
    axes: kernel.map((_, i) => i + 2),
  });
}

/** `float.conv_transpose` on float32 operands. */
export function spreadConv(ctx: Context, op: Op, [x, w]: readonly [Value, Value]): Value {
  const ints = (name: string): Ints => attr<Ints>(op, name);
  const [strides, dilations, pads, extra] = ["strides", "dilations", "pads", "output_padding"].map(ints) as [
    Ints,
    Ints,
    Ints,
    Ints,
  ];
  const rank = strides.length;
  const groups = attr<number>(op, "groups");
  const reach = dilations.map((d, i) => d * (w.type.shape[i + 2]! - 1));
  const before = reach.map((r, i) => r - pads[i]!);
  const after = reach.map((r, i) => r - pads[rank + i]! + extra[i]!);
  const loc = op.loc ? { loc: op.loc } : {};
  const y = ctx.emit(
    "float.conv",
    [spread(ctx, x, strides), turned(ctx, w, groups)],
    {
      strides: strides.map(() => 1),
      dilations,
      pads: [...before, ...after].map((p) => Math.max(p, 0)),
      groups,
    },
    { hint: op.results[0]!.name, ...loc },
  );
  const negative = (list: Ints): Ints => list.map((p) => Math.max(-p, 0));
  return cut(ctx, y, negative(before), negative(after));
}
