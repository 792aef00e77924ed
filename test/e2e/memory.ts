/** Tensors in the memory of a program. */
import type { Layout } from "../../compiler/passes/lower/layout.ts";

const READ = {
  u8: "getUint8",
  i8: "getInt8",
  u16: "getUint16",
  i16: "getInt16",
  i32: "getInt32",
  f32: "getFloat32",
} as const;
const WRITE = {
  u8: "setUint8",
  i8: "setInt8",
  u16: "setUint16",
  i16: "setInt16",
  i32: "setInt32",
  f32: "setFloat32",
} as const;

/** Calls `visit` with the byte position of each element, row-major. */
function eachElement({ shape, strides, offset }: Layout, visit: (at: number, i: number) => void): void {
  let i = 0;
  const walk = (axis: number, at: number): void => {
    if (axis === shape.length) visit(at, i++);
    else for (let j = 0; j < shape[axis]!; j++) walk(axis + 1, at + j * strides[axis]!);
  };
  walk(0, offset);
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Elements of a tensor in the bytes of its buffer, row-major. */
export function readTensor(bytes: Uint8Array, l: Layout): Float64Array {
  const out = new Float64Array(l.shape.reduce((n, d) => n * d, 1));
  const view = viewOf(bytes);
  eachElement(l, (at, i) => {
    out[i] = view[READ[l.container]](at, true);
  });
  return out;
}

/** Stores elements given row-major. */
export function writeTensor(bytes: Uint8Array, l: Layout, data: ArrayLike<number>): void {
  const view = viewOf(bytes);
  eachElement(l, (at, i) => {
    view[WRITE[l.container]](at, data[i]!, true);
  });
}
