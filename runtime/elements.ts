/** Typed arrays by dtype and storage. */
import type { Dtype, PortLayout, Quantization, Slot, Storage } from "./format.ts";

/** What a slot holds: integers, or the float32 of a float island. */
export type IntArray = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Float32Array;
export type TensorData =
  | IntArray
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

interface ArrayType {
  readonly name: string;
  new (length: number): TensorData;
  new (buffer: ArrayBufferLike, offset: number, length: number): TensorData;
}

/** The typed array a dtype travels in, and the least and greatest value of the dtype. */
export interface Carrier {
  readonly array: ArrayType;
  readonly lo: number;
  readonly hi: number;
}

const carriers = new Map<Dtype, Carrier>();
const row = (dtype: Dtype, array: unknown, lo = -Infinity, hi = Infinity) =>
  carriers.set(dtype, { array: array as ArrayType, lo, hi });
row("float32", Float32Array);
row("float64", Float64Array);
row("int64", BigInt64Array);
row("uint64", BigUint64Array);
for (const [bits, signed, unsigned] of [
  [2, Int8Array, Uint8Array],
  [4, Int8Array, Uint8Array],
  [8, Int8Array, Uint8Array],
  [16, Int16Array, Uint16Array],
  [32, Int32Array, Uint32Array],
] as const) {
  row(`int${bits}`, signed, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1);
  row(`uint${bits}`, unsigned, 0, 2 ** bits - 1);
}
row("bool", Uint8Array, 0, 1);

export const carrierOf = (dtype: Dtype): Carrier => carriers.get(dtype)!;

/** `Uint8Array`, `Array`, `String` … of any value, also one from another realm. */
export const kindOf = (x: unknown): string => Object.prototype.toString.call(x).slice(8, -1);

const prefixes: { readonly [first: string]: string } = { u: "uint", i: "int", f: "float" };
export const storageDtype = (s: Storage): Dtype => `${prefixes[s[0]!]}${s.slice(1)}` as "int8";

/** Dtype of a slot's integers q, without the bias: the first of i8, u8, i16, u16, i32 that holds them. */
export function rawDtype(slot: Slot): Dtype {
  const own = storageDtype(slot.elem);
  if (!slot.bias) return own;
  const { lo, hi } = carrierOf(own);
  const fits = (d: Dtype) => carrierOf(d).lo <= lo - slot.bias! && hi - slot.bias! <= carrierOf(d).hi;
  return (["int8", "uint8", "int16", "uint16"] as const).find(fits) ?? "int32";
}

/** A view of the slot in the module's memory. */
export const viewOf = (slot: Slot, memory: ArrayBufferLike): IntArray =>
  new (carrierOf(storageDtype(slot.elem)).array)(memory, slot.offset, slot.count) as IntArray;

/** What the integers of a port stand for; `undefined` where the graph does not say. */
export function quantizationOf(port: PortLayout): Quantization | undefined {
  const b = port.slots[0]?.boundary;
  if (port.quantization || !b || b.kind === "none" || b.kind === "thresholds") return port.quantization;
  if (b.kind === "quantize") return { scale: b.scale, zeroPoint: b.zeroPoint };
  return b.scales.length === 1
    ? { scale: b.scales[0]!, zeroPoint: b.zeroPoints[0]! }
    : { scale: b.scales, zeroPoint: b.zeroPoints, axis: b.axis };
}
