/** Float pools, NCHW: four output positions at a time. */
import { add, c32, load, scale } from "../../../ir/kernel/ir.ts";
import type { Op } from "../../../ir/module.ts";
import { attr } from "../../../ir/op.ts";
import { tapTable, windowOf } from "../../../ir/ops/window.ts";
import { sizeOf } from "../../../ir/types.ts";
import { bytesOf, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { type Axis, nest } from "../elementwise-load.ts";
import { stepsOf } from "../epilogue-stage.ts";
import { storeElements } from "../epilogue-store.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { f, fadd, fdiv, fmax, loadStrided } from "./lanes.ts";
import { pieces } from "./matmul.ts";
import { paddedPlanes, type Windows } from "./padded.ts";

/** Divisor of every position of an average. */
function divisors(root: Op, input: readonly number[], output: readonly number[]): number[] {
  const kernel = attr<readonly number[]>(root, "kernel");
  const counted = attr<boolean>(root, "count_include_pad");
  const table = tapTable(input, output, windowOf(root.attrs, kernel));
  const taps = sizeOf(kernel);
  return Array.from(
    { length: sizeOf(output) },
    (_, p) => table.subarray(p * taps, (p + 1) * taps).filter((t) => t >= 0 || (counted && t === -1)).length,
  );
}

export function lowerFloatPool(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (!root || rest.length > 0) return undefined;
  const max = root.name === "float.max_pool";
  if (!max && root.name !== "float.average_pool") return undefined;
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const [y] = stage.outputs as [Layout];
  const kernel = attr<readonly number[]>(root, "kernel");
  const list = (name: string): readonly number[] => attr<readonly number[]>(root, name);
  const windows: Windows = {
    kernel,
    strides: list("strides"),
    dilations: (root.attrs.dilations as readonly number[] | undefined) ?? kernel.map(() => 1),
    pads: list("pads"),
  };
  const output = y.shape.slice(2);
  if (y.shape.includes(0)) return k.finish(paramBuffers(stage), [y.buffer]);
  const planes = paddedPlanes(k.block, x, 2, windows, output, max ? Number.NEGATIVE_INFINITY : 0);
  const counts = max ? [1] : divisors(root, x.shape.slice(2), output);
  const uniform = counts.every((n) => n === counts[0]);
  const table = uniform ? "" : k.block.constant(bytesOf(counts, "f32"), "counts");
  const last = kernel.length - 1;
  // The counts are as many numbers as a plane of the result has.
  const inPlane = output.map((_, a) => 4 * sizeOf(output.slice(a + 1)));
  const outer = output.slice(0, -1).map(
    (size, a): Axis => ({
      size,
      steps: [planes.strides[a]! * windows.strides[a]!, y.strides[2 + a]!, inPlane[a]!],
    }),
  );
  const step = planes.strides[last]! * windows.strides[last]!;
  const taps = kernel.map((size, a): Axis => ({ size, steps: [planes.strides[a]! * windows.dilations[a]!] }));
  const images = [0, 1].map((a): Axis => ({ size: x.shape[a]!, steps: [x.strides[a]!, y.strides[a]!] }));
  nest(k.block, images, [c32(0), c32(0)], (image, [from, to]) => {
    const start = planes.enter(image, from!);
    nest(image, outer, [start, to!, c32(0)], (line, [source, target, count]) => {
      pieces(line, output[last]!, 4, (tile, p, width) => {
        const at = tile.bind(add(source!, scale(p, step)), "at");
        const acc = tile.variable(f(max ? Number.NEGATIVE_INFINITY : 0), "acc");
        nest(tile, taps, [at], (inner, [sx]) => {
          const v = loadStrided(planes.buffer, sx!, planes.offset, step);
          inner.set(acc, max ? fmax(acc.ref, v) : fadd(acc.ref, v));
        });
        const n = uniform ? f(counts[0]!) : load("i32x4", table, tile.bind(add(count!, scale(p, 4)), "n"));
        const value = max ? acc.ref : fdiv(acc.ref, n);
        storeElements(tile, y, tile.bind(add(target!, scale(p, 4)), "to"), y.offset, [value], width);
      });
    });
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}
