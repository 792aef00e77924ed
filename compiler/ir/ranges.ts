/** Interval analysis of the integer graph: what every channel of every tensor can reach, from the real weights. */
import type { Attr, Attrs, Dense, Func, Op, Port, Value } from "./module.ts";
import { attr } from "./op.ts";
import { hasTrait } from "./ops/index.ts";
import { requantSpec } from "./ops/integer-requant.ts";
import { countSteps, stepsOf } from "./ops/threshold.ts";
import type { Rational } from "./rational.ts";
import { sign } from "./rational.ts";
import { evaluate } from "./rescale/estimate.ts";
import { intMax, intMin, sameShape } from "./types.ts";

/** Inclusive bounds per index of the last axis, or one pair for the whole tensor. */
export interface ChannelRange {
  readonly min: readonly number[];
  readonly max: readonly number[];
}

export const whole = (r: ChannelRange): { min: number; max: number } => ({
  min: least(r.min),
  max: greatest(r.max),
});
const least = (a: readonly number[]): number => {
  let x = Number.POSITIVE_INFINITY;
  for (let i = 0; i < a.length; i++) if (a[i]! < x) x = a[i]!;
  return x;
};
const greatest = (a: readonly number[]): number => {
  let x = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < a.length; i++) if (a[i]! > x) x = a[i]!;
  return x;
};
export const rangeAt = (r: ChannelRange, c: number) =>
  r.min.length === 1 ? { min: r.min[0]!, max: r.max[0]! } : { min: r.min[c]!, max: r.max[c]! };

const uniform = (min: number, max: number): ChannelRange => ({ min: [min], max: [max] });
const collapse = (r: ChannelRange): ChannelRange => {
  const w = whole(r);
  return uniform(w.min, w.max);
};
const build = (n: number, f: (c: number) => { min: number; max: number }): ChannelRange => {
  const min = new Array<number>(n);
  const max = new Array<number>(n);
  for (let c = 0; c < n; c++) {
    const r = f(c);
    min[c] = r.min;
    max[c] = r.max;
  }
  return { min, max };
};
const map = (
  r: ChannelRange,
  f: (x: { min: number; max: number }, c: number) => { min: number; max: number },
): ChannelRange => build(r.min.length, (c) => f(rangeAt(r, c), c));
const union = (a: ChannelRange, b: ChannelRange): ChannelRange =>
  build(Math.max(a.min.length, b.min.length), (c) => {
    const [x, y] = [rangeAt(a, c), rangeAt(b, c)];
    return { min: Math.min(x.min, y.min), max: Math.max(x.max, y.max) };
  });

const extreme = (a: ChannelRange, b: ChannelRange, pick: (x: number, y: number) => number): ChannelRange =>
  build(Math.max(a.min.length, b.min.length), (c) => {
    const [x, y] = [rangeAt(a, c), rangeAt(b, c)];
    return { min: pick(x.min, y.min), max: pick(x.max, y.max) };
  });

/** Of float tensors: nothing is known, and no channel is constant. */
const UNBOUNDED: ChannelRange = { min: [Number.NEGATIVE_INFINITY], max: [Number.POSITIVE_INFINITY] };
const isFloat = (v: Value): boolean => v.type.elem.kind === "float";

export interface Ranges {
  readonly of: (v: Value) => ChannelRange;
}

/** Ranges of every value of an integer function (float islands have none); `known` narrows params (their type bounds otherwise). */
export function analyzeRanges(
  func: Func,
  known: (p: Port) => ChannelRange | undefined = () => undefined,
): Ranges {
  const ranges = new Map<Value, ChannelRange>();
  const consts = new Map<Value, Dense>();
  const of = (v: Value): ChannelRange => {
    const r = ranges.get(v);
    if (r === undefined) throw new Error(`no range for ${v.name}`);
    return r;
  };
  for (const p of func.params) ranges.set(p.value, known(p) ?? paramRange(p));
  for (const op of func.ops) {
    if (op.name === "const") consts.set(op.results[0]!, attr<Dense>(op, "value"));
    const rule = rules[op.name] ?? (hasTrait(op, "movement") ? movement : typeRange);
    if (op.results.every(isFloat)) {
      for (const v of op.results) ranges.set(v, UNBOUNDED);
      continue;
    }
    const r = remembered(op, rule, op.operands.map(of), (v) => consts.get(v));
    for (const v of op.results) ranges.set(v, within(v, r));
  }
  return { of };
}

