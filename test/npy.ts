/** NumPy arrays: `.npy` bytes and `.npz` archives of them. C order, little-endian. */
import { unzipSync } from "fflate";

export type NpyData =
  | Uint8Array
  | Int8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

export interface NpyArray {
  /** NumPy's name without byte order: `u1`, `i8`, `f4`, `b1` … */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: NpyData;
}

const TYPES: Readonly<Record<string, (buffer: ArrayBuffer) => NpyData>> = {
  b1: (buffer) => new Uint8Array(buffer),
  u1: (buffer) => new Uint8Array(buffer),
  i1: (buffer) => new Int8Array(buffer),
  u2: (buffer) => new Uint16Array(buffer),
  i2: (buffer) => new Int16Array(buffer),
  u4: (buffer) => new Uint32Array(buffer),
  i4: (buffer) => new Int32Array(buffer),
  u8: (buffer) => new BigUint64Array(buffer),
  i8: (buffer) => new BigInt64Array(buffer),
  f4: (buffer) => new Float32Array(buffer),
  f8: (buffer) => new Float64Array(buffer),
};

/** Throws an Error for Fortran order, big-endian and types without a typed array. */
export function parseNpy(bytes: Uint8Array): NpyArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x934e554d || view.getUint16(4) !== 0x5059) throw new Error("not a .npy file");
  const wide = view.getUint8(6) >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const descr = /'descr':\s*'([<>|=])([a-z]\d+)'/.exec(header);
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header);
  const dtype = descr?.[2];
  const make = dtype === undefined ? undefined : TYPES[dtype];
  if (descr === null || shape === null || dtype === undefined || make === undefined || descr[1] === ">")
    throw new Error(`unsupported .npy header ${header.trim()}`);
  if (/'fortran_order':\s*True/.test(header)) throw new Error("Fortran order is not supported");
  const data = make(bytes.slice(start + length).buffer);
  const dims = shape[1]!.split(",").flatMap((part) => (part.trim() === "" ? [] : [Number(part)]));
  if (data.length !== dims.reduce((product, dim) => product * dim, 1)) throw new Error("truncated .npy file");
  return { dtype, shape: dims, data };
}

/** The arrays of an `.npz` archive by name. */
export function parseNpz(bytes: Uint8Array): Map<string, NpyArray> {
  return new Map(
    Object.entries(unzipSync(bytes)).map(([name, file]) => [name.replace(/\.npy$/, ""), parseNpy(file)]),
  );
}

/** Row `i` along the first axis. */
export function rowOf<T extends NpyData>(
  { shape, data }: { readonly shape: readonly number[]; readonly data: T },
  i: number,
): T {
  const length = data.length / shape[0]!;
  return data.subarray(i * length, (i + 1) * length) as T;
}
