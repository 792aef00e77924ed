/** NumPy's .npy format, versions 1 to 3: header checked before anything is allocated. */
import type { TensorData } from "../../runtime/elements.ts";
import { type Diagnostic, fail, malformedArray, ok, quote, type Result } from "../index.ts";

export type NpyDtype =
  | "bool"
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float16"
  | "float32"
  | "float64";

/** A row-major array. float16 is widened: its `data` is a Float32Array. */
export interface NpyArray {
  readonly dtype: NpyDtype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

const kinds: { readonly [descr: string]: { readonly dtype: NpyDtype; readonly bytes: number } } = {
  b1: { dtype: "bool", bytes: 1 },
  i1: { dtype: "int8", bytes: 1 },
  u1: { dtype: "uint8", bytes: 1 },
  i2: { dtype: "int16", bytes: 2 },
  u2: { dtype: "uint16", bytes: 2 },
  i4: { dtype: "int32", bytes: 4 },
  u4: { dtype: "uint32", bytes: 4 },
  i8: { dtype: "int64", bytes: 8 },
  u8: { dtype: "uint64", bytes: 8 },
  f2: { dtype: "float16", bytes: 2 },
  f4: { dtype: "float32", bytes: 4 },
  f8: { dtype: "float64", bytes: 8 },
};

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
}

/** The header's Python dictionary: exactly the three keys NumPy writes, in any order. */
function parseHeader(text: string): Header | string {
  const found = new Map<string, string>();
  const entry = /\s*'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([^()]*\))\s*(,|(?=\}))/y;
  const open = /^\s*\{/.exec(text);
  if (!open) return "the header is not a dictionary";
  entry.lastIndex = open[0].length;
  let end = entry.lastIndex;
  for (let m = entry.exec(text); m; m = entry.exec(text)) {
    if (found.has(m[1]!)) return `${m[1]} appears twice in the header`;
    found.set(m[1]!, m[2]!);
    end = entry.lastIndex;
  }
  if (!/^\s*\}\s*$/.test(text.slice(end)))
    return "the header is not the dictionary NumPy writes (a structured type?)";
  const descr = found.get("descr");
  const order = found.get("fortran_order");
  const dims = found.get("shape");
  if (!descr?.startsWith("'")) return "the header has no simple dtype";
  if (order !== "True" && order !== "False") return "the header has no fortran_order";
  if (!dims || !/^\(\s*(\d{1,15}\s*(,\s*\d{1,15}\s*)*,?\s*)?\)$/.test(dims)) return "the header has no shape";
  return {
    descr: descr.slice(1, -1),
    fortran: order === "True",
    shape: (dims.match(/\d+/g) ?? []).map(Number),
  };
}

/** Copies out of a possibly unaligned, possibly big-endian buffer into an array of its own. */
function own(bytes: Uint8Array, size: number, swap: boolean): ArrayBuffer {
  const copy = bytes.slice();
  if (swap && size > 1) for (let i = 0; i < copy.length; i += size) copy.subarray(i, i + size).reverse();
  return copy.buffer;
}

function widenHalf(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

function typed(dtype: NpyDtype, buffer: ArrayBuffer): TensorData {
  switch (dtype) {
    case "bool":
      return new Uint8Array(buffer).map((b) => (b ? 1 : 0));
    case "int8":
      return new Int8Array(buffer);
    case "uint8":
      return new Uint8Array(buffer);
    case "int16":
      return new Int16Array(buffer);
    case "uint16":
      return new Uint16Array(buffer);
    case "int32":
      return new Int32Array(buffer);
    case "uint32":
      return new Uint32Array(buffer);
    case "int64":
      return new BigInt64Array(buffer);
    case "uint64":
      return new BigUint64Array(buffer);
    case "float16":
      return Float32Array.from(new Uint16Array(buffer), widenHalf);
    case "float32":
      return new Float32Array(buffer);
    case "float64":
      return new Float64Array(buffer);
  }
}

/** Column-major to row-major. */
function rowMajor(data: TensorData, shape: readonly number[]): TensorData {
  const out = data.slice();
  const index = shape.map(() => 0);
  const strides = shape.map((_, i) => shape.slice(0, i).reduce((a, b) => a * b, 1));
  for (let k = 0; k < out.length; k++) {
    out[k] = data[index.reduce((n, x, i) => n + x * strides[i]!, 0)]!;
    for (let d = shape.length - 1; d >= 0 && ++index[d]! === shape[d]; d--) index[d] = 0;
  }
  return out;
}

/** Reads an array; `shown` stands for its path in diagnostics. Errors: QC5003. */
export function readNpy(bytes: Uint8Array, shown: string): Result<NpyArray> {
  const no = (reason: string): Result<never> => fail(malformedArray(shown, reason));
  if (bytes.length < 10 || String.fromCharCode(...bytes.subarray(0, 6)) !== "\x93NUMPY")
    return no("no NumPy signature");
  const version = bytes[6]!;
  if (version < 1 || version > 3) return no(`format version ${version}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) return no("the file ends within the header");
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > 65536 || start + length > bytes.length) return no("the file ends within the header");
  const header = parseHeader(new TextDecoder("latin1").decode(bytes.subarray(start, start + length)));
  if (typeof header === "string") return no(header);
  const descr = /^([<>|=])([biuf][1248])$/.exec(header.descr);
  const kind = descr && Object.hasOwn(kinds, descr[2]!) ? kinds[descr[2]!] : undefined;
  if (!descr || !kind) return no(`dtype ${quote(header.descr)} is not a number type of ONNX`);
  const { shape } = header;
  const count = shape.reduce((n, d) => n * d, 1);
  const body = bytes.subarray(start + length);
  if (shape.length > 32 || !Number.isSafeInteger(count) || count * kind.bytes > body.length)
    return no(`shape (${shape.join(", ")}) needs ${count * kind.bytes} bytes, the file has ${body.length}`);
  const data = typed(kind.dtype, own(body.subarray(0, count * kind.bytes), kind.bytes, descr[1] === ">"));
  return ok({
    dtype: kind.dtype,
    shape,
    data: header.fortran && shape.length > 1 ? rowMajor(data, shape) : data,
  });
}

const descrs: { readonly [array: string]: string } = {
  Int8Array: "|i1",
  Uint8Array: "|u1",
  Int16Array: "<i2",
  Uint16Array: "<u2",
  Int32Array: "<i4",
  Uint32Array: "<u4",
  BigInt64Array: "<i8",
  BigUint64Array: "<u8",
  Float32Array: "<f4",
  Float64Array: "<f8",
};

/** The bytes of a version 1 file, data aligned to 64 bytes as NumPy does. */
export function writeNpy(data: TensorData, shape: readonly number[]): Uint8Array {
  const descr = descrs[Object.prototype.toString.call(data).slice(8, -1)];
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const out = new Uint8Array(10 + length + data.byteLength);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 255, length >> 8]);
  out.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + length);
  return out;
}

export type { Diagnostic };
