/** The ONNX standard's own node tests, from the zoo: models of one operator with inputs and expected outputs. */
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "fflate";
import type { OnnxModel, OnnxTensor } from "../compiler/frontend/onnx/model.ts";
import { readModel } from "../compiler/frontend/onnx/reader.ts";
import * as wire from "./protobuf-wire.ts";
import { requireOrSkip } from "./require.ts";
import { zooPath } from "./zoo.ts";

const ARCHIVE = zooPath("onnx-node-tests.tar.gz");

export const nodeTestsAreThere: boolean = requireOrSkip(
  "the standard's node tests",
  existsSync(ARCHIVE),
  `no ${ARCHIVE}`,
);

export interface NodeTest {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Absent where the reader refuses the file. */
  readonly model?: OnnxModel;
  /** A tensor of the file's first data set that the reader refuses, or that is none, is undefined. */
  readonly inputs: readonly (OnnxTensor | undefined)[];
  readonly outputs: readonly (OnnxTensor | undefined)[];
  /** The file with all inputs but the first as initializers, too: constants. */
  readonly withParameters: () => Uint8Array;
}

/** Regular files of a tar archive. */
function untar(bytes: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (from: number, length: number) =>
    new TextDecoder().decode(bytes.subarray(from, from + length)).replace(/\0.*$/s, "");
  let longName: string | undefined;
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    const type = text(at + 156, 1);
    const body = bytes.slice(at + 512, at + 512 + size);
    const prefix = text(at + 345, 155);
    if (type === "L") longName = new TextDecoder().decode(body).replace(/\0.*$/s, "");
    else {
      if (type === "0" || type === "")
        files.set(longName ?? (prefix === "" ? "" : `${prefix}/`) + text(at, 100), body);
      longName = undefined;
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/** A serialized TensorProto, read as the initializer of a model; undefined for anything else. */
function tensorOf(bytes: Uint8Array): OnnxTensor | undefined {
  const initializer = wire.message(5, [wire.concat([bytes]), wire.string(8, "t")]);
  const opset = wire.message(8, [wire.string(1, ""), wire.int(2, 21)]);
  const read = readModel(wire.concat([wire.int(1, 10), wire.message(7, [initializer]), opset]));
  return read.ok ? read.value.graph.initializers.get("t") : undefined;
}

/** All of them, in the archive's order. */
export function nodeTests(): readonly NodeTest[] {
  const files = untar(gunzipSync(new Uint8Array(readFileSync(ARCHIVE))));
  return [...files].flatMap(([path, bytes]): NodeTest[] => {
    const folder = /^(.*\/)model\.onnx$/.exec(path)?.[1];
    if (folder === undefined) return [];
    const list = (kind: string) => {
      const tensors: (OnnxTensor | undefined)[] = [];
      for (let i = 0; files.has(`${folder}test_data_set_0/${kind}_${i}.pb`); i++)
        tensors.push(tensorOf(files.get(`${folder}test_data_set_0/${kind}_${i}.pb`)!));
      return tensors;
    };
    const read = readModel(bytes);
    return [
      {
        name: folder.split("/").at(-2)!,
        bytes,
        ...(read.ok && { model: read.value }),
        inputs: list("input"),
        outputs: list("output"),
        withParameters: () => {
          const names = read.ok ? read.value.graph.inputs.map((info) => info.name) : [];
          const more = names.flatMap((input, i) => {
            const file = files.get(`${folder}test_data_set_0/input_${i}.pb`);
            return i === 0 || file === undefined
              ? []
              : [wire.message(5, [wire.concat([file]), wire.string(8, input)])];
          });
          return new Uint8Array(wire.concat([bytes, wire.message(7, more)]));
        },
      },
    ];
  });
}
