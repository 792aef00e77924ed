/** Where the operands and results of a contraction lie: convolutions and matmuls as one grid of pixels and segments. */
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { CONTAINER_BYTES, type Layout } from "./layout.ts";
import type { Stage } from "./stage.ts";
import type { Segment, WeightRows } from "./weights.ts";

/** The geometry all contractions share: a grid of output rows of pixels, each a sum of segments. */
export interface Geometry extends WeightRows {
  /** Images, and bytes between them in the input. */
  readonly images: number;
  readonly inImage: number;
  /** Output rows per image, and pixels per row. */
  readonly rows: number;
  readonly pixels: number;
  /** Bytes between the inputs of consecutive output rows and pixels. */
  readonly inRow: number;
  readonly inPixel: number;
  /** Byte of the first tap of the first output in the input buffer. */
  readonly inOffset: number;
  readonly outRow: number;
  readonly outPixel: number;
  /** Bytes between the inputs of consecutive groups. */
  readonly inGroup: number;
}

/** `join`: rows that continue each other become one. */
export function convGeometry(stage: Stage, root: Op, w: Dense, join: boolean): Geometry | undefined {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const [o, kh, kw, ci] = w.shape as [number, number, number, number];
  const groups = attr<number>(root, "groups");
  const [sh, sw] = attr<readonly [number, number]>(root, "strides");
  const [dh, dw] = attr<readonly [number, number]>(root, "dilations");
  const [top, left] = attr<readonly [number, number, number, number]>(root, "pads");
  const [batch, oh, ow] = y.shape as [number, number, number, number];
  const e = CONTAINER_BYTES[x.container];
  const [, rowBytes, pixelBytes] = x.strides as [number, number, number, number];
  const physical = pixelBytes / e;
  // Pixels that lie back to back form one segment per kernel row; their padding channels carry zero weights.
  const joined = groups === 1 && dw === 1 && physical - ci < 8;
  const perTap = { taps: kw, length: ci };
  const segments: readonly Segment[] = joined
    ? Array.from({ length: kh }, (_, ky) => ({ offset: ky * dh * rowBytes, length: kw * physical }))
    : Array.from({ length: kh * perTap.taps }, (_, t) => ({
        offset: Math.floor(t / kw) * dh * rowBytes + (t % kw) * dw * pixelBytes,
        length: perTap.length,
      }));
  // A row-major run of `ci` channels per tap: those of a segment follow each other, `physical` elements apart in the row.
  const taps = joined ? kw : 1;
  const pitch = joined ? physical : ci;
  const row = (n: number, s: number, to: Int32Array): void => {
    const { data } = w;
    for (let t = 0, from = (n * segments.length + s) * taps * ci; t < taps; t++, from += ci)
      for (let c = 0; c < ci; c++) to[t * pitch + c] = data[from + c]!;
  };
  const flat =
    join && oneRun(x, y, sh, sw, oh, ow) && stage.inputs.slice(1).every((r) => oneRun(r, y, 1, 1, oh, ow));
  return {
    images: batch,
    inImage: x.strides[0]!,
    rows: flat ? 1 : oh,
    pixels: flat ? oh * ow : ow,
    inRow: sh * rowBytes,
    inPixel: sw * pixelBytes,
    inOffset: x.offset - top * rowBytes - left * pixelBytes,
    outRow: y.strides[1]!,
    outPixel: y.strides[2]!,
    groups,
    inGroup: ci * e,
    n: o / groups,
    segments,
    dense: w,
    row,
  };
}

/** Whether consecutive output rows continue each other in both tensors, so that the image is one row of pixels. */
const oneRun = (x: Layout, y: Layout, sh: number, sw: number, oh: number, ow: number): boolean =>
  oh === 1 || (y.strides[1] === ow * y.strides[2]! && sh * x.strides[1]! === ow * sw * x.strides[2]!);

/** Raw products by a matrix of weights; undefined for others, and where rows of the tensors lie irregularly. */
export function matmulGeometry(stage: Stage, root: Op, w: Dense): Geometry | undefined {
  const [x] = stage.inputs as [Layout];
  const [y] = stage.outputs as [Layout];
  const raw = attr<number>(root, "a_zero") === 0 && attr<number>(root, "b_zero") === 0;
  if (w.shape.length !== 2 || !raw || attr<boolean>(root, "transpose_b")) return undefined;
  const [k, n] = w.shape as [number, number];
  const rank = x.shape.length;
  const m = x.shape.slice(0, -1).reduce((a, d) => a * d, 1);
  const inPixel = rank < 2 ? 0 : x.strides[rank - 2]!;
  const outPixel = y.shape.length < 2 ? 0 : y.strides[y.shape.length - 2]!;
  const regular = (l: Layout, step: number): boolean => {
    let stride = step;
    for (let a = l.shape.length - 2; a >= 0; a--) {
      if (l.shape[a]! > 1 && l.strides[a] !== stride) return false;
      stride *= l.shape[a]!;
    }
    return true;
  };
  if (!regular(x, inPixel) || !regular(y, outPixel)) return undefined;
  if (stage.inputs.slice(1).some((r) => !regular(r, r.strides.at(-2) ?? 0))) return undefined;
  return {
    images: 1,
    inImage: 0,
    rows: 1,
    pixels: m,
    inRow: 0,
    inPixel,
    inOffset: x.offset,
    outRow: 0,
    outPixel,
    groups: 1,
    inGroup: 0,
    n,
    segments: [{ offset: 0, length: k }],
    dense: w,
    row: (o, _, to) => {
      for (let i = 0; i < k; i++) to[i] = w.data[i * n + o]!;
    },
  };
}
