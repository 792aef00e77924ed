/** Loads, stores, fills and copies. The place of a buffer becomes part of the instruction's immediate offset. */
import type { Expr, LoadOp, Stmt } from "../../ir/kernel/ir.ts";
import type { Builder, Ref } from "./assemble.ts";

export interface Memory {
  readonly m: Builder;
  readonly addresses: ReadonlyMap<string, number>;
  readonly emit: (e: Expr) => Ref;
  /** The value several times: computed at the first call. */
  readonly repeat: (e: Expr) => () => Ref;
}

type Place = { readonly ptr: Ref; readonly offset: number };

/** Alignment hints are 1: engines ignore them, and kernels load anywhere. */
const ALIGN = 1;

/**
 * WASM adds the immediate to the unsigned address without wrapping, so it cannot be negative. `addr` never is; if the
 * sum of base and offset is, it is added in the address instead.
 */
function place(cx: Memory, buf: string, addr: Expr, offset: number, pointer: () => Ref): Place {
  const { m } = cx;
  const base = cx.addresses.get(buf);
  if (base === undefined) throw new Error(`buffer ${buf} has no address`);
  const at = base + offset;
  if (addr.k === "const") return { ptr: m.i32.const(0), offset: at + Number(addr.value) };
  if (at >= 0) return { ptr: pointer(), offset: at };
  return { ptr: m.i32.add(pointer(), m.i32.const(at)), offset: 0 };
}

const vectorLoads: {
  readonly [K in Exclude<LoadOp, "load" | "load8_u" | "load8_s" | "load16_u" | "load16_s">]: (
    m: Builder,
    offset: number,
    ptr: Ref,
  ) => Ref;
} = {
  load8_splat: (m, offset, ptr) => m.v128.load8_splat(offset, ALIGN, ptr),
  load16_splat: (m, offset, ptr) => m.v128.load16_splat(offset, ALIGN, ptr),
  load32_splat: (m, offset, ptr) => m.v128.load32_splat(offset, ALIGN, ptr),
  load64_splat: (m, offset, ptr) => m.v128.load64_splat(offset, ALIGN, ptr),
  load32_zero: (m, offset, ptr) => m.v128.load32_zero(offset, ALIGN, ptr),
  load64_zero: (m, offset, ptr) => m.v128.load64_zero(offset, ALIGN, ptr),
  load8x8_u: (m, offset, ptr) => m.v128.load8x8_u(offset, ALIGN, ptr),
  load8x8_s: (m, offset, ptr) => m.v128.load8x8_s(offset, ALIGN, ptr),
  load16x4_u: (m, offset, ptr) => m.v128.load16x4_u(offset, ALIGN, ptr),
  load16x4_s: (m, offset, ptr) => m.v128.load16x4_s(offset, ALIGN, ptr),
};

export function emitLoad(cx: Memory, e: Expr & { readonly k: "load" }): Ref {
  const { m } = cx;
  const { ptr, offset } = place(cx, e.buf, e.addr, e.offset, () => cx.emit(e.addr));
  switch (e.op) {
    case "load":
      if (e.type === "i32") return m.i32.load(offset, ALIGN, ptr);
      if (e.type === "i64") return m.i64.load(offset, ALIGN, ptr);
      return m.v128.load(offset, ALIGN, ptr);
    case "load8_u":
      return m.i32.load8_u(offset, ALIGN, ptr);
    case "load8_s":
      return m.i32.load8_s(offset, ALIGN, ptr);
    case "load16_u":
      return m.i32.load16_u(offset, ALIGN, ptr);
    case "load16_s":
      return m.i32.load16_s(offset, ALIGN, ptr);
    default:
      return vectorLoads[e.op](m, offset, ptr);
  }
}

export function emitStore(cx: Memory, s: Stmt & { readonly k: "store" }): Ref {
  const { m } = cx;
  const { ptr, offset } = place(cx, s.buf, s.addr, s.offset, () => cx.emit(s.addr));
  const value = cx.emit(s.value);
  switch (s.op) {
    case "store":
      if (s.value.type === "i32") return m.i32.store(offset, ALIGN, ptr, value);
      if (s.value.type === "i64") return m.i64.store(offset, ALIGN, ptr, value);
      return m.v128.store(offset, ALIGN, ptr, value);
    case "store8":
      return m.i32.store8(offset, ALIGN, ptr, value);
    case "store16":
      return m.i32.store16(offset, ALIGN, ptr, value);
    case "store8_lane":
      return m.v128.store8_lane(offset, ALIGN, s.lane, ptr, value);
    case "store16_lane":
      return m.v128.store16_lane(offset, ALIGN, s.lane, ptr, value);
    case "store32_lane":
      return m.v128.store32_lane(offset, ALIGN, s.lane, ptr, value);
    case "store64_lane":
      return m.v128.store64_lane(offset, ALIGN, s.lane, ptr, value);
  }
}

