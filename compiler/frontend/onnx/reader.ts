/** The only door to protobuf: bytes in, plain model out. */
import protobuf from "protobufjs/minimal.js";
import { type Diagnostic, fail, ok, type Result } from "../../ir/diagnostics.ts";
import { emptyFile, malformedProtobuf, modelTooComplex, modelTooLarge, notOnnx } from "../../ir/messages.ts";
import { convertModel } from "./convert.ts";
import type { Context, ExternalData } from "./convert-tensor.ts";
import type { OnnxModel } from "./model.ts";
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
  if (bytes.byteLength === 0) return fail(emptyFile(path));
  if (bytes.byteLength > MAX_BYTES) return fail(modelTooLarge(path, bytes.byteLength));

  const wire = checkWire(bytes, options.limits ?? WIRE_LIMITS);
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
  let proto: onnx.ModelProto.$Shape;
  try {
    proto = onnx.ModelProto.decode(reader);
  } catch (error) {
    const reason =
      error instanceof TypeError ? "a name is not valid UTF-8" : error instanceof Error ? error.message : "";
    return fail(malformedProtobuf(path, reader.pos, "", reason));
  }

  const kind = proto.graph ? undefined : sniff(bytes);
  if (kind !== undefined) return fail(notOnnx(path, kind.name, kind.fix));
  const diagnostics: Diagnostic[] = [];
  const context: Context = {
    diagnostics,
    external: options.external ?? (() => undefined),
    files: new Map(),
  };
  const model = convertModel(proto, path, context);
  return model === undefined || diagnostics.some(({ severity }) => severity === "error")
    ? fail(...diagnostics)
    : ok(model, diagnostics);
}
