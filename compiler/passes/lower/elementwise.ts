/** Elementwise integer ops: residual additions, requantizations, products, clamps. */
import { type Expr, op } from "../../ir/kernel/ir.ts";
import type { Dense, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { rescaleOf } from "../../ir/ops/integer-rescale.ts";
import type { TensorType } from "../../ir/types.ts";
import { type Block, bytesOf, createKernel } from "./block.ts";
import { broadcastStrides, bytesOfContainer } from "./elementwise-load.ts";
import { mapElements, type Strided } from "./elementwise-map.ts";
import { createEpilogue, type Post } from "./epilogue.ts";
import { constantPool } from "./epilogue-constants.ts";
import { type Chain, chainOf, constantOf } from "./epilogue-stage.ts";
import { fillHalo } from "./halo.ts";
import { containerOf, denseLayout, type Layout } from "./layout.ts";
import type { Lowered, Stage } from "./stage.ts";

/** The layout of an operand: that of its param, or of a constant buffer made for it. */
export function operandLayout(stage: Stage, block: Block, v: Value): Layout {
  const param = stage.func.params.findIndex((p) => p.value === v);
  if (param >= 0) return stage.inputs[param]!;
  const d = constantOf(stage, v);
  if (!d) throw new Error(`${stage.name}: an operand is neither a param nor a constant`);
  return constantLayout(block, d);
}

export function constantLayout(block: Block, d: Dense): Layout {
  const type: TensorType = { shape: d.shape, elem: d.elem };
  const container = containerOf(type);
  return denseLayout(block.constant(bytesOf(d.data, bytesOfContainer(container)), "const"), type);
}

/** Buffers of params among the layouts. */
export const paramBuffers = (stage: Stage): string[] => [...new Set(stage.inputs.map((l) => l.buffer))];

/** The one accumulator of an element from its operands' groups. */
type Combine = (block: Block, inputs: readonly (readonly Expr[])[], j: number) => readonly Expr[];

function combineOf({ root }: Chain, block: Block): Combine | undefined {
  const pool = constantPool(block, 1, 4, "lanes");
  const minus = (x: Expr, zero: number): Expr => (zero === 0 ? x : op("sub.i32x4", [x, pool.splat(zero)]));
  switch (root.name) {
    case "qc.rescale":
      return (_, inputs, j) => inputs.map((x) => x[j]!);
    case "qc.clamp":
      return (_, [x], j) => [x![j]!];
    case "qc.add_const": {
      const value = attr<number>(root, "value");
      return (_, [x], j) => [op("add.i32x4", [x![j]!, pool.splat(value)])];
    }
    case "qc.mul": {
      const [za, zb] = [attr<number>(root, "a_zero"), attr<number>(root, "b_zero")];
      return (_, [a, b], j) => [op("mul.i32x4", [minus(a![j]!, za), minus(b![j]!, zb)])];
    }
    case "qc.max":
      return (_, [a, b], j) => [op("max_s.i32x4", [a![j]!, b![j]!])];
    case "qc.min":
      return (_, [a, b], j) => [op("min_s.i32x4", [a![j]!, b![j]!])];
    default:
      return undefined;
  }
}

/** Bounds of a clamp root join those of the steps after it. */
function postOf({ root, post }: Chain): Post {
  if (root.name !== "qc.clamp") return post;
  const [lo, hi] = [attr<number>(root, "lo"), attr<number>(root, "hi")];
  const { clamp } = post;
  const to = (x: number): number => (clamp ? Math.min(Math.max(x, clamp.lo), clamp.hi) : x);
  return { ...post, clamp: { lo: to(lo), hi: to(hi) } };
}

export function lowerElementwise(stage: Stage): Lowered | undefined {
  const chain = chainOf(stage);
  if (!chain) return undefined;
  const { root } = chain;
  const k = createKernel(stage.name);
  const combine = combineOf(chain, k.block);
  if (!combine) return undefined;
  const scaling = root.name === "qc.rescale" ? root : chain.rescale;
  if (chain.rescale && (root.name === "qc.rescale" || root.name === "qc.clamp")) return undefined;
  if (chain.rescale && chain.rescale.operands.length > 1) return undefined;
  const [y] = stage.outputs as [Layout];
  const axis = scaling ? attr<number>(scaling, "axis") : 0;
  const epilogue = createEpilogue({
    block: k.block,
    rescale: scaling ? rescaleOf(scaling.attrs) : null,
    channels: y.shape[axis] ?? 1,
    pad: 16,
    container: y.container,
    post: postOf(chain),
    // Axes of size 1 behind the channels vanish, so that the channels run along the lanes.
    axis: y.shape.slice(axis + 1).every((d) => d === 1) ? "lanes" : "row",
  });
  const inputs = root.operands.map((v): Strided => {
    const l = operandLayout(stage, k.block, v);
    return { ...l, strides: broadcastStrides(l, y.shape) };
  });
  fillHalo(k.block, y);
  const channels = y.shape.map((_, a) => (epilogue.perChannel && a === axis ? 1 : 0));
  mapElements(k.block, y.shape, inputs, y, channels, (b, groups, channel) => {
    const count = groups[0]!.length;
    const acc: Expr[][] = Array.from({ length: count }, (_, j) => {
      const values = combine(b, groups, j);
      const start = epilogue.initial(b, channel, j);
      return start ? [b.bind(op("add.i32x4", [values[0]!, start]), "a")] : [...values];
    });
    return epilogue.emit(b, [acc[0]!.map((_, o) => acc.map((values) => values[o]!))], channel);
  });
  return k.finish(paramBuffers(stage), [y.buffer]);
}
