/** Varints of packed protobuf fields, decoded from the file's own bytes. */

/** Number of varints, or undefined when a chunk ends inside one or one is longer than ten bytes. */
export function countVarints(chunks: readonly Uint8Array[]): number | undefined {
  let count = 0;
  for (const chunk of chunks) {
    let length = 0;
    for (const byte of chunk) {
      length++;
      if (byte < 128) {
        count++;
        length = 0;
      } else if (length === 10) return undefined;
    }
    if (length > 0) return undefined;
  }
  return count;
}

/**
 * Calls `visit` with each varint's low and high 32 bits, both unsigned. The chunks must be well formed
 * (`countVarints`). Bits beyond 64 are dropped, as protobuf has it.
 */
export function forEachVarint(
  chunks: readonly Uint8Array[],
  visit: (low: number, high: number) => void,
): void {
  for (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      let low = 0;
      let high = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = chunk[at++]!;
        const bits = byte & 127;
        if (shift < 28) low |= bits << shift;
        else if (shift === 28) {
          low |= bits << 28;
          high |= bits >> 4;
        } else high |= bits << (shift - 32);
        if (byte < 128) break;
      }
      visit(low >>> 0, high >>> 0);
    }
  }
}
