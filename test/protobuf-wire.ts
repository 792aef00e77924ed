/** A minimal protobuf encoder: each function returns the bytes of one field. Shares no code with the reader. */

export type Bytes = Uint8Array<ArrayBuffer>;

export function concat(parts: readonly Uint8Array[]): Bytes {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Negative numbers take ten bytes, as protobuf's int32 and int64 do. */
export function varint(value: number | bigint): Bytes {
  if (value >= 0 && value < 128) return Uint8Array.of(Number(value));
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.of(...bytes, Number(rest));
}

const tag = (field: number, wireType: number): Bytes => varint(field * 8 + wireType);

export const int = (field: number, value: number | bigint): Bytes => concat([tag(field, 0), varint(value)]);
export const float = (field: number, value: number): Bytes =>
  concat([tag(field, 5), new Uint8Array(Float32Array.of(value).buffer)]);
export const double = (field: number, value: number): Bytes =>
  concat([tag(field, 1), new Uint8Array(Float64Array.of(value).buffer)]);
export const bytes = (field: number, value: Uint8Array): Bytes =>
  concat([tag(field, 2), varint(value.length), value]);
export const string = (field: number, value: string): Bytes => bytes(field, new TextEncoder().encode(value));
export const message = (field: number, parts: readonly Uint8Array[]): Bytes => bytes(field, concat(parts));
export const packed = (field: number, values: readonly (number | bigint)[]): Bytes =>
  bytes(field, concat(values.map(varint)));
