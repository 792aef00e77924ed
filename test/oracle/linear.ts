/** Exact sums, products, convolutions and matrix products of reals. */
import { broadcast, broadcastShape } from "./gather.ts";
import { divide, multiply, negate, type Rational, rational } from "./rational.ts";
import {
  exactAt,
  LIMIT,
  makeTerm,
  maxAbs,
  type RealTensor,
  reals,
  simplify,
  singleUnits,
  sizeOf,
  splitDigits,
  type Term,
  withHeadroom,
} from "./tensor.ts";

export function addReals(a: RealTensor, b: RealTensor): RealTensor {
  const shape = broadcastShape(a.shape, b.shape);
  return reals(shape, simplify([...broadcast(a, shape).terms(), ...broadcast(b, shape).terms()]));
}

/** Every element times `factor`. */
export const scaleReal = (a: RealTensor, factor: Rational): RealTensor =>
  reals(
    a.shape,
    factor.num === 0n
      ? []
      : a.terms().map((term) => ({ ...term, units: term.units.map((u) => multiply(u, factor)) })),
  );

export const negateReal = (a: RealTensor): RealTensor =>
  reals(
    a.shape,
    a.terms().map((term) => ({ ...term, units: term.units.map(negate) })),
  );

export const subtractReals = (a: RealTensor, b: RealTensor): RealTensor => addReals(a, negateReal(b));

/** Units of the product, with the unit of `a` at index `i` and of `b` at index `j` at `i * b.length + j`. */
const unitProducts = (a: readonly Rational[], b: readonly Rational[]): Rational[] =>
  a.flatMap((u) => b.map((v) => multiply(u, v)));

function pairIndex(a: Term, b: Term, size: number): Int32Array | undefined {
  if (a.index === undefined && b.index === undefined) return undefined;
  const count = b.units.length;
  const index = new Int32Array(size);
  for (let i = 0; i < size; i++) index[i] = (a.index?.[i] ?? 0) * count + (b.index?.[i] ?? 0);
  return index;
}

function multiplyTerms(a: Term, b: Term): Term[] {
  const most = [maxAbs(a.num), maxAbs(b.num)] as const;
  if (most[0] === 0 || most[1] === 0) return [];
  if (most[0] * most[1] >= LIMIT)
    return most[0] > most[1]
      ? splitDigits(a).flatMap((part) => multiplyTerms(part, b))
      : splitDigits(b).flatMap((part) => multiplyTerms(a, part));
  const num = a.num.map((value, i) => value * b.num[i]!);
  return [makeTerm(num, unitProducts(a.units, b.units), pairIndex(a, b, num.length))];
}

export function multiplyReals(a: RealTensor, b: RealTensor): RealTensor {
  const shape = broadcastShape(a.shape, b.shape);
  const left = broadcast(a, shape).terms();
  const right = broadcast(b, shape).terms();
  return reals(shape, simplify(left.flatMap((x) => right.flatMap((y) => multiplyTerms(x, y)))));
}

/** 1 / b; throws RangeError when an element is zero. */
export function reciprocalReal(b: RealTensor): RealTensor {
  const size = sizeOf(b.shape);
  const units: Rational[] = [];
  const index = new Int32Array(size);
  const known = new Map<string, number>();
  const terms = b.terms();
  for (let i = 0; i < size; i++) {
    const value = exactAt(terms, i);
    const key = `${value.num}/${value.den}`;
    let at = known.get(key);
    if (at === undefined) {
      at = units.push(divide(rational(1n), value)) - 1;
      known.set(key, at);
    }
    index[i] = at;
  }
  return reals(b.shape, size === 0 ? [] : [makeTerm(new Float64Array(size).fill(1), units, index)]);
}

export const divideReals = (a: RealTensor, b: RealTensor): RealTensor => multiplyReals(a, reciprocalReal(b));

/** Sums of the elements of each group: element i belongs to output element `groupOf[i]`. */
export function sumGroups(a: RealTensor, shape: readonly number[], groupOf: Int32Array): RealTensor {
  const size = sizeOf(shape);
  const terms: Term[] = [];
  const sizes = new Float64Array(size);
  for (const g of groupOf) sizes[g]!++;
  const most = maxAbs(sizes);
  for (const term of withHeadroom(singleUnits(a.terms()), most)) {
    const num = new Float64Array(size);
    for (let i = 0; i < groupOf.length; i++) num[groupOf[i]!]! += term.num[i]!;
    terms.push({ num, units: term.units, index: undefined });
  }
  return reals(shape, simplify(terms));
}

