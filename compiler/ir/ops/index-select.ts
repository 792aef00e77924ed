/**
 * Elements picked and placed by indices of the run, of any element type. A negative index counts from the end of its axis; one
 * that is outside all the same stands for the nearest end.
 */
import { allocate, storageOf } from "../dense.ts";
import type { Dense, Elements } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import {
  type ElemType,
  I32,
  type IntType,
  intMax,
  intMin,
  sizeOf,
  stridesOf,
  type TensorType,
} from "../types.ts";
import { axisIn } from "./axes.ts";
import { optional, required } from "./define.ts";
import { wrapTo } from "./int-elementwise.ts";

const axisAttr = { axis: required("int", "counted from the front") };

/** Elements on a grid per channel do not move freely. */
const gridFault = ({ elem }: TensorType): string | undefined =>
  elem.kind === "quant" && elem.scheme.kind === "axis" ? "x must have one scale" : undefined;

const indexFault = (t: TensorType): string | undefined =>
  t.elem.kind === "int" ? undefined : "indices must have a plain integer element type";

/** The index within an axis of so many elements. */
const inside = (i: number, size: number): number => Math.min(Math.max(i < 0 ? i + size : i, 0), size - 1);

/** The elements keep their type; integers may be declared with one that holds them as well. */
function kept(x: TensorType, declared: readonly TensorType[] | undefined): ElemType {
  const want = declared?.[0]?.elem;
  if (x.elem.kind !== "int" || want?.kind !== "int") return x.elem;
  return intMin(want) <= intMin(x.elem) && intMax(x.elem) <= intMax(want) ? want : x.elem;
}

const like = (type: TensorType): { out: Elements; dense: Dense } => {
  const elem = storageOf(type.elem);
  const out = allocate(elem, sizeOf(type.shape));
  return { out, dense: { kind: "dense", elem, shape: type.shape, data: out } };
};

/** The index along each axis of a row-major position. */
function positionOf(at: number, shape: readonly number[]): number[] {
  const out = new Array<number>(shape.length);
  for (let a = shape.length - 1, rest = at; a >= 0; a--) {
    out[a] = rest % shape[a]!;
    rest = Math.floor(rest / shape[a]!);
  }
  return out;
}
const flat = (index: readonly number[], strides: readonly number[]): number =>
  index.reduce((n, i, a) => n + i * strides[a]!, 0);

const gather = defineOp({
  name: "index.gather",
  summary: "x[…, indices[…], …] along `axis`: the axis gives way to those of the indices.",
  operands: ["x", "indices"],
  attrs: axisAttr,
  traits: [],
  infer: ([x, i], a, declared) => {
    const axis = a.axis as number;
    if (!axisIn(axis, x!.shape.length)) return `axis ${axis} is not an axis of x`;
    const shape = [...x!.shape.slice(0, axis), ...i!.shape, ...x!.shape.slice(axis + 1)];
    return indexFault(i!) ?? gridFault(x!) ?? [{ shape, elem: kept(x!, declared) }];
  },
  evaluate: ([x, indices], a, [type]) => {
    const axis = a.axis as number;
    const { out, dense } = like(type!);
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const size = x!.shape[axis]!;
    const n = indices!.data.length;
    for (let at = 0; at < out.length; at++) {
      const k = inside(indices!.data[Math.floor(at / inner) % n]!, size);
      out[at] = x!.data[(Math.floor(at / inner / n) * size + k) * inner + (at % inner)]!;
    }
    return [dense];
  },
});

/** Indices of x's rank, no longer than x on the other axes. */
const elementsFault = (x: TensorType, i: TensorType, axis: number): string | undefined => {
  if (!axisIn(axis, x.shape.length)) return `axis ${axis} is not an axis of x`;
  if (i.shape.length !== x.shape.length) return "indices must have the rank of x";
  if (i.shape.some((d, a) => a !== axis && d > x.shape[a]!)) return "indices reach beyond x";
  return indexFault(i);
};

const gatherElements = defineOp({
  name: "index.gather_elements",
  summary: "y[p] = x[p with indices[p] along `axis`].",
  operands: ["x", "indices"],
  attrs: axisAttr,
  traits: [],
  infer: ([x, i], a, declared) =>
    elementsFault(x!, i!, a.axis as number) ??
    gridFault(x!) ?? [{ shape: i!.shape, elem: kept(x!, declared) }],
  evaluate: ([x, indices], a, [type]) => {
    const axis = a.axis as number;
    const { out, dense } = like(type!);
    const strides = stridesOf(x!.shape);
    for (let at = 0; at < out.length; at++) {
      const p = positionOf(at, type!.shape);
      p[axis] = inside(indices!.data[at]!, x!.shape[axis]!);
      out[at] = x!.data[flat(p, strides)]!;
    }
    return [dense];
  },
});

