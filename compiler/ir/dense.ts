/** Dense tensors: containers, checked stores and comparison. */
import type { Dense, Elements } from "./module.ts";
import {
  type ElemType,
  type FloatType,
  type IntType,
  intMax,
  intMin,
  sizeOf,
  type TensorType,
} from "./types.ts";

/** The integers or floats that stand for an element type: a quantised type is stored as its `storage`. */
export const storageOf = (elem: ElemType): IntType | FloatType =>
  elem.kind === "quant" ? elem.storage : elem;

/** A zeroed container for `n` elements: the narrowest integer array that holds the type; float64 for every float. */
export function allocate(elem: IntType | FloatType, n: number): Elements {
  if (elem.kind === "float") return new Float64Array(n);
  if (elem.bits <= 8) return elem.signed ? new Int8Array(n) : new Uint8Array(n);
  if (elem.bits <= 16) return elem.signed ? new Int16Array(n) : new Uint16Array(n);
  return elem.signed ? new Int32Array(n) : new Uint32Array(n);
}

/**
 * A dense tensor from its values, row-major, one value per element. Integer values must lie in the type: a value that
 * does not is a bug in the caller and throws. Float values are kept as float64.
 */
export function dense(elem: IntType | FloatType, shape: readonly number[], values: ArrayLike<number>): Dense {
  const n = sizeOf(shape);
  if (values.length !== n) throw new Error(`dense: ${values.length} values for ${n} elements`);
  const data = allocate(elem, n);
  if (elem.kind === "int") {
    const lo = intMin(elem);
    const hi = intMax(elem);
    for (let i = 0; i < n; i++) {
      const v = values[i]!;
      if (!(v >= lo && v <= hi) || !Number.isInteger(v))
        throw new Error(`dense: ${v} is not in ${elem.signed ? "i" : "u"}${elem.bits} (element ${i})`);
      data[i] = v;
    }
  } else for (let i = 0; i < n; i++) data[i] = values[i]!;
  return { kind: "dense", elem, shape, data };
}

/** `dense` for a tensor type; a quantised type takes its stored integers, checked against `lo … hi`. */
export function denseOf(type: TensorType, values: ArrayLike<number>): Dense {
  const d = dense(storageOf(type.elem), type.shape, values);
  if (type.elem.kind === "quant") {
    const { lo, hi } = type.elem;
    for (let i = 0; i < values.length; i++)
      if (values[i]! < lo || values[i]! > hi) throw new Error(`dense: ${values[i]} is not in ${lo} … ${hi}`);
  }
  return d;
}

/** Same type, shape and element values; the container does not count, −0 differs from 0, NaN equals NaN. */
export function sameDense(a: Dense, b: Dense): boolean {
  if (a === b) return true;
  if (a.elem.kind !== b.elem.kind || a.elem.bits !== b.elem.bits) return false;
  if (a.elem.kind === "int" && b.elem.kind === "int" && a.elem.signed !== b.elem.signed) return false;
  if (a.shape.length !== b.shape.length || !a.shape.every((d, i) => d === b.shape[i])) return false;
  if (a.data === b.data) return true;
  for (let i = 0; i < a.data.length; i++) if (!Object.is(a.data[i], b.data[i])) return false;
  return true;
}

/** The same elements under another shape of equal size; shares storage. */
export const reshaped = (d: Dense, shape: readonly number[]): Dense => ({
  kind: "dense",
  elem: d.elem,
  shape,
  data: d.data,
});

/** The elements as float64, for loops that should see one container type. */
export const toFloat64 = (data: Elements): Float64Array =>
  data instanceof Float64Array ? data : Float64Array.from(data);
