/** Plain data to the bytes of an ONNX file. Field numbers are those of `frontend/onnx/schema.proto`. */
import protobuf from "protobufjs/minimal.js";
import { VERSION } from "../../version.gen.js";
import { type Attribute, DTYPES, type Node, type OnnxFile, type Tensor, type ValueInfo } from "./model.ts";

type Writer = protobuf.Writer;

/** Least IR version for opset 21 and four-bit tensors; what later opsets need. */
const irVersion = (opset: number): number => (opset <= 21 ? 10 : opset <= 23 ? 11 : 12);

const VARINT = 0;
const BYTES = 2;
const FLOAT = 5;
const tag = (w: Writer, field: number, wire: number): Writer => w.uint32(field * 8 + wire);

const int = (w: Writer, field: number, value: number): Writer => tag(w, field, VARINT).int64(value);
const text = (w: Writer, field: number, value: string): Writer => tag(w, field, BYTES).string(value);
function message(w: Writer, field: number, body: (w: Writer) => void): void {
  tag(w, field, BYTES).fork();
  body(w);
  w.ldelim();
}

/** The elements as ONNX stores them: little-endian, elements of less than a byte lowest bits first. */
export function rawData({ dtype, data }: Pick<Tensor, "dtype" | "data">): Uint8Array {
  const { bits } = DTYPES[dtype];
  const bytes = new Uint8Array(Math.ceil((data.length * bits) / 8));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < data.length; i++) {
    const x = data[i]!;
    if (dtype === "float32") view.setFloat32(i * 4, x, true);
    else if (dtype === "float64") view.setFloat64(i * 8, x, true);
    else if (bits === 64) view.setBigInt64(i * 8, BigInt(x), true);
    else if (bits === 32) view.setInt32(i * 4, x, true);
    else if (bits === 16) view.setInt16(i * 2, x, true);
    else if (bits === 8) view.setInt8(i, x);
    else bytes[(i * bits) >> 3]! |= (x & (2 ** bits - 1)) << ((i * bits) & 7);
  }
  return bytes;
}

function tensor(w: Writer, t: Tensor): void {
  for (const d of t.shape) int(w, 1, d);
  int(w, 2, DTYPES[t.dtype].number);
  text(w, 8, t.name);
  tag(w, 9, BYTES).bytes(rawData(t));
}

const KINDS = { float: 1, int: 2, string: 3, ints: 7 } as const;

function attribute(w: Writer, name: string, a: Attribute): void {
  text(w, 1, name);
  switch (a.kind) {
    case "float":
      tag(w, 2, FLOAT).float(a.value);
      break;
    case "int":
      int(w, 3, a.value);
      break;
    case "string":
      tag(w, 4, BYTES).string(a.value);
      break;
    case "ints":
      for (const i of a.value) int(w, 8, i);
      break;
  }
  int(w, 20, KINDS[a.kind]);
}

function node(w: Writer, n: Node): void {
  for (const name of n.inputs) text(w, 1, name);
  text(w, 2, n.output);
  if (n.name !== "") text(w, 3, n.name);
  text(w, 4, n.op);
  for (const [name, a] of Object.entries(n.attributes)) message(w, 5, (body) => attribute(body, name, a));
}

function valueInfo(w: Writer, v: ValueInfo): void {
  text(w, 1, v.name);
  message(w, 2, (type) =>
    message(type, 1, (t) => {
      int(t, 1, DTYPES[v.dtype].number);
      message(t, 2, (shape) => {
        for (const d of v.shape) message(shape, 1, (dim) => int(dim, 1, d));
      });
    }),
  );
}

/** The bytes of the file: the same for equal data. */
export function encode(file: OnnxFile): Uint8Array {
  const w = protobuf.Writer.create();
  int(w, 1, irVersion(file.opset));
  text(w, 2, "qc");
  text(w, 3, VERSION);
  message(w, 7, (graph) => {
    for (const n of file.nodes) message(graph, 1, (body) => node(body, n));
    text(graph, 2, file.graph);
    for (const t of file.initializers) message(graph, 5, (body) => tensor(body, t));
    for (const v of file.inputs) message(graph, 11, (body) => valueInfo(body, v));
    for (const v of file.outputs) message(graph, 12, (body) => valueInfo(body, v));
    for (const v of file.inner) message(graph, 13, (body) => valueInfo(body, v));
  });
  message(w, 8, (opset) => {
    text(opset, 1, "");
    int(opset, 2, file.opset);
  });
  return w.finish();
}

/** Graph outputs of these names, whose types follow from the graph, as the bytes of a model that has nothing else. */
export function encodeOutputs(names: Iterable<string>): Uint8Array {
  const w = protobuf.Writer.create();
  message(w, 7, (graph) => {
    for (const name of names) message(graph, 12, (body) => text(body, 1, name));
  });
  return w.finish();
}
