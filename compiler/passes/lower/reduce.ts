/** Sums over axes: vectors of the last axis where it is kept (global pooling), scalars otherwise. */
import { add, c32, type Expr, konst, load, op, scale } from "../../ir/kernel/ir.ts";
import { attr } from "../../ir/op.ts";
import { type Block, createKernel, type Mutable } from "./block.ts";
import { operandLayout, paramBuffers } from "./elementwise.ts";
import { type Axis, collapse, loadGroups, loadScalar, nest, zeroAddresses } from "./elementwise-load.ts";
import type { Epilogue } from "./epilogue.ts";
import { chainOf, epilogueOf } from "./epilogue-stage.ts";
import { storeElements } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";

/** Bytes an i16 lane can add without overflow: unsigned 257 · 255, signed 256 · 128. */
const BLOCK = 240;
const UNROLL = 4;

export function lowerReduce(stage: Stage): Lowered | undefined {
  const chain = chainOf(stage);
  if (chain?.root.name !== "qc.reduce_sum") return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, chain.root.operands[0]!);
  const reducedAxes = attr<readonly number[]>(chain.root, "axes");
  const keep = attr<boolean>(chain.root, "keepdims");
  const rank = x.shape.length;
  const kept = x.shape.map((_, a) => a).filter((a) => !reducedAxes.includes(a));
  const place = (a: number): number => (keep ? a : kept.indexOf(a));
  const channelAxis = y.shape.length - 1;
  const axisOf = (a: number): Axis => ({
    size: x.shape[a]!,
    steps: [x.strides[a]!, y.strides[place(a)]!, place(a) === channelAxis ? 1 : 0],
  });
  const reduced = collapse(
    x.shape.flatMap((size, a) => (reducedAxes.includes(a) ? [{ size, steps: [x.strides[a]!] }] : [])),
  );
  const epilogue = epilogueOf(stage, k.block, 16);
  fillHalo(k.block, y);
  if (kept.includes(rank - 1)) {
    const outer = collapse(kept.filter((a) => a !== rank - 1).map(axisOf));
    nest(k.block, outer, zeroAddresses(3), (b, [from, to]) => {
      reduceVectors(b, x, y, from!, to!, reduced, epilogue);
    });
  } else
    nest(k.block, kept.map(axisOf), zeroAddresses(3), (b, [from, to, channel]) => {
      const sum = b.variable(c32(0), "sum");
      nest(b, reduced, [from!], (inner, [at]) => {
        inner.set(sum, op("add.i32", [sum.ref, loadScalar(x, at!, x.offset)]));
      });
      const acc = b.bind(op("splat.i32x4", [sum.ref]), "a");
      finish(b, y, to!, [acc], channel!, 1, epilogue);
    });
  return k.finish(paramBuffers(stage), [y.buffer]);
}

/** Adds the initial accumulators, requantizes and stores `count` channels. */
export function finish(
  b: Block,
  y: Layout,
  to: Expr,
  sums: readonly Expr[],
  channel: Expr,
  count: number,
  epilogue: Epilogue,
): void {
  const acc = sums.map((s, j) => {
    const start = epilogue.initial(b, channel, j);
    return start ? b.bind(op("add.i32x4", [s, start]), "a") : s;
  });
  storeElements(b, y, to, y.offset, epilogue.emit(b, [[acc]], channel), count);
}

/** Runs `chunk` for channels in steps of `width`; the last chunk moves back over its predecessor if there is one. */
export function channelChunks(
  b: Block,
  channels: number,
  width: number,
  chunk: (b: Block, channel: Expr, count: number) => void,
): void {
  const whole = Math.floor(channels / width) * width;
  b.loop(
    0,
    whole,
    width,
    (c, inner) => {
      chunk(inner, c, width);
    },
    "c",
  );
  if (whole === channels) return;
  if (whole > 0) chunk(b, c32(channels - width), width);
  else chunk(b, c32(0), channels);
}

function reduceVectors(
  block: Block,
  x: Layout,
  y: Layout,
  from: Expr,
  to: Expr,
  reduced: readonly Axis[],
  epilogue: Epilogue,
): void {
  const size = CONTAINER_BYTES[x.container];
  channelChunks(block, x.shape.at(-1)!, 16, (b, channel, count) => {
    const groups = Math.ceil(count / 4);
    const base = b.bind(add(from, scale(channel, size)), "at");
    const target = b.bind(add(to, scale(channel, CONTAINER_BYTES[y.container])), "to");
    const sums =
      size === 1
        ? sumBytes(b, x, base, reduced, groups)
        : sumWide(b, x, base, reduced, groups).map((s) => s.ref);
    finish(b, y, target, sums, channel, count, epilogue);
  });
}

