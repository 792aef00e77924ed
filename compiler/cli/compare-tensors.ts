/** Tensors of one name from two sides, element by element, in units of the last place. */
import type { TensorData } from "../../runtime/elements.ts";
import type { Quantization } from "../../runtime/format.ts";
import type { SideTensor } from "./compare-sides.ts";
import type { Histogram } from "./histogram.ts";

/** Over all samples. */
export interface TensorVerdict {
  readonly name: string;
  readonly elements: number;
  /** Elements that differ by more than the tolerance. */
  readonly differing: number;
  /** Greatest difference. */
  readonly most: number;
  /** Elements by difference, first − second. */
  readonly histogram: Histogram;
}

const isFloats = (x: TensorData): x is Float32Array | Float64Array =>
  x instanceof Float32Array || x instanceof Float64Array;

const same = (a: Quantization | undefined, b: Quantization | undefined): boolean =>
  a === undefined || b === undefined || JSON.stringify(a) === JSON.stringify(b);

/** The number that element i stands for. */
function reading(t: SideTensor, x: TensorData): (i: number) => number {
  const q = t.quantization;
  if (isFloats(x) || q === undefined) return (i) => Number(x[i]);
  const { scale, zeroPoint } = q;
  const channel = channelOf(t, q);
  const at = (list: number | readonly number[], i: number): number =>
    typeof list === "number" ? list : list[channel(i)]!;
  return (i) => (Number(x[i]) - at(zeroPoint, i)) * at(scale, i);
}

function channelOf({ shape = [] }: SideTensor, { axis = 0 }: Quantization): (i: number) => number {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const n = shape[axis] ?? 1;
  return (i) => Math.floor(i / inner) % n;
}

const bits = new DataView(new ArrayBuffer(4));
/** Position of a float32 among all of them, rising. */
function rank(x: number): number {
  bits.setFloat32(0, x);
  const n = bits.getInt32(0);
  return n < 0 ? -(n & 0x7fffffff) : n;
}

/**
 * Differences first − second: of integers as they are; of integers on different grids, and of integers and floats, in
 * steps of the first's grid, rounded; of floats in float32 steps.
 */
function difference(a: SideTensor, x: TensorData, b: SideTensor, y: TensorData): (i: number) => number {
  if (!isFloats(x) && !isFloats(y) && same(a.quantization, b.quantization))
    return (i) => Number(x[i]) - Number(y[i]);
  if (isFloats(x) && isFloats(y)) return (i) => rank(x[i]!) - rank(y[i]!);
  const [f, g] = [reading(a, x), reading(b, y)];
  const q = a.quantization ?? b.quantization ?? { scale: 1, zeroPoint: 0 };
  const channel = channelOf(a, q);
  const { scale } = q;
  return (i) => Math.round((f(i) - g(i)) / (typeof scale === "number" ? scale : scale[channel(i)]!)) + 0;
}

/** Adds one sample to what is known of a tensor. */
export function addSample(
  before: TensorVerdict | undefined,
  [a, x]: readonly [SideTensor, TensorData],
  [b, y]: readonly [SideTensor, TensorData],
  tolerance: number,
): TensorVerdict {
  const histogram: Histogram = new Map(before?.histogram);
  const d = difference(a, x, b, y);
  let differing = before?.differing ?? 0;
  let most = before?.most ?? 0;
  for (let i = 0; i < x.length; i++) {
    const n = d(i);
    // NaN on one side only is as far off as can be.
    const size = Number.isNaN(n) ? Number.POSITIVE_INFINITY : Math.abs(n);
    if (size > tolerance) differing++;
    most = Math.max(most, size);
    histogram.set(n, (histogram.get(n) ?? 0) + 1);
  }
  return { name: a.name, elements: (before?.elements ?? 0) + x.length, differing, most, histogram };
}
