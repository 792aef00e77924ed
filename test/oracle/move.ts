/** Data movement operators; they work on every kind of tensor. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { intOf, intsOf, stringOf } from "./attributes.ts";
import {
  broadcast,
  broadcastShape,
  chain,
  forEachCoordinate,
  gather,
  gatherBy,
  reshape,
  stridesOf,
} from "./gather.ts";
import { sizeOf, type Tensor } from "./tensor.ts";

export const normalizeAxis = (axis: number, rank: number): number => {
  const at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at > rank) throw new Error(`axis ${axis} of rank ${rank}`);
  return at;
};

/** The elements of an integer (or literal) tensor as numbers. */
export function numbersOf(tensor: Tensor): number[] {
  if (tensor.kind === "int") return [...tensor.data];
  if (tensor.kind === "real" && tensor.literal !== undefined) return [...tensor.literal];
  throw new Error("a constant is needed here");
}

/** A list given as input `i`, or in older opsets as the attribute `name`. */
export const listOf = (node: OnnxNode, inputs: readonly (Tensor | undefined)[], i: number, name: string) => {
  const tensor = inputs[i];
  return tensor === undefined ? intsOf(node, name) : numbersOf(tensor);
};

function reshapeTo(x: Tensor, target: readonly number[], allowZero: boolean): Tensor {
  const shape = target.map((dim, d) => (dim === 0 && !allowZero ? x.shape[d]! : dim));
  const unknown = shape.indexOf(-1);
  if (unknown >= 0) {
    const known = shape.reduce((product, dim) => (dim === -1 ? product : product * dim), 1);
    shape[unknown] = sizeOf(x.shape) / known;
  }
  return reshape(x, shape);
}

function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0]!.shape;
  const along = normalizeAxis(axis, first.length);
  const shape = first.map((dim, d) => (d === along ? tensors.reduce((sum, t) => sum + t.shape[d]!, 0) : dim));
  const inner = sizeOf(first.slice(along + 1));
  const outer = sizeOf(first.slice(0, along));
  const index = new Int32Array(sizeOf(shape));
  let at = 0;
  for (let o = 0; o < outer; o++) {
    let base = 0;
    for (const tensor of tensors) {
      const run = tensor.shape[along]! * inner;
      for (let i = 0; i < run; i++) index[at++] = base + o * run + i;
      base += sizeOf(tensor.shape);
    }
  }
  return gather(chain(tensors), index, shape);
}

function slice(
  x: Tensor,
  starts: readonly number[],
  ends: readonly number[],
  axes: readonly number[],
  steps: readonly number[],
): Tensor {
  const first = x.shape.map(() => 0);
  const step = x.shape.map(() => 1);
  const shape = [...x.shape];
  axes.forEach((given, i) => {
    const d = normalizeAxis(given, shape.length);
    const dim = x.shape[d]!;
    const by = steps[i]!;
    const wrap = (v: number) => (v < 0 ? v + dim : v);
    const [least, most] = by > 0 ? [0, dim] : [-1, dim - 1];
    const from = Math.min(Math.max(wrap(starts[i]!), 0), most);
    const to = Math.min(Math.max(wrap(ends[i]!), least), most);
    first[d] = from;
    step[d] = by;
    shape[d] = Math.max(0, Math.ceil((to - from) / by));
  });
  return gatherBy(x, shape, (at) => at.map((c, d) => first[d]! + c * step[d]!));
}

