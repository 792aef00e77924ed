/** Convolution and matrix product on real numbers, NCHW as in ONNX. */
import { toFloat64 } from "../dense.ts";
import type { Attrs } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { sizeOf, type TensorType } from "../types.ts";
import { allOf, floatOf, floats, optional, required } from "./define.ts";
import { convChannelsFirst, matmul, matmulShape } from "./linear.ts";
import { outputsFirst, transposedShape, transposedTaps, transposedWindowOf } from "./transposed.ts";
import { tapTable, windowOf, windowShape } from "./window.ts";

function convShape([x, w]: readonly TensorType[], attrs: Attrs): number[] | string {
  const rank = x!.shape.length - 2;
  if (rank < 1) return "x must be [N, C, spatial …]";
  if (w!.shape.length !== rank + 2) return `w must have rank ${rank + 2}`;
  const groups = attrs.groups as number;
  const [channels, outputs] = [x!.shape[1]!, w!.shape[0]!];
  if (groups < 1 || channels % groups !== 0 || outputs % groups !== 0)
    return `${groups} groups do not divide ${channels} input and ${outputs} output channels`;
  if (w!.shape[1] !== channels / groups)
    return `w has ${w!.shape[1]} input channels per group, needs ${channels / groups}`;
  const spatial = windowShape(x!.shape.slice(2), windowOf(attrs, w!.shape.slice(2)));
  return typeof spatial === "string" ? spatial : [x!.shape[0]!, outputs, ...spatial];
}

const conv = defineOp({
  name: "float.conv",
  summary:
    "Cross-correlation: y[n, o, p] = Σ x[n, c, p·stride + t·dilation − pad] · w[o, c, t] over the group's channels c and the taps t; the padding is zero.",
  operands: ["x", "w"],
  attrs: {
    strides: required("ints", "one per spatial axis"),
    pads: required("ints", "begins of all spatial axes, then ends"),
    dilations: required("ints", "one per spatial axis"),
    groups: optional("int", "channel groups", 1),
  },
  traits: ["float"],
  infer: (types, attrs) => {
    const bad = allOf("float", types);
    if (bad) return bad;
    const shape = convShape(types, attrs);
    return typeof shape === "string" ? shape : [{ shape, elem: floatOf(types) }];
  },
  evaluate: ([x, w], attrs, [type]) => {
    const input = x!.shape.slice(2);
    const output = type!.shape.slice(2);
    const out = convChannelsFirst(toFloat64(x!.data), toFloat64(w!.data), {
      batch: x!.shape[0]!,
      channels: x!.shape[1]!,
      pixels: sizeOf(input),
      outChannels: w!.shape[0]!,
      groups: attrs.groups as number,
      taps: tapTable(input, output, windowOf(attrs, w!.shape.slice(2))),
      positions: sizeOf(output),
    });
    return [floats(type!, out)];
  },
});

function transposedConvShape([x, w]: readonly TensorType[], attrs: Attrs): number[] | string {
  const rank = x!.shape.length - 2;
  if (rank < 1) return "x must be [N, C, spatial …]";
  if (w!.shape.length !== rank + 2) return `w must have rank ${rank + 2}`;
  const groups = attrs.groups as number;
  const channels = x!.shape[1]!;
  if (groups < 1 || channels % groups !== 0)
    return `${groups} groups do not divide ${channels} input channels`;
  if (w!.shape[0] !== channels) return `w has ${w!.shape[0]} input channels, needs ${channels}`;
  const spatial = transposedShape(x!.shape.slice(2), transposedWindowOf(attrs, w!.shape.slice(2)));
  return typeof spatial === "string" ? spatial : [x!.shape[0]!, w!.shape[1]! * groups, ...spatial];
}

const convTranspose = defineOp({
  name: "float.conv_transpose",
  summary:
    "Every x[n, c, p] · w[c, o, t], c in the group of o, added to y[n, o, p·stride + t·dilation − pad]; what falls outside y is dropped, and where nothing falls is zero.",
  operands: ["x", "w"],
  attrs: {
    strides: required("ints", "one per spatial axis"),
    pads: required("ints", "begins of all spatial axes, then ends: what is cut from the result"),
    dilations: required("ints", "one per spatial axis"),
    groups: optional("int", "channel groups", 1),
    output_padding: required("ints", "zeros added at the end of each spatial axis"),
  },
  traits: ["float"],
  infer: (types, attrs) => {
    const bad = allOf("float", types);
    if (bad) return bad;
    const shape = transposedConvShape(types, attrs);
    return typeof shape === "string" ? shape : [{ shape, elem: floatOf(types) }];
  },
  evaluate: ([x, w], attrs, [type]) => {
    const [input, output, kernel] = [x!.shape.slice(2), type!.shape.slice(2), w!.shape.slice(2)];
    const groups = attrs.groups as number;
    const [channels, perGroup] = w!.shape as [number, number];
    const weights = outputsFirst(toFloat64(w!.data), channels, perGroup, sizeOf(kernel), groups);
    const out = convChannelsFirst(toFloat64(x!.data), weights, {
      batch: x!.shape[0]!,
      channels,
      pixels: sizeOf(input),
      outChannels: perGroup * groups,
      groups,
      taps: transposedTaps(input, output, transposedWindowOf(attrs, kernel)),
      positions: sizeOf(output),
    });
    return [floats(type!, out)];
  },
});

const product = defineOp({
  name: "float.matmul",
  summary:
    "y[…, m, n] = Σ a[…, m, k] · b[…, k, n]; batch axes broadcast as in ONNX MatMul. Ranks of 2 or more.",
  operands: ["a", "b"],
  attrs: {},
  traits: ["float"],
  infer: (types) => {
    const bad = allOf("float", types);
    if (bad) return bad;
    const shape = matmulShape(types[0]!.shape, types[1]!.shape);
    return typeof shape === "string" ? shape : [{ shape, elem: floatOf(types) }];
  },
  evaluate: ([a, b], _, [type]) => [
    floats(type!, matmul(toFloat64(a!.data), a!.shape, toFloat64(b!.data), b!.shape, type!.shape)),
  ],
});

export const floatLinearOps: readonly OpDef[] = [conv, convTranspose, product];
