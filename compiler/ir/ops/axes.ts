/** Index arithmetic shared by the ops: broadcasting, per-axis gathers, reductions. Shapes are row-major. */
import { allocate } from "../dense.ts";
import type { Dense, Elements } from "../module.ts";
import { sameShape, sizeOf, stridesOf } from "../types.ts";

/** Numpy broadcasting of several shapes; `undefined` if they do not fit. */
export function broadcastShapes(...shapes: (readonly number[])[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out: number[] = new Array<number>(rank).fill(1);
  for (const s of shapes)
    for (let i = 0; i < s.length; i++) {
      const o = rank - s.length + i;
      if (s[i] === out[o] || s[i] === 1) continue;
      if (out[o] !== 1) return undefined;
      out[o] = s[i]!;
    }
  return out;
}

/** Index along `axis` of each element of a row-major tensor; 0 without an axis. */
export function indexAlong(shape: readonly number[], axis: number | undefined): (i: number) => number {
  if (axis === undefined) return () => 0;
  const inner = sizeOf(shape.slice(axis + 1));
  const size = shape[axis] ?? 1;
  return (i) => Math.floor(i / inner) % size;
}

/** Axis counted from the front, 0 ≤ axis < rank. */
export const axisIn = (axis: number, rank: number): boolean =>
  Number.isInteger(axis) && axis >= 0 && axis < rank;

/** True if `axes` is a list of distinct axes of `rank`. */
export const axesIn = (axes: readonly number[], rank: number): boolean =>
  axes.every((a) => axisIn(a, rank)) && new Set(axes).size === axes.length;

/**
 * out[i0, i1, …] = x[offsets[0][i0] + offsets[1][i1] + …], where a negative offset on any axis leaves the element of
 * `out` as it is. All separable movements – broadcast, transpose, slice, pad, tile, gather – are of this form.
 */
export function gatherAxes(x: Elements, out: Elements, offsets: readonly Int32Array[]): void {
  const rank = offsets.length;
  if (out.length === 0) return;
  if (rank === 0) {
    out[0] = x[0]!;
    return;
  }
  const last = offsets[rank - 1]!;
  let at = 0;
  const walk = (axis: number, base: number): void => {
    if (axis === rank - 1) {
      if (base < 0) at += last.length;
      else
        for (let i = 0; i < last.length; i++, at++) {
          const o = last[i]!;
          if (o >= 0) out[at] = x[base + o]!;
        }
      return;
    }
    const list = offsets[axis]!;
    for (let i = 0; i < list.length; i++) walk(axis + 1, base < 0 || list[i]! < 0 ? -1 : base + list[i]!);
  };
  walk(0, 0);
}

/** Offsets 0, stride, 2·stride … of one axis. */
export const axisOffsets = (size: number, stride: number): Int32Array =>
  Int32Array.from({ length: size }, (_, i) => i * stride);

/** Offsets of the picked indices of one axis; a negative index stays negative. */
export const pickOffsets = (indices: readonly number[], stride: number): Int32Array =>
  Int32Array.from(indices, (i) => (i < 0 ? -1 : i * stride));

/** The elements of `d` repeated to `shape`; the array itself if the shape is the same. */
export function broadcastTo(d: Dense, shape: readonly number[]): Elements {
  if (sameShape(d.shape, shape)) return d.data;
  const strides = stridesOf(d.shape);
  const lead = shape.length - d.shape.length;
  const offsets = shape.map((size, i) => {
    const from = i - lead;
    return axisOffsets(size, from < 0 || d.shape[from] === 1 ? 0 : strides[from]!);
  });
  const out = sameContainer(d, sizeOf(shape));
  gatherAxes(d.data, out, offsets);
  return out;
}

/** An empty array like `d`'s own: keeps float32 storage of constants. */
export function sameContainer(d: Dense, n: number): Elements {
  return d.data instanceof Float32Array ? new Float32Array(n) : allocate(d.elem, n);
}

/** Shape after reducing `axes`: size 1 if kept, else dropped. */
export const reducedShape = (
  shape: readonly number[],
  axes: readonly number[],
  keepdims: boolean,
): number[] =>
  keepdims ? shape.map((d, i) => (axes.includes(i) ? 1 : d)) : shape.filter((_, i) => !axes.includes(i));

/** Sums over `axes` in float64; the result is row-major over the remaining axes. */
export const sumOver = (x: Dense, axes: readonly number[]): Float64Array =>
  foldOver(x, axes, 0, (a, b) => a + b);

/** pick(… pick(start, first), …) over `axes` in float64, in row-major order; row-major over the remaining axes. */
export function foldOver(
  x: Dense,
  axes: readonly number[],
  start: number,
  pick: (a: number, b: number) => number,
): Float64Array {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const order = [...kept, ...axes];
  const strides = stridesOf(x.shape);
  const moved = new Float64Array(x.data.length);
  gatherAxes(
    x.data,
    moved,
    order.map((a) => axisOffsets(x.shape[a]!, strides[a]!)),
  );
  const n = sizeOf(axes.map((a) => x.shape[a]!));
  const out = new Float64Array(sizeOf(kept.map((a) => x.shape[a]!)));
  for (let i = 0; i < out.length; i++) {
    let s = start;
    for (let j = 0; j < n; j++) s = pick(s, moved[i * n + j]!);
    out[i] = s;
  }
  return out;
}