const zeros = (b: Block, n: number, type: "i32x4" | "i16x8"): Mutable[] =>
  Array.from({ length: n }, () => b.variable(konst(type, 0), "sum"));

function sumWide(b: Block, x: Layout, base: Expr, axes: readonly Axis[], groups: number): Mutable[] {
  const sums = zeros(b, groups, "i32x4");
  nest(b, axes, [base], (inner, [at]) => {
    loadGroups(inner, x, at!, x.offset, groups).forEach((v, j) => {
      inner.set(sums[j]!, op("add.i32x4", [sums[j]!.ref, v]));
    });
  });
  return sums;
}

/** Bytes add up in i16 lanes; blocks that could overflow them are flushed to i32. */
function sumBytes(b: Block, x: Layout, base: Expr, axes: readonly Axis[], groups: number): readonly Expr[] {
  const total = axes.reduce((n, a) => n * a.size, 1);
  const inner = axes.at(-1) ?? { size: 1, steps: [0] };
  const outer = axes.slice(0, -1);
  if (total <= BLOCK) {
    const short = zeros(b, Math.ceil(groups / 2), "i16x8");
    nest(b, outer, [base], (block, [at]) => {
      addRun(block, x, at!, inner, short);
    });
    return widenSums(b, short, x, groups);
  }
  const sums = zeros(b, groups, "i32x4");
  const step = inner.steps[0]!;
  const flushRun = (block: Block, at: Expr, count: number): void => {
    const short = zeros(block, Math.ceil(groups / 2), "i16x8");
    addRun(block, x, at, { size: count, steps: [step] }, short);
    widenSums(block, short, x, groups).forEach((v, j) => {
      block.set(sums[j]!, op("add.i32x4", [sums[j]!.ref, v]));
    });
  };
  nest(b, outer, [base], (block, [at]) => {
    const whole = Math.floor(inner.size / BLOCK) * BLOCK;
    block.loop(0, whole, BLOCK, (i, run) => {
      flushRun(run, run.bind(add(at!, scale(i, step)), "at"), BLOCK);
    });
    if (whole < inner.size) flushRun(block, block.bind(add(at!, whole * step), "at"), inner.size - whole);
  });
  return sums.map((s) => s.ref);
}

/** Adds `axis.size` rows of bytes to i16 accumulators. */
function addRun(b: Block, x: Layout, at: Expr, axis: Axis, sums: readonly Mutable[]): void {
  const step = axis.steps[0]!;
  const rows = (block: Block, base: Expr, offset: number, count: number): void => {
    for (let u = 0; u < count; u++) addBytes(block, x, base, x.offset + offset + u * step, sums);
  };
  const whole = Math.floor(axis.size / UNROLL) * UNROLL;
  b.loop(0, whole, UNROLL, (i, inner) => {
    rows(inner, inner.bind(add(at, scale(i, step)), "row"), 0, UNROLL);
  });
  if (whole < axis.size) rows(b, at, whole * step, axis.size - whole);
}

/** Adds 8 or 16 bytes to one or two i16 accumulators. */
export function addBytes(b: Block, x: Layout, at: Expr, offset: number, sums: readonly Mutable[]): void {
  sums.forEach((sum, i) => {
    const widened = load(
      "i16x8",
      x.buffer,
      at,
      offset + i * 8,
      x.container === "u8" ? "load8x8_u" : "load8x8_s",
    );
    b.set(sum, op("add.i16x8", [sum.ref, widened]));
  });
}

/** i16 sums as i32 groups; sums of unsigned bytes are unsigned. */
export function widenSums(b: Block, sums: readonly Mutable[], x: Layout, groups: number): Expr[] {
  const s = x.container === "u8" ? "u" : "s";
  return Array.from({ length: groups }, (_, j) =>
    b.bind(op(`extend_${j % 2 === 0 ? "low" : "high"}_${s}.i32x4`, [sums[j >> 1]!.ref]), "sum"),
  );
}
