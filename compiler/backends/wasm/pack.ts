/**
 * Constants as the module carries them, and the code that spreads them out: those of few distinct bytes at their real bit width,
 * those with padding without it, tables of wider elements byte by byte (`tables.ts`).
 */
import type { Program } from "../../ir/kernel/ir.ts";
import type { Binaryen, Builder } from "./assemble.ts";
import { planesOf, type TableRun } from "./tables.ts";

/** Byte i is (base + step·code i) mod 256; code i takes `bits` bits from bit i·bits of `codes`, low bits first. */
export interface Packed {
  readonly count: number;
  readonly bits: number;
  readonly base: number;
  readonly step: number;
  readonly codes: Uint8Array;
}

/** Bytes saved below which packing is not worth its call. */
const WORTH = 64;

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Undefined where bytes are as good. */
export function packBytes(data: Uint8Array): Packed | undefined {
  const seen = new Uint8Array(256);
  for (let i = 0; i < data.length; i++) seen[data[i]!] = 1;
  const codings = [false, true].map((signed) => codingOf(seen, signed));
  const [best] = codings.sort((a, b) => a.bits - b.bits) as [Coding, Coding];
  const { bits, base, step } = best;
  if (data.length * (8 - bits) < 8 * WORTH) return undefined;
  const codes = new Uint8Array(Math.ceil((data.length * bits) / 8));
  for (let i = 0; i < data.length; i++) {
    const code = ((data[i]! - base) & 255) / step;
    const at = i * bits;
    const shifted = code << (at & 7);
    codes[at >> 3]! |= shifted & 255;
    if (shifted > 255) codes[(at >> 3) + 1]! |= shifted >> 8;
  }
  return { count: data.length, bits, base, step, codes };
}

type Coding = Pick<Packed, "bits" | "base" | "step">;

/** The finest arithmetic sequence through the bytes that occur, read as signed or unsigned numbers. */
function codingOf(seen: Uint8Array, signed: boolean): Coding {
  const values = Array.from(seen, (there, byte) =>
    there ? (signed && byte > 127 ? byte - 256 : byte) : undefined,
  )
    .filter((v) => v !== undefined)
    .sort((a, b) => a - b);
  const base = values[0] ?? 0;
  const step = values.reduce((g, v) => gcd(g, v - base), 0) || 1;
  const most = ((values.at(-1) ?? 0) - base) / step;
  return { bits: Math.max(1, Math.ceil(Math.log2(most + 1))), base: base & 255, step };
}

/** Padding: zeros at the same places of every 64 bytes. Bit i of `used`: bytes at i mod 64 are among `bytes`, in order. */
export interface Unpadded {
  readonly count: number;
  readonly used: bigint;
  readonly bytes: Uint8Array;
}

const PERIOD = 64;

/** Undefined where nothing or little of it is padding. */
export function stripPadding(data: Uint8Array): Unpadded | undefined {
  if (data.length % PERIOD !== 0) return undefined;
  const used = new Uint8Array(PERIOD);
  let places = 0;
  for (let i = 0; i < data.length && places < PERIOD; i++) {
    if (data[i] === 0 || used[i % PERIOD] === 1) continue;
    used[i % PERIOD] = 1;
    places++;
  }
  if ((data.length / PERIOD) * (PERIOD - places) < WORTH) return undefined;
  return {
    count: data.length,
    used: used.reduce((bits, x, i) => bits | (BigInt(x) << BigInt(i)), 0n),
    bytes: data.filter((_, i) => used[i % PERIOD] === 1),
  };
}

