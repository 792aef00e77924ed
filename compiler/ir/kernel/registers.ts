/** The registers on which the semantics of the kernel IR work. */

/** Registers of 16 bytes under all their views. A scalar occupies the first lane of a register. */
export interface RegisterFile {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
}

export function registerFile(registers: number): RegisterFile {
  const buffer = new ArrayBuffer(16 * registers);
  return {
    i8: new Int8Array(buffer),
    u8: new Uint8Array(buffer),
    i16: new Int16Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    f32: new Float32Array(buffer),
    i64: new BigInt64Array(buffer),
    u64: new BigUint64Array(buffer),
  };
}

/** Computes register `out` from registers `a`, `b`, `c`; `out` is none of them. */
export type Meaning = (
  f: RegisterFile,
  out: number,
  a: number,
  b: number,
  c: number,
  imm: readonly number[],
) => void;
