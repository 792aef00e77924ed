/** The program for signed dot products beside the others: constants they share, places for the rest. */
import type { PortLayout, Slot, Storage } from "../../../runtime/format.ts";
import { type Buffer, type Program, SLACK } from "../../ir/kernel/ir.ts";
import type { Port } from "../../ir/module.ts";
import { type Layout, layout } from "./layout.ts";
import { BYTES, type PlacedPort } from "./ports.ts";

/** The program for dot products of signed bytes. */
export interface SignedInput {
  readonly program: Program;
  readonly offsets: ReadonlyMap<string, number>;
  readonly inputs: readonly PlacedPort[];
  readonly outputs: readonly PlacedPort[];
}

export interface PlacedSigned {
  /** Only the constants that the memory does not have yet still have their data. */
  readonly program: Program;
  readonly addresses: ReadonlyMap<string, number>;
  readonly constBytes: number;
  readonly memoryPages: number;
}

const alignUp = (n: number): number => Math.ceil(n / 64) * 64;

/**
 * Constants with the bytes of one of `base` lie where that lies. The others follow the arena, where the program keeps its
 * activations, too.
 */
export function placeBeside(place: Layout, base: Program, { program, offsets }: SignedInput): PlacedSigned {
  // Constants that are there already come first in a joint layout and share their places with those that are alike.
  const known = base.buffers
    .filter((b) => b.data !== undefined)
    .map((b) => ({ ...b, name: `base ${b.name}` }));
  const joint = layout({ ...program, buffers: [...known, ...program.buffers] }, offsets);
  const end = alignUp(place.arena + Math.max(place.arenaBytes, joint.arenaBytes));
  const known64 = Math.floor((SLACK + place.constBytes) / 64) * 64;
  const isOwn = (address: number): boolean => address >= SLACK + place.constBytes;
  const addresses = new Map<string, number>();
  for (const b of program.buffers) {
    const at = joint.addresses.get(b.name)!;
    if (b.data === undefined) addresses.set(b.name, at - joint.arena + place.arena);
    else addresses.set(b.name, isOwn(at) ? at - known64 + end : at);
  }
  const buffers = program.buffers.map((b): Buffer => {
    const { data, ...rest } = b;
    return data !== undefined && !isOwn(joint.addresses.get(b.name)!) ? rest : b;
  });
  const last = Math.max(end, ...buffers.map((b) => (b.data ? addresses.get(b.name)! + b.bytes : 0)));
  return {
    program: { ...program, buffers },
    addresses,
    constBytes: last - end,
    memoryPages: Math.ceil((last + SLACK) / 65536),
  };
}

/** By how much the stored integers of a port exceed those of the other programs. */
function biasOf(own: Port, base: Port): number {
  const [a, b] = [own.boundary, base.boundary];
  if ("lo" in a && "lo" in b) return a.lo - b.lo;
  if (a.kind === "dequantize" && b.kind === "dequantize") return a.zeroPoints[0]! - b.zeroPoints[0]!;
  return 0;
}

/** The ports with their slots in the signed program, in graph order: the same integers q, stored with a bias. */
export function withSigned(
  layouts: readonly PortLayout[],
  base: readonly PlacedPort[],
  own: readonly PlacedPort[],
  addresses: ReadonlyMap<string, number>,
): PortLayout[] {
  const slots = new Map<string, Slot[]>();
  const next = new Map<string, number>();
  own.forEach((p, i) => {
    const name = p.port.name;
    const at = next.get(name) ?? 0;
    next.set(name, at + 1);
    const like = layouts.find((l) => l.name === name)!.slots[at]!;
    const bias = biasOf(p.port, base[i]!.port);
    const elem: Storage = p.layout.container;
    const offset = addresses.get(p.layout.buffer)! + p.layout.offset;
    const bytes = like.count * BYTES[elem];
    slots.set(name, [...(slots.get(name) ?? []), { ...like, offset, bytes, elem, ...(bias && { bias }) }]);
  });
  return layouts.map((l) => {
    const signedSlots = slots.get(l.name)!;
    return JSON.stringify(signedSlots) === JSON.stringify(l.slots) ? l : { ...l, signedSlots };
  });
}
