/**
 * ONNX element types: numbers on the wire, names in qc, and how an element is stored.
 *
 * `bits` is the width of one element in `raw_data` (elements are little-endian; below eight bits they form one stream,
 * lowest bits first). `field` is the typed field of TensorProto that may carry the elements instead of `raw_data`.
 */
const TABLE = [
  { number: 1, name: "float32", bits: 32, field: "float_data" },
  { number: 2, name: "uint8", bits: 8, field: "int32_data" },
  { number: 3, name: "int8", bits: 8, field: "int32_data" },
  { number: 4, name: "uint16", bits: 16, field: "int32_data" },
  { number: 5, name: "int16", bits: 16, field: "int32_data" },
  { number: 6, name: "int32", bits: 32, field: "int32_data" },
  { number: 7, name: "int64", bits: 64, field: "int64_data" },
  { number: 8, name: "string", bits: 0, field: "string_data" },
  { number: 9, name: "bool", bits: 8, field: "int32_data" },
  { number: 10, name: "float16", bits: 16, field: "int32_data" },
  { number: 11, name: "float64", bits: 64, field: "double_data" },
  { number: 12, name: "uint32", bits: 32, field: "uint64_data" },
  { number: 13, name: "uint64", bits: 64, field: "uint64_data" },
  { number: 14, name: "complex64", bits: 64, field: "float_data" },
  { number: 15, name: "complex128", bits: 128, field: "double_data" },
  { number: 16, name: "bfloat16", bits: 16, field: "int32_data" },
  { number: 17, name: "float8e4m3fn", bits: 8, field: "int32_data" },
  { number: 18, name: "float8e4m3fnuz", bits: 8, field: "int32_data" },
  { number: 19, name: "float8e5m2", bits: 8, field: "int32_data" },
  { number: 20, name: "float8e5m2fnuz", bits: 8, field: "int32_data" },
  { number: 21, name: "uint4", bits: 4, field: "int32_data" },
  { number: 22, name: "int4", bits: 4, field: "int32_data" },
  { number: 23, name: "float4e2m1", bits: 4, field: "int32_data" },
  { number: 24, name: "float8e8m0", bits: 8, field: "int32_data" },
  { number: 25, name: "uint2", bits: 2, field: "int32_data" },
  { number: 26, name: "int2", bits: 2, field: "int32_data" },
  { number: 27, name: "float6e2m3", bits: 6, field: "int32_data" },
  { number: 28, name: "float6e3m2", bits: 6, field: "int32_data" },
] as const;

export type DataType = (typeof TABLE)[number]["name"];
export type DataField = (typeof TABLE)[number]["field"];

export interface DataTypeInfo {
  readonly number: number;
  readonly name: DataType;
  readonly bits: number;
  readonly field: DataField;
}

/** All element types of ONNX 1.23, by increasing wire number. */
export const DATA_TYPES: readonly DataTypeInfo[] = TABLE;

const byNumber = new Map<number, DataTypeInfo>(TABLE.map((info) => [info.number, info]));
const byName = new Map<string, DataTypeInfo>(TABLE.map((info) => [info.name, info]));

/** The element type with wire number `number`, or undefined for 0 (undefined) and numbers unknown to ONNX 1.23. */
export const dataTypeOf = (number: number): DataType | undefined => byNumber.get(number)?.name;
export const infoOf = (type: DataType): DataTypeInfo => byName.get(type)!;

/**
 * Entries of `int32_data` for `size` elements: types of four and two bits put one packed byte into each entry, all
 * others (also those of six bits) one element.
 */
export const int32Entries = (type: DataType, size: number): number => {
  const { bits } = infoOf(type);
  return bits === 4 || bits === 2 ? Math.ceil((size * bits) / 8) : size;
};

/** Bytes of `raw_data` for `size` elements. Exact while `size * bits` is a safe integer. */
export const rawBytes = (type: DataType, size: number): number => Math.ceil((size * infoOf(type).bits) / 8);