const gatherNd = defineOp({
  name: "index.gather_nd",
  summary:
    "The last axis of the indices holds positions in the axes of x behind the first `batch`, which both have; the rest of x is taken whole.",
  operands: ["x", "indices"],
  attrs: { batch: optional("int", "leading axes in common", 0) },
  traits: [],
  infer: ([x, i], a, declared) => {
    const batch = a.batch as number;
    const depth = i!.shape.at(-1);
    if (depth === undefined || !Number.isInteger(batch) || batch < 0 || batch > i!.shape.length - 1)
      return "indices need more axes than the batch";
    if (batch + depth > x!.shape.length) return "indices are deeper than x";
    if (depth < 1) return "indices must not be empty";
    if (i!.shape.slice(0, batch).some((d, k) => d !== x!.shape[k])) return "the batches differ";
    const shape = [...i!.shape.slice(0, -1), ...x!.shape.slice(batch + depth)];
    return indexFault(i!) ?? gridFault(x!) ?? [{ shape, elem: kept(x!, declared) }];
  },
  evaluate: ([x, indices], a, [type]) => {
    const batch = a.batch as number;
    const depth = indices!.shape.at(-1)!;
    const { out, dense } = like(type!);
    const strides = stridesOf(x!.shape);
    const inner = sizeOf(x!.shape.slice(batch + depth));
    const groups = sizeOf(x!.shape.slice(0, batch));
    const tuples = indices!.data.length / depth;
    for (let at = 0; at < out.length; at++) {
      const t = Math.floor(at / inner);
      let from = Math.floor(t / (tuples / groups)) * sizeOf(x!.shape.slice(batch)) + (at % inner);
      for (let d = 0; d < depth; d++)
        from += inside(indices!.data[t * depth + d]!, x!.shape[batch + d]!) * strides[batch + d]!;
      out[at] = x!.data[from]!;
    }
    return [dense];
  },
});

export const REDUCTIONS = ["none", "add", "mul", "min", "max"] as const;
export type ScatterReduction = (typeof REDUCTIONS)[number];
const reduction = optional({ oneOf: REDUCTIONS }, "how an update joins what is there", "none");

const JOIN: { readonly [r in ScatterReduction]: (old: number, update: number) => number } = {
  none: (_, u) => u,
  add: (o, u) => o + u,
  mul: (o, u) => (Math.abs(o * u) < 2 ** 53 ? o * u : Math.imul(o, u)),
  min: Math.min,
  max: Math.max,
};

/** The join in the element type: integers wrap. */
function joining(r: ScatterReduction, elem: Dense["elem"]): (old: number, update: number) => number {
  if (elem.kind === "int") return (o, u) => wrapTo(elem as IntType, JOIN[r](o, u));
  return r === "mul" ? (o, u) => o * u : JOIN[r];
}

const sameKind = (x: TensorType, u: TensorType): string | undefined =>
  x.elem.kind === u.elem.kind && x.elem.kind !== "quant" ? undefined : "x and updates differ in kind";

const scatterElements = defineOp({
  name: "index.scatter_elements",
  summary: "y = x, and in the order of p: y[p with indices[p] along `axis`] joined with updates[p].",
  operands: ["x", "indices", "updates"],
  attrs: { ...axisAttr, reduction },
  traits: [],
  infer: ([x, i, u], a, declared) => {
    const bad = elementsFault(x!, i!, a.axis as number) ?? sameKind(x!, u!);
    if (bad) return bad;
    if (u!.shape.length !== i!.shape.length || u!.shape.some((d, k) => d !== i!.shape[k]))
      return "updates must have the shape of the indices";
    return [{ shape: x!.shape, elem: kept(x!, declared) }];
  },
  evaluate: ([x, indices, updates], a, [type]) => {
    const axis = a.axis as number;
    const { out, dense } = like(type!);
    out.set(x!.data);
    const join = joining(a.reduction as ScatterReduction, dense.elem);
    const strides = stridesOf(x!.shape);
    for (let at = 0; at < indices!.data.length; at++) {
      const p = positionOf(at, indices!.shape);
      p[axis] = inside(indices!.data[at]!, x!.shape[axis]!);
      const to = flat(p, strides);
      out[to] = join(out[to]!, updates!.data[at]!);
    }
    return [dense];
  },
});

