/** ONNX files as trees of protobuf fields, to change them in ways that still parse. */
import { concat, varint } from "../protobuf-wire.ts";

export type Field =
  | { readonly kind: "varint"; readonly number: number; value: bigint }
  | { readonly kind: "fixed"; readonly number: number; bytes: Uint8Array }
  | { readonly kind: "bytes"; readonly number: number; bytes: Uint8Array }
  | { readonly kind: "message"; readonly number: number; readonly type: string; fields: Field[] };

/** Fields that hold messages, by message type: only what mutation wants to look into. */
const nested: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  model: { 7: "graph", 8: "opset" },
  graph: { 1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value" },
  node: { 5: "attribute" },
  attribute: { 5: "tensor", 6: "graph" },
  value: { 2: "type" },
  type: { 1: "tensorType" },
  tensorType: { 2: "shape" },
  shape: { 1: "dim" },
};

/** Undefined where the bytes are not a message. */
function parse(bytes: Uint8Array, type: string): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const read = (): bigint | undefined => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const b = bytes[at++];
      if (b === undefined) return undefined;
      value |= BigInt(b & 127) << shift;
      if (b < 128) return value;
    }
    return undefined;
  };
  while (at < bytes.length) {
    const tag = read();
    if (tag === undefined) return undefined;
    const number = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    if (wire === 0) {
      const value = read();
      if (value === undefined) return undefined;
      fields.push({ kind: "varint", number, value });
      continue;
    }
    const length = wire === 2 ? read() : wire === 1 ? 8n : wire === 5 ? 4n : undefined;
    if (length === undefined || BigInt(at) + length > BigInt(bytes.length)) return undefined;
    const body = bytes.subarray(at, at + Number(length));
    at += Number(length);
    const inner = wire === 2 ? nested[type]?.[number] : undefined;
    const children = inner === undefined ? undefined : parse(body, inner);
    if (wire !== 2) fields.push({ kind: "fixed", number, bytes: body });
    else if (children === undefined) fields.push({ kind: "bytes", number, bytes: body });
    else fields.push({ kind: "message", number, type: inner!, fields: children });
  }
  return fields;
}

export function parseTree(bytes: Uint8Array): Field[] {
  const fields = parse(bytes, "model");
  if (fields === undefined) throw new Error("not a protobuf message");
  return fields;
}

function encodeField(f: Field): Uint8Array {
  const tag = (wire: number) => varint(f.number * 8 + wire);
  switch (f.kind) {
    case "varint":
      return concat([tag(0), varint(f.value)]);
    case "fixed":
      return concat([tag(f.bytes.length === 8 ? 1 : 5), f.bytes]);
    case "bytes":
      return concat([tag(2), varint(f.bytes.length), f.bytes]);
    case "message": {
      const body = encodeTree(f.fields);
      return concat([tag(2), varint(body.length), body]);
    }
  }
}

export const encodeTree = (fields: readonly Field[]): Uint8Array => concat(fields.map(encodeField));

/** A field and the list that holds it. */
export interface Place {
  readonly field: Field;
  readonly list: Field[];
  /** Type of the message whose fields `list` holds. */
  readonly parent: string;
}

/** Every field, parents before children. */
export function places(list: Field[], parent = "model", out: Place[] = []): Place[] {
  for (const field of list) {
    out.push({ field, list, parent });
    if (field.kind === "message") places(field.fields, field.type, out);
  }
  return out;
}
