/** Resampling of real numbers between their neighbours. */
import { toFloat64 } from "../dense.ts";
import type { Attrs } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { add, eq, ONE, type Rational, toNumber } from "../rational.ts";
import { sizeOf, type TensorType } from "../types.ts";
import { axisIn } from "./axes.ts";
import { allOf, floats, ints, optional, required } from "./define.ts";

/** How one axis is resampled: `taps` indices and weights for each position of the result. */
export interface Resampled {
  readonly axis: number;
  readonly taps: number;
  readonly indices: readonly number[];
  readonly weights: readonly Rational[];
}

/** How ONNX's Resize says the same; `scales`: one per axis of x where they are no ratios of sizes, else none. */
export interface ResizeForm {
  readonly mode: string;
  readonly coordinates: string;
  readonly coefficient: number;
  readonly exclude: boolean;
  readonly scales: readonly number[];
}

/** The attributes of `float.interpolate`. */
export const interpolateAttrs = (axes: readonly Resampled[], form: ResizeForm): Attrs => ({
  ...form,
  axes: axes.map((a) => a.axis),
  taps: axes.map((a) => a.taps),
  sizes: axes.map((a) => a.indices.length / a.taps),
  indices: axes.flatMap((a) => a.indices),
  weights: axes.flatMap((a) => a.weights),
});

/** The axes of a `float.interpolate`, in the order in which they are resampled. */
export function resampledAxes(attrs: Attrs): readonly Resampled[] {
  const [taps, sizes, indices] = [ints(attrs.taps), ints(attrs.sizes), ints(attrs.indices)];
  const weights = attrs.weights as readonly Rational[];
  let end = 0;
  return ints(attrs.axes).map((axis, i) => {
    const begin = end;
    end += taps[i]! * sizes[i]!;
    return { axis, taps: taps[i]!, indices: indices.slice(begin, end), weights: weights.slice(begin, end) };
  });
}

/** A sentence if the lists do not fit x and each other. */
function badLists(x: TensorType, a: Attrs): string | undefined {
  const [axes, taps, sizes] = [ints(a.axes), ints(a.taps), ints(a.sizes)];
  const weights = a.weights as readonly Rational[];
  if (taps.length !== axes.length || sizes.length !== axes.length || new Set(axes).size !== axes.length)
    return "axes, taps and sizes must be lists of equal length, axes without repetition";
  const bad = axes.find((axis) => !axisIn(axis, x.shape.length));
  if (bad !== undefined) return `axis ${bad} is not an axis of x`;
  if (![...taps, ...sizes].every((n) => n >= 1)) return "taps and sizes must be 1 or more";
  const total = taps.reduce((sum, n, i) => sum + n * sizes[i]!, 0);
  if (ints(a.indices).length !== total || weights.length !== total)
    return `there must be ${total} indices and weights`;
  for (const { axis, taps: n, weights: own } of resampledAxes(a))
    for (let i = 0; i < own.length; i += n)
      if (!eq(own.slice(i, i + n).reduce(add), ONE))
        return `the weights of position ${i / n} along axis ${axis} do not add up to 1`;
  return undefined;
}

/** Weighted sums along one axis of a tensor of `shape`. */
function along(data: Float64Array, shape: readonly number[], a: Resampled): Float64Array {
  const weights = a.weights.map(toNumber);
  const from = shape[a.axis]!;
  const to = a.indices.length / a.taps;
  const inner = sizeOf(shape.slice(a.axis + 1));
  const out = new Float64Array((data.length / from) * to);
  for (let o = 0; o < out.length; o++) {
    const i = Math.floor(o / inner) % to;
    const row = Math.floor(o / inner / to) * from;
    for (let k = i * a.taps; k < (i + 1) * a.taps; k++) {
      const at = Math.min(Math.max(a.indices[k]!, 0), from - 1);
      out[o]! += weights[k]! * data[(row + at) * inner + (o % inner)]!;
    }
  }
  return out;
}

const resampledShape = (shape: readonly number[], axes: readonly Resampled[]): readonly number[] =>
  shape.map((d, i) => {
    const a = axes.find(({ axis }) => axis === i);
    return a ? a.indices.length / a.taps : d;
  });

const interpolate = defineOp({
  name: "float.interpolate",
  summary:
    "Along each of `axes` in turn, y[i] = Σ_k weights[i·taps + k]·x[indices[i·taps + k]]; an index before the first element or behind the last one means that element. The weights of a position add up to 1.",
  operands: ["x"],
  attrs: {
    axes: required("ints", "counted from the front"),
    taps: required("ints", "neighbours per position, for each of `axes`"),
    sizes: required("ints", "sizes of the result, for each of `axes`"),
    indices: required("ints", "for each of `axes`, `taps` for each position"),
    weights: required("rationals", "one for each index"),
    mode: optional("string", "Resize with the same tables: its mode", "linear"),
    coordinates: optional("string", "its coordinate_transformation_mode", "half_pixel"),
    coefficient: optional("float", "its cubic_coeff_a", -0.75),
    exclude: optional("bool", "its exclude_outside", false),
    scales: optional("floats", "its scales, where sizes do not say them", []),
  },
  traits: ["float"],
  infer: ([x], a) => {
    const bad = badLists(x!, a) ?? allOf("float", [x!]);
    return bad ?? [{ shape: resampledShape(x!.shape, resampledAxes(a)), elem: x!.elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    let data = toFloat64(x!.data);
    let shape = x!.shape;
    for (const a of resampledAxes(attrs)) {
      data = along(data, shape, a);
      shape = resampledShape(shape, [a]);
    }
    return [floats(type!, data)];
  },
});

export const floatInterpolateOps: readonly OpDef[] = [interpolate];
