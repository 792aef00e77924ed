/**
 * How a kernel goes over its work, as plain data: for each family what there is to choose, and the facts of the work that the
 * choice rests on. Every legal schedule of a kernel gives the same integers.
 */
import type { Container } from "../layout.ts";

/** Tiles of output positions × panels of eight output channels, held in registers over the whole of K. */
export interface ContractionSchedule {
  readonly family: "contraction";
  /** Positions of a tile; a last tile of a row may have fewer. */
  readonly rows: number;
  /** Panels of a tile; the last ones of a group may be fewer. */
  readonly panels: number;
  /** Operands of which the dot products read copies in scratch memory, widened to i16. */
  readonly widen: "nothing" | "input" | "both";
  /** K-groups per turn of the innermost loop, which is also the longest stretch written out without one. */
  readonly unroll: number;
  /** The part of an image handled at a time: output rows, and positions of a row. They divide the image's. */
  readonly strip: Strip;
}

/** All positions of an image at once, weights widened in registers: for few positions on targets without a byte dot product. */
export interface GemvSchedule {
  readonly family: "gemv";
  /** Vectors of four columns in a tile. */
  readonly vectors: 1 | 2 | 4;
}

/** Winograd's F(2×2, 3×3): tiles of 2×2 outputs, a panel at a time. For targets whose dot product takes i16 pairs. */
export interface WinogradSchedule {
  readonly family: "winograd";
  /** Tiles whose sums are held in registers; the last ones of a chunk may be fewer. */
  readonly rows: number;
  /** Rows of tiles whose inputs are transformed at a time; they divide the image's. */
  readonly lines: number;
  /** Rows of tiles that are multiplied before their outputs are made; they divide `lines`. */
  readonly chunk: number;
}

/** Row by row, blocks of eight channels at a time. */
export interface DepthwiseSchedule {
  readonly family: "depthwise";
  /** Blocks whose input rows are interleaved together: each line of the input comes from memory once for all of them. */
  readonly blocks: number;
}

export interface DepthwiseWork {
  readonly family: "depthwise";
  readonly images: number;
  /** Output rows and positions of an image. */
  readonly rows: number;
  readonly pixels: number;
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly dilation: number;
  /** Output channels, and how many share an input channel. */
  readonly channels: number;
  readonly multiplier: number;
  /** Blocks of eight channels that are computed whole. */
  readonly blocks: number;
  readonly input: Container;
  readonly output: Container;
  /** Bytes between the inputs of consecutive rows and positions. */
  readonly inRow: number;
  readonly inPixel: number;
  /** Bytes of a block's interleaved rows. */
  readonly ring: number;
  /** Classes of the certified rescales behind it, in order. */
  readonly epilogue: readonly string[];
}

export interface Strip {
  readonly rows: number;
  readonly pixels: number;
}

export interface ContractionWork {
  readonly family: "contraction";
  readonly images: number;
  /** Output rows of an image and output positions of a row; rows that continue each other count as one. */
  readonly rows: number;
  readonly pixels: number;
  readonly groups: number;
  /** Output channels of a group. */
  readonly n: number;
  /** Pieces of K that lie side by side in memory, and elements of each. */
  readonly pieces: number;
  readonly length: number;
  /** K-groups that hold what weights exceed eight bits by. */
  readonly extra: number;
  readonly input: Container;
  readonly output: Container;
  /** Bytes between the inputs of consecutive rows, positions and groups, and of the input of one position in one group. */
  readonly inRow: number;
  readonly inPixel: number;
  readonly inGroup: number;
  readonly extent: number;
  /** Classes of the certified rescales behind it, in order. */
  readonly epilogue: readonly string[];
  readonly residual: boolean;
  /** Rows and positions of the pooling window behind it. */
  readonly pool: readonly [number, number] | undefined;
}

/** What was chosen for a kernel; `key` names its work, the target apart. */
export interface Choice {
  readonly key: string;
  readonly work: Work;
  readonly schedule: Schedule;
  /** `refused tuning`: the tuning has a schedule for the key, but not a legal one; the cost model's is used. */
  readonly from: "cost model" | "tuning" | "refused tuning";
}

export type Work = ContractionWork | DepthwiseWork;
export type Schedule = ContractionSchedule | GemvSchedule | WinogradSchedule | DepthwiseSchedule;

/** Wanted schedules by the keys of their work, as a file has them: used only where they equal a legal one. */
export type Tuning = ReadonlyMap<string, unknown>;

/** Of the meaning of keys and schedules; increased when either changes, so that older tuning files are not misread. */
export const REVISION = 1;

/** Every fact of the work that schedules or their costs depend on, in one line. */
export const keyOf = (w: Work): string => (w.family === "depthwise" ? depthwiseKey(w) : contractionKey(w));

function depthwiseKey(w: DepthwiseWork): string {
  const parts = [
    `${w.images}x${w.rows}x${w.pixels}`,
    `n${w.channels}x${w.multiplier}.${w.blocks}`,
    `k${w.kernel.join("x")}/${w.strides.join("x")}${w.dilation > 1 ? `d${w.dilation}` : ""}`,
    `at${w.inRow}.${w.inPixel}.${w.ring}`,
    `${w.input}-${w.output}`,
    w.epilogue.join("+") || "none",
  ];
  return `depthwise ${parts.join(" ")}`;
}

function contractionKey(w: ContractionWork): string {
  const { images, rows, pixels, groups, n, pieces, length, extra } = w;
  const parts = [
    `${images}x${rows}x${pixels}`,
    `n${groups}x${n}`,
    `k${pieces}x${length}${extra ? `+${extra}` : ""}`,
    `at${w.inRow}.${w.inPixel}.${w.inGroup}.${w.extent}`,
    `${w.input}-${w.output}`,
    [...w.epilogue, ...(w.residual ? ["residual"] : [])].join("+") || "none",
    ...(w.pool ? [`pool${w.pool.join("x")}`] : []),
  ];
  return `contraction ${parts.join(" ")}`;
}
