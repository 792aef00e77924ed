/**
 * An ONNX model as plain, immutable data. Nothing here knows protobuf. Names are kept exactly as the file has them, so
 * whatever is keyed by a name is a Map.
 */
import type { Loc } from "../../ir/diagnostics.ts";
import type { DataType } from "./data-types.ts";

export interface OnnxModel {
  readonly irVersion: number;
  /** Operator set versions by domain; the standard domain is `""`. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly producer: { readonly name: string; readonly version: string };
  readonly graph: OnnxGraph;
  /** By `functionKey(domain, name, overload)`. */
  readonly functions: ReadonlyMap<string, OnnxFunction>;
  readonly metadata: ReadonlyMap<string, string>;
}

export interface OnnxGraph {
  readonly name: string;
  /** In file order; `orderModel` puts them into dataflow order. */
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, OnnxTensor>;
  /** Includes initializers that old exporters also list as inputs. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** Declared types of inner values, by name. */
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
  /** `quantization_annotation`: per tensor, from role (`SCALE_TENSOR`, `ZERO_POINT_TENSOR`) to tensor name. */
  readonly annotations: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export interface OnnxNode {
  readonly op: string;
  /** `""` for the standard domain (`ai.onnx` is normalised to it). */
  readonly domain: string;
  readonly overload: string;
  readonly name: string;
  /** An empty string stands for an omitted optional input or output. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeValue>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly loc: Loc;
}

/** An int64: a number where that is exact, a bigint beyond ±(2^53 − 1). */
export type Int = number | bigint;

export type AttributeValue =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: Int }
  /** ONNX strings are bytes; these are decoded as UTF-8, with U+FFFD for what is not. */
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "tensor"; readonly value: OnnxTensor }
  | { readonly kind: "graph"; readonly value: OnnxGraph }
  | { readonly kind: "type"; readonly value: OnnxType }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "ints"; readonly value: readonly Int[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensors"; readonly value: readonly OnnxTensor[] }
  | { readonly kind: "graphs"; readonly value: readonly OnnxGraph[] }
  | { readonly kind: "types"; readonly value: readonly OnnxType[] }
  /** Only the presence of sparse tensors is kept. */
  | { readonly kind: "sparse" }
  /** In a function body: the value of the call's attribute `value`. */
  | { readonly kind: "reference"; readonly value: string };

/** A size, the name of a symbolic size, or unknown. */
export type Dim = number | string | undefined;

export interface OnnxType {
  readonly container: "tensor" | "sequence" | "map" | "optional" | "sparse" | "opaque" | "undeclared";
  /** Of tensors only. */
  readonly elemType: DataType | undefined;
  /** Of tensors only; undefined when not even the rank is declared. */
  readonly shape: readonly Dim[] | undefined;
}

export interface ValueInfo extends OnnxType {
  readonly name: string;
}

export interface OnnxTensor {
  readonly name: string;
  readonly dataType: DataType;
  /** Non-negative; empty for a scalar. */
  readonly dims: readonly number[];
  /** Product of `dims`, a safe integer. */
  readonly size: number;
  /** Checked against `size` by the reader; decode with `elements`. */
  readonly payload: TensorPayload;
}

export type TensorPayload =
  /** Little-endian elements, possibly in several pieces; views into the file. */
  | { readonly kind: "raw"; readonly chunks: readonly Uint8Array[] }
  /** Protobuf varints of `int32_data`, `int64_data` or `uint64_data`. */
  | { readonly kind: "varint"; readonly chunks: readonly Uint8Array[] }
  | { readonly kind: "strings"; readonly values: readonly Uint8Array[] };

export interface OnnxFunction {
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes every call must give. */
  readonly required: readonly string[];
  /** Attributes a call may give, with their defaults. */
  readonly defaults: ReadonlyMap<string, AttributeValue>;
  readonly nodes: readonly OnnxNode[];
  readonly opsets: ReadonlyMap<string, number>;
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
}

/** Identity of a function; injective for all names. */
export const functionKey = (domain: string, name: string, overload: string): string =>
  JSON.stringify([domain, name, overload]);
