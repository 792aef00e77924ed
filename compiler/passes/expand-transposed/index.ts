/**
 * Transposed convolutions become convolutions of stride 1: one channel of result per output channel and phase, which a shuffle of
 * pixels puts in place. What follows element by element is done before the shuffle, on fewer bytes and in registers.
 */
import type { FuncBuilder } from "../../ir/builder.ts";
import { allocate } from "../../ir/dense.ts";
import { type Diagnostic, fail, ok } from "../../ir/diagnostics.ts";
import { accumulatorTooWide } from "../../ir/messages-quant.ts";
import {
  type Attrs,
  type Dense,
  definitions,
  type Func,
  type Op,
  uses,
  type Value,
} from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { definePass } from "../../ir/pass.ts";
import { mul, type Rational, rational, sub, ZERO } from "../../ir/rational.ts";
import { dce, rebuild } from "../../ir/rewriter.ts";
import { I32, intMax, intMin, intTypeFor, type TensorType, tensor } from "../../ir/types.ts";
import { type AxisWindow, apart, type Correlation, type Tap, tapsOf, together } from "./phases.ts";

type Pair<T> = readonly [T, T];

/** Phases that one convolution computes: their taps by row and by column. */
interface Part {
  readonly rows: readonly (readonly Tap[])[];
  readonly columns: readonly (readonly Tap[])[];
  readonly windows: Pair<Correlation>;
}

/** One part with all phases, and the rows and columns of its shuffled result before the first; or a part per phase, row by row. */
type Plan =
  | { readonly kind: "together"; readonly part: Part; readonly crops: Pair<number> }
  | { readonly kind: "apart"; readonly parts: readonly Part[]; readonly strides: Pair<number> };

/** Phases that get a kernel each at most. */
const MOST_PARTS = 16;
/** Output channels from which a kernel per phase is faster, measured: than one without, and one with taps that phases lack. */
const FULL = { even: 16, ragged: 8 } as const;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/**
 * A convolution per phase, each with its own taps, writes its pixels in place; one for all, with taps that some phases lack, has to
 * be shuffled, but makes vectors of few channels.
 */
function planOf([v, h]: Pair<AxisWindow>, outputs: number, groups: number): Plan {
  const phases = v.stride * h.stride;
  const [down, across] = [together(v), together(h)];
  const even = phases * down.window.taps * across.window.taps <= v.kernel * h.kernel;
  // Groups would have to be shuffled as well.
  const few = groups === 1 && outputs < FULL[even ? "even" : "ragged"];
  if (phases === 1 || phases > MOST_PARTS || few) {
    const rows = range(v.stride).map((r) => tapsOf(v, down.crop, r));
    const columns = range(h.stride).map((r) => tapsOf(h, across.crop, r));
    const part = { rows, columns, windows: [down.window, across.window] } as const;
    return { kind: "together", part, crops: [down.crop, across.crop] };
  }
  const [rows, columns] = [apart(v), apart(h)];
  const parts = rows.flatMap((a) =>
    columns.map((b): Part => ({ rows: [a.taps], columns: [b.taps], windows: [a.window, b.window] })),
  );
  return { kind: "apart", parts, strides: [rows.length, columns.length] };
}

/** Weights `[O, KH, KW, C/groups]` of the convolution of a part, its output channels by group, row phase, column phase. */
function weightsOf(w: Dense, { rows, columns, windows }: Part, groups: number): Dense {
  const [outputs, kh, kw, inputs] = w.shape as [number, number, number, number];
  const [v, h] = windows;
  const shape = [outputs * rows.length * columns.length, v.taps, h.taps, inputs];
  const data = allocate(
    w.elem,
    shape.reduce((a, b) => a * b, 1),
  );
  const perGroup = outputs / groups;
  const place = (win: Correlation, t: Tap): number => (win.pad - t.e) / win.dilation;
  let row = 0;
  for (let g = 0; g < groups; g++)
    for (const down of rows)
      for (const across of columns)
        for (let j = 0; j < perGroup; j++, row++)
          for (const a of down)
            for (const b of across) {
              const from = (((g * perGroup + j) * kh + a.k) * kw + b.k) * inputs;
              const to = ((row * v.taps + place(v, a)) * h.taps + place(h, b)) * inputs;
              for (let c = 0; c < inputs; c++) data[to + c] = w.data[from + c]!;
            }
  return { kind: "dense", elem: w.elem, shape, data };
}

/** Per output: Σ w; and the integers that Σ w·x reaches for x of a type, over all outputs. */
function sumsOf({ shape, data }: Dense, x: TensorType, padding: number) {
  const size = data.length / shape[0]!;
  if (x.elem.kind !== "int") throw new Error("integers are convolved");
  const [lo, hi] = [Math.min(intMin(x.elem), padding), Math.max(intMax(x.elem), padding)];
  let [min, max] = [-1, 0];
  const sums = range(shape[0]!).map((o) => {
    let [sum, least, most] = [0, 0, 0];
    for (let i = o * size; i < (o + 1) * size; i++) {
      const v = data[i]!;
      sum += v;
      least += v * (v > 0 ? lo : hi);
      most += v * (v > 0 ? hi : lo);
    }
    [min, max] = [Math.min(min, least), Math.max(max, most)];
    return sum;
  });
  return { sums, min, max };
}