/** What a rule made of the facts it depends on. */
interface Memo {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly operands: readonly ChannelRange[];
  readonly weights: Dense | undefined;
  readonly range: ChannelRange;
}

/**
 * The last result of a costly rule by attributes: passes analyze a function again and again, and most of its ops stay the same.
 * Nothing but time depends on what is remembered.
 */
const memos = new WeakMap<Attrs, Memo>();

function remembered(
  op: Op,
  rule: RangeRule,
  operands: readonly ChannelRange[],
  constant: (v: Value) => Dense | undefined,
): ChannelRange {
  const weights = op.operands[1] && constant(op.operands[1]);
  const linear = (op.name === "qc.conv" || op.name === "qc.matmul") && weights !== undefined;
  if (!linear && op.name !== "qc.requant" && op.name !== "const") return rule(op, operands, constant);
  const shapes = [...op.operands, ...op.results].map((v) => v.type.shape);
  const memo = memos.get(op.attrs);
  if (
    memo?.name === op.name &&
    memo.weights === weights &&
    sameList(memo.shapes, shapes, sameShape) &&
    sameList(memo.operands, operands, sameRange)
  )
    return memo.range;
  const range = rule(op, operands, constant);
  memos.set(op.attrs, { name: op.name, shapes, operands, weights, range });
  return range;
}

function sameList<T>(a: readonly T[], b: readonly T[], same: (x: T, y: T) => boolean): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!same(a[i]!, b[i]!)) return false;
  return true;
}
const sameRange = (a: ChannelRange, b: ChannelRange): boolean =>
  a === b || (sameShape(a.min, b.min) && sameShape(a.max, b.max));

function paramRange(p: Port): ChannelRange {
  if (isFloat(p.value)) return UNBOUNDED;
  const b = p.boundary;
  return "lo" in b ? uniform(b.lo, b.hi) : typeBounds(p.value);
}

function typeBounds(v: Value): ChannelRange {
  const e = v.type.elem;
  if (e.kind !== "int") throw new Error("integer graph expected");
  return uniform(intMin(e), intMax(e));
}

/** Whether a value may leave the 32 bits of an accumulator, whatever its declared type. */
export function exceedsAccumulator(r: ChannelRange): boolean {
  const { min, max } = whole(r);
  return min < -(2 ** 31) || max >= 2 ** 31;
}

/** A proof may not be weaker than the declared type; but where the type would wrap, the proof says so. */
function within(v: Value, r: ChannelRange): ChannelRange {
  if (exceedsAccumulator(r)) return r;
  const t = rangeAt(typeBounds(v), 0);
  const { min, max } = whole(r);
  if (min >= t.min && max <= t.max) return r;
  return map(r, (x) => ({ min: Math.max(x.min, t.min), max: Math.min(x.max, t.max) }));
}

type RangeRule = (
  op: Op,
  operands: readonly ChannelRange[],
  constant: (v: Value) => Dense | undefined,
) => ChannelRange;

const typeRange: RangeRule = (op) => typeBounds(op.results[0]!);
const lastAxis = (op: Op): number => op.results[0]!.type.shape.length - 1;
const channels = (op: Op): number => op.results[0]!.type.shape.at(-1) ?? 1;
const widen = (r: { min: number; max: number }, x: number) => ({
  min: Math.min(r.min, x),
  max: Math.max(r.max, x),
});
/**
 * Sums and differences of the ends of n ranges: Σ w·x reaches (Σ w·sum ± Σ |w|·width) / 2, without a branch on the sign of w.
 * Exact below 2^53.
 */