/** Reads outside of the input fall on the fill, on the nearest element or on the mirrored one. */
function pad(
  x: Tensor,
  pads: readonly number[],
  axes: readonly number[],
  mode: string,
  fill: Tensor | undefined,
): Tensor {
  const before = x.shape.map(() => 0);
  const shape = [...x.shape];
  axes.forEach((given, i) => {
    const d = normalizeAxis(given, shape.length);
    before[d] = pads[i]!;
    shape[d] = x.shape[d]! + pads[i]! + pads[i + axes.length]!;
  });
  const size = sizeOf(x.shape);
  const strides = stridesOf(x.shape);
  const source = fill === undefined ? x : chain([x, reshape(fill, [1])]);
  const outside = fill === undefined ? -1 : size;
  const index = new Int32Array(sizeOf(shape));
  forEachCoordinate(shape, (at, i) => {
    let flat = 0;
    for (let d = 0; d < shape.length; d++) {
      let c = at[d]! - before[d]!;
      const dim = x.shape[d]!;
      if (c < 0 || c >= dim) {
        if (mode === "edge") c = Math.min(Math.max(c, 0), dim - 1);
        else if (mode === "reflect" && dim > 1) {
          const period = 2 * (dim - 1);
          const folded = ((c % period) + period) % period;
          c = Math.min(folded, period - folded);
        } else if (mode === "wrap") c = ((c % dim) + dim) % dim;
        else flat = Number.NaN;
      }
      flat += c * strides[d]!;
    }
    index[i] = Number.isNaN(flat) ? outside : flat;
  });
  return gather(source, index, shape);
}

function gatherAxis(x: Tensor, indices: Tensor, axis: number): Tensor {
  const along = normalizeAxis(axis, x.shape.length);
  const dim = x.shape[along]!;
  const picks = numbersOf(indices).map((i) => (i < 0 ? i + dim : i));
  const lead = x.shape.slice(0, along);
  const tail = x.shape.slice(along + 1);
  const flat = gatherBy(x, [...lead, picks.length, ...tail], (at) =>
    at.map((c, d) => (d === along ? picks[c]! : c)),
  );
  return reshape(flat, [...lead, ...indices.shape, ...tail]);
}

const transpose = (x: Tensor, perm: readonly number[]): Tensor =>
  gatherBy(
    x,
    perm.map((p) => x.shape[p]!),
    (at) => x.shape.map((_, d) => at[perm.indexOf(d)]!),
  );

function depthToSpace(x: Tensor, block: number, mode: string): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const deep = c / block ** 2;
  return mode === "CRD"
    ? reshape(transpose(reshape(x, [n, deep, block, block, h, w]), [0, 1, 4, 2, 5, 3]), [
        n,
        deep,
        h * block,
        w * block,
      ])
    : reshape(transpose(reshape(x, [n, block, block, deep, h, w]), [0, 3, 4, 1, 5, 2]), [
        n,
        deep,
        h * block,
        w * block,
      ]);
}

function spaceToDepth(x: Tensor, block: number): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const cut = reshape(x, [n, c, h / block, block, w / block, block]);
  return reshape(transpose(cut, [0, 3, 5, 1, 2, 4]), [n, c * block ** 2, h / block, w / block]);
}

/** x with rows of `updates` at the places that the last axis of `indices` names. */
function scatterRows(x: Tensor, indices: Tensor, updates: Tensor): Tensor {
  const depth = indices.shape.at(-1)!;
  const row = sizeOf(x.shape.slice(depth));
  const size = sizeOf(x.shape);
  const source = Int32Array.from({ length: size }, (_, i) => i);
  const at = numbersOf(indices);
  for (let u = 0; u * depth < at.length; u++) {
    const place = x.shape.slice(0, depth).reduce((sum, dim, d) => {
      const i = at[u * depth + d]!;
      return sum * dim + (i < 0 ? i + dim : i);
    }, 0);
    for (let i = 0; i < row; i++) source[place * row + i] = size + u * row + i;
  }
  return gather(chain([x, updates]), source, x.shape);
}

type Mover = (node: OnnxNode, inputs: readonly (Tensor | undefined)[], x: Tensor) => readonly Tensor[];