/** R(S·(Σ w·(x − zero)) + B) on raw products: the offset takes −S·zero·Σw. `channel`: of the requantization, per output. */
function rawRequant(
  attrs: Attrs,
  zero: number,
  sums: readonly number[],
  channel: (o: number) => number,
): Attrs {
  const [scales] = attrs.scales as readonly (readonly Rational[])[];
  const offset = attrs.offset as readonly Rational[];
  const pick = (list: readonly Rational[], o: number): Rational =>
    list.length === 1 ? list[0]! : list[channel(o)]!;
  const spread = (list: readonly Rational[]): readonly Rational[] =>
    list.length === 1 ? list : sums.map((_, o) => pick(list, o));
  return {
    ...attrs,
    axis: 3,
    scales: [spread(scales!)],
    offset:
      zero === 0
        ? spread(offset)
        : sums.map((s, o) => sub(pick(offset, o), mul(pick(scales!, o), rational(BigInt(zero * s))))),
  };
}

/** Ops that work on each element by itself and can be done before a shuffle of pixels, if they follow the last axis. */
const elementwise: ReadonlySet<string> = new Set(["qc.requant", "qc.clamp", "qc.table"]);

function followers(func: Func, op: Op, users: ReadonlyMap<Value, readonly Op[]>): Op[] {
  const results = new Set(func.results.map((r) => r.value));
  const chain: Op[] = [];
  for (let v = op.results[0]!; !results.has(v); v = chain.at(-1)!.results[0]!) {
    const [next, ...more] = users.get(v) ?? [];
    if (next === undefined || more.length > 0 || next.operands.length !== 1 || !elementwise.has(next.name))
      break;
    const lists = [
      ...((next.attrs.scales ?? []) as readonly Rational[][]),
      (next.attrs.offset ?? []) as Rational[],
    ];
    if (next.name === "qc.requant" && next.attrs.axis !== 3 && lists.some((l) => l.length > 1)) break;
    chain.push(next);
  }
  return chain;
}

/** The identity, as a requantization. */
const identity = (type: TensorType): Attrs => {
  if (type.elem.kind !== "int") throw new Error("integers are convolved");
  return {
    axis: 3,
    scales: [[rational(1n)]],
    offset: [ZERO],
    zero_point: ZERO,
    lo: intMin(type.elem),
    hi: intMax(type.elem),
    rounding: "half_even",
    order: "round_then_shift",
  };
};

/** The rows and columns of x that a window begins and ends with, where it does not reach all of them. */
function cut(b: FuncBuilder, x: Value, windows: Pair<Correlation>): Value {
  if (windows.every((w) => w.pad >= 0 && w.end >= 0)) return x;
  const sizes = x.type.shape.slice(1, 3);
  return b.add1("layout.slice", [x], {
    axes: [1, 2],
    starts: windows.map((w) => Math.max(0, -w.pad)),
    ends: windows.map((w, i) => sizes[i]! + Math.min(0, w.end)),
    steps: [1, 1],
  });
}

/** The convolution of a part and what follows it; a diagnostic if its raw products leave 32 bits. */
function emitPart(
  b: FuncBuilder,
  op: Op,
  x: Value,
  w: Dense,
  part: Part,
  chain: readonly Op[],
): Value | Diagnostic {
  const groups = attr<number>(op, "groups");
  const zero = attr<number>(op, "zero");
  const weights = weightsOf(w, part, groups);
  const [v, h] = part.windows;
  const pads = [v.pad, h.pad, v.end, h.end].map((p) => Math.max(0, p));
  const { sums, min, max } = sumsOf(weights, x.type, zero);
  const elem = intTypeFor(min, max);
  if (elem === undefined) return accumulatorTooWide(op, min, max);
  const outputs = weights.shape[0]!;
  const at = { loc: op.loc };
  const constant = b.add1("const", [], { value: weights }, { types: [tensor(weights.shape, w.elem)] });
  const shape = [x.type.shape[0]!, v.positions, h.positions, outputs];
  let y = b.add1(
    "qc.conv",
    [cut(b, x, part.windows), constant],
    {
      strides: [1, 1],
      pads,
      dilations: [v.dilation, h.dilation],
      groups,
      pad_value: pads.some((p) => p > 0) ? zero : 0,
    },
    { ...at, names: [op.results[0]!.name], types: [tensor(shape, elem)] },
  );
  const perGroup = w.shape[0]! / groups;
  const channel = (o: number): number => Math.floor(o / (outputs / groups)) * perGroup + (o % perGroup);
  const first = chain[0]?.name === "qc.requant" ? chain[0] : undefined;
  const shifted = zero !== 0 && sums.some((s) => s !== 0);
  if (first === undefined && shifted)
    y = b.add1("qc.requant", [y], rawRequant(identity(op.results[0]!.type), zero, sums, channel), {
      ...at,
      types: [{ ...op.results[0]!.type, shape }],
    });
  for (const next of chain) {
    const result = next.results[0]!;
    const raw = next === first ? zero : 0;
    const attrs = next.name === "qc.requant" ? rawRequant(next.attrs, raw, sums, channel) : next.attrs;
    y = b.add1(next.name, [y], attrs, {
      loc: next.loc,
      names: [result.name],
      types: [{ ...result.type, shape }],
    });
  }
  return y;
}