function spans(n: number, f: (c: number) => { min: number; max: number }) {
  const sum = new Float64Array(n);
  const width = new Float64Array(n);
  for (let c = 0; c < n; c++) {
    const { min, max } = f(c);
    sum[c] = max + min;
    width[c] = max - min;
  }
  return { sum, width };
}
const product = (a: { min: number; max: number }, b: { min: number; max: number }) => {
  const all = [a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max];
  return { min: Math.min(...all), max: Math.max(...all) };
};

const rules: { readonly [name: string]: RangeRule } = {
  const: (op) => {
    const { data } = attr<Dense>(op, "value");
    if (data.length === 0) return uniform(0, 0);
    let min = data[0]!;
    let max = min;
    for (let i = 1; i < data.length; i++) {
      const x = data[i]!;
      if (x < min) min = x;
      if (x > max) max = x;
    }
    return uniform(min, max);
  },
  "qc.conv": (op, [x], constant) => {
    const w = constant(op.operands[1]!);
    if (w === undefined) return typeRange(op, [], constant);
    const [o, kh, kw, i] = w.shape as [number, number, number, number];
    const padded = attr<readonly number[]>(op, "pads").some((p) => p !== 0);
    const pad = attr<number>(op, "pad_value");
    const perGroup = o / attr<number>(op, "groups");
    const inputs = op.operands[0]!.type.shape[3]!;
    const x2 = spans(inputs, (c) => (padded ? widen(rangeAt(x!, c), pad) : rangeAt(x!, c)));
    const { data } = w;
    return build(o, (n) => {
      const first = Math.floor(n / perGroup) * i;
      let middle = 0;
      let spread = 0;
      for (let t = 0, at = n * kh * kw * i; t < kh * kw; t++)
        for (let c = first; c < first + i; c++) {
          const weight = data[at++]!;
          middle += weight * x2.sum[c]!;
          spread += Math.abs(weight) * x2.width[c]!;
        }
      return { min: (middle - spread) / 2, max: (middle + spread) / 2 };
    });
  },
  "qc.matmul": (op, [a, b], constant) => {
    const w = constant(op.operands[1]!);
    const k = op.operands[0]!.type.shape.at(-1)!;
    const [za, zb] = [attr<number>(op, "a_zero"), attr<number>(op, "b_zero")];
    const shifted = (r: { min: number; max: number }, z: number) => ({ min: r.min - z, max: r.max - z });
    if (w === undefined || w.shape.length !== 2 || attr<boolean>(op, "transpose_b")) {
      const p = product(shifted(whole(a!), za), shifted(whole(b!), zb));
      return uniform(k * p.min, k * p.max);
    }
    const n = w.shape[1]!;
    const x2 = spans(k, (i) => shifted(rangeAt(a!, i), za));
    const middle = new Float64Array(n);
    const spread = new Float64Array(n);
    const { data } = w;
    for (let i = 0; i < k; i++) {
      const sum = x2.sum[i]!;
      const width = x2.width[i]!;
      for (let c = 0; c < n; c++) {
        const weight = data[i * n + c]! - zb;
        middle[c] = middle[c]! + weight * sum;
        spread[c] = spread[c]! + Math.abs(weight) * width;
      }
    }
    return build(n, (c) => ({
      min: (middle[c]! - spread[c]!) / 2,
      max: (middle[c]! + spread[c]!) / 2,
    }));
  },
  "qc.mul": (op, [a, b]) => {
    const [za, zb] = [attr<number>(op, "a_zero"), attr<number>(op, "b_zero")];
    const shifted = (r: { min: number; max: number }, z: number) => ({ min: r.min - z, max: r.max - z });
    return build(Math.max(a!.min.length, b!.min.length), (c) =>
      product(shifted(rangeAt(a!, c), za), shifted(rangeAt(b!, c), zb)),
    );
  },
  "qc.max": (_, [a, b]) => extreme(a!, b!, Math.max),
  "qc.min": (_, [a, b]) => extreme(a!, b!, Math.min),
  "qc.requant": (op, operands) => {
    const axis = attr<number>(op, "axis");
    const lists = [
      ...attr<readonly (readonly Rational[])[]>(op, "scales"),
      attr<readonly Rational[]>(op, "offset"),
    ];
    const perChannel = axis === lastAxis(op) || lists.every((l) => l.length === 1);
    const rs = operands.map((r, i) => (perChannel && sameLast(op, op.operands[i]!) ? r : collapse(r)));
    const varies = lists.some((l) => l.length > 1) || rs.some((r) => r.min.length > 1);
    const n = !varies ? 1 : perChannel ? channels(op) : op.results[0]!.type.shape[axis]!;
    const r = build(n, (c) => {
      const spec = requantSpec(op.attrs, c);
      const ends = spec.scales.map((s, i) => {
        const x = rangeAt(rs[i]!, c);
        return sign(s) >= 0 ? [x.min, x.max] : [x.max, x.min];
      });
      const at = (end: number) =>
        evaluate(spec, spec.scales.length === 1 ? [ends[0]![end]!] : ends.map((e) => e[end]!));
      return { min: at(0), max: at(1) };
    });
    return perChannel ? r : collapse(r);
  },
  "qc.rescale": (op) => {
    const { lo, hi } = attr<{ lo: number; hi: number } & { readonly [key: string]: Attr }>(op, "rescale");
    return uniform(lo, hi);
  },
  "qc.threshold": (op, [x]) => {
    const follows = attr<number>(op, "axis") === lastAxis(op);
    const rows = attr<readonly number[]>(op, "base").length;
    const ends = (c: number, { min, max }: { min: number; max: number }) => {
      const steps = stepsOf(op.attrs, c);
      const [a, b] = [countSteps(steps, min), countSteps(steps, max)];
      return { min: Math.min(a, b), max: Math.max(a, b) };
    };
    if (follows && rows > 1) return build(rows, (c) => ends(c, rangeAt(x!, c)));
    if (rows === 1) return map(x!, (r) => ends(0, r));
    return collapse(build(rows, (c) => ends(c, whole(x!))));
  },
  "qc.clamp": (op, [x]) => {
    const lo = attr<number>(op, "lo");
    const hi = attr<number>(op, "hi");
    const f = (v: number) => Math.min(Math.max(v, lo), hi);
    return map(x!, (r) => ({ min: f(r.min), max: f(r.max) }));
  },
  "qc.add_const": (op, [x]) =>
    map(x!, (r) => ({ min: r.min + attr<number>(op, "value"), max: r.max + attr<number>(op, "value") })),
  "qc.table": (op, [x]) => {
    const { data } = attr<Dense>(op, "table");
    const first = attr<number>(op, "min");
    return map(x!, (r) => {
      let min = Number.POSITIVE_INFINITY;
      let max = Number.NEGATIVE_INFINITY;
      // A table has an entry for whatever its operand reaches; what is known of the operand here may be less.
      const last = Math.min(r.max, first + data.length - 1);
      for (let t = Math.max(r.min, first); t <= last; t++) {
        min = Math.min(min, data[t - first]!);
        max = Math.max(max, data[t - first]!);
      }
      return { min, max };
    });
  },
  "qc.max_pool": (_, [x]) => x!,
  "qc.sum_pool": (op, [x]) => {
    const [kh, kw] = attr<readonly [number, number]>(op, "kernel");
    const padded = attr<readonly number[]>(op, "pads").some((p) => p !== 0);
    return map(x!, (r) => {
      const t = padded ? widen(r, attr<number>(op, "pad_value")) : r;
      return { min: t.min * kh * kw, max: t.max * kh * kw };
    });
  },
  "qc.reduce_sum": (op, [x]) => {
    const shape = op.operands[0]!.type.shape;
    const axes = attr<readonly number[]>(op, "axes");
    const count = axes.reduce((n, a) => n * shape[a]!, 1);
    const r = axes.includes(shape.length - 1) ? collapse(x!) : x!;
    return map(r, (y) => ({ min: y.min * count, max: y.max * count }));
  },
  "qc.insert_channels": (op, [x]) => {
    if (attr<number>(op, "axis") !== lastAxis(op)) return collapse(union(x!, valuesRange(op)));
    const indices = attr<readonly number[]>(op, "indices");
    const values = attr<readonly number[]>(op, "values");
    let next = 0;
    return build(channels(op), (c) => {
      const i = indices.indexOf(c);
      return i >= 0 ? { min: values[i]!, max: values[i]! } : rangeAt(x!, next++);
    });
  },
};

