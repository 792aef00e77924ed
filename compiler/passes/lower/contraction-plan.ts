/** In which parts a contraction goes over its pixels. */
import type { Geometry } from "./contraction-geometry.ts";
import type { Layout } from "./layout.ts";
import type { Strip } from "./schedule/schedule.ts";

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

/** `strip`: the part of a single image that is handled at a time; images of a batch are handled whole. */
export function planOf(g: Geometry, y: Layout, residual: Layout | undefined, strip: Strip): Plan {
  // A pooled result may have lost its axes; the residual has those of the convolution.
  const image = residual?.shape.length === 4;
  const residualRow = image ? (residual?.strides[1] ?? 0) : 0;
  const residualPixel = residual?.strides.at(-2) ?? 0;
  const { rows, pixels } = strip;
  if (g.images > 1 || (rows === g.rows && pixels === g.pixels))
    return {
      g,
      parts: g.images,
      inPart: g.inImage,
      outPart: g.images > 1 ? y.strides[0]! : 0,
      residualPart: image ? (residual?.strides[0] ?? 0) : 0,
      residualRow,
      residualPixel,
    };
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
