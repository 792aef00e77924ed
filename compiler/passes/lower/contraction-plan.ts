/** In which parts a contraction goes over its pixels. */
import type { Geometry } from "./contraction-geometry.ts";
import type { Layout } from "./layout.ts";
import { spanOf } from "./widen.ts";

/** An image, or a strip of one, handled at a time. */
export interface Plan {
  /** Of one part. */
  readonly g: Geometry;
  readonly parts: number;
  /** Bytes between the inputs, outputs and residuals of consecutive parts. */
  readonly inPart: number;
  readonly outPart: number;
  readonly residualPart: number;
  /** Bytes between the residual's rows and pixels; 0 without one. */
  readonly residualRow: number;
  readonly residualPixel: number;
}

/** `strips`: cut a single image so that its widened input stays small. */
export function planOf(g: Geometry, y: Layout, residual: Layout | undefined, strips: boolean): Plan {
  const image = y.shape.length === 4;
  const residualRow = image ? (residual?.strides[1] ?? 0) : 0;
  const residualPixel = residual?.strides.at(-2) ?? 0;
  if (!strips || g.images > 1)
    return {
      g,
      parts: g.images,
      inPart: g.inImage,
      outPart: g.images > 1 ? y.strides[0]! : 0,
      residualPart: image ? (residual?.strides[0] ?? 0) : 0,
      residualRow,
      residualPixel,
    };
  const { rows, pixels } = stripOf(g);
  const cut = pixels < g.pixels;
  const step = (row: number, pixel: number): number => (cut ? pixels * pixel : rows * row);
  return {
    g: { ...g, rows, pixels },
    parts: (g.rows * g.pixels) / (rows * pixels),
    inPart: step(g.inRow, g.inPixel),
    outPart: step(g.outRow, g.outPixel),
    residualPart: step(residualRow, residualPixel),
    residualRow,
    residualPixel,
  };
}

/** Bytes of widened activations that stay in a first-level cache beside a panel of weights. */
const CACHED = 16384;
/** Pixels over which widening a panel anew is cheap. */
const ENOUGH = 64;

/**
 * How many rows to widen at a time. One long row of pixels may be cut into shorter ones, `pixels` each, a multiple of 4.
 */
function stripOf(g: Geometry): { readonly rows: number; readonly pixels: number } {
  const divisors = (n: number, step: number): number[] =>
    Array.from({ length: Math.floor(n / step) }, (_, i) => (i + 1) * step).filter((d) => n % d === 0);
  const strips =
    g.rows === 1
      ? divisors(g.pixels, 4).map((pixels) => ({ rows: 1, pixels }))
      : divisors(g.rows, 1).map((rows) => ({ rows, pixels: g.pixels }));
  const large = strips.filter((s) => s.rows * s.pixels >= ENOUGH);
  const fitting = large.filter((s) => 2 * spanOf(g, s.rows, s.pixels) <= CACHED);
  return fitting.at(-1) ?? large[0] ?? { rows: g.rows, pixels: g.pixels };
}
