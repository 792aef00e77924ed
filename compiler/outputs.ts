/** Inner tensors of an ONNX file as graph outputs, to look at them in another runtime. */
import { encodeOutputs } from "./backends/onnx/encode.ts";
import { readModel } from "./frontend/onnx/reader.ts";
import { ok, type Result } from "./ir/diagnostics.ts";

/**
 * The same file with those of the named tensors that a node makes as further graph outputs, after its own. Nothing of
 * the file is decoded and lost: messages that follow one another merge. Errors: those of `readModel`.
 */
export function withOutputs(bytes: Uint8Array, names: Iterable<string>): Result<Uint8Array> {
  const read = readModel(bytes);
  if (!read.ok) return read;
  const { nodes, outputs } = read.value.graph;
  const made = new Set(nodes.flatMap((n) => n.outputs));
  for (const o of outputs) made.delete(o.name);
  const more = encodeOutputs(new Set([...names].filter((n) => made.has(n))));
  const all = new Uint8Array(bytes.length + more.length);
  all.set(bytes);
  all.set(more, bytes.length);
  return ok(all);
}