export interface ConvGeometry {
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
  readonly groups: number;
}

export function convShape(
  x: readonly number[],
  w: readonly number[],
  { strides, dilations, pads }: ConvGeometry,
): [number, number, number, number] {
  const extent = (axis: 0 | 1) =>
    Math.floor(
      (x[axis + 2]! + pads[axis] + pads[axis + 2]! - dilations[axis] * (w[axis + 2]! - 1) - 1) /
        strides[axis],
    ) + 1;
  return [x[0]!, w[0]!, extent(0), extent(1)];
}

/** Plain correlation of x [N,C,H,W] with w [O,C/groups,KH,KW] in float64, zero padded. */
export function correlate(
  x: Float64Array,
  xShape: readonly number[],
  w: Float64Array,
  wShape: readonly number[],
  { strides, dilations, pads, groups }: ConvGeometry,
): { readonly data: Float64Array; readonly shape: number[] } {
  const [n, c, rows, columns] = xShape as [number, number, number, number];
  const [o, cg, kh, kw] = wShape as [number, number, number, number];
  if (cg * groups !== c || o % groups !== 0)
    throw new Error(`weights [${wShape.join()}] in ${groups} groups do not fit an input [${xShape.join()}]`);
  const [sh, sw] = strides;
  const shape = convShape(xShape, wShape, { strides, dilations, pads, groups });
  // A pointwise convolution sees each plane as one row.
  const pointwise = kh * kw * sh * sw === 1 && pads.every((p) => p === 0);
  const [h, width] = pointwise ? [1, rows * columns] : [rows, columns];
  const [oh, ow] = pointwise ? [h, width] : [shape[2], shape[3]];
  const data = new Float64Array(n * o * oh * ow);
  for (let b = 0; b < n; b++)
    for (let oc = 0; oc < o; oc++) {
      const to = (b * o + oc) * oh * ow;
      const firstChannel = Math.floor(oc / (o / groups)) * cg;
      for (let ic = 0; ic < cg; ic++) {
        const from = (b * c + firstChannel + ic) * h * width;
        for (let ky = 0; ky < kh; ky++)
          for (let kx = 0; kx < kw; kx++) {
            const weight = w[((oc * cg + ic) * kh + ky) * kw + kx]!;
            if (weight === 0) continue;
            const left = kx * dilations[1] - pads[1];
            const first = Math.max(0, Math.ceil(-left / sw));
            const last = Math.min(ow - 1, Math.floor((width - 1 - left) / sw));
            for (let y = 0; y < oh; y++) {
              const row = y * sh + ky * dilations[0] - pads[0];
              if (row < 0 || row >= h) continue;
              const source = from + row * width + left;
              const target = to + y * ow;
              for (let i = first; i <= last; i++) data[target + i]! += weight * x[source + i * sw]!;
            }
          }
      }
    }
  return { data, shape };
}

/** Largest Σ|w| over the `rows` equal parts of w. */
function maxRowSum(w: Float64Array, rows: number): number {
  const length = w.length / rows;
  let max = 0;
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let i = r * length; i < (r + 1) * length; i++) sum += Math.abs(w[i]!);
    max = Math.max(max, sum);
  }
  return max;
}

/** The unit index of each of `rows` equal parts, or undefined when one of them mixes units. */
function rowUnits(index: Int32Array, rows: number): Int32Array | undefined {
  const length = index.length / rows;
  const result = new Int32Array(rows);
  for (let r = 0; r < rows; r++) {
    result[r] = index[r * length]!;
    for (let i = r * length; i < (r + 1) * length; i++) if (index[i] !== result[r]) return undefined;
  }
  return result;
}

const unitsPerRow = (term: Term, rows: number): Term[] =>
  term.index === undefined || rowUnits(term.index, rows) !== undefined ? [term] : singleUnits([term]);

