/** Rebuilds a function with only the channels that exist. */
import type { FuncBuilder } from "../../ir/builder.ts";
import { allocate } from "../../ir/dense.ts";
import type { Attr, Attrs, Dense, Func, Op, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { rangeAt } from "../../ir/ranges.ts";
import { add, mul, type Rational, rational, sub } from "../../ir/rational.ts";
import { dce, rebuild } from "../../ir/rewriter.ts";
import { intTypeFor, type TensorType } from "../../ir/types.ts";
import { type Demand, finishes } from "./demand.ts";
import { type Linear, tapSum } from "./linear.ts";
import { channelsOf, slicedChannels } from "./relation.ts";

const integer = (n: number): Rational => rational(BigInt(n));
const whole = (d: Demand, v: Value): boolean => d.kept(v).length === channelsOf(v);

/** The type with `n` channels. */
const withChannels = (t: TensorType, n: number): TensorType =>
  t.shape.length === 0 ? t : { ...t, shape: [...t.shape.slice(0, -1), n] };

/** What an accumulator's kept channels lost: new = old − shift. Old channel numbers. */
type Shifts = ReadonlyMap<Value, readonly number[]>;

/** The integers a removed constant input contributed to each output that is read. */
function shiftOf(d: Demand, op: Op, l: Linear): number[] {
  const [x] = op.operands;
  const y = op.results[0]!;
  const shift = new Array<number>(l.outputs).fill(0);
  if (l.depthwise) return shift;
  const present = new Set(d.kept(x!));
  for (let i = 0; i < l.inputs; i++) {
    const k = present.has(i) ? undefined : d.constant(x!, i);
    if (k === undefined) continue;
    for (let o = 0; o < l.outputs; o++)
      if (d.read(y, o)) shift[o] = shift[o]! + tapSum(l, o, i) * (k - l.inputZero);
  }
  return shift;
}

/** The weights between kept channels; an accumulator channel that nobody reads multiplies nothing. */
function weightsOf(d: Demand, op: Op, l: Linear): Dense {
  const y = op.results[0]!;
  const outs = d.kept(y);
  const ins = l.depthwise ? [0] : d.kept(op.operands[0]!);
  const clear = d.absorbing(y);
  const matrix = op.name === "qc.matmul";
  const data = allocate(l.weights.elem, outs.length * l.taps * ins.length);
  outs.forEach((o, a) => {
    for (let t = 0; t < l.taps; t++)
      ins.forEach((i, b) => {
        const to = matrix ? b * outs.length + a : (a * l.taps + t) * ins.length + b;
        data[to] = clear && !d.read(y, o) ? l.zero : l.weights.data[l.index(o, t, i)]!;
      });
  });
  const [, kh, kw] = l.weights.shape;
  const shape = matrix ? [ins.length, outs.length] : [outs.length, kh!, kw!, ins.length];
  return { kind: "dense", elem: l.weights.elem, shape, data };
}

function rewriteLinear(
  d: Demand,
  op: Op,
  l: Linear,
  [x, w]: readonly Value[],
  b: FuncBuilder,
  shift: readonly number[],
) {
  const y = op.results[0]!;
  const kept = d.kept(y);
  const unread = d.absorbing(y) && kept.some((c) => !d.read(y, c));
  if (whole(d, y) && whole(d, op.operands[0]!) && !unread) return undefined;
  const dense = weightsOf(d, op, l);
  const weights = b.add1(
    "const",
    [],
    { value: dense },
    { types: [{ shape: dense.shape, elem: dense.elem }], names: [w!.name] },
  );
  // Accumulators stay signed.
  let [lo, hi] = [-1, 0];
  for (const c of kept) {
    const { min, max } = rangeAt(d.ranges.of(y), c);
    if (d.absorbing(y) && !d.read(y, c)) continue;
    lo = Math.min(lo, min - shift[c]!);
    hi = Math.max(hi, max - shift[c]!);
  }
  const elem = shift.every((s) => s === 0) ? y.type.elem : intTypeFor(lo, hi)!;
  const type = { ...withChannels(y.type, kept.length), elem };
  const groups = l.depthwise ? { groups: d.kept(op.operands[0]!).length } : {};
  return [
    b.add1(
      op.name,
      [x!, weights],
      { ...op.attrs, ...groups },
      { loc: op.loc, names: [y.name], types: [type] },
    ),
  ];
}

/** A list of one entry, or per channel of the result: for the kept channels. */
const subset = <T>(list: readonly T[], kept: readonly number[]): readonly T[] =>
  list.length === 1 ? list : kept.map((c) => list[c]!);

/** Requants lose channels, absorb the shifts of their operands, and state the constants of channels nobody computes. */
function rewriteRequant(d: Demand, op: Op, operands: readonly Value[], b: FuncBuilder, shifts: Shifts) {
  const y = op.results[0]!;
  const kept = d.kept(y);
  const last = y.type.shape.length - 1;
  const final = finishes(op, d.absorbing);
  const hidden = (c: number): boolean => final && !d.read(op.operands[0]!, c);
  const shiftAt = (v: Value, c: number): number => shifts.get(v)?.[c] ?? 0;
  const moved = kept.some((c) => hidden(c) || op.operands.some((v) => shiftAt(v, c) !== 0));
  if (whole(d, y) && !moved) return undefined;
  const lists = attr<readonly (readonly Rational[])[]>(op, "scales");
  const offsets = attr<readonly Rational[]>(op, "offset");
  const z = attr<Rational>(op, "zero_point");
  const onLast = moved || attr<number>(op, "axis") === last;
  const pick = <T>(list: readonly T[], c: number): T => (list.length === 1 ? list[0]! : list[c]!);
  const offsetAt = (c: number): Rational => {
    if (hidden(c)) return sub(integer(rangeAt(d.ranges.of(y), c).min), z);
    return op.operands.reduce(
      (sum, v, i) => {
        const s = shiftAt(v, c);
        return s === 0 ? sum : add(sum, mul(pick(lists[i]!, c), integer(s)));
      },
      pick(offsets, c),
    );
  };
  const attrs: Attrs = {
    ...op.attrs,
    axis: moved ? last : op.attrs.axis!,
    scales: onLast ? lists.map((l) => subset(l, kept)) : lists,
    offset: moved ? kept.map(offsetAt) : onLast ? subset(offsets, kept) : offsets,
  };
  return [
    b.add1(op.name, operands, attrs, {
      loc: op.loc,
      names: [y.name],
      types: [withChannels(y.type, kept.length)],
    }),
  ];
}

/** A slice or gather of channels, on those that are left. */
function rewritePick(
  d: Demand,
  op: Op,
  x: Value,
  picks: readonly number[],
  b: FuncBuilder,
): readonly Value[] {
  const y = op.results[0]!;
  const position = new Map(d.kept(op.operands[0]!).map((c, i) => [c, i]));
  const indices = d.kept(y).map((c) => position.get(picks[c]!)!);
  const last = x.type.shape.length - 1;
  const options = { loc: op.loc, names: [y.name] };
  const gathered = (v: Value) => [b.add1("layout.gather", [v], { axis: last, indices }, options)];
  if (op.name === "layout.gather") return gathered(x);
  const list = (key: string): number[] => [...attr<readonly number[]>(op, key)];
  const [starts, ends, steps, axes] = [list("starts"), list("ends"), list("steps"), list("axes")];
  const i = axes.indexOf(last);
  const run = indices.every((c, j) => c === indices[0]! + j);
  if (!run && axes.length === 1) return gathered(x);
  starts[i] = run ? indices[0]! : 0;
  ends[i] = run ? indices.at(-1)! + 1 : x.type.shape[last]!;
  steps[i] = 1;
  const attrs = { starts, ends, steps, axes };
  return run
    ? [b.add1("layout.slice", [x], attrs, options)]
    : gathered(b.add1("layout.slice", [x], attrs, { loc: op.loc }));
}

function rewriteOther(d: Demand, op: Op, operands: readonly Value[], b: FuncBuilder) {
  const y = op.results[0];
  if (y === undefined || (whole(d, y) && op.operands.every((v) => whole(d, v)))) return undefined;
  const kept = d.kept(y);
  const options = { loc: op.loc, names: [y.name], types: [withChannels(y.type, kept.length)] };
  switch (op.name) {
    case "const": {
      const value = constantChannels(attr<Dense>(op, "value"), kept);
      return [b.add1("const", [], { value }, options)];
    }
    case "layout.slice": {
      const picks = slicedChannels(op);
      return picks && rewritePick(d, op, operands[0]!, picks, b);
    }
    case "layout.gather":
      return attr<number>(op, "axis") === op.operands[0]!.type.shape.length - 1
        ? rewritePick(d, op, operands[0]!, attr<readonly number[]>(op, "indices"), b)
        : undefined;
    case "layout.reshape":
    case "layout.expand": {
      const shape: Attr = withChannels(y.type, kept.length).shape;
      return [b.add1(op.name, operands, { shape }, options)];
    }
    default:
      return [b.add1(op.name, operands, op.attrs, options)];
  }
}

function constantChannels(value: Dense, kept: readonly number[]): Dense {
  const n = value.shape.at(-1)!;
  const rows = n === 0 ? 0 : value.data.length / n;
  const data = allocate(value.elem, rows * kept.length);
  for (let r = 0; r < rows; r++)
    kept.forEach((c, i) => {
      data[r * kept.length + i] = value.data[r * n + c]!;
    });
  return { kind: "dense", elem: value.elem, shape: [...value.shape.slice(0, -1), kept.length], data };
}

/** The function on the channels that exist, with the same results. */
export function keepChannels(func: Func, d: Demand): Func {
  const shifts = new Map<Value, readonly number[]>();
  return dce(
    rebuild(func, (op, operands, b) => {
      const l = d.linear(op);
      if (l !== undefined) {
        const shift = shiftOf(d, op, l);
        shifts.set(op.results[0]!, shift);
        return rewriteLinear(d, op, l, operands, b, shift);
      }
      return op.name === "qc.requant"
        ? rewriteRequant(d, op, operands, b, shifts)
        : rewriteOther(d, op, operands, b);
    }),
  );
}
