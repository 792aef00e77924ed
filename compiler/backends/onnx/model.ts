/** An ONNX file as plain data: the part of the format that the writer uses. */

/** Element types, with their numbers in the format and their width in bits. */
export const DTYPES = {
  float32: { number: 1, bits: 32 },
  uint8: { number: 2, bits: 8 },
  int8: { number: 3, bits: 8 },
  uint16: { number: 4, bits: 16 },
  int16: { number: 5, bits: 16 },
  int32: { number: 6, bits: 32 },
  int64: { number: 7, bits: 64 },
  bool: { number: 9, bits: 8 },
  float16: { number: 10, bits: 16 },
  float64: { number: 11, bits: 64 },
  uint32: { number: 12, bits: 32 },
  uint64: { number: 13, bits: 64 },
  bfloat16: { number: 16, bits: 16 },
  uint4: { number: 21, bits: 4 },
  int4: { number: 22, bits: 4 },
  uint2: { number: 25, bits: 2 },
  int2: { number: 26, bits: 2 },
} as const;

export type Dtype = keyof typeof DTYPES;

export const isDtype = (name: string): name is Dtype => Object.hasOwn(DTYPES, name);
export const isFloat = (dtype: Dtype): boolean => dtype.includes("float");

/** Constants have one of these types; `data` has one entry per element. */
export interface Tensor {
  readonly name: string;
  readonly dtype: "float32" | "float64" | "int64" | Exclude<Dtype, `${string}float${string}` | "bool">;
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export type Attribute =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "string"; readonly value: string };

export interface Node {
  readonly op: string;
  /** Empty: none. */
  readonly name: string;
  /** An empty name leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: { readonly [name: string]: Attribute };
}

export interface ValueInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface OnnxFile {
  readonly graph: string;
  /** Version of the standard operator set. */
  readonly opset: number;
  /** In dataflow order. */
  readonly nodes: readonly Node[];
  readonly initializers: readonly Tensor[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly inner: readonly ValueInfo[];
}