/** Up to here a few inline accesses beat the engine's call for `memory.fill` and `memory.copy`. */
const INLINE_BYTES = 128;

/** Covers `n` bytes by accesses of 16, or one each of 8, 4, 2, 1. The last of several 16s overlaps its predecessor. */
function pieces(n: number): { readonly at: number; readonly bytes: number }[] {
  const list: { at: number; bytes: number }[] = [];
  let at = 0;
  if (n >= 16) {
    for (; at + 16 <= n; at += 16) list.push({ at, bytes: 16 });
    if (at < n) list.push({ at: n - 16, bytes: 16 });
    return list;
  }
  for (const bytes of [8, 4, 2, 1])
    if (n & bytes) {
      list.push({ at, bytes });
      at += bytes;
    }
  return list;
}

function storePiece(m: Builder, bytes: number, offset: number, ptr: Ref, value: Ref): Ref {
  if (bytes === 16) return m.v128.store(offset, ALIGN, ptr, value);
  if (bytes === 8) return m.i64.store(offset, ALIGN, ptr, value);
  if (bytes === 4) return m.i32.store(offset, ALIGN, ptr, value);
  return bytes === 2 ? m.i32.store16(offset, ALIGN, ptr, value) : m.i32.store8(offset, ALIGN, ptr, value);
}

function loadPiece(m: Builder, bytes: number, offset: number, ptr: Ref): Ref {
  if (bytes === 16) return m.v128.load(offset, ALIGN, ptr);
  if (bytes === 8) return m.i64.load(offset, ALIGN, ptr);
  if (bytes === 4) return m.i32.load(offset, ALIGN, ptr);
  return bytes === 2 ? m.i32.load16_u(offset, ALIGN, ptr) : m.i32.load8_u(offset, ALIGN, ptr);
}

export function setBytes(cx: Memory, s: Stmt & { readonly k: "fill" }): Ref[] {
  const { m } = cx;
  if (s.bytes === 0) return [];
  const pointer = cx.repeat(s.addr);
  if (s.bytes > INLINE_BYTES) {
    const { ptr, offset } = place(cx, s.buf, s.addr, s.offset, pointer);
    return [m.memory.fill(m.i32.add(ptr, m.i32.const(offset)), m.i32.const(s.byte), m.i32.const(s.bytes))];
  }
  return pieces(s.bytes).map(({ at, bytes }) => {
    const { ptr, offset } = place(cx, s.buf, s.addr, s.offset + at, pointer);
    const value =
      bytes === 16
        ? m.v128.const(new Array<number>(16).fill(s.byte))
        : bytes === 8
          ? m.i64.const(BigInt.asIntN(64, BigInt(s.byte) * 0x0101010101010101n))
          : m.i32.const((s.byte * 0x01010101) | 0);
    return storePiece(m, bytes, offset, ptr, value);
  });
}

export function moveBytes(cx: Memory, s: Stmt & { readonly k: "copy" }): Ref[] {
  const { m } = cx;
  if (s.bytes === 0) return [];
  const to = cx.repeat(s.toAddr);
  const from = cx.repeat(s.fromAddr);
  if (s.bytes > INLINE_BYTES) {
    const target = place(cx, s.to, s.toAddr, 0, to);
    const source = place(cx, s.from, s.fromAddr, 0, from);
    return [
      m.memory.copy(
        m.i32.add(target.ptr, m.i32.const(target.offset)),
        m.i32.add(source.ptr, m.i32.const(source.offset)),
        m.i32.const(s.bytes),
      ),
    ];
  }
  return pieces(s.bytes).map(({ at, bytes }) => {
    const target = place(cx, s.to, s.toAddr, at, to);
    const source = place(cx, s.from, s.fromAddr, at, from);
    return storePiece(m, bytes, target.offset, target.ptr, loadPiece(m, bytes, source.offset, source.ptr));
  });
}
