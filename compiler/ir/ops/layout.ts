/** Data movement: every element type, elements unread. A per-axis quantised type follows its axis. */
import { storageOf } from "../dense.ts";
import type { Attr, Attrs, Dense } from "../module.ts";
import { type AttrDef, defineOp, type OpDef } from "../op.ts";
import { intMax, intMin, sameElem, sameShape, sizeOf, stridesOf, type TensorType } from "../types.ts";
import { axisIn, axisOffsets, gatherAxes, pickOffsets, sameContainer } from "./axes.ts";
import { ints, required } from "./define.ts";
import { followAxis, joinElems } from "./quant-axis.ts";

type Inferred = readonly TensorType[] | string;

/** A movement of one operand given by offsets per result axis; see `gatherAxes`. */
const movement = (
  name: string,
  summary: string,
  attrs: { readonly [name: string]: AttrDef },
  infer: (x: TensorType, attrs: Attrs) => Inferred,
  offsets: (shape: readonly number[], attrs: Attrs, strides: readonly number[]) => readonly Int32Array[],
  fill: (attrs: Attrs) => number = () => 0,
): OpDef =>
  defineOp({
    name: `layout.${name}`,
    summary,
    operands: ["x"],
    attrs,
    traits: ["movement"],
    infer: ([x], a) => infer(x!, a),
    evaluate: ([x], a, [type]) => {
      const data = sameContainer(x!, sizeOf(type!.shape));
      const empty = fill(a);
      if (empty !== 0) data.fill(empty);
      gatherAxes(x!.data, data, offsets(x!.shape, a, stridesOf(x!.shape)));
      return [{ kind: "dense", elem: x!.elem, shape: type!.shape, data }];
    },
  });

/** Result type, or the sentence `elem` is. */
const typed = (shape: readonly number[], elem: TensorType["elem"] | string): Inferred =>
  typeof elem === "string" ? elem : [{ shape, elem }];

const isShape = (shape: readonly number[]): boolean => shape.every((d) => d >= 0);

const reshape = defineOp({
  name: "layout.reshape",
  summary: "The same elements in row-major order under another shape.",
  operands: ["x"],
  attrs: { shape: required("ints", "the result's shape; no −1, no 0 for `copy`") },
  traits: ["movement"],
  infer: ([x], attrs) => {
    const shape = ints(attrs.shape);
    if (!isShape(shape) || sizeOf(shape) !== sizeOf(x!.shape))
      return `${sizeOf(x!.shape)} elements do not fill shape [${shape.join(", ")}]`;
    return typed(
      shape,
      followAxis(x!.elem, (axis) => {
        const before = sizeOf(x!.shape.slice(0, axis));
        let n = 1;
        for (let i = 0; i < shape.length; i++) {
          if (n === before && shape[i] === x!.shape[axis]) return { axis: i };
          n *= shape[i]!;
        }
        return "the reshape splits or merges the quantisation axis";
      }),
    );
  },
  evaluate: ([x], attrs) => [{ ...x!, shape: ints(attrs.shape) }],
});

const transpose = movement(
  "transpose",
  "Result axis i is operand axis perm[i].",
  { perm: required("ints", "a permutation of the axes") },
  (x, attrs) => {
    const perm = ints(attrs.perm);
    if (perm.length !== x.shape.length || ![...perm].sort((a, b) => a - b).every((p, i) => p === i))
      return `perm must be a permutation of ${x.shape.length} axes`;
    return typed(
      perm.map((p) => x.shape[p]!),
      followAxis(x.elem, (axis) => ({ axis: perm.indexOf(axis) })),
    );
  },
  (shape, attrs, strides) => ints(attrs.perm).map((p) => axisOffsets(shape[p]!, strides[p]!)),
);

/** Indices a slice takes from one axis: start, start + step … before end. */
function sliceIndices(start: number, end: number, step: number): number[] {
  const out: number[] = [];
  for (let i = start; step > 0 ? i < end : i > end; i += step) out.push(i);
  return out;
}

