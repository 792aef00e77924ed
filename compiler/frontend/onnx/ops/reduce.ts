/** Reductions and softmax. */
import { unsupportedForm } from "../../../ir/messages.ts";
import { sizeOf } from "../../../ir/types.ts";
import { isFloatDtype, roundTo } from "../../constants.ts";
import { real, reshape, transpose } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import {
  axesOf,
  axisOf,
  flagAttr,
  input,
  intAttr,
  intsFrom,
  type NodeImport,
  reject,
} from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";
import { reduceByRuns } from "./cumulate.ts";

const FOLDS: { readonly [op: string]: (a: number, b: number) => number } = {
  ReduceSum: (a, b) => a + b,
  ReduceProd: (a, b) => a * b,
  ReduceMax: Math.max,
  ReduceMin: Math.min,
};

export interface Reduction {
  readonly axes: readonly number[];
  readonly keepdims: boolean;
  /** No axes and `noop_with_empty_axes`: the identity. */
  readonly none: boolean;
}

export function reduction(n: NodeImport, x: Operand): Reduction {
  const given = intsFrom(n, "axes", 1) ?? [];
  const none = given.length === 0 && flagAttr(n, "noop_with_empty_axes", false);
  const axes = given.length > 0 ? axesOf(n, given, x.shape.length) : none ? [] : x.shape.map((_, i) => i);
  return { axes: axes.toSorted((a, b) => a - b), keepdims: flagAttr(n, "keepdims", true), none };
}

/** A reduction of a constant: in float64, rounded to the constant's type. */
function foldConstant(n: NodeImport, op: string, x: Operand & { readonly kind: "constant" }, r: Reduction) {
  const { shape, data } = x.constant.dense;
  const kept = shape.map((d, i) => (r.axes.includes(i) ? 1 : d));
  const count = sizeOf(kept);
  if (sizeOf(shape) === 0 && r.axes.length < shape.length)
    reject(unsupportedForm(n.loc, `${op} of a constant without elements`));
  const strides = kept.map((d, i) => (d === 1 ? 0 : sizeOf(kept.slice(i + 1))));
  const out: (number | undefined)[] = Array.from({ length: count });
  const fold = FOLDS[op] ?? FOLDS.ReduceSum!;
  for (let i = 0; i < data.length; i++) {
    let rest = i;
    let at = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    const before = out[at];
    out[at] = before === undefined ? data[i]! : fold(before, data[i]!);
  }
  const each = op === "ReduceMean" ? data.length / count : 1;
  const values = out.map((v) => (v ?? 0) / each);
  const dims = r.keepdims ? kept : kept.filter((_, i) => !r.axes.includes(i));
  return constantOperand(roundTo(x.dtype, dims, values));
}

const REAL: { readonly [op: string]: string } = {
  ReduceMean: "float.reduce_mean",
  ReduceSum: "float.reduce_sum",
};

const reductions = forOps(["ReduceMean", "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin"], (op) => ({
  inputs: [1, 2],
  attributes: { axes: "ints", keepdims: "int", noop_with_empty_axes: "int" },
  run: (n) => {
    const x = input(n, 0);
    const r = reduction(n, x);
    if (r.none) return x;
    if (x.kind === "constant") return foldConstant(n, op, x, r);
    if (!isFloatDtype(x.dtype) || op === "ReduceProd") return reduceByRuns(n, op, x, r.axes, r.keepdims);
    const name = REAL[op];
    if (name !== undefined) return real(n, name, [x], { axes: r.axes, keepdims: r.keepdims });
    if (op === "ReduceMax") return reduceMax(n, x, r);
    const negative = (v: Operand): Operand => real(n, "float.neg", [v]);
    return negative(reduceMax(n, negative(x), r));
  },
}));

/** Norms, as sums of what `term` makes of the operand. */
const norm = (
  op: string,
  term: (n: NodeImport, x: Operand) => Operand,
  finish: (n: NodeImport, sum: Operand) => Operand,
): Importer => ({
  op,
  inputs: [1, 2],
  attributes: { axes: "ints", keepdims: "int", noop_with_empty_axes: "int" },
  run: (n) => {
    const x = input(n, 0);
    const { axes, keepdims } = reduction(n, x);
    return finish(n, real(n, "float.reduce_sum", [term(n, x)], { axes, keepdims }));
  },
});

const square = (n: NodeImport, x: Operand): Operand => real(n, "float.mul", [x, x]);

const norms: readonly Importer[] = [
  norm(
    "ReduceL1",
    (n, x) => real(n, "float.abs", [x]),
    (_, sum) => sum,
  ),
  norm("ReduceL2", square, (n, sum) => real(n, "float.sqrt", [sum])),
  norm("ReduceSumSquare", square, (_, sum) => sum),
];

/** The greatest element, as a max pool over the axes as one spatial axis; axes that are not neighbours are moved together. */
export function reduceMax(n: NodeImport, x: Operand, r: Omit<Reduction, "none">): Operand {
  const { axes, keepdims } = r;
  const first = axes[0];
  if (first === undefined) return x;
  if (axes.some((a, i) => a !== first + i)) {
    const others = x.shape.map((_, a) => a).filter((a) => !axes.includes(a));
    const moved = transpose(n, x, [...others, ...axes]);
    const last = axes.map((_, i) => others.length + i);
    const y = reduceMax(n, moved, { axes: last, keepdims: false });
    return keepdims
      ? reshape(
          n,
          y,
          x.shape.map((d, a) => (axes.includes(a) ? 1 : d)),
        )
      : y;
  }
  const before = sizeOf(x.shape.slice(0, first));
  const size = sizeOf(axes.map((a) => x.shape[a]!));
  const after = sizeOf(x.shape.slice(first + axes.length));
  const planes = reshape(n, x, [1, before, size, after]);
  const pooled = real(n, "float.max_pool", [planes], {
    kernel: [size, 1],
    strides: [1, 1],
    pads: [0, 0, 0, 0],
    dilations: [1, 1],
  });
  const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
  return reshape(n, pooled, keepdims ? kept : kept.filter((_, i) => !axes.includes(i)));
}

/** An operator along one axis, of which opsets before 13 made all axes from `axis` on one. */
export const alongAxis = (
  op: string,
  apply: (n: NodeImport, x: Operand, axis: number) => Operand,
): readonly Importer[] => [
  {
    op,
    until: 12,
    inputs: [1, 1],
    attributes: { axis: "int" },
    run: (n) => {
      const x = input(n, 0);
      const axis = intAttr(n, "axis", 1);
      const at = axis === x.shape.length ? axis : axisOf(n, axis, x.shape.length);
      if (at === x.shape.length - 1) return apply(n, x, at);
      const rows = reshape(n, x, [sizeOf(x.shape.slice(0, at)), sizeOf(x.shape.slice(at))]);
      return reshape(n, apply(n, rows, 1), x.shape);
    },
  },
  {
    op,
    since: 13,
    inputs: [1, 1],
    attributes: { axis: "int" },
    run: (n) => {
      const x = input(n, 0);
      return apply(n, x, axisOf(n, intAttr(n, "axis", -1), x.shape.length));
    },
  },
];

const softmaxes = alongAxis("Softmax", (n, x, axis) => real(n, "float.softmax", [x], { axis }));

export const reduceImporters: readonly Importer[] = [...reductions, ...norms, ...softmaxes];