/** A run of bytes at an address. */
export interface Segment {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Codes lie at the head of the place that they fill. */
export interface Unpacking extends Packed {
  readonly address: number;
}

/** The bytes lie at the head of the place that they fill. */
export interface Padding extends Unpadded {
  readonly address: number;
}

/** Tables whose bytes by significance lie at `from` when the module starts, where nothing else does yet. */
export interface StagedTables extends TableRun {
  readonly from: number;
}

/** Where the module brings the bytes of tables: in the arena, of which nothing is alive yet. */
export interface Staging {
  readonly address: number;
  readonly runs: readonly TableRun[];
}

export interface PackedConstants {
  readonly segments: readonly Segment[];
  readonly unpackings: readonly Unpacking[];
  readonly paddings: readonly Padding[];
  readonly tables: readonly StagedTables[];
}

/** The constants of a program, those worth it packed; neighbours are one segment. */
export function packedConstants(
  program: Program,
  addresses: ReadonlyMap<string, number>,
  staging: Staging = { address: 0, runs: [] },
): PackedConstants {
  const placed = new Map<number, Uint8Array>();
  for (const b of program.buffers) if (b.data) placed.set(addresses.get(b.name)!, b.data);
  const segments: Segment[] = [];
  const unpackings: Unpacking[] = [];
  const paddings: Padding[] = [];
  const staged = staging.runs.map((r) => ({ ...r, data: new Uint8Array(r.bytes) }));
  for (const [address, data] of [...placed].sort(([a], [b]) => a - b)) {
    const run = staged.find((r) => address >= r.address && address < r.address + r.bytes);
    if (run) {
      run.data.set(data, address - run.address);
      continue;
    }
    const packed = packBytes(data);
    const unpadded = packed ? undefined : stripPadding(data);
    if (packed) unpackings.push({ ...packed, address });
    if (unpadded) paddings.push({ ...unpadded, address });
    append(segments, { address, bytes: packed?.codes ?? unpadded?.bytes ?? data });
  }
  let from = staging.address;
  const tables = staged.map(({ data, ...run }): StagedTables => {
    append(segments, { address: from, bytes: planesOf(data, run.size) });
    from += run.bytes;
    return { ...run, from: from - run.bytes };
  });
  return { segments, unpackings, paddings, tables };
}

/** Bytes of zeros between two segments that cost less than a segment of its own. */
const GAP = 16;

function append(segments: Segment[], next: Segment): void {
  const last = segments.at(-1);
  const gap = last && next.address - last.address - last.bytes.length;
  if (last === undefined || gap! < 0 || gap! > GAP) {
    segments.push(next);
    return;
  }
  const bytes = new Uint8Array(last.bytes.length + gap! + next.bytes.length);
  bytes.set(last.bytes);
  bytes.set(next.bytes, last.bytes.length + gap!);
  segments[segments.length - 1] = { address: last.address, bytes };
}

/** Adds a start function that fills the places of packed constants. */
export function emitUnpack(b: Binaryen, m: Builder, { unpackings, paddings, tables }: PackedConstants): void {
  if (unpackings.length + paddings.length + tables.length === 0) return;
  if (unpackings.length > 0) emitUnpackCodes(b, m);
  if (paddings.length > 0) emitPad(b, m);
  if (tables.length > 0) emitJoin(b, m);
  const call = (name: string, values: readonly number[]): number =>
    m.call(
      name,
      values.map((v) => m.i32.const(v)),
      b.none,
    );
  const body = [
    ...unpackings.map((u) => call("unpack", [u.address, u.count, u.bits, u.base, u.step])),
    ...paddings.map((p) =>
      m.call(
        "pad",
        [
          m.i32.const(p.address),
          m.i32.const(p.count),
          m.i32.const(p.bytes.length),
          m.i64.const(BigInt.asIntN(64, p.used)),
        ],
        b.none,
      ),
    ),
    ...tables.map((t) => call("join", [t.address, t.bytes, t.bytes / t.size, t.size, t.from])),
  ];
  m.setStart(m.addFunction("start", b.none, b.none, [], m.block(null, body)));
}

/** From the last byte to the first: code i lies in bytes 0 … i of its place. */
function emitUnpackCodes(b: Binaryen, m: Builder): void {
  const [address, i, bits, base, step] = [0, 1, 2, 3, 4].map((n) => () => m.local.get(n, b.i32)) as [
    () => number,
    () => number,
    () => number,
    () => number,
    () => number,
  ];
  const one = () => m.i32.const(1);
  const at = 5;
  const word = m.i32.load16_u(
    0,
    1,
    m.i32.add(address(), m.i32.shr_u(m.local.tee(at, m.i32.mul(i(), bits()), b.i32), m.i32.const(3))),
  );
  const code = m.i32.and(
    m.i32.shr_u(word, m.i32.and(m.local.get(at, b.i32), m.i32.const(7))),
    m.i32.sub(m.i32.shl(one(), bits()), one()),
  );
  const put = m.i32.store8(0, 1, m.i32.add(address(), i()), m.i32.add(base(), m.i32.mul(step(), code)));
  m.addFunction(
    "unpack",
    b.createType([b.i32, b.i32, b.i32, b.i32, b.i32]),
    b.none,
    [b.i32],
    m.loop(
      "next",
      m.block(null, [
        m.local.set(1, m.i32.sub(i(), one())),
        put,
        m.br("next", m.i32.gt_s(i(), m.i32.const(0))),
      ]),
    ),
  );
}

/** From the last byte to the first: what is left to read lies in front of what is written. */
function emitPad(b: Binaryen, m: Builder): void {
  const local = (n: number) => (): number => m.local.get(n, b.i32);
  const [address, i, left, used] = [local(0), local(1), local(2), local(4)];
  const bit = m.i64.shr_u(m.local.get(3, b.i64), m.i64.extend_u(m.i32.and(i(), m.i32.const(PERIOD - 1))));
  const value = m.i32.mul(used(), m.i32.load8_u(0, 1, m.i32.add(address(), left())));
  m.addFunction(
    "pad",
    b.createType([b.i32, b.i32, b.i32, b.i64]),
    b.none,
    [b.i32],
    m.loop(
      "next",
      m.block(null, [
        m.local.set(1, m.i32.sub(i(), m.i32.const(1))),
        m.local.set(4, m.i32.and(m.i32.wrap(bit), m.i32.const(1))),
        m.local.set(2, m.i32.sub(left(), used())),
        m.i32.store8(0, 1, m.i32.add(address(), i()), value),
        m.br("next", m.i32.gt_s(i(), m.i32.const(0))),
      ]),
    ),
  );
}

/** Byte j, counted from the last one, goes to element j mod count. */
function emitJoin(b: Binaryen, m: Builder): void {
  const local = (n: number) => (): number => m.local.get(n, b.i32);
  const [address, j, count, size, from] = [local(0), local(1), local(2), local(3), local(4)];
  const element = m.i32.mul(m.i32.rem_u(j(), count()), size());
  const to = m.i32.add(m.i32.add(address(), element), m.i32.div_u(j(), count()));
  m.addFunction(
    "join",
    b.createType([b.i32, b.i32, b.i32, b.i32, b.i32]),
    b.none,
    [],
    m.loop(
      "next",
      m.block(null, [
        m.local.set(1, m.i32.sub(j(), m.i32.const(1))),
        m.i32.store8(0, 1, to, m.i32.load8_u(0, 1, m.i32.add(from(), j()))),
        m.br("next", m.i32.gt_s(j(), m.i32.const(0))),
      ]),
    ),
  );
}
