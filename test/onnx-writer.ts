/**
 * Writes ONNX models for tests, byte by byte, with every feature of ONNX 1.23 that the reader knows.
 *
 *     model({
 *       opset: 13,
 *       inputs: [value("x", "float32", [1, 3, 8, 8])],
 *       outputs: [value("y", "float32", ["N", 8, 6, 6])],
 *       initializers: { w: i8([8, 3, 3, 3], weights), s: f32([], [0.5]) },
 *       nodes: [node("Conv", ["x", "w"], ["y"], { strides: [1, 1] })],
 *     })
 *
 * Attribute values: integers, bigints and arrays of them are INT(S), other numbers FLOAT(S), strings STRING(S); a tensor
 * or a graph is itself. `float`, `floats`, `ints` and `strings` force a kind, which `1` or `[]` cannot show.
 */
import { type DataType, infoOf, int32Entries } from "../compiler/frontend/onnx/data-types.ts";
import { decodeE8M0, decodeMinifloat, FORMATS } from "../compiler/frontend/onnx/minifloat.ts";
import type { Dim } from "../compiler/frontend/onnx/model.ts";
import * as wire from "./protobuf-wire.ts";

export interface Tensor {
  readonly kind: "tensor";
  readonly dtype: DataType;
  readonly dims: readonly (number | bigint)[];
  readonly values: readonly (number | bigint | string)[];
  /** `raw` (the default): raw_data; `typed`: packed int32_data and so on; `unpacked`: the same, one field per entry. */
  readonly storage: "raw" | "typed" | "unpacked";
  /** Where the data is instead; `tensorBytes` gives what belongs there. */
  readonly external?: {
    readonly location: string;
    readonly offset?: number | string;
    readonly length?: number | string;
  };
  readonly name?: string;
  /** Exact contents of raw_data, instead of `values`. */
  readonly bytes?: Uint8Array;
  /** Bytes appended to the message as they are. */
  readonly extra?: Uint8Array;
}

type Data = ArrayLike<number | bigint>;

/** Values of float types are rounded by the type itself (float32, float64) or must be exactly representable. */
export const tensor = (
  dtype: DataType,
  dims: readonly (number | bigint)[],
  values: Data | readonly string[],
): Tensor => ({
  kind: "tensor",
  dtype,
  dims,
  values: Array.from(values as ArrayLike<number | bigint | string>),
  storage: "raw",
});

const maker = (dtype: DataType) => (dims: readonly number[], values: Data) => tensor(dtype, dims, values);
export const f32 = maker("float32");
export const f64 = maker("float64");
export const f16 = maker("float16");
export const bf16 = maker("bfloat16");
export const i8 = maker("int8");
export const u8 = maker("uint8");
export const i16 = maker("int16");
export const u16 = maker("uint16");
export const i32 = maker("int32");
export const u32 = maker("uint32");
export const i64 = maker("int64");
export const u64 = maker("uint64");
export const i4 = maker("int4");
export const u4 = maker("uint4");
export const i2 = maker("int2");
export const u2 = maker("uint2");
export const bool = maker("bool");

/** A tensor whose raw_data is exactly `bytes`, right or wrong. */
export const raw = (
  dtype: DataType,
  dims: readonly (number | bigint)[],
  bytes: Uint8Array | readonly number[],
): Tensor => ({
  ...tensor(dtype, dims, []),
  bytes: Uint8Array.from(bytes),
});

export const typed = (t: Tensor): Tensor => ({ ...t, storage: "typed" });
export const unpacked = (t: Tensor): Tensor => ({ ...t, storage: "unpacked" });
export const named = (name: string, t: Tensor): Tensor => ({ ...t, name });
export const external = (
  t: Tensor,
  location: string,
  range: { readonly offset?: number | string; readonly length?: number | string } = {},
): Tensor => ({ ...t, external: { location, ...range } });

export interface Value {
  readonly name: string;
  readonly dtype: DataType | undefined;
  readonly shape: readonly (Dim | bigint)[] | undefined;
}

/** A graph input, output or inner value; strings are symbolic dimensions, undefined ones unknown. */
export const value = (name: string, dtype?: DataType, shape?: readonly (Dim | bigint)[]): Value => ({
  name,
  dtype,
  shape,
});

