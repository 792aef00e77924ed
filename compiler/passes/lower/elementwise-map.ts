/** Vectorised loops over elements of equally shaped or broadcast tensors. */
import { add, c32, type Expr, op, scale } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { type Axis, collapse, loadGroups, loadScalar, nest, zeroAddresses } from "./elementwise-load.ts";
import { storeElements } from "./epilogue-store.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";

/** A tensor as the loops see it: bytes per step of each axis of the common shape, 0 where it is broadcast. */
export interface Strided extends Pick<Layout, "buffer" | "container" | "offset"> {
  readonly strides: readonly number[];
}

/** Packed vectors of the result from the i32x4 groups of each input; `channel` is that of the first lane. */
export type Compute = (block: Block, inputs: readonly (readonly Expr[])[], channel: Expr) => readonly Expr[];

/**
 * Writes every element of `out` once, reading what `inputs` have at its place. `channels` are the steps of the channel index along
 * each axis, all 0 if nobody asks for it. `starts`: addresses of the inputs and of `out`, default 0. Loads may read up to 15 bytes past an input's element; stores are exact.
 */
export function mapElements(
  block: Block,
  shape: readonly number[],
  inputs: readonly Strided[],
  out: Strided,
  channels: readonly number[],
  compute: Compute,
  starts: readonly Expr[] = zeroAddresses(inputs.length + 1),
): void {
  const tensors = [...inputs, out];
  const size = (t: number): number => CONTAINER_BYTES[tensors[t]!.container];
  const axes = collapse(
    shape.map((n, a): Axis => ({ size: n, steps: [...tensors.map((t) => t.strides[a]!), channels[a]!] })),
  );
  if (shape.some((n) => n === 0)) return;
  const last = axes.at(-1);
  const vector =
    last !== undefined &&
    tensors.every((_, t) => last.steps[t] === size(t) || (t < inputs.length && last.steps[t] === 0)) &&
    last.steps[tensors.length]! <= 1;
  const [outer, run]: readonly [readonly Axis[], Axis] = vector
    ? [axes.slice(0, -1), last]
    : [axes, { size: 1, steps: tensors.map(() => 0).concat(0) }];
  const width = size(inputs.length) === 1 ? 16 : 8;
  const overlaps = inputs.every((t) => t.buffer !== out.buffer);
  nest(block, outer, [...starts, c32(0)], (b, at) => {
    const splats = inputs.map((t, i) =>
      run.steps[i] === 0 && run.size > 1
        ? b.bind(op("splat.i32x4", [loadScalar(t, at[i]!, t.offset)]), "x")
        : undefined,
    );
    const chunk = (inner: Block, start: Expr, count: number): void => {
      const groups = Math.ceil(count / 4);
      const moved = (t: number): Expr =>
        run.steps[t] === 0 ? at[t]! : inner.bind(add(at[t]!, scale(start, run.steps[t]!)), "at");
      const loaded = inputs.map((t, i): readonly Expr[] => {
        const splat = splats[i];
        if (splat) return new Array<Expr>(groups).fill(splat);
        if (run.size === 1) return [inner.bind(op("splat.i32x4", [loadScalar(t, moved(i), t.offset)]), "x")];
        return loadGroups(inner, t, moved(i), t.offset, groups);
      });
      const y = compute(inner, loaded, moved(tensors.length));
      storeElements(inner, out, moved(inputs.length), out.offset, y, count);
    };
    const whole = Math.floor(run.size / width) * width;
    b.loop(0, whole, width, (i, inner) => {
      chunk(inner, i, width);
    });
    if (whole === run.size) return;
    if (whole > 0 && overlaps) chunk(b, c32(run.size - width), width);
    else chunk(b, c32(whole), run.size - whole);
  });
}