const valuesRange = (op: Op): ChannelRange => {
  const values = attr<readonly number[]>(op, "values");
  return values.length === 0
    ? uniform(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
    : uniform(least(values), greatest(values));
};

const sameLast = (op: Op, v: Value): boolean => v.type.shape.at(-1) === channels(op);

/** Channels follow the last axis where the op keeps it; otherwise every channel may hold any value. */
const movement: RangeRule = (op, operands) => {
  const from = op.operands[0]!.type.shape;
  const to = op.results[0]!.type.shape;
  const x = operands[0]!;
  const last = from.length - 1;
  switch (op.name) {
    case "layout.concat": {
      if (attr<number>(op, "axis") !== lastAxis(op)) return operands.reduce(union);
      return {
        min: operands.flatMap((r, i) => spread(r.min, op.operands[i]!)),
        max: operands.flatMap((r, i) => spread(r.max, op.operands[i]!)),
      };
    }
    case "layout.interleave":
      return operands.reduce(union);
    case "layout.pad": {
      const value = attr<number>(op, "value");
      const edge = attr<string>(op, "mode") === "constant";
      const channelPads =
        attr<readonly number[]>(op, "before")[last] !== 0 || attr<readonly number[]>(op, "after")[last] !== 0;
      const r = channelPads ? collapse(x) : x;
      return edge ? map(r, (y) => widen(y, value)) : r;
    }
    case "layout.reshape": {
      if (x.min.length === 1) return x;
      const n = to.at(-1) ?? 1;
      const c = x.min.length;
      // Trailing axes merged into the last: channels repeat with period c.
      return n % c === 0 ? build(n, (i) => rangeAt(x, i % c)) : collapse(x);
    }
    case "layout.transpose":
      return attr<readonly number[]>(op, "perm")[last] === last ? x : collapse(x);
    case "layout.gather":
      return attr<number>(op, "axis") === last && x.min.length > 1
        ? build(to[last]!, (i) => rangeAt(x, attr<readonly number[]>(op, "indices")[i]!))
        : x;
    case "layout.slice": {
      const i = attr<readonly number[]>(op, "axes").indexOf(last);
      if (i < 0 || x.min.length === 1) return x;
      const start = attr<readonly number[]>(op, "starts")[i]!;
      const step = attr<readonly number[]>(op, "steps")[i]!;
      return build(to[last]!, (c) => rangeAt(x, start + c * step));
    }
    case "layout.tile":
      return x.min.length === 1 ? x : build(to[last]!, (c) => rangeAt(x, c % x.min.length));
    case "layout.expand":
      return from[last] === to.at(-1) ? x : collapse(x);
    default:
      return collapse(x);
  }
};

const spread = (list: readonly number[], v: Value): readonly number[] =>
  list.length === 1 ? new Array<number>(v.type.shape.at(-1)!).fill(list[0]!) : list;
