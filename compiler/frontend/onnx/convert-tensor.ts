/** TensorProto → OnnxTensor: every claim about sizes is checked against the bytes present, before anything is allocated. */
import type { Diagnostic } from "../../ir/diagnostics.ts";
import {
  badDims,
  badExternalLocation,
  badExternalRange,
  badTensorData,
  dataSizeMismatch,
  externalDataMissing,
  segmentedTensor,
  unknownDataType,
} from "../../ir/messages.ts";
import { type DataField, type DataType, dataTypeOf, infoOf, int32Entries, rawBytes } from "./data-types.ts";
import { checkLocation, parseByteCount } from "./external.ts";
import type { Int, OnnxTensor, TensorPayload } from "./model.ts";
import type { onnx } from "./schema.gen.js";
import { countVarints, forEachVarint } from "./varint.ts";
import { UNPACKED_WIRE_TYPES } from "./wire.ts";

/**
 * Finds the file behind a location (normalised, relative, without `..`; see `checkLocation`). Undefined: no such file.
 * A diagnostic says why a file that is there may not be used.
 */
export type ExternalData = (location: string) => Uint8Array | Diagnostic | undefined;

export interface Context {
  readonly diagnostics: Diagnostic[];
  readonly external: ExternalData;
  /** External files already asked for; undefined for those that failed and were reported. */
  readonly files: Map<string, Uint8Array | undefined>;
}

type Proto = onnx.TensorProto.$Shape;

/** An int64 field, exactly. */
export function toInt(
  value: number | { readonly low: number; readonly high: number } | null | undefined,
): Int {
  if (value === null || value === undefined) return 0;
  if (typeof value === "number") return value;
  const number = value.high * 2 ** 32 + (value.low >>> 0);
  return Number.isSafeInteger(number) ? number : (BigInt(value.high) << 32n) | BigInt(value.low >>> 0);
}

/** `fallback` names the tensor in diagnostics when it has no name of its own, as in attributes. */
export function convertTensor(proto: Proto, fallback: string, context: Context): OnnxTensor | undefined {
  const name = proto.name ?? "";
  const label = name === "" ? fallback : name;
  const report = (diagnostic: Diagnostic): undefined => {
    context.diagnostics.push(diagnostic);
    return undefined;
  };
  const dataType = dataTypeOf(proto.dataType ?? 0);
  if (dataType === undefined) return report(unknownDataType(label, proto.dataType ?? 0));
  if (proto.segment !== null && proto.segment !== undefined) return report(segmentedTensor(label));
  const dims: number[] = [];
  let size = 1;
  for (const dim of proto.dims ?? []) {
    const value = toInt(dim);
    const reason =
      value < 0 ? "a dimension is negative" : typeof value === "bigint" ? "a dimension is beyond 2^53" : "";
    if (typeof value === "bigint" || reason !== "")
      return report(
        badDims(
          label,
          proto.dims!.map((d) => String(toInt(d))),
          reason,
        ),
      );
    dims.push(value);
  }
  if (dims.includes(0)) size = 0;
  else for (const dim of dims) size *= dim;
  if (!Number.isSafeInteger(size))
    return report(badDims(label, dims.map(String), "it has more than 2^53 elements"));

  const payload =
    proto.dataLocation === 1
      ? externalPayload(proto, dataType, size, label, context)
      : inlinePayload(proto, dataType, size, label, context);
  return payload === undefined ? undefined : { name, dataType, dims, size, payload };
}

const chunksOf = (proto: Proto): ReadonlyMap<DataField, readonly Uint8Array[]> => {
  const chunks = new Map<DataField, Uint8Array[]>([
    ["float_data", [...(proto.floatData ?? [])]],
    ["int32_data", [...(proto.int32Data ?? [])]],
    ["string_data", [...(proto.stringData ?? [])]],
    ["int64_data", [...(proto.int64Data ?? [])]],
    ["double_data", [...(proto.doubleData ?? [])]],
    ["uint64_data", [...(proto.uint64Data ?? [])]],
  ]);
  for (const unknown of proto.$unknowns ?? []) {
    let tag = 0;
    let at = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = unknown[at++]!;
      tag += (byte & 127) * scale;
      if (byte < 128) break;
    }
    const field = FIELD_NUMBERS.get(Math.floor(tag / 8));
    if (field !== undefined && UNPACKED_WIRE_TYPES.get(field) === tag % 8)
      chunks.get(field)!.push(unknown.subarray(at));
  }
  return chunks;
};

const FIELD_NUMBERS: ReadonlyMap<number, DataField> = new Map([
  [4, "float_data"],
  [5, "int32_data"],
  [7, "int64_data"],
  [10, "double_data"],
  [11, "uint64_data"],
]);

