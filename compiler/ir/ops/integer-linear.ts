/** Integer sums of products, NHWC, zero points already elsewhere. Exact: a sum outside the declared type throws. */
import { toFloat64 } from "../dense.ts";
import type { Attrs, Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { I32, intMax, intMin, sizeOf, type TensorType } from "../types.ts";
import { axesIn, broadcastShapes, broadcastTo, reducedShape, sumOver } from "./axes.ts";
import { allOf, chosenInt, ints, optional, required, storeInts } from "./define.ts";
import { convChannelsLast, matmul, matmulShape } from "./linear.ts";
import { transposedShape, transposedTaps, transposedWindowOf } from "./transposed.ts";
import { tapTable, windowOf, windowShape } from "./window.ts";

type Inferred = readonly TensorType[] | string;

/** Result of a window over [N, H, W, C]: [N, OH, OW, `channels`], or a sentence. */
export function nhwcShape(x: TensorType, attrs: Attrs, kernel: readonly number[], channels: number) {
  const spatial = windowShape(x.shape.slice(1, 3), windowOf(attrs, kernel));
  return typeof spatial === "string" ? spatial : [x.shape[0]!, ...spatial, channels];
}

export const integerWindow = {
  strides: required("ints", "[vertical, horizontal]"),
  pads: required("ints", "[top, left, bottom, right]"),
};

/** What is wrong with the operands of a convolution, in a sentence. */
function groupedFault(x: TensorType, w: TensorType, groups: number): string | undefined {
  const bad = allOf("int", [x, w]);
  if (bad) return bad;
  if (x.shape.length !== 4 || w.shape.length !== 4) return "x must be [N, H, W, C], w [O, KH, KW, C/groups]";
  const [channels, outputs] = [x.shape[3]!, w.shape[0]!];
  if (groups < 1 || channels % groups !== 0 || outputs % groups !== 0)
    return `${groups} groups do not divide ${channels} input and ${outputs} output channels`;
  return w.shape[3] === channels / groups
    ? undefined
    : `w has ${w.shape[3]} input channels per group, needs ${channels / groups}`;
}

/** Throws if a sum of `n` products of the operands' types could leave float64's exact integers. */
function assertExact(a: Dense, b: Dense, n: number, aZero = 0, bZero = 0): void {
  const reach = (d: Dense, zero: number): number =>
    d.elem.kind === "int" ? Math.max(Math.abs(intMin(d.elem) - zero), Math.abs(intMax(d.elem) - zero)) : 0;
  if (reach(a, aZero) * reach(b, bZero) * n > Number.MAX_SAFE_INTEGER)
    throw new RangeError(`a sum of ${n} products of these types may exceed 2^53`);
}

/** The elements minus a zero point, as float64. */
const centred = (d: Dense, zero: number): Float64Array =>
  zero === 0 ? toFloat64(d.data) : Float64Array.from(d.data, (v) => v - zero);

const conv = defineOp({
  name: "qc.conv",
  summary:
    "Raw products: y[n, p, o] = Σ x[n, p·stride + t·dilation − pad, c] · w[o, t, c] over the group's channels c and the taps t; a padded tap reads `pad_value`. The author chooses the result's integer type.",
  operands: ["x", "w"],
  attrs: {
    ...integerWindow,
    dilations: optional("ints", "[vertical, horizontal]", [1, 1]),
    groups: optional("int", "channel groups", 1),
    pad_value: optional("int", "what a padded tap reads", 0),
  },
  traits: ["accumulates"],
  infer: ([x, w], attrs, declared): Inferred => {
    const bad = groupedFault(x!, w!, attrs.groups as number);
    if (bad) return bad;
    const shape = nhwcShape(x!, attrs, w!.shape.slice(1, 3), w!.shape[0]!);
    return typeof shape === "string" ? shape : chosenInt(shape, declared, I32);
  },
  evaluate: ([x, w], attrs, [type]) => {
    const input = x!.shape.slice(1, 3);
    const output = type!.shape.slice(1, 3);
    const kernel = w!.shape.slice(1, 3);
    assertExact(x!, w!, sizeOf(w!.shape.slice(1)));
    const sums = convChannelsLast(toFloat64(x!.data), toFloat64(w!.data), attrs.pad_value as number, {
      batch: x!.shape[0]!,
      channels: x!.shape[3]!,
      pixels: sizeOf(input),
      outChannels: w!.shape[0]!,
      groups: attrs.groups as number,
      taps: tapTable(input, output, windowOf(attrs, kernel)),
      positions: sizeOf(output),
    });
    return [storeInts(sums, type!)];
  },
});

const convTranspose = defineOp({
  name: "qc.conv_transpose",
  summary:
    "Every (x[n, p, c] − zero) · w[o, t, c], c in the group of o, added to y[n, p·stride + t·dilation − pad, o]; what falls outside y is dropped, and where nothing falls is 0. The author chooses the result's integer type.",
  operands: ["x", "w"],
  attrs: {
    ...integerWindow,
    dilations: optional("ints", "[vertical, horizontal]", [1, 1]),
    groups: optional("int", "channel groups", 1),
    output_padding: optional("ints", "rows and columns of zeros added at the end", [0, 0]),
    zero: optional("int", "zero point of x", 0),
  },
  traits: ["accumulates"],
  infer: ([x, w], attrs, declared): Inferred => {
    const bad = groupedFault(x!, w!, attrs.groups as number);
    if (bad) return bad;
    const spatial = transposedShape(x!.shape.slice(1, 3), transposedWindowOf(attrs, w!.shape.slice(1, 3)));
    if (typeof spatial === "string") return spatial;
    return chosenInt([x!.shape[0]!, ...spatial, w!.shape[0]!], declared, I32);
  },
  evaluate: ([x, w], attrs, [type]) => {
    const [input, output] = [x!.shape.slice(1, 3), type!.shape.slice(1, 3)];
    const zero = attrs.zero as number;
    assertExact(x!, w!, sizeOf(w!.shape.slice(1)), zero);
    const sums = convChannelsLast(centred(x!, zero), toFloat64(w!.data), 0, {
      batch: x!.shape[0]!,
      channels: x!.shape[3]!,
      pixels: sizeOf(input),
      outChannels: w!.shape[0]!,
      groups: attrs.groups as number,
      taps: transposedTaps(input, output, transposedWindowOf(attrs, w!.shape.slice(1, 3))),
      positions: sizeOf(output),
    });
    return [storeInts(sums, type!)];
  },
});

const zeros = {
  a_zero: optional("int", "zero point of a", 0),
  b_zero: optional("int", "zero point of b", 0),
};

/** A shape or the elements of a matrix with its last two axes swapped. */
const swapped = (shape: readonly number[]): number[] => [
  ...shape.slice(0, -2),
  ...shape.slice(-1),
  ...shape.slice(-2, -1),
];

const product = defineOp({
  name: "qc.matmul",
  summary:
    "y[…, m, n] = Σ (a[…, m, k] − a_zero)(b[…, k, n] − b_zero); batch axes broadcast. The author chooses the result's integer type.",
  operands: ["a", "b"],
  attrs: { ...zeros, transpose_b: optional("bool", "b is given as b[…, n, k]", false) },
  traits: ["accumulates"],
  infer: ([a, b], attrs, declared): Inferred => {
    const bad = allOf("int", [a!, b!]);
    if (bad) return bad;
    const shape = matmulShape(a!.shape, attrs.transpose_b === true ? swapped(b!.shape) : b!.shape);
    return typeof shape === "string" ? shape : chosenInt(shape, declared, I32);
  },
  evaluate: ([a, b], attrs, [type]) => {
    const [za, zb] = [attrs.a_zero as number, attrs.b_zero as number];
    assertExact(a!, b!, a!.shape.at(-1)!, za, zb);
    const right = centred(b!, zb);
    const [n, k] = b!.shape.slice(-2) as [number, number];
    const turned = (): Float64Array =>
      right.map((_, i) => right[i - (i % (n * k)) + (i % n) * k + (Math.floor(i / n) % k)]!);
    const [data, shape] = attrs.transpose_b === true ? [turned(), swapped(b!.shape)] : [right, b!.shape];
    return [storeInts(matmul(centred(a!, za), a!.shape, data, shape, type!.shape), type!)];
  },
});

const mul = defineOp({
  name: "qc.mul",
  summary: "(a − a_zero)(b − b_zero), numpy broadcasting. The author chooses the result's integer type.",
  operands: ["a", "b"],
  attrs: zeros,
  traits: ["elementwise"],
  infer: ([a, b], _, declared): Inferred => {
    const bad = allOf("int", [a!, b!]);
    if (bad) return bad;
    const shape = broadcastShapes(a!.shape, b!.shape);
    return shape ? chosenInt(shape, declared, I32) : "the operands' shapes do not broadcast";
  },
  evaluate: ([a, b], attrs, [type]) => {
    const [za, zb] = [attrs.a_zero as number, attrs.b_zero as number];
    assertExact(a!, b!, 1, za, zb);
    const x = broadcastTo(a!, type!.shape);
    const y = broadcastTo(b!, type!.shape);
    const out = new Float64Array(x.length);
    for (let i = 0; i < out.length; i++) out[i] = (x[i]! - za) * (y[i]! - zb);
    return [storeInts(out, type!)];
  },
});

const subProduct = defineOp({
  name: "qc.sub_product",
  summary:
    "x − a·b, numpy broadcasting: a product of integers less what its zero points add to it. The author chooses the result's integer type.",
  operands: ["x", "a", "b"],
  attrs: {},
  traits: ["elementwise"],
  infer: (types, _, declared): Inferred => {
    const bad = allOf("int", types);
    if (bad) return bad;
    const shape = broadcastShapes(...types.map((t) => t.shape));
    return shape ? chosenInt(shape, declared, I32) : "the operands' shapes do not broadcast";
  },
  evaluate: (operands, _, [type]) => {
    const [x, a, b] = operands.map((d) => broadcastTo(d, type!.shape));
    const out = new Float64Array(x!.length);
    for (let i = 0; i < out.length; i++) out[i] = x![i]! - a![i]! * b![i]!;
    return [storeInts(out, type!)];
  },
});

const reduceSum = defineOp({
  name: "qc.reduce_sum",
  summary: "The sum over `axes`. The author chooses the result's integer type.",
  operands: ["x"],
  attrs: {
    axes: required("ints", "axes to reduce, counted from the front"),
    keepdims: optional("bool", "reduced axes stay with size 1", true),
  },
  traits: ["accumulates"],
  infer: ([x], attrs, declared): Inferred => {
    const axes = ints(attrs.axes);
    const bad = allOf("int", [x!]);
    if (bad) return bad;
    if (!axesIn(axes, x!.shape.length)) return "axes must be distinct axes of x";
    return chosenInt(reducedShape(x!.shape, axes, attrs.keepdims === true), declared, I32);
  },
  evaluate: ([x], attrs, [type]) => [storeInts(sumOver(x!, ints(attrs.axes)), type!)],
});

export const integerLinearOps: readonly OpDef[] = [conv, convTranspose, product, mul, subProduct, reduceSum];
