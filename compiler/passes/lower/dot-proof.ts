/**
 * On which engines a kernel's relaxed dot products are exact. `i32x4.relaxed_dot_i8x16_i7x16_add_s` is specified for second operands
 * of 0 … 127; for the rest engines differ in sign and in how they add two neighbouring products.
 */
import type { Buffer, Expr, Kernel, Stmt } from "../../ir/kernel/ir.ts";
import { attr } from "../../ir/op.ts";
import { type IntType, intMax, intMin } from "../../ir/types.ts";
import type { Stage } from "./stage.ts";

/**
 * `u8s8`: the second operand is unsigned. `s8s8`: it is signed, and sums of two products wrap at 16 bits, as before V8 on ARM
 * optimizes. `pairs16`: it is unsigned, and sums of two products saturate at 16 bits.
 */
export const BEHAVIOURS = ["u8s8", "s8s8", "pairs16"] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];

/** `any`: whatever the engine does. */
export type Exactness = "any" | readonly Behaviour[];

export interface Range {
  readonly lo: number;
  readonly hi: number;
}

/** Neighbouring weights that are multiplied together, without those that another pair outdoes. */
type Pairs = readonly (readonly [number, number])[];

const EVERY_PAIR: Pairs = [-128, 127].flatMap((a) => [-128, 127].map((b) => [a, b] as const));
const FULL: { readonly [op: string]: Range } = {
  "dot4_s8u8.i32x4": { lo: 0, hi: 255 },
  "dot4_s8s8.i32x4": { lo: -128, hi: 127 },
};

export function both(a: Exactness, b: Exactness): Exactness {
  if (a === "any") return b;
  return b === "any" ? a : a.filter((x) => b.includes(x));
}

/** Of one dot product: what its pairs of weights and second operands in `x` allow. */
export function exactnessOf(op: string, weights: Pairs, x: Range): Exactness {
  if (x.lo >= 0 && x.hi <= 127) return "any";
  // Padding may be 0.
  const [lo, hi] = [Math.min(x.lo, 0), Math.max(x.hi, 0)];
  const most = (w: number): number => Math.max(w * lo, w * hi);
  const least = (w: number): number => Math.min(w * lo, w * hi);
  const short = weights.every(([a, b]) => most(a) + most(b) <= 32767 && least(a) + least(b) >= -32768);
  if (op === "dot4_s8s8.i32x4") return short ? ["s8s8"] : [];
  return short ? ["u8s8", "pairs16"] : ["u8s8"];
}

/** Every value a name is given, everything that is stored in a buffer, and every dot product. */
function gather(body: readonly Stmt[]) {
  const values = new Map<string, Expr[]>();
  const stored = new Map<string, (Expr | { readonly from: string } | number)[]>();
  const dots: (Expr & { readonly k: "op" })[] = [];
  const put = <T>(map: Map<string, T[]>, name: string, x: T): void => {
    const list = map.get(name);
    if (list) list.push(x);
    else map.set(name, [x]);
  };
  const expr = (e: Expr): void => {
    if (e.k === "load") expr(e.addr);
    if (e.k !== "op") return;
    if (e.op in FULL) dots.push(e);
    e.args.forEach(expr);
  };
  const stmt = (s: Stmt): void => {
    if ("value" in s) expr(s.value);
    if (s.k === "let" || s.k === "var" || s.k === "set") put(values, s.name, s.value);
    if (s.k === "store") put(stored, s.buf, s.value);
    if (s.k === "copy") put(stored, s.to, { from: s.from });
    if (s.k === "fill") put(stored, s.buf, s.byte);
    if (s.k === "for") s.body.forEach(stmt);
    if (s.k === "if") for (const block of [s.then, s.else]) block.forEach(stmt);
  };
  body.forEach(stmt);
  return { values, stored, dots };
}

/**
 * K-groups are whole in memory: pairs start at even bytes. Of the pairs with the same first weight, the least and the greatest
 * second one outdo the rest.
 */
function pairsIn(data: Uint8Array): Pairs {
  const bytes = signedBytes(data);
  const least = new Int16Array(256).fill(128);
  const greatest = new Int16Array(256).fill(-129);
  for (let i = 0; i + 1 < bytes.length; i += 2) {
    const a = data[i]!;
    const b = bytes[i + 1]!;
    if (b < least[a]!) least[a] = b;
    if (b > greatest[a]!) greatest[a] = b;
  }
  const pairs: (readonly [number, number])[] = [];
  for (let a = 0; a < 256; a++)
    if (least[a]! <= greatest[a]!) {
      const first = a < 128 ? a : a - 256;
      pairs.push([first, least[a]!], [first, greatest[a]!]);
    }
  return pairs;
}

const signedBytes = (data: Uint8Array): Int8Array => new Int8Array(data.buffer, data.byteOffset, data.length);

const join = (a: Range, b: Range): Range => ({ lo: Math.min(a.lo, b.lo), hi: Math.max(a.hi, b.hi) });
const ZERO: Range = { lo: 0, hi: 0 };

/** Of the bytes and 0. */
function extremes(bytes: Int8Array): Range {
  let lo = 0;
  let hi = 0;
  for (let i = 0; i < bytes.length; i++) {
    const b = bytes[i]!;
    if (b < lo) lo = b;
    if (b > hi) hi = b;
  }
  return { lo, hi };
}

