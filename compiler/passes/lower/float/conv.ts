/** Direct float convolutions, NCHW: four output positions of up to four output channels at a time. */
import { add, c32, type Expr, scale } from "../../../ir/kernel/ir.ts";
import type { Op } from "../../../ir/module.ts";
import { attr } from "../../../ir/op.ts";
import { type Block, createKernel } from "../block.ts";
import { operandLayout, paramBuffers } from "../elementwise.ts";
import { type Axis, nest } from "../elementwise-load.ts";
import { stepsOf } from "../epilogue-stage.ts";
import { storeElements } from "../epilogue-store.ts";
import type { Layout } from "../layout.ts";
import type { Lowered, Stage } from "../stage.ts";
import { f, fadd, fmul, loadStrided, splatLoad } from "./lanes.ts";
import { pieces } from "./matmul.ts";
import { type Planes, paddedPlanes, type Windows } from "./padded.ts";

const OUTPUTS = 4;

/** One spatial axis instead of several, where every window is one element and the planes have no gaps. */
function flattened(l: Layout): Layout | undefined {
  for (let a = 2; a + 1 < l.shape.length; a++)
    if (l.strides[a] !== l.strides[a + 1]! * l.shape[a + 1]!) return undefined;
  const pixels = l.shape.slice(2).reduce((n, d) => n * d, 1);
  return { ...l, shape: [...l.shape.slice(0, 2), pixels], strides: [...l.strides.slice(0, 2), 4] };
}

export function lowerFloatConv(stage: Stage): Lowered | undefined {
  const [root, ...rest] = stepsOf(stage);
  if (root?.name !== "float.conv" || rest.length > 0) return undefined;
  const k = createKernel(stage.name);
  const [x, w] = root.operands.map((v) => operandLayout(stage, k.block, v)) as [Layout, Layout];
  const [y] = stage.outputs as [Layout];
  const list = (name: string): readonly number[] => attr<readonly number[]>(root, name);
  const windows: Windows = {
    kernel: w.shape.slice(2),
    strides: list("strides"),
    dilations: list("dilations"),
    pads: list("pads"),
  };
  const points =
    windows.kernel.every((n) => n === 1) &&
    windows.strides.every((n) => n === 1) &&
    windows.pads.every((n) => n === 0);
  const [fx, fy, fw] = points ? [flattened(x), flattened(y), flattened(w)] : [];
  const one = { kernel: [1], strides: [1], dilations: [1], pads: [0, 0] };
  if (!y.shape.includes(0)) {
    if (fx && fy && fw) convolve(k.block, root, fx, fw, fy, one);
    else convolve(k.block, root, x, w, y, windows);
  }
  return k.finish(paramBuffers(stage), [y.buffer]);
}

function convolve(block: Block, root: Op, x: Layout, w: Layout, y: Layout, windows: Windows): void {
  const groups = attr<number>(root, "groups");
  const outputs = w.shape[0]! / groups;
  const planes = paddedPlanes(block, x, 1, windows, y.shape.slice(2), 0);
  const perGroup = w.shape[1]!;
  nest(
    block,
    [{ size: x.shape[0]!, steps: [x.strides[0]!, y.strides[0]!] }],
    [c32(0), c32(0)],
    (image, [from, to]) => {
      const start = planes.enter(image, from!);
      const steps = [perGroup * planes.strides[0]!, outputs * w.strides[0]!, outputs * y.strides[1]!];
      nest(image, [{ size: groups, steps }], [start, c32(0), to!], (group, [gx, gw, gy]) => {
        pieces(group, outputs, OUTPUTS, (b, o, count) => {
          const weights = b.bind(add(gw!, scale(o, w.strides[0]!)), "w");
          const target = b.bind(add(gy!, scale(o, y.strides[1]!)), "y");
          positions(b, windows, planes, w, y, [gx!, weights, target], count);
        });
      });
    },
  );
}

/** All positions of `count` output channels. */
function positions(
  b: Block,
  windows: Windows,
  planes: Planes,
  w: Layout,
  y: Layout,
  [from, weights, to]: readonly [Expr, Expr, Expr],
  count: number,
): void {
  const rank = windows.kernel.length;
  const spatial = (a: number): number => planes.strides[1 + a]!;
  const outer = windows.kernel.slice(1).map(
    (_, a): Axis => ({
      size: y.shape[2 + a]!,
      steps: [spatial(a) * windows.strides[a]!, y.strides[2 + a]!],
    }),
  );
  const step = spatial(rank - 1) * windows.strides[rank - 1]!;
  const taps: Axis[] = [
    { size: w.shape[1]!, steps: [planes.strides[0]!, w.strides[1]!] },
    ...windows.kernel.map((size, a) => ({
      size,
      steps: [spatial(a) * windows.dilations[a]!, w.strides[2 + a]!],
    })),
  ];
  nest(b, outer, [from, to], (line, [source, target]) => {
    pieces(line, y.shape.at(-1)!, 4, (tile, p, width) => {
      const at = tile.bind(add(source!, scale(p, step)), "at");
      const acc = Array.from({ length: count }, () => tile.variable(f(0), "acc"));
      nest(tile, taps, [at, weights], (inner, [sx, sw]) => {
        const v = inner.bind(loadStrided(planes.buffer, sx!, planes.offset, step), "x");
        acc.forEach((sum, o) => {
          inner.set(sum, fadd(sum.ref, fmul(v, splatLoad(w.buffer, sw!, w.offset + o * w.strides[0]!))));
        });
      });
      const out = tile.bind(add(target!, scale(p, 4)), "to");
      acc.forEach((sum, o) => {
        storeElements(tile, y, out, y.offset + o * y.strides[1]!, [sum.ref], width);
      });
    });
  });
}