/** Exact convolution of x [N,C,H,W] with w [O,C/groups,KH,KW]. */
export function convReals(x: RealTensor, w: RealTensor, geometry: ConvGeometry): RealTensor {
  const outputs = w.shape[0]!;
  const terms: Term[] = [];
  const shape = convShape(x.shape, w.shape, geometry);
  const product = (a: Term, b: Term): void => {
    const most = maxAbs(a.num);
    const sum = maxRowSum(b.num, outputs);
    if (most * sum === 0) return;
    if (most * sum >= LIMIT) {
      if (most > maxAbs(b.num)) for (const part of splitDigits(a)) product(part, b);
      else for (const part of splitDigits(b)) product(a, part);
      return;
    }
    const result = correlate(a.num, x.shape, b.num, w.shape, geometry);
    const plane = shape[2]! * shape[3]!;
    const rows = b.index && rowUnits(b.index, outputs);
    let index: Int32Array | undefined;
    if (rows !== undefined) {
      index = new Int32Array(result.data.length);
      for (let row = 0; row * plane < index.length; row++)
        index.fill(rows[row % outputs]!, row * plane, (row + 1) * plane);
    }
    const units = b.units.map((unit) => multiply(unit, a.units[0]!));
    terms.push(
      index === undefined ? { num: result.data, units, index } : makeTerm(result.data, units, index),
    );
  };
  const weights = w.terms().flatMap((term) => unitsPerRow(term, outputs));
  for (const a of singleUnits(x.terms())) for (const b of weights) product(a, b);
  return reals(shape, simplify(terms));
}

/** Plain product of a [M,K] and b [K,N], both given with offsets, accumulated into `to`. */
export function multiplyInto(
  to: Float64Array,
  toAt: number,
  a: Float64Array,
  aAt: number,
  b: Float64Array,
  bAt: number,
  m: number,
  k: number,
  n: number,
): void {
  for (let i = 0; i < m; i++)
    for (let l = 0; l < k; l++) {
      const factor = a[aAt + i * k + l]!;
      if (factor === 0) continue;
      const row = bAt + l * n;
      const target = toAt + i * n;
      for (let j = 0; j < n; j++) to[target + j]! += factor * b[row + j]!;
    }
}

/** Both operands broadcast to common batch dimensions, rank ≥ 2. */
export function matmulShapes(a: readonly number[], b: readonly number[]) {
  const left = a.length === 1 ? [1, a[0]!] : a;
  const right = b.length === 1 ? [b[0]!, 1] : b;
  const batch = broadcastShape(left.slice(0, -2), right.slice(0, -2));
  const [m, k] = left.slice(-2) as [number, number];
  const [k2, n] = right.slice(-2) as [number, number];
  if (k !== k2) throw new Error(`[${a.join()}] and [${b.join()}] cannot be multiplied`);
  const shape = [...batch, ...(a.length === 1 ? [] : [m]), ...(b.length === 1 ? [] : [n])];
  return { left: [...left], right: [...right], batch, m, k, n, shape };
}

export function matmulReals(a: RealTensor, b: RealTensor): RealTensor {
  const { left, right, batch, m, k, n, shape } = matmulShapes(a.shape, b.shape);
  const count = sizeOf(batch);
  const full = (tensor: RealTensor, own: number[], rows: number, columns: number) =>
    broadcast<RealTensor>({ ...tensor, shape: own }, [...batch, rows, columns]).terms();
  const terms: Term[] = [];
  const product = (x: Term, y: Term): void => {
    const most = [maxAbs(x.num), maxAbs(y.num)] as const;
    if (most[0] * most[1] === 0) return;
    if (most[0] * most[1] * k >= LIMIT) {
      if (most[0] > most[1]) for (const part of splitDigits(x)) product(part, y);
      else for (const part of splitDigits(y)) product(x, part);
      return;
    }
    const num = new Float64Array(count * m * n);
    for (let s = 0; s < count; s++) multiplyInto(num, s * m * n, x.num, s * m * k, y.num, s * k * n, m, k, n);
    let index: Int32Array | undefined;
    if (x.index !== undefined || y.index !== undefined) {
      index = new Int32Array(num.length);
      for (let s = 0, at = 0; s < count; s++)
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++)
            index[at++] =
              (x.index?.[(s * m + i) * k] ?? 0) * y.units.length + (y.index?.[s * k * n + j] ?? 0);
    }
    terms.push(makeTerm(num, unitProducts(x.units, y.units), index));
  };
  const xs = full(a, left, m, k).flatMap((term) => unitsPerRow(term, count * m));
  const ys = full(b, right, k, n).flatMap((term) => {
    const { index } = term;
    const uniform = index?.every((u, i) => u === index[Math.floor(i / (k * n)) * k * n + (i % n)]) ?? true;
    return uniform ? [term] : singleUnits([term]);
  });
  for (const x of xs) for (const y of ys) product(x, y);
  return reals(shape, simplify(terms));
}