const sliceError = (x: TensorType, attrs: Attrs): string | undefined => {
  const [starts, ends, steps, axes] = [attrs.starts, attrs.ends, attrs.steps, attrs.axes].map(ints);
  if ([ends, steps].some((l) => l!.length !== axes!.length) || starts!.length !== axes!.length)
    return "starts, ends, steps and axes must have one length";
  for (let i = 0; i < axes!.length; i++) {
    const [a, s, e, step] = [axes![i]!, starts![i]!, ends![i]!, steps![i]!];
    if (!axisIn(a, x.shape.length) || axes!.indexOf(a) !== i) return "axes must be distinct axes of x";
    const size = x.shape[a]!;
    if (step === 0) return "a step must not be 0";
    const inside = step > 0 ? s >= 0 && s <= size && e <= size : s >= -1 && s < size && e >= -1;
    if (!inside) return `slice ${s}:${e}:${step} is not inside axis ${a} of size ${size}`;
  }
  return undefined;
};

const sliced = (attrs: Attrs, axis: number): number[] | undefined => {
  const i = ints(attrs.axes).indexOf(axis);
  return i < 0
    ? undefined
    : sliceIndices(ints(attrs.starts)[i]!, ints(attrs.ends)[i]!, ints(attrs.steps)[i]!);
};

const slice = movement(
  "slice",
  "Along each listed axis the indices start, start + step … before end; a negative step may have end −1.",
  {
    starts: required("ints", "first index per listed axis"),
    ends: required("ints", "exclusive end per listed axis"),
    steps: required("ints", "non-zero step per listed axis"),
    axes: required("ints", "distinct axes"),
  },
  (x, attrs) =>
    sliceError(x, attrs) ??
    typed(
      x.shape.map((d, axis) => sliced(attrs, axis)?.length ?? d),
      followAxis(x.elem, (axis) => {
        const pick = sliced(attrs, axis);
        return pick ? { axis, pick } : { axis };
      }),
    ),
  (shape, attrs, strides) =>
    shape.map((d, axis) => {
      const pick = sliced(attrs, axis);
      return pick ? pickOffsets(pick, strides[axis]!) : axisOffsets(d, strides[axis]!);
    }),
);

const gather = movement(
  "gather",
  "Result index i along `axis` is operand index indices[i].",
  { axis: required("int", "counted from the front"), indices: required("ints", "constant indices") },
  (x, attrs) => {
    const axis = attrs.axis as number;
    const indices = ints(attrs.indices);
    if (!axisIn(axis, x.shape.length)) return `axis ${axis} is not an axis of x`;
    if (indices.some((i) => i < 0 || i >= x.shape[axis]!)) return "an index is outside the axis";
    return typed(
      x.shape.map((d, i) => (i === axis ? indices.length : d)),
      followAxis(x.elem, (own) => (own === axis ? { axis, pick: indices } : { axis: own })),
    );
  },
  (shape, attrs, strides) =>
    shape.map((d, i) =>
      i === attrs.axis ? pickOffsets(ints(attrs.indices), strides[i]!) : axisOffsets(d, strides[i]!),
    ),
);

/** Source index of every result index of a padded axis; −1 is filled. */
function padIndices(size: number, before: number, after: number, mode: Attr): number[] {
  const last = size - 1;
  return Array.from({ length: before + size + after }, (_, i) => {
    const at = i - before;
    if (at >= 0 && at <= last) return at;
    if (mode === "constant") return -1;
    if (mode === "edge") return at < 0 ? 0 : last;
    const period = 2 * last;
    const r = period === 0 ? 0 : ((at % period) + period) % period;
    return r > last ? period - r : r;
  });
}

