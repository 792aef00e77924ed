/** Where a tensor's elements lie in memory, as kernels see it. */
import type { TensorType } from "../../ir/types.ts";

/** Containers of integer tensors, and of those of float islands. */
export type Container = "u8" | "i8" | "i16" | "u16" | "i32" | "f32";
export const CONTAINER_BYTES: { readonly [c in Container]: number } = {
  u8: 1,
  i8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  f32: 4,
};

/** Rows and columns around an NHWC tensor, inside its buffer, that hold `value`; the tensor's producer fills them. */
export interface Halo {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
  readonly value: number;
}

/** Element (i₀, i₁, …) is at byte offset + Σ iₐ·strides[a] of `buffer`. */
export interface Layout {
  readonly buffer: string;
  readonly container: Container;
  readonly shape: readonly number[];
  /** Bytes per step along each axis. The last axis is contiguous. */
  readonly strides: readonly number[];
  readonly offset: number;
  readonly halo?: Halo;
  /** The tensor that this is part of, if the producer of this part fills its halo. */
  readonly frame?: Layout;
  /** Padding channels behind the last one of every pixel, of unspecified value, that the producer may overwrite. */
  readonly spare?: number;
}

/** Smallest container: activations of up to 8 bits are u8 (signed ones only at the graph's edge), up to 16 bits i16, else i32. */
export function containerOf(type: TensorType): Container {
  const e = type.elem;
  if (e.kind === "float" && e.bits === 32) return "f32";
  if (e.kind !== "int") throw new Error("only tensors of integers and float32 have containers");
  if (e.bits <= 8) return e.signed ? "i8" : "u8";
  if (e.bits <= 15) return "i16";
  if (e.bits === 16) return e.signed ? "i16" : "u16";
  return "i32";
}

/** Row-major without gaps. */
export function denseLayout(
  buffer: string,
  type: TensorType,
  container = containerOf(type),
  offset = 0,
): Layout {
  const strides = new Array<number>(type.shape.length);
  let n = CONTAINER_BYTES[container];
  for (let a = type.shape.length - 1; a >= 0; a--) {
    strides[a] = n;
    n *= type.shape[a]!;
  }
  return { buffer, container, shape: type.shape, strides, offset };
}

/** Whether the elements lie in one run without gaps or halo. */
export function isDense(l: Layout): boolean {
  let n = CONTAINER_BYTES[l.container];
  for (let a = l.shape.length - 1; a >= 0; a--) {
    if (l.shape[a]! > 1 && l.strides[a] !== n) return false;
    n *= l.shape[a]!;
  }
  return l.halo === undefined;
}
