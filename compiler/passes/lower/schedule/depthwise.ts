/** Schedules of depthwise convolutions that go row by row, and what they cost. */
import type { Target } from "../../../ir/target.ts";
import type { DepthwiseSchedule, DepthwiseWork } from "./schedule.ts";

const CHANNELS = 8;
/** Bytes of a cache line. */
const LINE = 64;
const TOGETHER: readonly number[] = [1, 2, 4, 8];
/** What an odd number of groups of blocks may cost more than an even one: threads share groups out. */
const UNEVEN = 1.1;

export const depthwiseSchedules = (w: DepthwiseWork): DepthwiseSchedule[] =>
  TOGETHER.filter((n) => n === 1 || (w.multiplier === 1 && w.blocks % n === 0)).map((blocks) => ({
    family: "depthwise",
    blocks,
  }));

export function depthwiseCycles(s: DepthwiseSchedule, w: DepthwiseWork, { costs, dot4 }: Target): number {
  const [kh, kw] = w.kernel;
  const dots = (2 * Math.ceil(kh / (dot4 ? 4 : 2)) * kw) / costs.dots;
  const classes = w.epilogue.reduce((sum, c) => sum + (costs.epilogue[c] ?? costs.epilogue.limb!), 0);
  const inRows = w.rows * w.strides[0];
  const columns = w.pixels * w.strides[1];
  // Two interleaved blocks are loaded at once.
  const fill = (s.blocks > 1 ? 0.8 : 1) * (dot4 ? 1.5 : 2);
  const block = w.rows * w.pixels * (dots + 2 * classes) + inRows * columns * fill;
  const groups = Math.ceil(w.channels / CHANNELS / s.blocks);
  const beyond = (bytes: number): number => (bytes > costs.cacheBytes ? costs.miss : 0);
  const lines = inRows * columns * Math.ceil(Math.min(w.inPixel, s.blocks * CHANNELS) / LINE);
  // Rings are read in order, ahead of which caches run.
  const rings = (w.rows * s.blocks * w.ring) / (4 * LINE);
  const group = s.blocks * block + lines * beyond(w.inRow * inRows) + rings * beyond(s.blocks * w.ring);
  return (groups % 2 > 0 ? UNEVEN : 1) * w.images * groups * group;
}
