/** Chooses where every tensor of `main` lies: buffers, halos, padded channels, and views of other tensors. */
import { type Func, type Module, type Op, uses, type Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { CONTAINER_BYTES, containerOf, denseLayout, type Halo, isDense, type Layout } from "./layout.ts";

/** The function a call runs, and its first op that is not a constant. */
export interface Callee {
  readonly func: Func;
  readonly root: Op;
}

export function calleeOf(module: Module, call: Op): Callee {
  const name = attr<string>(call, "callee");
  const func = module.funcs.find((f) => f.name === name);
  if (func === undefined) throw new Error(`no function @${name}`);
  const root = func.ops.find((o) => o.name !== "const") ?? func.ops[0]!;
  return { func, root };
}

/** What a kernel needs around its input: rows and columns of `value`. */
export function haloNeed(root: Op): Halo | undefined {
  if (root.name !== "qc.conv" && root.name !== "qc.sum_pool") return undefined;
  const [top, left, bottom, right] = attr<readonly [number, number, number, number]>(root, "pads");
  if (top === 0 && left === 0 && bottom === 0 && right === 0) return undefined;
  return { top, left, bottom, right, value: attr<number>(root, "pad_value") };
}

const covers = (has: Halo | undefined, need: Halo): boolean =>
  has !== undefined &&
  has.value === need.value &&
  has.top >= need.top &&
  has.left >= need.left &&
  has.bottom >= need.bottom &&
  has.right >= need.right;

export const satisfies = (l: Layout, need: Halo | undefined): boolean =>
  need === undefined || covers(l.halo, need);

const union = (a: Halo | undefined, b: Halo): Halo | undefined => {
  if (a === undefined) return b;
  if (a.value !== b.value) return undefined;
  return {
    value: a.value,
    top: Math.max(a.top, b.top),
    left: Math.max(a.left, b.left),
    bottom: Math.max(a.bottom, b.bottom),
    right: Math.max(a.right, b.right),
  };
};

/** The halo all readers can share; the readers it does not serve get a copy. */
export function sharedHalo(needs: readonly (Halo | undefined)[]): Halo | undefined {
  let halo: Halo | undefined;
  for (const need of needs) if (need !== undefined) halo = union(halo, need) ?? halo;
  return halo;
}

/** Kernel families that read any strides and write whole vectors into padding channels. */
export const vectorFamilies = new Set(["qc.conv", "qc.matmul"]);

/** An NHWC tensor with `halo`, its pixels `stride` channels apart. */
export function imageLayout(
  buffer: string,
  v: Value,
  halo: Halo | undefined,
  channelStride: number,
): { layout: Layout; bytes: number } {
  const container = containerOf(v.type);
  const e = CONTAINER_BYTES[container];
  const [n, h, w] = v.type.shape as [number, number, number, number];
  const { top = 0, left = 0, bottom = 0, right = 0 } = halo ?? {};
  const pixel = channelStride * e;
  const row = (left + w + right) * pixel;
  const image = (top + h + bottom) * row;
  const layout: Layout = {
    buffer,
    container,
    shape: v.type.shape,
    strides: [image, row, pixel, e],
    offset: top * row + left * pixel,
    ...(halo ? { halo } : {}),
    ...(channelStride > v.type.shape[3]! ? { spare: channelStride - v.type.shape[3]! } : {}),
  };
  return { layout, bytes: n * image };
}

/** The pixels of `whole` that operand `i` of an interleaving op fills; its maker fills the halo if it is the first. */
export function phaseOf(root: Op, whole: Layout, i: number, v: Value): Layout {
  const [sh, sw] = attr<readonly [number, number]>(root, "strides");
  const { halo, ...layout } = whole;
  const [image, row, pixel, e] = whole.strides as [number, number, number, number];
  return {
    ...layout,
    shape: v.type.shape,
    strides: [image, sh * row, sw * pixel, e],
    offset: whole.offset + Math.floor(i / sw) * row + (i % sw) * pixel,
    ...(halo && i === 0 ? { frame: whole } : {}),
  };
}

/** Channels are padded to whole vectors of eight where a contraction writes and only contractions read. */
export const paddedChannels = (c: number): number => (c <= 4 ? c : Math.ceil(c / 8) * 8);

/** The layout of `v` seen with another shape, if the same bytes serve. */
export function reshapeView(l: Layout, v: Value): Layout | undefined {
  if (isDense(l)) return { ...denseLayout(l.buffer, v.type, l.container, l.offset) };
  // Axes of size 1 may come and go freely.
  const wide = l.shape.flatMap((d, a) => (d > 1 ? [a] : []));
  const target = v.type.shape.flatMap((d, a) => (d > 1 ? [a] : []));
  if (wide.length !== target.length || wide.some((a, i) => l.shape[a] !== v.type.shape[target[i]!]))
    return undefined;
  const e = CONTAINER_BYTES[l.container];
  const strides = v.type.shape.map((_, a) => {
    const i = target.indexOf(a);
    return i < 0 ? e : l.strides[wide[i]!]!;
  });
  // The axis before a last one of size 1 may have gaps.
  if ((v.type.shape.at(-1) ?? 1) > 1 && strides.at(-1) !== e) return undefined;
  // Strides of unit axes only matter to those who compute sizes from them: make them monotone.
  for (let a = strides.length - 2; a >= 0; a--)
    if (v.type.shape[a] === 1) strides[a] = strides[a + 1]! * v.type.shape[a + 1]!;
  return { buffer: l.buffer, container: l.container, shape: v.type.shape, strides, offset: l.offset };
}

export const readersOf = (main: Func): ReadonlyMap<Value, Op[]> => uses(main);