export type Attribute =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: number | bigint }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "ints"; readonly value: readonly (number | bigint)[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensors"; readonly value: readonly Tensor[] }
  | { readonly kind: "graphs"; readonly value: readonly Graph[] }
  | { readonly kind: "reference"; readonly value: string; readonly type: number }
  | { readonly kind: "type"; readonly value: Value }
  /** The body of an AttributeProto after its name, as it is. */
  | { readonly kind: "bytes"; readonly value: Uint8Array };

export type AttributeInput =
  | number
  | bigint
  | string
  | readonly (number | bigint)[]
  | readonly string[]
  | Tensor
  | Graph
  | Attribute;

export const float = (x: number): Attribute => ({ kind: "float", value: x });
export const floats = (x: readonly number[]): Attribute => ({ kind: "floats", value: x });
export const ints = (x: readonly (number | bigint)[]): Attribute => ({ kind: "ints", value: x });
export const strings = (x: readonly string[]): Attribute => ({ kind: "strings", value: x });
/** In a function body: takes its value from the call's attribute `name`; `type` is AttributeProto's number. */
export const reference = (name: string, type: number): Attribute => ({
  kind: "reference",
  value: name,
  type,
});

/** By name; a Map also carries names such as `__proto__`. */
export type Named<T> = Readonly<Record<string, T>> | ReadonlyMap<string, T>;
const entries = <T>(named: Named<T> | undefined): [string, T][] =>
  named === undefined ? [] : named instanceof Map ? [...named] : Object.entries(named as Record<string, T>);

export interface NodeOptions {
  readonly name?: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly metadata?: Named<string>;
}
export interface Node extends NodeOptions {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Named<AttributeInput>;
}
export const node = (
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Named<AttributeInput> = {},
  options: NodeOptions = {},
): Node => ({ op, inputs, outputs, attributes, ...options });

export interface GraphSpec {
  readonly name?: string;
  readonly nodes?: readonly Node[];
  readonly inputs?: readonly Value[];
  readonly outputs?: readonly Value[];
  readonly valueInfo?: readonly Value[];
  readonly initializers?: Named<Tensor>;
  /** Per tensor, from role to tensor name. */
  readonly annotations?: Named<Named<string>>;
  /** Bytes appended to the message as they are. */
  readonly extra?: Uint8Array;
}
export interface Graph extends GraphSpec {
  readonly kind: "graph";
}
/** A subgraph for an attribute. */
export const graph = (spec: GraphSpec): Graph => ({ kind: "graph", ...spec });

export interface FunctionSpec {
  readonly name: string;
  readonly domain: string;
  readonly overload?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly required?: readonly string[];
  readonly defaults?: Named<AttributeInput>;
  readonly nodes: readonly Node[];
  readonly opset?: number;
}

export interface ModelSpec extends GraphSpec {
  /** Version of the standard operator set; 13 by default. */
  readonly opset?: number;
  /** Further domains, or with key `""` instead of `opset`. */
  readonly opsets?: Named<number>;
  readonly irVersion?: number;
  readonly producer?: string;
  readonly functions?: readonly FunctionSpec[];
  readonly metadata?: Named<string>;
  /** Bytes appended to the ModelProto as they are. */
  readonly modelExtra?: Uint8Array;
}

/** The bytes of an ONNX file. */
export function model(spec: ModelSpec): wire.Bytes {
  const opsets = new Map([["", spec.opset ?? 13], ...entries(spec.opsets)]);
  return wire.concat([
    wire.int(1, spec.irVersion ?? 10),
    wire.string(2, spec.producer ?? "qc-test"),
    wire.message(7, graphParts(spec)),
    ...[...opsets].map(([domain, version]) =>
      wire.message(8, [wire.string(1, domain), wire.int(2, version)]),
    ),
    ...properties(14, spec.metadata),
    ...(spec.functions ?? []).map((fn) => wire.message(25, functionParts(fn))),
    spec.modelExtra ?? new Uint8Array(),
  ]);
}

const properties = (field: number, named: Named<string> | undefined) =>
  entries(named).map(([key, text]) => wire.message(field, [wire.string(1, key), wire.string(2, text)]));

const graphParts = (spec: GraphSpec): wire.Bytes[] => [
  ...(spec.nodes ?? []).map((n) => wire.message(1, nodeParts(n))),
  wire.string(2, spec.name ?? "main"),
  ...entries(spec.initializers).map(([name, t]) => wire.message(5, tensorParts(t, name))),
  ...(spec.inputs ?? []).map((v) => wire.message(11, valueParts(v))),
  ...(spec.outputs ?? []).map((v) => wire.message(12, valueParts(v))),
  ...(spec.valueInfo ?? []).map((v) => wire.message(13, valueParts(v))),
  ...entries(spec.annotations).map(([name, roles]) =>
    wire.message(14, [wire.string(1, name), ...properties(2, roles)]),
  ),
  wire.concat([spec.extra ?? new Uint8Array()]),
];

const nodeParts = (n: Node): wire.Bytes[] => [
  ...n.inputs.map((name) => wire.string(1, name)),
  ...n.outputs.map((name) => wire.string(2, name)),
  ...(n.name === undefined ? [] : [wire.string(3, n.name)]),
  wire.string(4, n.op),
  ...entries(n.attributes).map(([name, attribute]) => wire.message(5, attributeParts(name, attribute))),
  ...(n.domain === undefined ? [] : [wire.string(7, n.domain)]),
  ...(n.overload === undefined ? [] : [wire.string(8, n.overload)]),
  ...properties(9, n.metadata),
];

const functionParts = (fn: FunctionSpec): wire.Bytes[] => [
  wire.string(1, fn.name),
  ...fn.inputs.map((name) => wire.string(4, name)),
  ...fn.outputs.map((name) => wire.string(5, name)),
  ...(fn.required ?? []).map((name) => wire.string(6, name)),
  ...fn.nodes.map((n) => wire.message(7, nodeParts(n))),
  wire.message(9, [wire.int(2, fn.opset ?? 13)]),
  wire.string(10, fn.domain),
  ...entries(fn.defaults).map(([name, attribute]) => wire.message(11, attributeParts(name, attribute))),
  ...(fn.overload === undefined ? [] : [wire.string(13, fn.overload)]),
];

function normalise(input: AttributeInput): Attribute | Tensor | Graph {
  if (typeof input === "bigint") return { kind: "int", value: input };
  if (typeof input === "number") return { kind: Number.isInteger(input) ? "int" : "float", value: input };
  if (typeof input === "string") return { kind: "string", value: input };
  if (!Array.isArray(input)) return input as Attribute | Tensor | Graph;
  if (input.length > 0 && input.every((x) => typeof x === "string")) return { kind: "strings", value: input };
  return input.every((x) => typeof x === "bigint" || Number.isInteger(x))
    ? { kind: "ints", value: input }
    : { kind: "floats", value: input };
}

function attributeParts(name: string, input: AttributeInput): wire.Bytes[] {
  const attribute = normalise(input);
  const of = (type: number, ...parts: wire.Bytes[]) => [wire.string(1, name), ...parts, wire.int(20, type)];
  const utf8 = (text: string) => new TextEncoder().encode(text);
  switch (attribute.kind) {
    case "float":
      return of(1, wire.float(2, attribute.value));
    case "int":
      return of(2, wire.int(3, attribute.value));
    case "string":
      return of(3, wire.bytes(4, utf8(attribute.value)));
    case "tensor":
      return of(4, wire.message(5, tensorParts(attribute, "")));
    case "graph":
      return of(5, wire.message(6, graphParts(attribute)));
    case "floats":
      return of(6, ...attribute.value.map((x) => wire.float(7, x)));
    case "ints":
      return of(7, ...attribute.value.map((x) => wire.int(8, x)));
    case "strings":
      return of(8, ...attribute.value.map((x) => wire.bytes(9, utf8(x))));
    case "tensors":
      return of(9, ...attribute.value.map((t) => wire.message(10, tensorParts(t, ""))));
    case "graphs":
      return of(10, ...attribute.value.map((g) => wire.message(11, graphParts(g))));
    case "type":
      return of(13, wire.message(14, typeParts(attribute.value)));
    case "reference":
      return of(attribute.type, wire.string(21, attribute.value));
    case "bytes":
      return [wire.string(1, name), wire.concat([attribute.value])];
  }
}

const valueParts = (v: Value): wire.Bytes[] => [wire.string(1, v.name), wire.message(2, typeParts(v))];

const typeParts = ({ dtype, shape }: Value): wire.Bytes[] =>
  dtype === undefined
    ? []
    : [
        wire.message(1, [
          wire.int(1, infoOf(dtype).number),
          ...(shape === undefined
            ? []
            : [
                wire.message(
                  2,
                  shape.map((dim) =>
                    wire.message(
                      1,
                      dim === undefined
                        ? []
                        : [typeof dim === "string" ? wire.string(2, dim) : wire.int(1, dim)],
                    ),
                  ),
                ),
              ]),
        ]),
      ];

const TYPED_FIELDS = {
  float_data: 4,
  int32_data: 5,
  string_data: 6,
  int64_data: 7,
  double_data: 10,
  uint64_data: 11,
};

function tensorParts(t: Tensor, name: string): wire.Bytes[] {
  const parts = [
    ...t.dims.map((dim) => wire.int(1, dim)),
    wire.int(2, infoOf(t.dtype).number),
    wire.string(8, t.name ?? name),
  ];
  const { field } = infoOf(t.dtype);
  if (t.external !== undefined) {
    const { location, offset, length } = t.external;
    const range = {
      location,
      ...(offset !== undefined && { offset: `${offset}` }),
      ...(length !== undefined && { length: `${length}` }),
    };
    parts.push(...properties(13, range), wire.int(14, 1));
  } else if (t.dtype === "string") parts.push(...t.values.map((text) => wire.string(6, String(text))));
  else if (t.storage === "raw") parts.push(wire.bytes(9, tensorBytes(t)));
  else {
    const number = TYPED_FIELDS[field];
    const one = (x: number | bigint) =>
      field === "float_data"
        ? wire.float(number, Number(x))
        : field === "double_data"
          ? wire.double(number, Number(x))
          : wire.int(number, x);
    const all = typedEntries(t);
    if (t.storage === "unpacked") parts.push(...all.map(one));
    else if (field === "float_data" || field === "double_data")
      parts.push(wire.bytes(number, tensorBytes(t)));
    else parts.push(wire.packed(number, all));
  }
  parts.push(wire.concat([t.extra ?? new Uint8Array()]));
  return parts;
}

/** Entries of the typed field: elements, codes, or packed bytes. */
function typedEntries(t: Tensor): (number | bigint)[] {
  const { bits, field } = infoOf(t.dtype);
  if (field !== "int32_data") return t.values as (number | bigint)[];
  if (int32Entries(t.dtype, 8) < 8) return [...tensorBytes(t)];
  return t.dtype.includes("float")
    ? codes(t).map(Number)
    : (t.values as number[]).map((x) => (bits < 32 ? x : x | 0));
}

/** The bit patterns of the elements. */
function codes(t: Tensor): bigint[] {
  const { bits } = infoOf(t.dtype);
  return t.values.map((x) => {
    if (typeof x === "string") throw new Error("strings have no bit pattern");
    if (t.dtype === "float32") return BigInt(new Uint32Array(Float32Array.of(Number(x)).buffer)[0]!);
    if (t.dtype === "float64") return new BigUint64Array(Float64Array.of(Number(x)).buffer)[0]!;
    if (!t.dtype.includes("float")) return BigInt.asUintN(bits, BigInt(x));
    const format = FORMATS[t.dtype as keyof typeof FORMATS];
    for (let code = 0; code < 2 ** bits; code++)
      if (Object.is(format === undefined ? decodeE8M0(code) : decodeMinifloat(format, code), Number(x)))
        return BigInt(code);
    throw new Error(`${x} is no ${t.dtype}`);
  });
}

/** The elements in the layout of raw_data. */
export function tensorBytes(t: Tensor): wire.Bytes {
  if (t.bytes !== undefined) return Uint8Array.from(t.bytes);
  const { bits } = infoOf(t.dtype);
  if (bits === 8 && !t.dtype.includes("float")) return Uint8Array.from(t.values, Number);
  const bytes = new Uint8Array(Math.ceil((t.values.length * bits) / 8));
  codes(t).forEach((code, i) => {
    for (let bit = 0; bit < bits; bit++)
      if ((code >> BigInt(bit)) & 1n) bytes[(i * bits + bit) >> 3]! |= 1 << ((i * bits + bit) & 7);
  });
  return bytes;
}
