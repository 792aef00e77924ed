/** Copies and fills of strided blocks, the pieces of all data movement. */
import { add, c32, type Expr, type StoreOp, scale, store } from "../../ir/kernel/ir.ts";
import type { Block } from "./block.ts";
import { type Axis, collapse, loadScalar, nest } from "./elementwise-load.ts";
import { mapElements } from "./elementwise-map.ts";
import { createEpilogue } from "./epilogue.ts";
import { fillElements } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";

/** Bytes of a tensor: element 0 of a block is at the current address plus `offset`. */
export type Place = Pick<Layout, "buffer" | "container" | "offset">;

/** Elements a scalar copy handles per turn. */
const UNROLL = 8;

/**
 * Copies a block: axes outermost first, steps [from, to] in bytes, negative ones allowed for `from`. Containers may differ if the
 * destination's holds every value; equally wide ones are copied as bits.
 */
export function copyBlock(
  block: Block,
  from: Place,
  to: Place,
  axes: readonly Axis[],
  starts: readonly [Expr, Expr],
): void {
  if (axes.some((a) => a.size === 0)) return;
  // Addresses must not become negative: where one decreases, it starts from the block's own offset.
  if (axes.some((a) => a.steps[0]! < 0) && from.offset !== 0) {
    const first = block.bind(add(starts[0], from.offset), "at");
    copyBlock(block, { ...from, offset: 0 }, to, axes, [first, starts[1]]);
    return;
  }
  const size = CONTAINER_BYTES[to.container];
  if (CONTAINER_BYTES[from.container] !== size) {
    convertBlock(block, from, to, axes, starts);
    return;
  }
  const joined = collapse(axes);
  const last = joined.at(-1);
  if (!last || (last.steps[0] === size && last.steps[1] === size)) {
    nest(block, joined.slice(0, -1), starts, (b, [source, target]) => {
      b.push({
        k: "copy",
        to: to.buffer,
        toAddr: add(target!, to.offset),
        from: from.buffer,
        fromAddr: add(source!, from.offset),
        bytes: (last?.size ?? 1) * size,
      });
    });
    return;
  }
  const storeOp: StoreOp = size === 1 ? "store8" : size === 2 ? "store16" : "store";
  const [fromStep, toStep] = last.steps as [number, number];
  nest(block, joined.slice(0, -1), starts, (b, [source, target]) => {
    const elements = (inner: Block, i: Expr, count: number): void => {
      const s = inner.bind(add(source!, scale(i, fromStep)), "at");
      const t = inner.bind(add(target!, scale(i, toStep)), "at");
      for (let u = 0; u < count; u++)
        inner.push(
          store(to.buffer, t, loadScalar(from, s, from.offset + u * fromStep), {
            offset: to.offset + u * toStep,
            op: storeOp,
          }),
        );
    };
    const whole = Math.floor(last.size / UNROLL) * UNROLL;
    b.loop(0, whole, UNROLL, (i, inner) => {
      elements(inner, i, UNROLL);
    });
    if (whole < last.size) elements(b, c32(whole), last.size - whole);
  });
}

/** Widening and narrowing copies: elements go through i32 lanes. */
function convertBlock(
  block: Block,
  from: Place,
  to: Place,
  axes: readonly Axis[],
  starts: readonly [Expr, Expr],
): void {
  const epilogue = createEpilogue({ block, rescale: null, channels: 1, pad: 4, container: to.container });
  const strided = (place: Place, t: 0 | 1) => ({ ...place, strides: axes.map((a) => a.steps[t]!) });
  mapElements(
    block,
    axes.map((a) => a.size),
    [strided(from, 0)],
    strided(to, 1),
    axes.map(() => 0),
    (b, groups, channel) => epilogue.emit(b, [groups], channel),
    starts,
  );
}

/** Sets a block to `value`; steps as in `copyBlock`, the first of each pair unused. */
export function fillBlock(block: Block, to: Place, axes: readonly Axis[], start: Expr, value: number): void {
  if (axes.some((a) => a.size === 0)) return;
  const joined = collapse(axes.map((a) => ({ size: a.size, steps: [a.steps[1]!] })));
  const last = joined.at(-1);
  const run = last && last.steps[0] === CONTAINER_BYTES[to.container];
  nest(block, run ? joined.slice(0, -1) : joined, [start], (b, [at]) => {
    fillElements(b, to, at!, to.offset, run ? last.size : 1, value);
  });
}