const pad = movement(
  "pad",
  "Adds before[i] and after[i] elements to axis i: the constant `value`, the mirrored interior, or the edge element.",
  {
    before: required("ints", "one per axis"),
    after: required("ints", "one per axis"),
    mode: { kind: { oneOf: ["constant", "reflect", "edge"] }, doc: "what is added", default: "constant" },
    value: {
      kind: "float",
      doc: "in the element's own units: a real for floats, the stored integer otherwise",
      default: 0,
    },
  },
  (x, attrs) => {
    const [before, after] = [ints(attrs.before), ints(attrs.after)];
    const rank = x.shape.length;
    if (before.length !== rank || after.length !== rank) return `before and after need ${rank} entries`;
    if (before.some((p) => p < 0) || after.some((p) => p < 0)) return "padding must not be negative";
    const value = attrs.value as number;
    const padded = (i: number) => before[i]! + after[i]! > 0;
    if (attrs.mode !== "constant" && x.shape.some((d, i) => d === 0 && padded(i)))
      return "an empty axis has nothing to repeat";
    if (x.elem.kind !== "float" && !Number.isInteger(value)) return "value must be an integer";
    if (x.elem.kind !== "float" && attrs.mode === "constant") {
      const { elem } = x;
      const [lo, hi] = elem.kind === "quant" ? [elem.lo, elem.hi] : [intMin(elem), intMax(elem)];
      if (value < lo || value > hi) return `value ${value} is outside ${lo} … ${hi}`;
    }
    return typed(
      x.shape.map((d, i) => d + before[i]! + after[i]!),
      followAxis(x.elem, (axis) => (padded(axis) ? "the quantisation axis is padded" : { axis })),
    );
  },
  (shape, attrs, strides) =>
    shape.map((d, i) =>
      pickOffsets(padIndices(d, ints(attrs.before)[i]!, ints(attrs.after)[i]!, attrs.mode!), strides[i]!),
    ),
  (attrs) => (attrs.mode === "constant" ? (attrs.value as number) : 0),
);

const expand = movement(
  "expand",
  "Repeats axes of size 1 to `shape`; new axes come first.",
  { shape: required("ints", "the result's shape") },
  (x, attrs) => {
    const shape = ints(attrs.shape);
    const lead = shape.length - x.shape.length;
    if (lead < 0 || !isShape(shape) || x.shape.some((d, i) => d !== 1 && d !== shape[lead + i]))
      return `shape [${x.shape.join(", ")}] does not expand to [${shape.join(", ")}]`;
    return typed(
      shape,
      followAxis(x.elem, (axis) =>
        x.shape[axis] === shape[lead + axis]
          ? { axis: lead + axis }
          : { axis: lead + axis, pick: new Array<number>(shape[lead + axis]!).fill(0) },
      ),
    );
  },
  (shape, attrs, strides) => {
    const to = ints(attrs.shape);
    const lead = to.length - shape.length;
    return to.map((d, i) => axisOffsets(d, i < lead || shape[i - lead] === 1 ? 0 : strides[i - lead]!));
  },
);

const tiled = (size: number, times: number): number[] =>
  Array.from({ length: size * times }, (_, i) => i % size);

const tile = movement(
  "tile",
  "Repeats the tensor repeats[i] times along axis i.",
  { repeats: required("ints", "one per axis") },
  (x, attrs) => {
    const repeats = ints(attrs.repeats);
    if (repeats.length !== x.shape.length || !isShape(repeats))
      return `repeats needs ${x.shape.length} non-negative entries`;
    return typed(
      x.shape.map((d, i) => d * repeats[i]!),
      followAxis(x.elem, (axis) => ({ axis, pick: tiled(x.shape[axis]!, repeats[axis]!) })),
    );
  },
  (shape, attrs, strides) => shape.map((d, i) => pickOffsets(tiled(d, ints(attrs.repeats)[i]!), strides[i]!)),
);

/** Rows or columns of the phase `r` of `n` with `step` phases. */
const phaseSize = (n: number, step: number, r: number): number => Math.ceil((n - r) / step);

