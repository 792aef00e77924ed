/** Where each buffer lives in linear memory: constants first, then the arena the memory plan laid out. */
import { type Program, SLACK } from "../../ir/kernel/ir.ts";

export interface Layout {
  /** Byte address of every buffer. */
  readonly addresses: ReadonlyMap<string, number>;
  /** Bytes of constants, equal ones counted once. */
  readonly constBytes: number;
  /** Address of offset 0 of the plan, a multiple of 64. */
  readonly arena: number;
  /** Bytes of the arena: the plan's peak. */
  readonly arenaBytes: number;
  /** Size of the memory in 64 KiB pages, slack at both ends included. */
  readonly memoryPages: number;
}

const alignUp = (n: number, align: number): number => Math.ceil(n / align) * align;

/**
 * `plan` gives each input, output and temp buffer its offset in the arena; offsets obey the buffers' alignment up to
 * 64 bytes. Constants of equal content share one address. Throws if a buffer has no place.
 */
export function layout(program: Program, plan: ReadonlyMap<string, number>): Layout {
  const addresses = new Map<string, number>();
  const shared = new Map<string, { readonly data: Uint8Array; readonly address: number }[]>();
  let at = SLACK;
  for (const b of program.buffers) {
    if (b.data === undefined) continue;
    const key = `${b.bytes} ${hash(b.data)}`;
    const equals = shared.get(key) ?? [];
    const twin = equals.find((t) => t.address % b.align === 0 && same(t.data, b.data!));
    if (twin) {
      addresses.set(b.name, twin.address);
      continue;
    }
    at = alignUp(at, Math.max(16, b.align));
    addresses.set(b.name, at);
    shared.set(key, [...equals, { data: b.data, address: at }]);
    // The sum must not depend on the order.
    at = alignUp(at + b.bytes, 16);
  }
  const constBytes = at - SLACK;
  const arena = alignUp(at, 64);
  let arenaBytes = 0;
  for (const b of program.buffers) {
    if (b.data !== undefined) continue;
    const offset = plan.get(b.name);
    if (offset === undefined || offset < 0 || offset % Math.min(64, b.align) !== 0)
      throw new Error(`buffer ${b.name} has no valid place: ${offset}`);
    addresses.set(b.name, arena + offset);
    arenaBytes = Math.max(arenaBytes, offset + b.bytes);
  }
  return {
    addresses,
    constBytes,
    arena,
    arenaBytes,
    memoryPages: Math.ceil((arena + arenaBytes + SLACK) / 65536),
  };
}

/** The plan without reuse: every buffer its own place. For tests and debug artifacts. */
export function separatePlan(program: Program): Map<string, number> {
  const plan = new Map<string, number>();
  let at = 0;
  for (const b of program.buffers) {
    if (b.data !== undefined) continue;
    at = alignUp(at, Math.max(16, Math.min(64, b.align)));
    plan.set(b.name, at);
    at += b.bytes;
  }
  return plan;
}

/** FNV-1a of some of the bytes, to find candidates for sharing. */
function hash(data: Uint8Array): number {
  const step = Math.ceil(data.length / 4096);
  let h = 0x811c9dc5;
  for (let i = 0; i < data.length; i += step) h = Math.imul(h ^ data[i]!, 0x01000193);
  return h >>> 0;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
