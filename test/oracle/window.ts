/** Geometry of convolutions and pools, and the pools themselves. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { intOf, intsOf, stringOf } from "./attributes.ts";
import { gather, NOTHING } from "./gather.ts";
import type { ConvGeometry } from "./linear.ts";
import { multiplyReals, sumGroups } from "./linear.ts";
import { rational } from "./rational.ts";
import { orderOf } from "./select.ts";
import {
  type ApproxTensor,
  makeTerm,
  type RealTensor,
  reals,
  simplify,
  singleUnits,
  sizeOf,
  type Tensor,
  type Term,
  withHeadroom,
} from "./tensor.ts";

type Pair = readonly [number, number];
type Four = readonly [number, number, number, number];

export interface Window {
  readonly kernel: Pair;
  readonly strides: Pair;
  readonly dilations: Pair;
  readonly pads: Four;
}

/** [N,C,L] as [N,C,1,L]; two spatial axes are what everything below works on. */
export function spatialShape(shape: readonly number[]): [number, number, number, number] {
  if (shape.length === 3) return [shape[0]!, shape[1]!, 1, shape[2]!];
  if (shape.length === 4) return [shape[0]!, shape[1]!, shape[2]!, shape[3]!];
  throw new Error(`windows over ${shape.length - 2} spatial axes`);
}

const pair = (values: readonly number[], missing: number): Pair =>
  values.length === 1 ? [missing, values[0]!] : [values[0]!, values[1]!];

/** Window of a node over an input of shape [N,C,H,W] (or [N,C,L]) with its padding made explicit. */
export function windowOf(node: OnnxNode, shape: readonly number[], kernelShape: readonly number[]): Window {
  const rank = kernelShape.length;
  const ones = new Array<number>(rank).fill(1);
  const strides = pair(intsOf(node, "strides") ?? ones, 1);
  const dilations = pair(intsOf(node, "dilations") ?? ones, 1);
  const kernel = pair(kernelShape, 1);
  const given = intsOf(node, "pads") ?? new Array<number>(2 * rank).fill(0);
  let pads: Four = rank === 1 ? [0, given[0]!, 0, given[1]!] : [given[0]!, given[1]!, given[2]!, given[3]!];
  const auto = stringOf(node, "auto_pad") ?? "NOTSET";
  if (auto === "VALID") pads = [0, 0, 0, 0];
  if (auto.startsWith("SAME")) {
    const [, , h, w] = spatialShape(shape);
    const total = ([h, w] as const).map((dim, axis) => {
      const outputs = Math.ceil(dim / strides[axis as 0 | 1]);
      const reach = dilations[axis as 0 | 1] * (kernel[axis as 0 | 1] - 1) + 1;
      return Math.max(0, (outputs - 1) * strides[axis as 0 | 1] + reach - dim);
    });
    const less = total.map((t) => Math.floor(t / 2));
    const more = total.map((t, axis) => t - less[axis]!);
    const [before, after] = auto === "SAME_UPPER" ? [less, more] : [more, less];
    pads = [before[0]!, before[1]!, after[0]!, after[1]!];
  }
  return { kernel, strides, dilations, pads };
}

export const convGeometry = (window: Window, node: OnnxNode): ConvGeometry => ({
  strides: window.strides,
  dilations: window.dilations,
  pads: window.pads,
  groups: intOf(node, "group") ?? 1,
});

/** Output extent of a pool; with `ceil` a last window that would start in the end padding is dropped. */
function extent(
  dim: number,
  { kernel, strides, dilations, pads }: Window,
  axis: 0 | 1,
  ceil: boolean,
): number {
  const span = dim + pads[axis] + pads[axis === 0 ? 2 : 3] - dilations[axis] * (kernel[axis] - 1) - 1;
  if (!ceil) return Math.floor(span / strides[axis]) + 1;
  const outputs = Math.ceil(span / strides[axis]) + 1;
  return (outputs - 1) * strides[axis] >= dim + pads[axis] ? outputs - 1 : outputs;
}