const interleave = defineOp({
  name: "layout.interleave",
  summary:
    "Image [N, H, W, C] whose pixel (y, x) is pixel (⌊y / s⌋, ⌊x / s′⌋) of operand (y mod s)·s′ + x mod s′, [s, s′] being the strides.",
  operands: ["x…"],
  attrs: {
    strides: required("ints", "[vertical, horizontal]; their product is the number of operands"),
    size: required("ints", "[H, W]"),
  },
  traits: ["movement"],
  infer: (types, attrs) => {
    const [strides, size] = [ints(attrs.strides), ints(attrs.size)];
    const first = types[0];
    const [sh, sw] = strides;
    const [h, w] = size;
    if (strides.length !== 2 || size.length !== 2 || strides.some((v) => v < 1))
      return "strides and size must be two numbers each";
    if (first?.shape.length !== 4 || types.length !== sh! * sw!) return `${sh! * sw!} images are needed`;
    const [n, , , c] = first.shape;
    const bad = types.findIndex((t, i) => {
      const own = [n!, phaseSize(h!, sh!, Math.floor(i / sw!)), phaseSize(w!, sw!, i % sw!), c!];
      return !sameShape(t.shape, own) || !sameElem(t.elem, first.elem);
    });
    if (bad >= 0) return `operand ${bad} is not the phase of an image of ${h} by ${w}`;
    return typed([n!, h!, w!, c!], first.elem);
  },
  evaluate: (xs, attrs, [type]) => {
    const [sh, sw] = ints(attrs.strides) as [number, number];
    const [n, h, w, c] = type!.shape as [number, number, number, number];
    const data = sameContainer(xs[0]!, sizeOf(type!.shape));
    let to = 0;
    for (let b = 0; b < n; b++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++) {
          const part = xs[(y % sh) * sw + (x % sw)]!;
          const [, rows, columns] = part.shape as [number, number, number];
          const at = ((b * rows + Math.floor(y / sh)) * columns + Math.floor(x / sw)) * c;
          for (let i = 0; i < c; i++) data[to++] = part.data[at + i]!;
        }
    return [{ kind: "dense", elem: xs[0]!.elem, shape: type!.shape, data }];
  },
});

const concat = defineOp({
  name: "layout.concat",
  summary:
    "The operands one after another along `axis`. Numbers of different widths give the width that holds them all.",
  operands: ["x…"],
  attrs: { axis: required("int", "counted from the front") },
  traits: ["movement"],
  infer: (types, attrs) => {
    const axis = attrs.axis as number;
    const first = types[0];
    if (!first) return "concat needs an operand";
    if (!axisIn(axis, first.shape.length)) return `axis ${axis} is not an axis of the operands`;
    const rest = (t: TensorType): number[] => t.shape.map((d, i) => (i === axis ? -1 : d));
    if (!types.every((t) => sameShape(rest(t), rest(first)))) return "the operands differ off the axis";
    const total = types.reduce((n, t) => n + t.shape[axis]!, 0);
    return typed(
      rest(first).map((d) => (d < 0 ? total : d)),
      joinElems(
        types.map((t) => t.elem),
        axis,
      ),
    );
  },
  evaluate: (xs, attrs, [type]) => {
    const axis = attrs.axis as number;
    const wide = xs.find((x) => !(x.data instanceof Float32Array)) ?? xs[0]!;
    const mixed = xs.some((x) => !sameElem(x.elem, xs[0]!.elem));
    const elem = mixed ? storageOf(type!.elem) : xs[0]!.elem;
    const data = sameContainer(mixed ? { ...wide, elem } : wide, sizeOf(type!.shape));
    const inner = sizeOf(type!.shape.slice(axis + 1));
    const row = type!.shape[axis]! * inner;
    let at = 0;
    for (const x of xs) {
      const n = x.shape[axis]! * inner;
      for (let o = 0; o * n < x.data.length; o++)
        for (let i = 0; i < n; i++) data[o * row + at + i] = x.data[o * n + i]!;
      at += n;
    }
    return [{ kind: "dense", elem, shape: type!.shape, data } satisfies Dense];
  },
});

export const layoutOps: readonly OpDef[] = [
  reshape,
  transpose,
  slice,
  gather,
  pad,
  expand,
  tile,
  concat,
  interleave,
];
