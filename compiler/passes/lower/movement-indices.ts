/** Where each element of a movement's result comes from, axis by axis. */
import type { Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";

/** Per index of a result axis: the operand's index, or a constant. */
export type Source = { readonly index: number } | { readonly value: number };

/** One axis of the result: which operand axis it walks (undefined: none) and where each index comes from. */
export interface AxisSource {
  readonly axis: number | undefined;
  readonly sources: readonly Source[];
}

const range = (n: number): Source[] => Array.from({ length: n }, (_, index) => ({ index }));
const picks = (indices: readonly number[]): Source[] => indices.map((index) => ({ index }));

function sliceOf(op: Op, axis: number, size: number): Source[] {
  const at = attr<readonly number[]>(op, "axes").indexOf(axis);
  if (at < 0) return range(size);
  const [start, end, step] = ["starts", "ends", "steps"].map((n) => attr<readonly number[]>(op, n)[at]!) as [
    number,
    number,
    number,
  ];
  const out: number[] = [];
  for (let i = start; step > 0 ? i < end : i > end; i += step) out.push(i);
  return picks(out);
}

function padOf(op: Op, axis: number, size: number): Source[] {
  const [before, after] = ["before", "after"].map((n) => attr<readonly number[]>(op, n)[axis]!) as [
    number,
    number,
  ];
  const mode = attr<string>(op, "mode");
  const last = size - 1;
  return Array.from({ length: before + size + after }, (_, i): Source => {
    const at = i - before;
    if (at >= 0 && at <= last) return { index: at };
    if (mode === "constant") return { value: attr<number>(op, "value") };
    if (mode === "edge") return { index: at < 0 ? 0 : last };
    const period = Math.max(1, 2 * last);
    const r = ((at % period) + period) % period;
    return { index: last === 0 ? 0 : r > last ? period - r : r };
  });
}

function insertOf(op: Op): Source[] {
  const [indices, values] = [attr<readonly number[]>(op, "indices"), attr<readonly number[]>(op, "values")];
  let next = 0;
  return Array.from({ length: attr<number>(op, "size") }, (_, i): Source => {
    const at = indices.indexOf(i);
    return at >= 0 ? { value: values[at]! } : { index: next++ };
  });
}

/** The separable movements; undefined for reshape, concat and ops that are no movement. */
export function axisSources(op: Op, shape: readonly number[]): AxisSource[] | undefined {
  const along = (f: (axis: number, size: number) => Source[]): AxisSource[] =>
    shape.map((size, axis) => ({ axis, sources: f(axis, size) }));
  switch (op.name) {
    case "layout.transpose":
      return attr<readonly number[]>(op, "perm").map((axis) => ({ axis, sources: range(shape[axis]!) }));
    case "layout.slice":
      return along((axis, size) => sliceOf(op, axis, size));
    case "layout.pad":
      return along((axis, size) => padOf(op, axis, size));
    case "layout.tile": {
      const repeats = attr<readonly number[]>(op, "repeats");
      return along((axis, size) => picks(Array.from({ length: size * repeats[axis]! }, (_, i) => i % size)));
    }
    case "layout.gather":
      return along((axis, size) =>
        axis === attr<number>(op, "axis") ? picks(attr<readonly number[]>(op, "indices")) : range(size),
      );
    case "qc.insert_channels":
      return along((axis, size) => (axis === attr<number>(op, "axis") ? insertOf(op) : range(size)));
    case "layout.expand": {
      const to = attr<readonly number[]>(op, "shape");
      const lead = to.length - shape.length;
      return to.map((size, i) => ({
        axis: i < lead ? undefined : i - lead,
        sources: i < lead || shape[i - lead] === 1 ? range(size).map(() => ({ index: 0 })) : range(size),
      }));
    }
    default:
      return undefined;
  }
}

/** Indices start … start + count − 1 of a result axis: a constant, or `base` + one or two nested regular steps. */
export interface Segment {
  readonly start: number;
  readonly count: number;
  readonly value?: number;
  readonly base: number;
  /** Outer first; sizes multiply to `count`. Steps are operand indices. */
  readonly walk: readonly { readonly size: number; readonly step: number }[];
}

/** Splits an axis into few regular segments; nested regular patterns (repeats of each or of all) stay whole. */
export function segmentsOf(sources: readonly Source[]): Segment[] {
  const n = sources.length;
  const indices = sources.map((s) => ("index" in s ? s.index : -1));
  if (n > 0 && !indices.includes(-1)) {
    const whole = nested(indices);
    if (whole) return [{ start: 0, count: n, base: indices[0]!, walk: whole }];
  }
  const out: Segment[] = [];
  for (let start = 0; start < n; ) {
    const first = sources[start]!;
    let end = start + 1;
    if ("value" in first) {
      while (end < n && sameValue(sources[end]!, first.value)) end++;
      const count = end - start;
      out.push({ start, count, value: first.value, base: 0, walk: [{ size: count, step: 0 }] });
    } else {
      const step = end < n && indices[end]! >= 0 ? indices[end]! - first.index : 0;
      while (end < n && indices[end]! >= 0 && indices[end] === first.index + step * (end - start)) end++;
      out.push({ start, count: end - start, base: first.index, walk: [{ size: end - start, step }] });
    }
    start = end;
  }
  return out;
}

const sameValue = (s: Source, value: number): boolean => "value" in s && s.value === value;

/** list[i] = list[0] + ⌊i / f⌋·outer + (i mod f)·inner for some f, as steps; f = n is the plain progression. */
function nested(list: readonly number[]): { size: number; step: number }[] | undefined {
  const n = list.length;
  const fits = (f: number): boolean => {
    const inner = f > 1 ? list[1]! - list[0]! : 0;
    const outer = f < n ? list[f]! - list[0]! : 0;
    return list.every((x, i) => x === list[0]! + Math.floor(i / f) * outer + (i % f) * inner);
  };
  for (const f of [n, ...Array.from({ length: Math.floor(n / 2) }, (_, i) => i + 1)])
    if (n % f === 0 && fits(f))
      return [
        ...(f < n ? [{ size: n / f, step: list[f]! - list[0]! }] : []),
        { size: f, step: f > 1 ? list[1]! - list[0]! : 0 },
      ];
  return undefined;
}