function inlinePayload(
  proto: Proto,
  dataType: DataType,
  size: number,
  label: string,
  context: Context,
): TensorPayload | undefined {
  const report = (diagnostic: Diagnostic): undefined => {
    context.diagnostics.push(diagnostic);
    return undefined;
  };
  const { field } = infoOf(dataType);
  const raw = proto.rawData ?? undefined;
  let typed: readonly Uint8Array[] = [];
  for (const [name, chunks] of chunksOf(proto)) {
    const present = name === "string_data" ? chunks : chunks.filter((chunk) => chunk.byteLength > 0);
    if (present.length === 0) continue;
    if (name !== field)
      return report(badTensorData(label, `elements of ${dataType} belong into ${field}, not ${name}`));
    typed = present;
  }
  if (raw !== undefined && raw.byteLength > 0 && typed.length > 0)
    return report(badTensorData(label, `both raw_data and ${field} are given`));
  if (field === "string_data") {
    if (raw !== undefined && raw.byteLength > 0)
      return report(badTensorData(label, "strings cannot be in raw_data"));
    if (typed.length !== size)
      return report(dataSizeMismatch(label, dataType, size, `${size} strings`, `${typed.length}`));
    return { kind: "strings", values: typed };
  }
  if (typed.length === 0) return rawPayload([raw ?? new Uint8Array(0)], dataType, size, label, context);
  if (field === "float_data" || field === "double_data")
    return rawPayload(typed, dataType, size, label, context);

  const count = countVarints(typed);
  if (count === undefined) return report(badTensorData(label, `${field} ends inside an integer`));
  const entries = int32Entries(dataType, size);
  if (count !== entries)
    return report(dataSizeMismatch(label, dataType, size, `${entries} entries of ${field}`, `${count}`));
  if (!entriesFit(typed, dataType))
    return report(badTensorData(label, `${field} holds a number that is no ${dataType}`));
  return { kind: "varint", chunks: typed };
}

/** Entries may be sign- or zero-extended; anything that does not come back from its low bits is refused. */
function entriesFit(chunks: readonly Uint8Array[], dataType: DataType): boolean {
  const { bits, field } = infoOf(dataType);
  if (bits === 64) return true;
  const width = Math.max(bits, 8);
  let fits = true;
  forEachVarint(chunks, (low, high) => {
    if (field === "uint64_data") fits &&= high === 0;
    else {
      const value = low | 0;
      fits &&= high === 0 || (high === 0xffffffff && value < 0);
      if (width < 32) fits &&= value >= -(2 ** (width - 1)) && value < 2 ** width;
    }
  });
  return fits;
}

function rawPayload(
  chunks: readonly Uint8Array[],
  dataType: DataType,
  size: number,
  label: string,
  context: Context,
): TensorPayload | undefined {
  const needs = rawBytes(dataType, size);
  const has = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  if (has === needs) return { kind: "raw", chunks };
  context.diagnostics.push(dataSizeMismatch(label, dataType, size, `${needs} bytes`, `${has}`));
  return undefined;
}

function externalPayload(
  proto: Proto,
  dataType: DataType,
  size: number,
  label: string,
  context: Context,
): TensorPayload | undefined {
  const report = (diagnostic: Diagnostic): undefined => {
    context.diagnostics.push(diagnostic);
    return undefined;
  };
  if (dataType === "string") return report(badTensorData(label, "strings cannot be external data"));
  if (proto.rawData !== null && proto.rawData !== undefined && proto.rawData.byteLength > 0)
    return report(badTensorData(label, "both raw_data and external data are given"));
  const entries = new Map<string, string>();
  for (const { key, value } of proto.externalData ?? []) {
    if (entries.has(key ?? "")) return report(badTensorData(label, `external data gives ${key} twice`));
    entries.set(key ?? "", new TextDecoder().decode(value ?? new Uint8Array(0)));
  }
  const written = entries.get("location");
  if (written === undefined) return report(badTensorData(label, "external data has no location"));
  const location = checkLocation(written);
  if (!location.ok) return report(badExternalLocation(label, written, location.reason));

  const numberOf = (key: string): number | undefined | null => {
    const text = entries.get(key);
    return text === undefined ? null : parseByteCount(text);
  };
  const offset = numberOf("offset");
  const length = numberOf("length");
  if (offset === undefined || length === undefined)
    return report(badExternalRange(label, written, "offset and length must be non-negative decimal numbers"));

  const bytes = externalFile(location.path, label, context);
  if (bytes === undefined) return undefined;
  const start = offset ?? 0;
  const needs = rawBytes(dataType, size);
  const has = length ?? needs;
  if (start + has > bytes.byteLength)
    return report(
      badExternalRange(
        label,
        written,
        `bytes ${start} to ${start + has} are asked for, the file has ${bytes.byteLength}`,
      ),
    );
  return rawPayload([bytes.subarray(start, start + has)], dataType, size, label, context);
}

/** Asks for each file once, and reports one that cannot be had once. */
function externalFile(path: string, label: string, context: Context): Uint8Array | undefined {
  if (context.files.has(path)) return context.files.get(path);
  const found = context.external(path);
  if (found === undefined) context.diagnostics.push(externalDataMissing(label, path));
  else if (!(found instanceof Uint8Array)) context.diagnostics.push(found);
  const bytes =
    found instanceof Uint8Array
      ? new Uint8Array(found.buffer, found.byteOffset, found.byteLength)
      : undefined;
  context.files.set(path, bytes);
  return bytes;
}
