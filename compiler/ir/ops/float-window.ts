/** Pooling, reductions and softmax on real numbers, NCHW as in ONNX. */
import type { Attrs, Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { sizeOf, type TensorType } from "../types.ts";
import { axesIn, axisIn, foldOver, reducedShape, sumOver } from "./axes.ts";
import { allOf, floats, ints, optional, required } from "./define.ts";
import { emptyWindow, tapTable, windowOf, windowShape } from "./window.ts";

const poolAttrs = {
  kernel: required("ints", "window size per spatial axis"),
  strides: required("ints", "one per spatial axis"),
  pads: required("ints", "begins of all spatial axes, then ends"),
  ceil_mode: optional("bool", "round the output size up", false),
};

function poolType([x]: readonly TensorType[], attrs: Attrs): readonly TensorType[] | string {
  const bad = allOf("float", [x!]);
  if (bad) return bad;
  if (x!.shape.length < 3) return "x must be [N, C, spatial …]";
  const spatial = windowShape(x!.shape.slice(2), windowOf(attrs, ints(attrs.kernel)));
  if (typeof spatial === "string") return spatial;
  const empty = emptyWindow(windowOf(attrs, ints(attrs.kernel)));
  return empty ?? [{ shape: [x!.shape[0]!, x!.shape[1]!, ...spatial], elem: x!.elem }];
}

/** Folds every window of every plane; `tap` is an index into the plane, or −1 in the padding, −2 beyond it. */
function pool(
  x: Dense,
  attrs: Attrs,
  type: TensorType,
  fold: (plane: number, taps: Int32Array) => number,
): Dense {
  const input = x.shape.slice(2);
  const output = type.shape.slice(2);
  const kernel = ints(attrs.kernel);
  const table = tapTable(input, output, windowOf(attrs, kernel));
  const taps = sizeOf(kernel);
  const positions = sizeOf(output);
  const out = new Float64Array(sizeOf(type.shape));
  for (let i = 0; i < out.length; i++) {
    const p = i % positions;
    out[i] = fold(Math.floor(i / positions) * sizeOf(input), table.subarray(p * taps, (p + 1) * taps));
  }
  return floats(type, out);
}

const maxPool = defineOp({
  name: "float.max_pool",
  summary: "The greatest element of each window; padding never wins.",
  operands: ["x"],
  attrs: { ...poolAttrs, dilations: required("ints", "one per spatial axis") },
  traits: ["float"],
  infer: poolType,
  evaluate: ([x], attrs, [type]) => [
    pool(x!, attrs, type!, (plane, taps) => {
      let best = Number.NEGATIVE_INFINITY;
      for (const t of taps) if (t >= 0) best = Math.max(best, x!.data[plane + t]!);
      return best;
    }),
  ],
});

const averagePool = defineOp({
  name: "float.average_pool",
  summary:
    "The mean of each window: over its elements, or with `count_include_pad` over elements and (zero) padding.",
  operands: ["x"],
  attrs: { ...poolAttrs, count_include_pad: optional("bool", "the padding counts in the divisor", false) },
  traits: ["float"],
  infer: poolType,
  evaluate: ([x], attrs, [type]) => [
    pool(x!, attrs, type!, (plane, taps) => {
      let sum = 0;
      let n = 0;
      for (const t of taps) {
        if (t >= 0) sum += x!.data[plane + t]!;
        if (t >= 0 || (t === -1 && attrs.count_include_pad === true)) n++;
      }
      return sum / n;
    }),
  ],
});

/** A reduction; `fold` gives its results, row-major. */
const reduce = (
  name: string,
  summary: string,
  fold: (x: Dense, axes: readonly number[]) => Float64Array,
): OpDef =>
  defineOp({
    name: `float.${name}`,
    summary,
    operands: ["x"],
    attrs: {
      axes: required("ints", "axes to reduce, counted from the front"),
      keepdims: optional("bool", "reduced axes stay with size 1", true),
    },
    traits: ["float"],
    infer: ([x], attrs) => {
      const bad = allOf("float", [x!]);
      if (bad) return bad;
      if (!axesIn(ints(attrs.axes), x!.shape.length)) return "axes must be distinct axes of x";
      return [{ shape: reducedShape(x!.shape, ints(attrs.axes), attrs.keepdims === true), elem: x!.elem }];
    },
    evaluate: ([x], attrs, [type]) => [floats(type!, fold(x!, ints(attrs.axes)))],
  });

const extreme =
  (start: number, pick: (a: number, b: number) => number) =>
  (x: Dense, axes: readonly number[]): Float64Array =>
    foldOver(x, axes, start, pick);

function mean(x: Dense, axes: readonly number[]): Float64Array {
  const n = sizeOf(axes.map((a) => x.shape[a]!));
  return sumOver(x, axes).map((s) => s / n);
}

const softmax = defineOp({
  name: "float.softmax",
  summary: "e^(x − max) / Σ e^(x − max) along `axis`.",
  operands: ["x"],
  attrs: { axis: required("int", "counted from the front") },
  traits: ["float"],
  infer: ([x], attrs) =>
    allOf("float", [x!]) ??
    (axisIn(attrs.axis as number, x!.shape.length) ? [x!] : `axis ${attrs.axis} is not an axis of x`),
  evaluate: ([x], attrs, [type]) => {
    const axis = attrs.axis as number;
    const n = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const out = new Float64Array(x!.data.length);
    for (let r = 0; r < out.length / Math.max(n, 1); r++) {
      const base = Math.floor(r / inner) * n * inner + (r % inner);
      let top = Number.NEGATIVE_INFINITY;
      for (let j = 0; j < n; j++) top = Math.max(top, x!.data[base + j * inner]!);
      let sum = 0;
      for (let j = 0; j < n; j++) {
        const e = Math.exp(x!.data[base + j * inner]! - top);
        out[base + j * inner] = e;
        sum += e;
      }
      for (let j = 0; j < n; j++) out[base + j * inner]! /= sum;
    }
    return [floats(type!, out)];
  },
});

export const floatWindowOps: readonly OpDef[] = [
  maxPool,
  averagePool,
  reduce("reduce_mean", "The mean over `axes`.", mean),
  reduce("reduce_sum", "The sum over `axes`.", sumOver),
  reduce("reduce_max", "The greatest element over `axes`.", extreme(Number.NEGATIVE_INFINITY, Math.max)),
  reduce("reduce_min", "The least element over `axes`.", extreme(Number.POSITIVE_INFINITY, Math.min)),
  softmax,
];
