import { type DataType, infoOf, int32Entries, rawBytes } from "./data-types.ts";
import { decodeE8M0, decodeMinifloat, FORMATS } from "./minifloat.ts";
import type { OnnxTensor } from "./model.ts";
import { forEachVarint } from "./varint.ts";

export type TensorElements =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array
  | readonly string[];

/**
 * The elements in row-major order, `tensor.size` of them (complex types: twice that, real and imaginary parts in turn).
 *
 * int8/int4/int2 → Int8Array, uint8/uint4/uint2/bool → Uint8Array, int64 → BigInt64Array, uint64 → BigUint64Array,
 * float64/complex128 → Float64Array, string → strings; every other float → Float32Array, exactly.
 *
 * Whole-byte types in `raw_data` are a view into the file where its alignment allows, otherwise a copy; so the result
 * must not be written to. Assumes a little-endian machine, as every WebAssembly host is.
 */
export function elements(tensor: OnnxTensor): TensorElements {
  const { dataType, size, payload } = tensor;
  if (payload.kind === "strings") {
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return payload.values.map((bytes) => utf8.decode(bytes));
  }
  const bytes = payload.kind === "raw" ? concat(payload.chunks) : rawFromVarints(tensor, payload.chunks);
  switch (dataType) {
    case "int8":
      return view(Int8Array, bytes);
    case "uint8":
    case "bool":
      return view(Uint8Array, bytes);
    case "int16":
      return view(Int16Array, bytes);
    case "uint16":
      return view(Uint16Array, bytes);
    case "int32":
      return view(Int32Array, bytes);
    case "uint32":
      return view(Uint32Array, bytes);
    case "int64":
      return view(BigInt64Array, bytes);
    case "uint64":
      return view(BigUint64Array, bytes);
    case "float32":
    case "complex64":
      return view(Float32Array, bytes);
    case "float64":
    case "complex128":
      return view(Float64Array, bytes);
    case "int4":
    case "int2": {
      const codes = unpack(dataType, bytes, size);
      const { bits } = infoOf(dataType);
      return Int8Array.from(codes, (code) => (code << (32 - bits)) >> (32 - bits));
    }
    case "uint4":
    case "uint2":
      return unpack(dataType, bytes, size);
    case "float16":
    case "bfloat16": {
      const format = FORMATS[dataType];
      return Float32Array.from(view(Uint16Array, bytes), (code) => decodeMinifloat(format, code));
    }
    case "float8e8m0":
      return Float32Array.from(bytes, decodeE8M0);
    case "string":
      throw new Error("a string tensor has a string payload");
    default: {
      const format = FORMATS[dataType];
      return Float32Array.from(unpack(dataType, bytes, size), (code) => decodeMinifloat(format, code));
    }
  }
}

interface TypedArrayConstructor<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
}

function view<T>(type: TypedArrayConstructor<T>, bytes: Uint8Array): T {
  const width = type.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % width === 0 ? bytes : copy(bytes);
  return new type(aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}

/** Not `slice`: a Node Buffer's `slice` is a view. */
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0]!;
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** Codes of 2, 4, 6 or 8 bits from a stream with the lowest bits first. */
function unpack(type: DataType, bytes: Uint8Array, size: number): Uint8Array {
  const { bits } = infoOf(type);
  if (bits === 8) return bytes;
  const codes = new Uint8Array(size);
  const mask = (1 << bits) - 1;
  for (let i = 0; i < size; i++) {
    const bit = i * bits;
    const at = Math.floor(bit / 8);
    codes[i] = ((bytes[at]! | ((bytes[at + 1] ?? 0) << 8)) >> (bit % 8)) & mask;
  }
  return codes;
}

/** Rewrites a typed field into the layout of `raw_data`; entries keep their low bits, as every ONNX reader has it. */
function rawFromVarints({ dataType, size }: OnnxTensor, chunks: readonly Uint8Array[]): Uint8Array {
  const { bits } = infoOf(dataType);
  let at = 0;
  if (bits === 64) {
    const words = new Uint32Array(2 * size);
    forEachVarint(chunks, (low, high) => {
      words[at++] = low;
      words[at++] = high;
    });
    return new Uint8Array(words.buffer);
  }
  if (bits === 6) {
    const bytes = new Uint8Array(rawBytes(dataType, size));
    forEachVarint(chunks, (low) => {
      const bit = 6 * at++;
      const code = (low & 63) << (bit % 8);
      const byte = Math.floor(bit / 8);
      bytes[byte] = bytes[byte]! | code;
      if (code > 255) bytes[byte + 1] = code >> 8;
    });
    return bytes;
  }
  const entries = int32Entries(dataType, size);
  const out =
    bits === 32 ? new Uint32Array(entries) : bits === 16 ? new Uint16Array(entries) : new Uint8Array(entries);
  forEachVarint(chunks, (low) => {
    out[at++] = low;
  });
  return new Uint8Array(out.buffer);
}
