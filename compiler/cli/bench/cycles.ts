/**
 * Functions of known work: a length in core cycles, for engines that do not tell the clock frequency, and the engine's
 * fastest dot product on operands in registers, the bound of every kernel.
 */
import type { Backend } from "../../../runtime/index.ts";

/** Cycles one call of `cycleReference` takes where a 64-bit multiply has a latency of 3: 10,000 turns of 24 multiplies. */
export const REFERENCE_CYCLES = 10_000 * 24 * 3;

const leb = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const section = (id: number, body: readonly number[]): number[] => [id, ...leb(body.length), ...body];
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const simd = (opcode: number): number[] => [0xfd, ...leb(opcode)];
const [I32, I64, V128] = [0x7f, 0x7e, 0x7b];

/** A module that exports `f`, whose first parameter counts down the turns of a loop with the given body. */
function loopModule(
  type: { readonly params: readonly number[]; readonly result: number },
  code: {
    readonly vectors: number;
    readonly before: readonly number[];
    readonly turn: readonly number[];
    readonly after: readonly number[];
  },
): Uint8Array {
  const countdown = [...get(0), 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0];
  const locals = code.vectors === 0 ? [0] : [1, code.vectors, V128];
  const body = [...locals, ...code.before, 0x03, 0x40, ...code.turn, ...countdown, 0x0b, ...code.after, 0x0b];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, type.params.length, ...type.params, 1, type.result]),
    ...section(3, [1, 0]),
    ...section(7, [1, 1, 0x66, 0, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ]);
}

function instantiate<F>(bytes: Uint8Array): F {
  return new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource)).exports.f as F;
}

/** A chain of dependent multiplies, x ← x·y. */
export function cycleReference(): () => void {
  const turn = Array.from({ length: 24 }, () => [...get(1), ...get(2), 0x7e, ...set(1)]).flat();
  const f = instantiate<(n: number, x: bigint, y: bigint) => bigint>(
    loopModule({ params: [I32, I64, I64], result: I64 }, { vectors: 0, before: [], turn, after: get(1) }),
  );
  return () => void f(10_000, 3n, 5n);
}

const TURNS = 10_000;

/** A function and the multiply-accumulates one call makes. */
export interface PeakLoop {
  readonly run: () => void;
  readonly macs: number;
}

const SPLAT16 = 0x10;
const ADD32 = 0xae;
const DOT16 = 0xba;
const RELAXED_DOT = 0x113;
const XOR = 0x51;
const LANE32 = 0x1b;

/** Enough to hide a latency of six cycles at two dot products a cycle; they and the operands fit in 16 registers. */
const ACCUMULATORS = 12;

/**
 * Accumulators and operands in registers, two rounds a turn: the best of the arrangements that were tried, so a lower bound of
 * what the engine can do. Baseline: a ← a + `i32x4.dot_i16x8_s`(a, w) in pairs, so that no product is a loop invariant. Relaxed:
 * a ← `i32x4.relaxed_dot_i8x16_i7x16_add_s`(x, w, a). Throws an Error where the engine has no relaxed SIMD.
 */
export function peakLoop(backend: Backend): PeakLoop {
  const [x, w, product] = [1 + ACCUMULATORS, 2 + ACCUMULATORS, 3 + ACCUMULATORS];
  const accumulators = Array.from({ length: ACCUMULATORS }, (_, i) => 1 + i);
  const relaxedDot = (a: number): number[] => [
    ...get(x),
    ...get(w),
    ...get(a),
    ...simd(RELAXED_DOT),
    ...set(a),
  ];
  const dot = (a: number, to: number): number[] => [...get(a), ...get(w), ...simd(DOT16), ...set(to)];
  const add = (a: number, from: number): number[] => [...get(a), ...get(from), ...simd(ADD32), ...set(a)];
  const pair = (a: number): number[] => [
    ...dot(a, product),
    ...dot(a + 1, product + 1),
    ...add(a, product),
    ...add(a + 1, product + 1),
  ];
  const round = accumulators.flatMap((a, i) =>
    backend === "relaxed" ? relaxedDot(a) : i % 2 === 0 ? pair(a) : [],
  );
  const sum = accumulators.slice(1).flatMap((a) => [...get(a), ...simd(XOR)]);
  const bytes = loopModule(
    { params: [I32], result: I32 },
    {
      vectors: ACCUMULATORS + 4,
      before: [...accumulators, x, w].flatMap((v) => [...get(0), 0x41, v, 0x6a, ...simd(SPLAT16), ...set(v)]),
      turn: [...round, ...round],
      after: [...get(1), ...sum, ...simd(LANE32), 0],
    },
  );
  const f = instantiate<(n: number) => number>(bytes);
  return { run: () => void f(TURNS), macs: TURNS * 2 * ACCUMULATORS * (backend === "relaxed" ? 16 : 8) };
}
