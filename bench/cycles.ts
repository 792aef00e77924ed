/** A function of known length in core cycles, for engines that do not tell the clock frequency. */

/** Cycles one call takes where a 64-bit multiply has a latency of 3: 10,000 turns of 24 multiplies. */
export const REFERENCE_CYCLES = 10_000 * 24 * 3;

const leb = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const section = (id: number, body: readonly number[]): number[] => [id, ...leb(body.length), ...body];

/** (func (export "f") (param $n i32) (param $x i64) (param $y i64) (result i64)): n turns of x ← x·y, 24 times. */
export function cycleReference(): () => void {
  const multiplies = Array.from({ length: 24 }, () => [0x20, 1, 0x20, 2, 0x7e, 0x21, 1]).flat();
  const loop = [0x03, 0x40, ...multiplies, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b];
  const code = [0, ...loop, 0x20, 1, 0x0b];
  const bytes = Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 3, 0x7f, 0x7e, 0x7e, 1, 0x7e]),
    ...section(3, [1, 0]),
    ...section(7, [1, 1, 0x66, 0, 0]),
    ...section(10, [1, ...leb(code.length), ...code]),
  ]);
  const f = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f as (
    n: number,
    x: bigint,
    y: bigint,
  ) => bigint;
  return () => void f(10_000, 3n, 5n);
}
