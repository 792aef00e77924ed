/** The only door to protobuf: bytes in, plain model out. */
import protobuf from "protobufjs/minimal.js";
import { fail, ok, type Result } from "../../ir/diagnostics.ts";
import { emptyFile, malformedProtobuf, modelTooComplex, modelTooLarge, notOnnx } from "../../ir/messages.ts";
import { convertModel } from "./convert.ts";
import { type Context, convertTensor, type ExternalData } from "./convert-tensor.ts";
import type { OnnxModel, OnnxTensor } from "./model.ts";
import { onnx } from "./schema.gen.js";
import { sniff } from "./sniff.ts";
import { checkWire, WIRE_LIMITS, type WireLimits } from "./wire.ts";

export interface ReadOptions {
  /** Shown in diagnostics that concern the file as a whole. */
  readonly path?: string;
  /** Finds the files that tensors with external data name; without it such tensors are errors. */
  readonly external?: ExternalData;
  readonly limits?: WireLimits;
}

const MAX_BYTES = 2 ** 31 - 1;

/**
 * Reads an ONNX model (IR 3 to 14). Tensor data stays where it is: the result holds views into `bytes` and into the
 * external files, so these must not change afterwards.
 *
 * Time and memory are linear in the file's size and bounded by `limits`. Names are exact, the graph is not yet checked
 * for well-formedness (`orderModel`). Errors: QC1001–QC1024, QC1107, QC1108.
 */
export function readModel(bytes: Uint8Array, options: ReadOptions = {}): Result<OnnxModel> {
  const path = options.path ?? "";
  const decoded = decode(bytes, options, "ModelProto");
  if (!decoded.ok) return decoded;
  const proto: onnx.ModelProto.$Shape = decoded.value;
  const kind = proto.graph ? undefined : sniff(bytes);
  if (kind !== undefined) return fail(notOnnx(path, kind.name, kind.fix));
  const context = contextOf(options);
  return finish(convertModel(proto, path, context), context);
}

/** Reads a single tensor, the content of a `.pb` file of ONNX's own tests. Otherwise like `readModel`. */
export function readTensor(bytes: Uint8Array, options: ReadOptions = {}): Result<OnnxTensor> {
  const decoded = decode(bytes, options, "TensorProto");
  if (!decoded.ok) return decoded;
  const context = contextOf(options);
  return finish(convertTensor(decoded.value, "", context), context);
}

const contextOf = ({ external = () => undefined }: ReadOptions): Context => ({
  diagnostics: [],
  external,
  files: new Map(),
});

function finish<T>(value: T | undefined, { diagnostics }: Context): Result<T> {
  return value === undefined || diagnostics.some(({ severity }) => severity === "error")
    ? fail(...diagnostics)
    : ok(value, diagnostics);
}

/** Wire format only. */
function decode<Type extends "ModelProto" | "TensorProto">(
  bytes: Uint8Array,
  options: ReadOptions,
  type: Type,
): Result<ReturnType<(typeof onnx)[Type]["decode"]>> {
  const path = options.path ?? "";
  if (bytes.byteLength === 0) return fail(emptyFile(path));
  if (bytes.byteLength > MAX_BYTES) return fail(modelTooLarge(path, bytes.byteLength));

  const wire = checkWire(bytes, options.limits ?? WIRE_LIMITS, type);
  if (!wire.ok) {
    const { problem } = wire;
    const kind = sniff(bytes);
    if (kind !== undefined) return fail(notOnnx(path, kind.name, kind.fix));
    return fail(
      problem.kind === "limit"
        ? modelTooComplex(path, problem.path, problem.what)
        : malformedProtobuf(path, problem.offset, problem.path, problem.reason),
    );
  }

  // A plain view, since protobufjs treats a Node Buffer by other code, with other rules for broken UTF-8.
  const reader = protobuf.Reader.create(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  reader.discardUnknown = !wire.unpacked;
  try {
    return ok(onnx[type].decode(reader) as ReturnType<(typeof onnx)[Type]["decode"]>);
  } catch (error) {
    const reason =
      error instanceof TypeError ? "a name is not valid UTF-8" : error instanceof Error ? error.message : "";
    return fail(malformedProtobuf(path, reader.pos, "", reason));
  }
}
