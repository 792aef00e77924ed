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

/** Every value a name is given, and every dot product. */
function gather(body: readonly Stmt[]) {
  const values = new Map<string, Expr[]>();
  const dots: (Expr & { readonly k: "op" })[] = [];
  const expr = (e: Expr): void => {
    if (e.k === "load") expr(e.addr);
    if (e.k !== "op") return;
    if (e.op in FULL) dots.push(e);
    e.args.forEach(expr);
  };
  const stmt = (s: Stmt): void => {
    if ("value" in s) expr(s.value);
    if (s.k === "let" || s.k === "var" || s.k === "set")
      values.set(s.name, [...(values.get(s.name) ?? []), s.value]);
    if (s.k === "for") s.body.forEach(stmt);
    if (s.k === "if")
      [s.then, s.else].forEach((block) => {
        block.forEach(stmt);
      });
  };
  body.forEach(stmt);
  return { values, dots };
}

/** K-groups are whole in memory: pairs start at even bytes. */
function pairsIn(data: Uint8Array): Pairs {
  const seen = new Map<number, readonly [number, number]>();
  const bytes = new Int8Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i + 1 < bytes.length; i += 2) {
    const key = data[i]! * 256 + data[i + 1]!;
    if (!seen.has(key)) seen.set(key, [bytes[i]!, bytes[i + 1]!]);
  }
  return [...seen.values()];
}

/**
 * Of all dot products of a kernel. Weights are what lies in constants; second operands have the range of the tensor they are
 * loaded from, joined with the value it is padded with. What cannot be followed may be anything.
 */
export function exactness(kernel: Kernel, buffers: readonly Buffer[], stage: Stage | undefined): Exactness {
  const { values, dots } = gather(kernel.body);
  const found = new Map<string, Exactness>();
  const loads = (e: Expr, through: boolean): readonly (Expr & { readonly k: "load" })[] | undefined => {
    const list = (of: readonly Expr[]) => {
      const parts = of.map((x) => loads(x, through));
      return parts.every((p) => p !== undefined) ? parts.flat() : undefined;
    };
    if (e.k === "load") return [e];
    if (e.k === "var") return list(values.get(e.name) ?? [{ k: "const", type: "i32", value: 0 }]);
    return through && e.k === "op" && e.op.startsWith("shuffle.") ? list(e.args) : undefined;
  };
  const pairs = new Map<string, Pairs>();
  const weightsOf = (w: Expr): readonly string[] | undefined => {
    const from = loads(w, false);
    const names = from?.map((l) => l.buf) ?? [];
    for (const name of names) {
      const data = buffers.find((b) => b.name === name)?.data;
      if (data === undefined) return undefined;
      if (!pairs.has(name)) pairs.set(name, pairsIn(data));
    }
    return from?.every((l) => l.offset % 2 === 0) ? [...new Set(names)] : undefined;
  };
  const ranges = new Map<string, Range>();
  stage?.func.params.forEach((p, i) => {
    const elem = p.value.type.elem as IntType;
    const name = stage.inputs[i]!.buffer;
    const pad = stage.func.ops.flatMap((o) =>
      "pad_value" in o.attrs && o.operands[0] === p.value ? [attr<number>(o, "pad_value")] : [],
    );
    const known = ranges.get(name);
    const all = [intMin(elem), intMax(elem), ...pad, ...(known ? [known.lo, known.hi] : [])];
    ranges.set(name, { lo: Math.min(...all), hi: Math.max(...all) });
  });
  for (const { op, args } of dots) {
    const weights = weightsOf(args[1]!);
    const sources = loads(args[2]!, true)?.map((l) => ranges.get(l.buf));
    const x = sources?.every((r) => r !== undefined)
      ? { lo: Math.min(...sources.map((r) => r.lo)), hi: Math.max(...sources.map((r) => r.hi)) }
      : FULL[op]!;
    const key = JSON.stringify([op, weights ?? null, x]);
    if (!found.has(key))
      found.set(key, exactnessOf(op, weights?.flatMap((name) => pairs.get(name)!) ?? EVERY_PAIR, x));
  }
  return [...found.values()].reduce(both, "any" as Exactness);
}
