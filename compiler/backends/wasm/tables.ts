/**
 * Tables of two- and four-byte elements, as epilogues have them: a module carries their low bytes, then the next ones, and so on.
 * Bytes of one significance are alike, so that they compress.
 */
import type { Buffer, Expr, KType, Program } from "../../ir/kernel/ir.ts";
import { visitExprs } from "./uses.ts";

const ELEMENT_BYTES: { readonly [t in KType]?: 2 | 4 } = { i16x8: 2, i32x4: 4, i32: 4 };

/** Element sizes of constants, by name, where vectors of more than single bytes are read from them. */
export function elementBytes(programs: readonly Program[]): ReadonlyMap<string, 2 | 4> {
  const sizes = new Map<string, 2 | 4 | undefined>();
  const read = (e: Expr): void => {
    if (e.k !== "load") return;
    const whole = e.op === "load" || e.op.endsWith("_splat");
    const bytes = whole ? ELEMENT_BYTES[e.type] : undefined;
    sizes.set(e.buf, sizes.has(e.buf) && sizes.get(e.buf) !== bytes ? undefined : bytes);
  };
  for (const p of programs) for (const k of p.kernels) visitExprs(k.body, read);
  return new Map(
    [...sizes].flatMap(([name, bytes]) => (bytes === undefined ? [] : [[name, bytes] as const])),
  );
}

/** Larger constants are weights, whose bytes stay as they are. */
const MOST_BYTES = 65536;
const isTable = (b: Buffer, sizes: ReadonlyMap<string, 2 | 4>): boolean =>
  b.data !== undefined && b.bytes <= MOST_BYTES && b.bytes % (sizes.get(b.name) ?? Number.NaN) === 0;

/** The same buffers with the tables behind all others, those of alike elements side by side. */
export function tablesLast(buffers: readonly Buffer[], sizes: ReadonlyMap<string, 2 | 4>): readonly Buffer[] {
  const rank = (b: Buffer): number =>
    isTable(b, sizes) ? 100 * sizes.get(b.name)! + widthOf(b.data!, sizes.get(b.name)!) : 0;
  return buffers
    .map((b) => ({ b, rank: rank(b) }))
    .sort((x, y) => x.rank - y.rank)
    .map((x) => x.b);
}

/** Bits that hold the absolute value of every element. */
function widthOf(data: Uint8Array, size: 2 | 4): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let most = 0;
  for (let at = 0; at + size <= data.length; at += size)
    most = Math.max(most, Math.abs(size === 2 ? view.getInt16(at, true) : view.getInt32(at, true)));
  return Math.ceil(Math.log2(most + 1));
}

/** Neighbouring tables of one element size. */
export interface TableRun {
  readonly address: number;
  readonly bytes: number;
  readonly size: 2 | 4;
}

/** Bytes of a run below which it is not worth its call, and between two tables of a run. */
const WORTH = 256;
const GAP = 64;

/** Where `tablesLast` made runs. None where their bytes do not fit in the `room` in which a module brings them. */
export function tableRuns(
  { buffers }: Program,
  addresses: ReadonlyMap<string, number>,
  sizes: ReadonlyMap<string, 2 | 4>,
  room: number,
): readonly TableRun[] {
  const placed = new Map<number, { readonly end: number; readonly size: 2 | 4 | undefined }>();
  for (const b of buffers) {
    const address = addresses.get(b.name)!;
    if (b.data === undefined || placed.has(address)) continue;
    placed.set(address, { end: address + b.bytes, size: isTable(b, sizes) ? sizes.get(b.name) : undefined });
  }
  const runs: TableRun[] = [];
  let open = false;
  for (const [address, { end, size }] of [...placed].sort(([a], [b]) => a - b)) {
    const last = open ? runs.at(-1) : undefined;
    open = size !== undefined;
    if (size === undefined) continue;
    if (last?.size === size && address - last.address - last.bytes < GAP)
      runs[runs.length - 1] = { ...last, bytes: end - last.address };
    else runs.push({ address, bytes: end - address, size });
  }
  const worth = runs.filter((r) => r.bytes >= WORTH && r.bytes % r.size === 0);
  return worth.reduce((sum, r) => sum + r.bytes, 0) <= room ? worth : [];
}

/** Byte p of element i, at i·size + p, moves to p·count + i. */
export function planesOf(bytes: Uint8Array, size: 2 | 4): Uint8Array {
  const count = bytes.length / size;
  return bytes.map((_, j) => bytes[(j % count) * size + Math.floor(j / count)]!);
}
