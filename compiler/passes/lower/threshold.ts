/** Counts of thresholds that an integer exceeds: compares and subtractions in 32-bit lanes. */
import { add, type Expr, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Dense } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import { operandLayout, paramBuffers } from "./elementwise.ts";
import { broadcastStrides } from "./elementwise-load.ts";
import { mapElements } from "./elementwise-map.ts";
import { createEpilogue } from "./epilogue.ts";
import { type ChannelAxis, constantPool, siteAt } from "./epilogue-constants.ts";
import { stepsOf as opsOf } from "./epilogue-stage.ts";
import { fillHalo } from "./halo.ts";
import type { Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";

/** Thresholds up to which the compares are unrolled. */
const UNROLLED = 15;
/** Channels that one turn of the loop over elements may read. */
const PAD = 16;

export function lowerThreshold(stage: Stage): Lowered | undefined {
  const [root, ...rest] = opsOf(stage);
  if (root?.name !== "qc.threshold" || rest.length > 0) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const { data, shape } = attr<Dense>(root, "thresholds");
  const [rows, columns] = shape as [number, number];
  const axis = attr<number>(root, "axis");
  const channels = y.shape[axis] ?? 1;
  const lanes: ChannelAxis = y.shape.slice(axis + 1).every((d) => d === 1) ? "lanes" : "row";
  const pool = constantPool(k.block, channels, PAD, lanes);
  const perRow = (list: readonly number[]): number[] =>
    Array.from({ length: channels }, (_, c) => list[rows === 1 ? 0 : c]!);
  const column = (i: number): number[] =>
    perRow(Array.from({ length: rows }, (_, r) => data[r * columns + i]!));
  const base = pool.table32(perRow(attr<readonly number[]>(root, "base")), "base");
  const mirrored = perRow(attr<readonly number[]>(root, "mirrored"));
  const mask = mirrored.includes(1)
    ? pool.table32(
        mirrored.map((m) => -m),
        "mirror",
      )
    : undefined;
  const unrolled = columns <= UNROLLED;
  const constants = unrolled
    ? Array.from({ length: columns }, (_, i) => pool.table32(column(i), "threshold"))
    : [];
  const padded = rows === 1 ? 1 : Math.ceil(channels / PAD) * PAD;
  const all = unrolled
    ? ""
    : k.block.constant(
        bytesOf(
          Array.from({ length: columns }, (_, i) =>
            Array.from({ length: padded }, (_, c) => (c < rows ? data[c * columns + i]! : 0)),
          ).flat(),
          "i32",
        ),
        "thresholds",
      );
  const epilogue = createEpilogue({
    block: k.block,
    rescale: null,
    channels: 1,
    pad: 4,
    container: y.container,
  });
  fillHalo(k.block, y);
  const counted = (acc: Expr, v: Expr, threshold: Expr): Expr =>
    op("sub.i32x4", [acc, op("gt_s.i32x4", [v, threshold])]);
  /** The threshold of group j in a turn of the loop over thresholds. */
  const threshold = (b: Block, at: Expr, channel: Expr, j: number): Expr => {
    if (rows === 1) return load("i32x4", all, at, 0, "load32_splat");
    const address = b.bind(add(at, scale(channel, 4)), "at");
    return lanes === "row"
      ? load("i32x4", all, address, 0, "load32_splat")
      : load("i32x4", all, address, j * 16);
  };
  const still = y.shape.map((_, a) => (rows > 1 && a === axis ? 1 : 0));
  const strided = { ...x, strides: broadcastStrides(x, y.shape) };
  mapElements(k.block, y.shape, [strided], y, still, (b, [groups], channel) => {
    const site = siteAt(b, channel);
    const values = groups!.map((v, j) => (mask ? b.bind(op("xor.i32x4", [v, mask(site, j)]), "v") : v));
    if (unrolled) {
      const counts = values.map((v, j) => {
        let acc = base(site, j);
        for (const constant of constants) acc = b.bind(counted(acc, v, constant(site, j)), "n");
        return acc;
      });
      return epilogue.emit(b, [[counts]], channel);
    }
    const counts = values.map((_, j) => b.variable(base(site, j), "n"));
    b.loop(0, columns, 1, (i, inner) => {
      const at = inner.bind(scale(i, 4 * padded), "row");
      let last: Expr | undefined;
      values.forEach((v, j) => {
        const shared = rows === 1 || lanes === "row";
        const t = shared && last ? last : inner.bind(threshold(inner, at, channel, j), "threshold");
        last = t;
        inner.set(counts[j]!, counted(counts[j]!.ref, v, t));
      });
    });
    return epilogue.emit(b, [[counts.map((n) => n.ref)]], channel);
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}
