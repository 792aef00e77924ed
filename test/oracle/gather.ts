/** The one primitive of all data movement: picking elements by flat index. */
import {
  type ApproxTensor,
  approximate,
  type IntTensor,
  ints,
  literals,
  makeTerm,
  type RealTensor,
  reals,
  sizeOf,
  type Tensor,
  type Term,
  toReal,
} from "./tensor.ts";

/** Index that picks zero. */
export const NOTHING = -1;

function pick<T extends Float64Array | Float32Array>(from: T, to: T, index: ArrayLike<number>): T {
  for (let i = 0; i < to.length; i++) {
    const at = index[i]!;
    if (at !== NOTHING) to[i] = from[at]!;
  }
  return to;
}

export function gather(tensor: IntTensor, index: ArrayLike<number>, shape: readonly number[]): IntTensor;
export function gather(tensor: RealTensor, index: ArrayLike<number>, shape: readonly number[]): RealTensor;
export function gather(tensor: Tensor, index: ArrayLike<number>, shape: readonly number[]): Tensor;
export function gather(tensor: Tensor, index: ArrayLike<number>, shape: readonly number[]): Tensor {
  const size = index.length;
  if (tensor.kind === "int")
    return ints(tensor.dtype, shape, pick(tensor.data, new Float64Array(size), index));
  if (tensor.kind === "approx")
    return {
      kind: "approx",
      shape,
      value: pick(tensor.value, new Float64Array(size), index),
      error: pick(tensor.error, new Float64Array(size), index),
    };
  if (tensor.literal instanceof Float32Array)
    return literals(shape, pick(tensor.literal, new Float32Array(size), index));
  if (tensor.literal !== undefined)
    return literals(shape, pick(tensor.literal, new Float64Array(size), index));
  return reals(
    shape,
    tensor.terms().map((term) => {
      const source = term.index;
      let units: Int32Array | undefined;
      if (source !== undefined) {
        units = new Int32Array(size);
        for (let i = 0; i < size; i++) {
          const at = index[i]!;
          if (at !== NOTHING) units[i] = source[at]!;
        }
      }
      return makeTerm(pick(term.num, new Float64Array(size), index), term.units, units);
    }),
  );
}

/** The same elements under another shape. */
export function reshape(tensor: Tensor, shape: readonly number[]): Tensor {
  if (sizeOf(shape) !== sizeOf(tensor.shape))
    throw new Error(`cannot reshape [${tensor.shape.join()}] to [${shape.join()}]`);
  return { ...tensor, shape };
}

/** All elements of all tensors one after the other, as a vector. */
export function chain(tensors: readonly Tensor[]): Tensor {
  const total = tensors.reduce((sum, tensor) => sum + sizeOf(tensor.shape), 0);
  const shape = [total];
  const first = tensors[0]!;
  const join = (parts: readonly ArrayLike<number>[], to: Float64Array): Float64Array => {
    let at = 0;
    for (const part of parts) {
      to.set(part, at);
      at += part.length;
    }
    return to;
  };
  if (tensors.every((tensor) => tensor.kind === "int"))
    return ints(
      (first as IntTensor).dtype,
      shape,
      join(
        tensors.map((t) => t.data),
        new Float64Array(total),
      ),
    );
  if (tensors.some((tensor) => tensor.kind === "approx")) {
    const parts = tensors.map((tensor): ApproxTensor => approximate(tensor));
    return {
      kind: "approx",
      shape,
      value: join(
        parts.map((t) => t.value),
        new Float64Array(total),
      ),
      error: join(
        parts.map((t) => t.error),
        new Float64Array(total),
      ),
    };
  }
  const parts = tensors.map((tensor) => toReal(tensor as IntTensor | RealTensor));
  if (parts.every((part) => part.literal instanceof Float32Array)) {
    const values = new Float32Array(total);
    let at = 0;
    for (const part of parts) {
      values.set(part.literal!, at);
      at += part.literal!.length;
    }
    return literals(shape, values);
  }
  const lists = parts.map((part) => part.terms());
  const count = Math.max(...lists.map((terms) => terms.length));
  const terms: Term[] = [];
  for (let t = 0; t < count; t++) {
    const num = new Float64Array(total);
    const index = new Int32Array(total);
    const units = [];
    let at = 0;
    for (let p = 0; p < parts.length; p++) {
      const size = sizeOf(parts[p]!.shape);
      const term = lists[p]![t];
      if (term !== undefined) {
        num.set(term.num, at);
        for (let i = 0; i < size; i++) index[at + i] = units.length + (term.index?.[i] ?? 0);
        units.push(...term.units);
      }
      at += size;
    }
    terms.push(makeTerm(num, units, index));
  }
  return reals(shape, terms);
}

export const stridesOf = (shape: readonly number[]): number[] => {
  const strides = new Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) strides[d] = strides[d + 1]! * shape[d + 1]!;
  return strides;
};

/** Calls `visit` with every coordinate of `shape` in row-major order; the array is reused. */
export function forEachCoordinate(
  shape: readonly number[],
  visit: (at: readonly number[], flat: number) => void,
): void {
  const at = new Array<number>(shape.length).fill(0);
  const size = sizeOf(shape);
  for (let flat = 0; flat < size; flat++) {
    visit(at, flat);
    for (let d = shape.length - 1; d >= 0; d--) {
      if (++at[d]! < shape[d]!) break;
      at[d] = 0;
    }
  }
}

/** Gathers the element at the coordinates `source` writes into its argument's place (undefined: zero). */
export function gatherBy(
  tensor: Tensor,
  shape: readonly number[],
  source: (at: readonly number[]) => readonly number[] | undefined,
): Tensor {
  const strides = stridesOf(tensor.shape);
  const index = new Int32Array(sizeOf(shape));
  forEachCoordinate(shape, (at, flat) => {
    const from = source(at);
    index[flat] = from === undefined ? NOTHING : from.reduce((sum, c, d) => sum + c * strides[d]!, 0);
  });
  return gather(tensor, index, shape);
}

export function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, d) => {
    const x = a[d - rank + a.length] ?? 1;
    const y = b[d - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) throw new Error(`[${a.join()}] and [${b.join()}] do not broadcast`);
    return x === 1 ? y : x;
  });
}

/** Flat source index of every element of `shape` when a tensor of shape `from` is broadcast to it. */
export function broadcastIndex(from: readonly number[], shape: readonly number[]): Int32Array {
  const strides = stridesOf(from);
  const lead = shape.length - from.length;
  const steps = shape.map((_, d) => (d < lead || from[d - lead] === 1 ? 0 : strides[d - lead]!));
  const index = new Int32Array(sizeOf(shape));
  forEachCoordinate(shape, (at, flat) => {
    let sum = 0;
    for (let d = 0; d < steps.length; d++) sum += at[d]! * steps[d]!;
    index[flat] = sum;
  });
  return index;
}

export function broadcast<T extends Tensor>(tensor: T, shape: readonly number[]): T {
  if (tensor.shape.length === shape.length && tensor.shape.every((dim, d) => dim === shape[d])) return tensor;
  return gather(tensor as Tensor, broadcastIndex(tensor.shape, shape), shape) as T;
}
