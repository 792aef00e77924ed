/** Planes with their padding written out, so that every window lies inside. */
import { c32, type Expr } from "../../../ir/kernel/ir.ts";
import type { Block } from "../block.ts";
import { copyBlock, fillBlock } from "../copy-block.ts";
import type { Layout } from "../layout.ts";

/** Windows along the spatial axes. */
export interface Windows {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Begins of all axes, then ends. */
  readonly pads: readonly number[];
}

/** Where the windows of one image read: element (lead…, spatial…) is at offset + Σ i·strides. */
export interface Planes {
  readonly buffer: string;
  readonly offset: number;
  /** Of the leading axes, then of the spatial ones. */
  readonly strides: readonly number[];
  /** Before the loop over images: fills the padding. Inside: copies one image, and gives its address. */
  readonly enter: (b: Block, image: Expr) => Expr;
}

/**
 * The trailing axes of `x` from `first` on, of which the last `w.kernel.length` are spatial: as they are, or copied with `value`
 * around them. `out`: spatial shape of the result.
 */
export function paddedPlanes(
  block: Block,
  x: Layout,
  first: number,
  w: Windows,
  out: readonly number[],
  value: number,
): Planes {
  const rank = w.kernel.length;
  const shape = x.shape.slice(first);
  const lead = shape.length - rank;
  const needed = out.map((n, a) => (n - 1) * w.strides[a]! + (w.kernel[a]! - 1) * w.dilations[a]! + 1);
  const inside = needed.every((n, a) => w.pads[a] === 0 && n <= shape[lead + a]!);
  if (inside && w.strides.at(-1)! <= 2)
    return {
      buffer: x.buffer,
      offset: x.offset,
      strides: x.strides.slice(first),
      enter: (_, image) => image,
    };
  const sizes = [...shape.slice(0, lead), ...needed];
  const strides = new Array<number>(sizes.length);
  let bytes = 4;
  for (let a = sizes.length - 1; a >= 0; a--) {
    strides[a] = bytes;
    bytes *= sizes[a]!;
  }
  // Lanes behind the last position read on.
  const buffer = block.scratch(bytes + 16 * w.strides.at(-1)! + 16, "padded");
  const begin = (a: number): number => (a < lead ? 0 : w.pads[a - lead]!);
  const whole = sizes.map((size, a) => ({ size, steps: [0, strides[a]!] }));
  const place = { buffer, container: "f32" as const, offset: 0 };
  fillBlock(block, place, whole, c32(0), value);
  const offset = sizes.reduce((n, _, a) => n + begin(a) * strides[a]!, 0);
  const axes = sizes.map((size, a) => ({
    size: Math.max(0, Math.min(shape[a]!, size - begin(a))),
    steps: [x.strides[first + a]!, strides[a]!],
  }));
  return {
    buffer,
    offset: 0,
    strides,
    enter: (b, image) => {
      copyBlock(b, x, { ...place, offset }, axes, [image, c32(0)]);
      return c32(0);
    },
  };
}
