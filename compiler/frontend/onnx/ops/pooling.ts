/** Pools and windows that are compositions of others: norms of windows, responses of neighbouring channels, columns to images. */
import { badAttributeValue, badOperands, unsupportedAttribute } from "../../../ir/messages.ts";
import { sizeOf } from "../../../ir/types.ts";
import { elementwise, move, real, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  axesOf,
  constantInts,
  flagAttr,
  floatAttr,
  input,
  intAttr,
  intsAttr,
  type NodeImport,
  reject,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { spatial } from "./conv.ts";
import { scalar } from "./elementwise.ts";
import { longs, scatter } from "./indexing.ts";
import { choose, compare } from "./logic.ts";
import { WINDOW_ATTRIBUTES, windowAttrs } from "./window.ts";

const op = (n: NodeImport, name: string, ...xs: readonly Operand[]): Operand =>
  elementwise(n, `float.${name}`, xs);

/** Sums over windows, as means of so many. */
function windowSums(
  n: NodeImport,
  x: Operand,
  attrs: {
    readonly kernel: readonly number[];
    readonly strides: readonly number[];
    readonly pads: readonly number[];
    readonly ceil_mode: boolean;
  },
): Operand {
  const mean = real(n, "float.average_pool", [x], { ...attrs, count_include_pad: true });
  return op(n, "mul", mean, scalar(mean, sizeOf(attrs.kernel)));
}

const lpPool: Importer = {
  op: "LpPool",
  since: 2,
  inputs: [1, 1],
  attributes: { ...WINDOW_ATTRIBUTES, ceil_mode: "int", p: "int" },
  run: (n) => {
    const x = input(n, 0);
    const p = intAttr(n, "p", 2);
    const { kernel, strides, pads, dilations } = windowAttrs(n, spatial(n, x), undefined);
    if (dilations.some((d) => d !== 1))
      reject(unsupportedAttribute(n.loc, "dilations", "is not supported here"));
    const ceil_mode = flagAttr(n, "ceil_mode", false);
    if (ceil_mode) reject(unsupportedAttribute(n.loc, "ceil_mode", "is not supported here"));
    const a = op(n, "abs", x);
    const terms = p === 1 ? a : p === 2 ? op(n, "mul", x, x) : op(n, "pow", a, scalar(x, p));
    const sum = windowSums(n, terms, { kernel, strides, pads, ceil_mode });
    if (p === 1) return sum;
    return p === 2 ? op(n, "sqrt", sum) : op(n, "pow", sum, scalar(sum, 1 / p));
  },
};

const localResponse: Importer = {
  op: "LRN",
  inputs: [1, 1],
  attributes: { alpha: "float", beta: "float", bias: "float", size: "int" },
  run: (n) => {
    const x = input(n, 0);
    const size = intAttr(n, "size");
    const [batch, channels, ...rest] = x.shape;
    if (batch === undefined || channels === undefined)
      return reject(badOperands(n.loc, "the operand needs a batch and channels", []));
    if (!(size >= 1 && size < 65536)) reject(badAttributeValue(n.loc, "size", `is ${size}`));
    const flat = reshape(n, op(n, "mul", x, x), [batch, 1, channels, sizeOf(rest)]);
    const before = Math.floor((size - 1) / 2);
    const after = size - 1 - before;
    // The mean over `size` channels, those outside being 0.
    const mean = real(n, "float.average_pool", [flat], {
      kernel: [size, 1],
      strides: [1, 1],
      pads: [before, 0, after, 0],
      ceil_mode: false,
      count_include_pad: true,
    });
    const scaled = op(
      n,
      "mul",
      reshape(n, mean, x.shape),
      scalar(x, floatAttr(n, "alpha", Math.fround(1e-4))),
    );
    const base = op(n, "add", scaled, scalar(x, floatAttr(n, "bias", 1)));
    return op(n, "div", x, op(n, "pow", base, scalar(x, floatAttr(n, "beta", 0.75))));
  },
};

/** x − bias beyond λ, x + bias below −λ, 0 between. */
const shrink: Importer = {
  op: "Shrink",
  since: 9,
  inputs: [1, 1],
  attributes: { bias: "float", lambd: "float" },
  run: (n) => {
    const x = input(n, 0);
    const [bias, edge] = [floatAttr(n, "bias", 0), floatAttr(n, "lambd", 0.5)];
    const above = compare(n, "less", scalar(x, edge), x);
    const below = compare(n, "less", x, scalar(x, -edge));
    const low = choose(n, below, op(n, "add", x, scalar(x, bias)), scalar(x, 0));
    return choose(n, above, op(n, "sub", x, scalar(x, bias)), low);
  },
};

/** (x − mean) / √(mean of squares − mean² + 1e-9), as the standard writes it out. */
const meanVariance: Importer = {
  op: "MeanVarianceNormalization",
  since: 9,
  inputs: [1, 1],
  attributes: { axes: "ints" },
  run: (n) => {
    const x = input(n, 0);
    const axes = axesOf(n, intsAttr(n, "axes") ?? [0, 2, 3], x.shape.length);
    const mean = (v: Operand): Operand =>
      real(n, "float.reduce_mean", [v], { axes: axes.toSorted((a, b) => a - b), keepdims: true });
    const centred = op(n, "sub", x, mean(x));
    const deviation = op(n, "sqrt", mean(op(n, "mul", centred, centred)));
    return op(n, "div", centred, op(n, "add", deviation, scalar(x, Math.fround(1e-9))));
  },
};

/** The middle part of so many elements, or x in the middle of zeros. */
const centre: Importer = {
  op: "CenterCropPad",
  since: 18,
  inputs: [2, 2],
  attributes: { axes: "ints" },
  moves: true,
  run: (n) => {
    const x = input(n, 0);
    const wanted = constantInts(n, input(n, 1), "shape");
    const axes = axesOf(n, intsAttr(n, "axes") ?? x.shape.map((_, a) => a), x.shape.length);
    if (wanted.length !== axes.length || wanted.some((d) => !(d >= 1 && d < 2 ** 31)))
      reject(badOperands(n.loc, `[${wanted.join(", ")}] is no shape of these axes`, []));
    const targets = x.shape.map((d, a) => (axes.includes(a) ? wanted[axes.indexOf(a)]! : d));
    const starts = x.shape.map((d, a) => Math.max(Math.floor((d - targets[a]!) / 2), 0));
    const cut = move(n, "layout.slice", [x], {
      axes: x.shape.map((_, a) => a),
      starts,
      ends: x.shape.map((d, a) => starts[a]! + Math.min(d, targets[a]!)),
      steps: x.shape.map(() => 1),
    });
    const before = cut.shape.map((d, a) => Math.floor((targets[a]! - d) / 2));
    const after = cut.shape.map((d, a) => targets[a]! - d - before[a]!);
    if ([...before, ...after].every((p) => p === 0)) return cut;
    return move(n, "layout.pad", [cut], { before, after, mode: "constant", value: 0 });
  },
};

/** Blocks summed into an image where they overlap: a scatter to places known from the shapes. */
const columnsToImage: Importer = {
  op: "Col2Im",
  since: 18,
  inputs: [3, 3],
  attributes: { dilations: "ints", pads: "ints", strides: "ints" },
  run: (n) => {
    const x = input(n, 0);
    const image = constantInts(n, input(n, 1), "image shape");
    const block = constantInts(n, input(n, 2), "block shape");
    const rank = image.length;
    const list = (name: string, size: number, fallback: number): readonly number[] => {
      const given = intsAttr(n, name) ?? new Array<number>(size).fill(fallback);
      return given.length === size ? given : reject(badAttributeValue(n.loc, name, `needs ${size} numbers`));
    };
    const [dilations, strides] = [list("dilations", rank, 1), list("strides", rank, 1)];
    const pads = list("pads", 2 * rank, 0);
    const steps = image.map((d, a) =>
      Math.floor((d + pads[a]! + pads[a + rank]! - dilations[a]! * (block[a]! - 1) - 1) / strides[a]! + 1),
    );
    const [batch, rows, columns] = x.shape as [number, number, number];
    const [inBlock, blocks] = [sizeOf(block), sizeOf(steps)];
    if (x.shape.length !== 3 || block.length !== rank || columns !== blocks || rows % inBlock !== 0)
      return reject(badOperands(n.loc, "the columns do not fit the image", []));
    const channels = rows / inBlock;
    const area = sizeOf(image);
    // One more place takes what falls on the padding.
    const places: number[] = [];
    for (let k = 0; k < inBlock; k++)
      for (let s = 0; s < blocks; s++)
        places.push(placeOf(k, s, { block, steps, image, strides, dilations, pads }));
    const flat = reshape(n, x, [batch * channels, inBlock * blocks]);
    const zeros = move(n, "layout.expand", [scalar(x, 0)], { shape: [batch * channels, area + 1] });
    const each = longs(
      [batch * channels, inBlock * blocks],
      Array.from({ length: batch * channels }, () => places).flat(),
    );
    const sums = scatter(n, "index.scatter_elements", [zeros, each, flat], { axis: 1, reduction: "add" });
    const kept = move(n, "layout.slice", [sums], { axes: [1], starts: [0], ends: [area], steps: [1] });
    return reshape(n, kept, [batch, channels, ...image]);
  },
};

/** Where element `k` of block `s` lies in the image; behind its end for the padding. */
function placeOf(
  k: number,
  s: number,
  g: {
    readonly block: readonly number[];
    readonly steps: readonly number[];
    readonly image: readonly number[];
    readonly strides: readonly number[];
    readonly dilations: readonly number[];
    readonly pads: readonly number[];
  },
): number {
  let [at, scale, inner, outer] = [0, 1, k, s];
  for (let a = g.image.length - 1; a >= 0; a--) {
    const position =
      (outer % g.steps[a]!) * g.strides[a]! + (inner % g.block[a]!) * g.dilations[a]! - g.pads[a]!;
    if (position < 0 || position >= g.image[a]!) return sizeOf(g.image);
    at += position * scale;
    scale *= g.image[a]!;
    inner = Math.floor(inner / g.block[a]!);
    outer = Math.floor(outer / g.steps[a]!);
  }
  return at;
}

export const poolingImporters: readonly Importer[] = [
  lpPool,
  localResponse,
  shrink,
  meanVariance,
  centre,
  columnsToImage,
];
