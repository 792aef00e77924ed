/** Sizes and contents of a WASM module's sections. */

const CODE = 10;
const DATA = 11;

/** Payload of each section with that id. */
function section(bytes: Uint8Array, id: number): Uint8Array {
  for (let at = 8; at < bytes.length; ) {
    const kind = bytes[at]!;
    const [size, next] = varint(bytes, at + 1);
    if (kind === id) return bytes.subarray(next, next + size);
    at = next + size;
  }
  return new Uint8Array(0);
}

function varint(bytes: Uint8Array, at: number): [number, number] {
  let value = 0;
  for (let shift = 0, i = at; ; shift += 7, i++) {
    value += (bytes[i]! & 127) * 2 ** shift;
    if (bytes[i]! < 128) return [value, i + 1];
  }
}

export const codeBytes = (module: Uint8Array): number => section(module, CODE).length;
export const dataBytes = (module: Uint8Array): Uint8Array => section(module, DATA);
