/** Bytes that grow, and the number formats of WASM's binary format. */
export interface Bytes {
  readonly byte: (value: number) => void;
  /** LEB128 of an unsigned number below 2^32. */
  readonly unsigned: (value: number) => void;
  /** LEB128 of a signed 32-bit number. */
  readonly signed: (value: number) => void;
  /** LEB128 of a signed 64-bit number. */
  readonly signed64: (value: bigint) => void;
  readonly append: (bytes: Uint8Array) => void;
  /** What has been written. Valid until the next write. */
  readonly view: () => Uint8Array;
  readonly clear: () => void;
}

export function growingBytes(capacity = 1024): Bytes {
  let data = new Uint8Array(capacity);
  let length = 0;
  const reserve = (n: number): void => {
    if (length + n <= data.length) return;
    const next = new Uint8Array(Math.max(2 * data.length, length + n));
    next.set(data.subarray(0, length));
    data = next;
  };
  return {
    byte: (value) => {
      reserve(1);
      data[length++] = value;
    },
    unsigned: (value) => {
      reserve(5);
      let rest = value >>> 0;
      for (; rest > 127; rest >>>= 7) data[length++] = rest | 128;
      data[length++] = rest;
    },
    signed: (value) => {
      reserve(5);
      let rest = value | 0;
      for (; rest < -64 || rest > 63; rest >>= 7) data[length++] = rest | 128;
      data[length++] = rest & 127;
    },
    signed64: (value) => {
      reserve(10);
      let rest = BigInt.asIntN(64, value);
      for (; rest < -64n || rest > 63n; rest >>= 7n) data[length++] = Number(rest & 127n) | 128;
      data[length++] = Number(rest & 127n);
    },
    append: (bytes) => {
      reserve(bytes.length);
      data.set(bytes, length);
      length += bytes.length;
    },
    view: () => data.subarray(0, length),
    clear: () => {
      length = 0;
    },
  };
}