/** [N, M, M′, (group, row phase, column phase, channel)] → the pixels of the result. */
function shuffle(
  b: FuncBuilder,
  y: Value,
  op: Op,
  strides: Pair<number>,
  crops: Pair<number>,
  groups: number,
): Value {
  const [n, height, width, outputs] = op.results[0]!.type.shape as [number, number, number, number];
  const [, rows, columns] = y.type.shape as [number, number, number];
  const [sh, sw] = strides;
  let v = y;
  if (sh > 1 || (sw > 1 && groups > 1)) {
    const apart = [n, rows, columns, groups, sh, sw, outputs / groups];
    v = b.add1("layout.reshape", [v], { shape: groups === 1 ? apart.toSpliced(3, 1) : apart });
    const perm = groups === 1 ? [0, 1, 3, 2, 4, 5] : [0, 1, 4, 2, 5, 3, 6];
    v = b.add1("layout.transpose", [v], { perm });
  }
  const whole = [n, rows * sh, columns * sw, outputs];
  if (v.type.shape.join() !== whole.join()) v = b.add1("layout.reshape", [v], { shape: whole });
  if (whole[1] === height && whole[2] === width) return v;
  const ends = [crops[0] + height, crops[1] + width];
  return b.add1("layout.slice", [v], { axes: [1, 2], starts: crops, ends, steps: [1, 1] });
}

function expand(func: Func): { readonly func: Func; readonly diagnostics: readonly Diagnostic[] } {
  if (!func.ops.some((op) => op.name === "qc.conv_transpose")) return { func, diagnostics: [] };
  const users = uses(func);
  const made = definitions(func);
  const diagnostics: Diagnostic[] = [];
  const done = new Set<Op>();
  const rewritten = rebuild(func, (op, operands, b) => {
    if (done.has(op)) return [operands[0]!];
    if (op.name !== "qc.conv_transpose") return undefined;
    const weights = made.get(op.operands[1]!);
    if (weights?.name !== "const") throw new Error("convolution weights must be constant");
    const w = attr<Dense>(weights, "value");
    const [x] = operands as [Value];
    const [strides, dilations, pads] = ["strides", "dilations", "pads"].map((a) =>
      attr<readonly number[]>(op, a),
    ) as [readonly number[], readonly number[], readonly number[]];
    const axis = (i: 0 | 1): AxisWindow => ({
      size: x.type.shape[i + 1]!,
      out: op.results[0]!.type.shape[i + 1]!,
      kernel: w.shape[i + 1]!,
      stride: strides[i]!,
      dilation: dilations[i]!,
      pad: pads[i]!,
    });
    const groups = attr<number>(op, "groups");
    const plan = planOf([axis(0), axis(1)], w.shape[0]!, groups);
    const parts = plan.kind === "apart" ? plan.parts : [plan.part];
    const chain = followers(func, op, users);
    const values: Value[] = [];
    for (const part of parts) {
      const y = emitPart(b, op, x, w, part, chain);
      if ("type" in y) values.push(y);
      else diagnostics.push(y);
    }
    if (values.length < parts.length)
      return [
        b.add1("const", [], { value: { kind: "dense", elem: I32, shape: [], data: new Int32Array(1) } }),
      ];
    for (const o of chain) done.add(o);
    if (plan.kind === "together")
      return [shuffle(b, values[0]!, op, [strides[0]!, strides[1]!], plan.crops, groups)];
    if (values.length === 1) return values;
    const size = [1, 2].map((a) => op.results[0]!.type.shape[a]!);
    return [b.add1("layout.interleave", values, { strides: plan.strides, size })];
  });
  return { func: dce(rewritten), diagnostics };
}

export const expandTransposed = definePass({
  name: "expand-transposed",
  summary:
    "Turn transposed convolutions into convolutions of stride 1 and a shuffle of pixels behind what follows them.",
  run: (module) => {
    const done = module.funcs.map(expand);
    const diagnostics = done.flatMap((d) => d.diagnostics);
    return diagnostics.length > 0 ? fail(...diagnostics) : ok({ funcs: done.map((d) => d.func) });
  },
});