/** Whether an op puts bytes of its operands elsewhere, or zeros, and does nothing else. */
function movesBytes(e: Expr & { readonly k: "op" }, resolve: (e: Expr) => Expr): boolean {
  if (e.op.startsWith("shuffle.")) return true;
  if (e.op.startsWith("shl.") || e.op.startsWith("shr_u.")) return e.imm[0]! % 8 === 0;
  if (e.op !== "or.i32x4") return false;
  // Halves of a rotation do not overlap.
  const [a, b] = e.args.map(resolve) as [Expr, Expr];
  const bits = (x: Expr, name: string): number => (x.k === "op" && x.op === name ? x.imm[0]! : -64);
  return bits(a, "shl.i32x4") + bits(b, "shr_u.i32x4") === 32;
}

/**
 * Of all dot products of a kernel. Weights are what lies in constants, second operands have the range of the tensor they come
 * from, joined with the value it is padded with; both are followed through copies in scratch memory. What cannot be followed may
 * be anything.
 */
export function exactness(kernel: Kernel, buffers: readonly Buffer[], stage: Stage | undefined): Exactness {
  const { values, stored, dots } = gather(kernel.body);
  if (dots.length === 0) return "any";
  const inputs = inputRanges(stage);
  const resolve = (e: Expr): Expr => {
    const all = e.k === "var" ? values.get(e.name) : undefined;
    return all?.length === 1 ? resolve(all[0]!) : e;
  };
  const known = new Map<string, Range | undefined>();
  /** What a byte of a buffer can be; of the tensors among them as their types say. */
  const bytesIn = (name: string): Range | undefined => {
    if (known.has(name)) return known.get(name);
    const data = buffers.find((b) => b.name === name)?.data;
    let range = inputs.get(name);
    if (data) range = extremes(signedBytes(data));
    else if (
      range === undefined &&
      stored.has(name) &&
      buffers.some((b) => b.name === name && b.role === "temp")
    ) {
      // What it stores in itself adds nothing.
      known.set(name, ZERO);
      const parts = stored
        .get(name)!
        .map((x) => (typeof x === "number" ? { lo: x, hi: x } : "from" in x ? bytesIn(x.from) : bytesOf(x)));
      range = parts.every((p) => p !== undefined) ? parts.reduce(join, ZERO) : undefined;
    }
    known.set(name, range);
    return range;
  };
  const bytesOf = (e: Expr): Range | undefined => {
    if (e.k === "load") return bytesIn(e.buf);
    if (e.k === "const") return e.value === 0 ? ZERO : undefined;
    const parts = e.k === "var" ? (values.get(e.name) ?? []) : movesBytes(e, resolve) ? e.args : undefined;
    const ranges = parts?.map(bytesOf);
    return ranges?.every((r) => r !== undefined) ? ranges.reduce(join, ZERO) : undefined;
  };
  const direct = new Map<Uint8Array, Pairs>();
  /** Of weights read where they lie the pairs themselves, else what their bytes can make. */
  const pairsOf = (w: Expr): Pairs => {
    const all = w.k === "var" ? (values.get(w.name) ?? []) : [w];
    const data = all.map((e) =>
      e.k === "load" && e.offset % 2 === 0 ? buffers.find((b) => b.name === e.buf)?.data : undefined,
    );
    if (data.every((d) => d !== undefined)) {
      const lists = [...new Set(data)].map((d) => {
        const pairs = direct.get(d) ?? pairsIn(d);
        direct.set(d, pairs);
        return pairs;
      });
      return lists.length === 1 ? lists[0]! : lists.flat();
    }
    const range = bytesOf(w);
    if (range === undefined) return EVERY_PAIR;
    const ends = [range.lo, range.hi].map((x) => Math.min(Math.max(x, -128), 127));
    return range.lo < -128 || range.hi > 127
      ? EVERY_PAIR
      : ends.flatMap((a) => ends.map((b) => [a, b] as const));
  };
  let all: Exactness = "any";
  const seen = new Set<string>();
  const judged = new Map<Pairs, Set<string>>();
  for (const { op, args } of dots) {
    const key = `${op} ${name(args[1]!)} ${name(args[2]!)}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const x = bytesOf(args[2]!);
    const full = FULL[op]!;
    const fits = x !== undefined && x.lo >= full.lo && x.hi <= full.hi;
    if (fits && x.lo >= 0 && x.hi <= 127) continue;
    const range = fits ? x : full;
    const pairs = pairsOf(args[1]!);
    const before = judged.get(pairs) ?? new Set();
    const question = `${op} ${range.lo} ${range.hi}`;
    if (!before.has(question)) all = both(all, exactnessOf(op, pairs, range));
    judged.set(pairs, before.add(question));
  }
  return all;
}

/** Equal names, equal operands. */
const name = (e: Expr): string => (e.k === "load" ? `@${e.buf} ${e.offset % 2}` : JSON.stringify(e));

/** What the tensors a stage reads can hold, padding included, by buffer. */
function inputRanges(stage: Stage | undefined): Map<string, Range> {
  const ranges = new Map<string, Range>();
  stage?.func.params.forEach((p, i) => {
    const elem = p.value.type.elem as IntType;
    const { buffer } = stage.inputs[i]!;
    const pad = stage.func.ops.flatMap((o) =>
      "pad_value" in o.attrs && o.operands[0] === p.value ? [attr<number>(o, "pad_value")] : [],
    );
    const range = { lo: Math.min(intMin(elem), ...pad), hi: Math.max(intMax(elem), ...pad) };
    const before = ranges.get(buffer);
    ranges.set(buffer, before ? join(before, range) : range);
  });
  return ranges;
}