const scatterNd = defineOp({
  name: "index.scatter_nd",
  summary:
    "y = x, and in order: y[indices[t]] joined with updates[t], parts of x by positions on its first axes.",
  operands: ["x", "indices", "updates"],
  attrs: { reduction },
  traits: [],
  infer: ([x, i, u], _, declared) => {
    const depth = i!.shape.at(-1);
    if (depth === undefined || depth < 1 || depth > x!.shape.length) return "indices do not fit x";
    const wanted = [...i!.shape.slice(0, -1), ...x!.shape.slice(depth)];
    if (u!.shape.length !== wanted.length || u!.shape.some((d, k) => d !== wanted[k]))
      return `updates must have the shape [${wanted.join(", ")}]`;
    return indexFault(i!) ?? sameKind(x!, u!) ?? [{ shape: x!.shape, elem: kept(x!, declared) }];
  },
  evaluate: ([x, indices, updates], a, [type]) => {
    const depth = indices!.shape.at(-1)!;
    const { out, dense } = like(type!);
    out.set(x!.data);
    const join = joining(a.reduction as ScatterReduction, dense.elem);
    const strides = stridesOf(x!.shape);
    const inner = sizeOf(x!.shape.slice(depth));
    for (let t = 0; t < indices!.data.length / depth; t++) {
      let to = 0;
      for (let d = 0; d < depth; d++) to += inside(indices!.data[t * depth + d]!, x!.shape[d]!) * strides[d]!;
      for (let i = 0; i < inner; i++) out[to + i] = join(out[to + i]!, updates!.data[t * inner + i]!);
    }
    return [dense];
  },
});

const topK = defineOp({
  name: "index.top_k",
  summary:
    "Indices along `axis` of the `k` greatest (or least) elements, the first of them first; of equal ones the one in front.",
  operands: ["x"],
  attrs: { ...axisAttr, k: required("int", "how many"), largest: optional("bool", "greatest first", true) },
  traits: [],
  infer: ([x], a) => {
    const [axis, k] = [a.axis as number, a.k as number];
    if (!axisIn(axis, x!.shape.length)) return `axis ${axis} is not an axis of x`;
    if (x!.elem.kind === "quant") return "x must have a plain element type";
    if (!(Number.isInteger(k) && k >= 1 && k <= x!.shape[axis]!)) return `k is ${k}`;
    return [{ shape: x!.shape.map((d, i) => (i === axis ? k : d)), elem: I32 }];
  },
  evaluate: ([x], a, [type]) => {
    const [axis, k] = [a.axis as number, a.k as number];
    const n = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const out = new Int32Array(sizeOf(type!.shape));
    const sign = a.largest === true ? 1 : -1;
    for (let r = 0; r < out.length / k; r++) {
      const base = Math.floor(r / inner) * n * inner + (r % inner);
      const at = (i: number): number => x!.data[base + i * inner]! * sign;
      const order = Array.from({ length: n }, (_, i) => i).sort((p, q) => at(q) - at(p) || p - q);
      for (let i = 0; i < k; i++)
        out[Math.floor(r / inner) * k * inner + i * inner + (r % inner)] = order[i]!;
    }
    return [{ kind: "dense", elem: I32, shape: type!.shape, data: out }];
  },
});

const cumulate = defineOp({
  name: "index.cumulate",
  summary: "Running sums along `axis`, or running products; integers wrap.",
  operands: ["x"],
  attrs: {
    ...axisAttr,
    product: optional("bool", "products instead of sums", false),
    exclusive: optional("bool", "without the element itself", false),
    reverse: optional("bool", "from the end", false),
  },
  traits: [],
  infer: ([x], a, declared) => {
    const axis = a.axis as number;
    if (!axisIn(axis, x!.shape.length)) return `axis ${axis} is not an axis of x`;
    if (x!.elem.kind === "quant") return "x must have a plain element type";
    return [{ shape: x!.shape, elem: kept(x!, declared) }];
  },
  evaluate: ([x], a, [type]) => {
    const axis = a.axis as number;
    const { out, dense } = like(type!);
    const join = joining(a.product === true ? "mul" : "add", dense.elem);
    const n = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    for (let r = 0; r < out.length / n; r++) {
      const base = Math.floor(r / inner) * n * inner + (r % inner);
      let sum = a.product === true ? 1 : 0;
      for (let i = 0; i < n; i++) {
        const at = base + (a.reverse === true ? n - 1 - i : i) * inner;
        const next = join(sum, x!.data[at]!);
        out[at] = a.exclusive === true ? sum : next;
        sum = next;
      }
    }
    return [dense];
  },
});

export const indexSelectOps: readonly OpDef[] = [
  gather,
  gatherElements,
  gatherNd,
  scatterElements,
  scatterNd,
  topK,
  cumulate,
];
