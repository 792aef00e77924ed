/**
 * Pooling over NHWC windows, vectorised over channels. Padding is read from the input's halo where that holds the right value;
 * otherwise border positions, which lack taps, get code of their own.
 */
import { add, type Expr, konst, load, op, scale } from "../../ir/kernel/ir.ts";
import type { Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { type Block, createKernel, type Mutable } from "./block.ts";
import { operandLayout, paramBuffers } from "./elementwise.ts";
import { loadGroups } from "./elementwise-load.ts";
import { constantPool } from "./epilogue-constants.ts";
import { CONTAINER_RANGE, clampPacked, groupsPerVector, vectorOf } from "./epilogue-pack.ts";
import { chainOf, epilogueOf } from "./epilogue-stage.ts";
import { storeElements } from "./epilogue-store.ts";
import { fillHalo } from "./halo.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import { addBytes, channelChunks, finish, widenSums } from "./reduce.ts";
import type { Lowered, Stage } from "./stage.ts";
import { haloCovers, type Span, spansOf, type WindowAxis } from "./window-plan.ts";

/** Byte offset of each tap from the first tap's address. */
type Taps = readonly number[];

/** One chunk of channels at one output position. `padded`: how many taps lie in the padding and are not in `taps`. */
type Chunk = (
  b: Block,
  from: Expr,
  offset: number,
  taps: Taps,
  padded: number,
  to: Expr,
  channel: Expr,
  count: number,
) => void;

export function lowerWindow(stage: Stage): Lowered | undefined {
  const chain = chainOf(stage);
  const { root } = chain ?? {};
  if (!chain || !root || (root.name !== "qc.max_pool" && root.name !== "qc.sum_pool")) return undefined;
  if (chain.rescale && chain.rescale.operands.length > 1) return undefined;
  const [y] = stage.outputs as [Layout];
  const k = createKernel(stage.name);
  const x = operandLayout(stage, k.block, root.operands[0]!);
  const axes = [windowAxis(root, x, y, 0), windowAxis(root, x, y, 1)] as const;
  fillHalo(k.block, y);
  const { post } = chain;
  const plain = root.name === "qc.max_pool" && !chain.rescale && !post.table && x.container === y.container;
  const chunk = plain ? maxChunk(k.block, x, y, post.clamp) : finishedChunk(stage, k.block, root, x, y);
  const width = plain ? 16 / CONTAINER_BYTES[x.container] : 16;
  const serves =
    root.name === "qc.sum_pool"
      ? (v: number) => v === attr<number>(root, "pad_value")
      : (v: number) => v === CONTAINER_RANGE[x.container][0];
  positions(k.block, x, y, axes, haloCovers(x, axes, serves), width, chunk);
  return k.finish(paramBuffers(stage), [y.buffer]);
}

function windowAxis(root: Op, x: Layout, y: Layout, i: 0 | 1): WindowAxis {
  const list = (name: string): number => attr<readonly number[]>(root, name)[i]!;
  return {
    input: x.shape[i + 1]!,
    output: y.shape[i + 1]!,
    kernel: list("kernel"),
    stride: list("strides"),
    dilation: root.name === "qc.max_pool" ? list("dilations") : 1,
    before: list("pads"),
  };
}

/** Loops over images, rows, columns and channels; one body per combination of agreeing borders. */
function positions(
  block: Block,
  x: Layout,
  y: Layout,
  [h, w]: readonly [WindowAxis, WindowAxis],
  padded: boolean,
  width: number,
  chunk: Chunk,
): void {
  const [image, row, pixel] = x.strides as [number, number, number];
  const [imageOut, rowOut, pixelOut] = y.strides as [number, number, number];
  const [inBytes, outBytes] = [CONTAINER_BYTES[x.container], CONTAINER_BYTES[y.container]];
  const body = (b: Block, v: Span, u: Span, from: Expr, to: Expr): void => {
    const taps: number[] = [];
    for (let i = v.from; i < v.to; i++)
      for (let j = u.from; j < u.to; j++)
        taps.push((i - v.from) * h.dilation * row + (j - u.from) * w.dilation * pixel);
    const first = (a: WindowAxis, s: Span): number =>
      s.to > s.from ? s.first * a.stride - a.before + s.from * a.dilation : 0;
    const offset = x.offset + first(h, v) * row + first(w, u) * pixel;
    const missing = h.kernel * w.kernel - taps.length;
    channelChunks(b, y.shape[3]!, width, (inner, channel, count) => {
      const source = inner.bind(add(from, scale(channel, inBytes)), "at");
      const target = inner.bind(add(to, scale(channel, outBytes)), "to");
      const shifted = inner.bind(add(target, v.first * rowOut + u.first * pixelOut), "to");
      chunk(inner, source, offset, taps, missing, shifted, channel, count);
    });
  };
  block.loop(0, y.shape[0]!, 1, (n, images) => {
    const from = images.bind(scale(n, image), "at");
    const to = images.bind(scale(n, imageOut), "to");
    for (const v of spansOf(h, padded))
      images.loop(0, v.count, 1, (i, rows) => {
        const rowFrom = rows.bind(add(from, scale(i, h.stride * row)), "at");
        const rowTo = rows.bind(add(to, scale(i, rowOut)), "to");
        for (const u of spansOf(w, padded))
          rows.loop(0, u.count, 1, (j, columns) => {
            const pixelFrom = columns.bind(add(rowFrom, scale(j, w.stride * pixel)), "at");
            const pixelTo = columns.bind(add(rowTo, scale(j, pixelOut)), "to");
            body(columns, v, u, pixelFrom, pixelTo);
          });
      });
  });
}

const signOf = (l: Layout): "s" | "u" => (l.container === "u8" || l.container === "u16" ? "u" : "s");

/** The greatest element of each lane. */
function maximum(b: Block, x: Layout, from: Expr, offset: number, taps: Taps): Expr {
  const type = vectorOf(x.container);
  const max = b.variable(load(type, x.buffer, from, offset + taps[0]!), "max");
  for (const t of taps.slice(1))
    b.set(max, op(`max_${signOf(x)}.${type}`, [max.ref, load(type, x.buffer, from, offset + t)]));
  return max.ref;
}

/** Maxima stored in the container they were read in, clamped if asked for. */
function maxChunk(
  block: Block,
  x: Layout,
  y: Layout,
  clamp: { readonly lo: number; readonly hi: number } | undefined,
): Chunk {
  const pool = constantPool(block, 1, 4, "lanes");
  const [least, greatest] = CONTAINER_RANGE[y.container];
  const bounds = {
    lo: Math.max(clamp?.lo ?? least, least),
    hi: Math.min(clamp?.hi ?? greatest, greatest),
  };
  return (b, from, offset, taps, _padded, to, _channel, count) => {
    const max = clampPacked(maximum(b, x, from, offset, taps), y.container, bounds.lo, bounds.hi, pool);
    storeElements(b, y, to, y.offset, [b.bind(max, "y")], count);
  };
}

/** 16 channels through i32 lanes and the epilogue. */
function finishedChunk(stage: Stage, block: Block, root: Op, x: Layout, y: Layout): Chunk {
  const epilogue = epilogueOf(stage, block, 16);
  const pool = constantPool(block, 1, 4, "lanes");
  const pad = root.name === "qc.sum_pool" ? attr<number>(root, "pad_value") : 0;
  return (b, from, offset, taps, padded, to, channel, count) => {
    const groups = Math.ceil(count / 4);
    const sums =
      root.name === "qc.sum_pool"
        ? sumTaps(b, x, from, offset, taps, groups)
        : maxTaps(b, x, from, offset, taps, groups);
    const extra = root.name === "qc.sum_pool" ? padded * pad : 0;
    const whole =
      extra === 0 ? sums : sums.map((s) => b.bind(op("add.i32x4", [s, pool.splat(extra)]), "sum"));
    finish(b, y, to, whole, channel, count, epilogue);
  };
}

function maxTaps(b: Block, x: Layout, from: Expr, offset: number, taps: Taps, groups: number): Expr[] {
  const per = groupsPerVector(x.container);
  const out: Expr[] = [];
  for (let g = 0; g < groups; g += per)
    out.push(...widen(b, x, maximum(b, x, from, offset + g * 4 * CONTAINER_BYTES[x.container], taps)));
  return out.slice(0, groups);
}

/** A packed vector as i32 groups. */
function widen(b: Block, x: Layout, v: Expr): Expr[] {
  const bound = b.bind(v, "x");
  const s = signOf(x);
  const halves = (e: Expr, type: "i16x8" | "i32x4"): Expr[] =>
    (["low", "high"] as const).map((half) => b.bind(op(`extend_${half}_${s}.${type}`, [e]), "x"));
  if (x.container === "i32") return [bound];
  if (CONTAINER_BYTES[x.container] === 2) return halves(bound, "i32x4");
  return halves(bound, "i16x8").flatMap((e) => halves(e, "i32x4"));
}

/** Most taps whose bytes fit an i16 lane. */
const SHORT_TAPS = 255;

function sumTaps(b: Block, x: Layout, from: Expr, offset: number, taps: Taps, groups: number): Expr[] {
  const zeros = (n: number, type: "i16x8" | "i32x4"): Mutable[] =>
    Array.from({ length: n }, () => b.variable(konst(type, 0), "sum"));
  if (CONTAINER_BYTES[x.container] === 1 && taps.length <= SHORT_TAPS) {
    const sums = zeros(Math.ceil(groups / 2), "i16x8");
    for (const t of taps) addBytes(b, x, from, offset + t, sums);
    return widenSums(b, sums, x, groups);
  }
  const sums = zeros(groups, "i32x4");
  for (const t of taps)
    loadGroups(b, x, from, offset + t, groups).forEach((v, j) => {
      b.set(sums[j]!, op("add.i32x4", [sums[j]!.ref, v]));
    });
  return sums.map((s) => s.ref);
}