export const MOVERS: Readonly<Record<string, Mover>> = {
  Identity: (_, __, x) => [x],
  Dropout: (_, inputs, x) => {
    if (inputs[2] !== undefined && numbersOf(inputs[2])[0] !== 0)
      throw new Error("dropout in training is not covered");
    return [x];
  },
  Reshape: (node, inputs, x) => [
    reshapeTo(x, listOf(node, inputs, 1, "shape")!, intOf(node, "allowzero") === 1),
  ],
  Flatten: (node, _, x) => {
    const axis = normalizeAxis(intOf(node, "axis") ?? 1, x.shape.length);
    return [reshape(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))])];
  },
  Transpose: (node, _, x) => [
    transpose(x, intsOf(node, "perm") ?? x.shape.map((__, d) => x.shape.length - 1 - d)),
  ],
  ScatterND: (node, inputs, x) => {
    if ((stringOf(node, "reduction") ?? "none") !== "none")
      throw new Error("ScatterND that reduces is not covered");
    return [scatterRows(x, inputs[1]!, inputs[2]!)];
  },
  Squeeze: (node, inputs, x) => {
    const axes = listOf(node, inputs, 1, "axes")?.map((axis) => normalizeAxis(axis, x.shape.length));
    return [
      reshape(
        x,
        x.shape.filter((dim, d) => !(axes?.includes(d) ?? dim === 1)),
      ),
    ];
  },
  Unsqueeze: (node, inputs, x) => {
    const axes = listOf(node, inputs, 1, "axes")!;
    const rank = x.shape.length + axes.length;
    const at = axes.map((axis) => normalizeAxis(axis, rank));
    const rest = [...x.shape];
    return [
      reshape(
        x,
        Array.from({ length: rank }, (_, d) => (at.includes(d) ? 1 : rest.shift()!)),
      ),
    ];
  },
  Slice: (node, inputs, x) => {
    const starts = listOf(node, inputs, 1, "starts")!;
    const axes = listOf(node, inputs, 3, "axes") ?? starts.map((_, i) => i);
    const steps = inputs[4] === undefined ? starts.map(() => 1) : numbersOf(inputs[4]);
    return [slice(x, starts, listOf(node, inputs, 2, "ends")!, axes, steps)];
  },
  Split: (node, inputs, x) => {
    const axis = normalizeAxis(intOf(node, "axis") ?? 0, x.shape.length);
    const dim = x.shape[axis]!;
    const parts = node.outputs.length;
    const even = Math.ceil(dim / parts);
    const lengths =
      listOf(node, inputs, 1, "split") ??
      Array.from({ length: parts }, (_, i) => Math.min(even, dim - even * i));
    let at = 0;
    return lengths.map((length) => {
      at += length;
      return slice(x, [at - length], [at], [axis], [1]);
    });
  },
  Concat: (node, inputs) => [concat(inputs as readonly Tensor[], intOf(node, "axis")!)],
  Gather: (node, inputs, x) => [gatherAxis(x, inputs[1]!, intOf(node, "axis") ?? 0)],
  Expand: (_, inputs, x) => [broadcast(x, broadcastShape(x.shape, numbersOf(inputs[1]!)))],
  Tile: (_, inputs, x) => {
    const repeats = numbersOf(inputs[1]!);
    return [
      gatherBy(
        x,
        x.shape.map((dim, d) => dim * repeats[d]!),
        (at) => at.map((c, d) => c % x.shape[d]!),
      ),
    ];
  },
  Pad: (node, inputs, x) => {
    const pads = listOf(node, inputs, 1, "pads") ?? intsOf(node, "paddings")!;
    const axes = inputs[3] === undefined ? x.shape.map((_, d) => d) : numbersOf(inputs[3]);
    return [pad(x, pads, axes, stringOf(node, "mode") ?? "constant", inputs[2])];
  },
  DepthToSpace: (node, _, x) => [depthToSpace(x, intOf(node, "blocksize")!, stringOf(node, "mode") ?? "DCR")],
  SpaceToDepth: (node, _, x) => [spaceToDepth(x, intOf(node, "blocksize")!)],
};