/** Per output element: the flat indices of the taps inside the input, and the taps inside input or padding. */
function forEachWindow(
  shape: readonly number[],
  window: Window,
  ceil: boolean,
  visit: (output: number, taps: readonly number[], padded: number) => void,
): number[] {
  const [n, c, h, w] = spatialShape(shape);
  const { kernel, strides, dilations, pads } = window;
  const oh = extent(h, window, 0, ceil);
  const ow = extent(w, window, 1, ceil);
  let output = 0;
  for (let plane = 0; plane < n * c; plane++)
    for (let y = 0; y < oh; y++)
      for (let x = 0; x < ow; x++) {
        const taps: number[] = [];
        let padded = 0;
        for (let ky = 0; ky < kernel[0]; ky++)
          for (let kx = 0; kx < kernel[1]; kx++) {
            const row = y * strides[0] - pads[0] + ky * dilations[0];
            const column = x * strides[1] - pads[1] + kx * dilations[1];
            if (row < h + pads[2] && column < w + pads[3]) padded++;
            if (row >= 0 && row < h && column >= 0 && column < w) taps.push((plane * h + row) * w + column);
          }
        visit(output++, taps, padded);
      }
  return shape.length === 3 ? [n, c, ow] : [n, c, oh, ow];
}

export function maxPool(x: Exclude<Tensor, ApproxTensor>, window: Window, ceil: boolean): Tensor {
  const order = orderOf(x);
  const index: number[] = [];
  const shape = forEachWindow(x.shape, window, ceil, (_, taps) => {
    index.push(taps.reduce((best, tap) => (best === NOTHING || order(tap, best) > 0 ? tap : best), NOTHING));
  });
  return gather(x, index, shape);
}

export function averagePool(x: RealTensor, window: Window, ceil: boolean, includePad: boolean): RealTensor {
  const terms = withHeadroom(singleUnits(x.terms()), window.kernel[0] * window.kernel[1]);
  const sums: number[][] = terms.map(() => []);
  const counts: number[] = [];
  const shape = forEachWindow(x.shape, window, ceil, (output, taps, padded) => {
    counts.push(includePad ? padded : taps.length);
    terms.forEach(({ num }, t) => {
      sums[t]![output] = taps.reduce((sum, tap) => sum + num[tap]!, 0);
    });
  });
  const sizes = [...new Set(counts)];
  const index = Int32Array.from(counts, (count) => sizes.indexOf(count));
  const divisors = reals(shape, [
    makeTerm(
      new Float64Array(counts.length).fill(1),
      sizes.map((count) => rational(1n, BigInt(count))),
      index,
    ),
  ]);
  const total = terms.map(
    ({ units }, t): Term => ({ num: Float64Array.from(sums[t]!), units, index: undefined }),
  );
  return multiplyReals(reals(shape, simplify(total)), divisors);
}

export const reducedShape = (shape: readonly number[], axes: readonly number[], keep: boolean): number[] =>
  shape.flatMap((dim, d) => (!axes.includes(d) ? [dim] : keep ? [1] : []));

/** Sums over `axes` (sorted, non-negative), divided by the number of elements when `mean`. */
export function reduce(x: RealTensor, axes: readonly number[], keep: boolean, mean: boolean): RealTensor {
  const shape = reducedShape(x.shape, axes, keep);
  const sums = sumGroups(x, shape, groupIndex(x.shape, axes));
  const count = sizeOf(x.shape) / sizeOf(shape);
  const factor = rational(1n, mean ? BigInt(count) : 1n);
  return multiplyReals(sums, reals([], [{ num: Float64Array.of(1), units: [factor], index: undefined }]));
}

/** For each element the flat index of the reduced element it contributes to. */
export function groupIndex(shape: readonly number[], axes: readonly number[]): Int32Array {
  const result = new Int32Array(sizeOf(shape));
  for (let i = 0; i < result.length; i++) {
    let rest = i;
    let flat = 0;
    let step = 1;
    for (let d = shape.length - 1; d >= 0; d--) {
      const at = rest % shape[d]!;
      rest = Math.floor(rest / shape[d]!);
      if (axes.includes(d)) continue;
      flat += at * step;
      step *= shape[d]!;
    }
    result[i] = flat;
  }
  return result;
}
