/** Steps at any places: quantizers of FINN and of small floats, on real numbers and on integers. */
import type { Attrs, Dense } from "../module.ts";
import { defineOp } from "../op.ts";
import { type QuantType, sizeOf, type TensorType } from "../types.ts";
import { axisIn } from "./axes.ts";
import { allOf, chosenInt, ints, isFloat, isQuant, optional, required, storeInts } from "./define.ts";
import { mapChannels } from "./per-channel.ts";

/** Rows of a threshold list: one for the tensor, or one per channel. */
const rowsOf = (t: Dense): number => t.shape[0] ?? 0;
const columnsOf = (t: Dense): number => t.shape[1] ?? 0;

function fault(t: Dense, axis: number, shape: readonly number[]): string | undefined {
  if (t.shape.length !== 2) return "thresholds must have rank 2";
  if (!axisIn(axis, shape.length) && !(axis === 0 && shape.length === 0))
    return `axis ${axis} is not an axis of x`;
  const channels = shape[axis] ?? 1;
  if (rowsOf(t) !== 1 && rowsOf(t) !== channels) return `thresholds need 1 or ${channels} rows`;
  const columns = columnsOf(t);
  for (let i = 0; i < t.data.length; i++)
    if (i % columns > 0 && !(t.data[i]! >= t.data[i - 1]!)) return "thresholds must not fall along a row";
  return undefined;
}

const axisDoc = required("int", "channel axis, counted from the front");

export const quantThreshold = defineOp({
  name: "quant.threshold",
  summary:
    "n = #{k : x/s[c] ≥ T[c][k]}, for the `strict` k x/s[c] > T[c][k]; y = levels[n], or n without levels. NaN gives levels[0]. Float64 here; the exact meaning is in rationals.",
  operands: ["x"],
  attrs: {
    thresholds: required("dense", "T: floats, one row for the tensor or one per channel, not falling"),
    axis: axisDoc,
    scales: optional("floats", "s: positive, one entry or one per channel", [1]),
    strict: optional("ints", "indices of the thresholds that x has to exceed", []),
    levels: optional("ints", "integers of the result, one more than thresholds, not falling", []),
  },
  traits: ["elementwise", "float", "monotone"],
  infer: ([x], attrs, declared) => {
    if (!isFloat(x!)) return "operand 0 must have a float element type";
    const want = declared?.[0];
    if (!want || !isQuant(want)) return "the result must be declared with a quantised element type";
    const t = attrs.thresholds as Dense;
    if (t.elem.kind !== "float") return "thresholds must be floats";
    const bad = fault(t, attrs.axis as number, x!.shape);
    if (bad) return bad;
    const scales = ints(attrs.scales);
    const channels = x!.shape[attrs.axis as number] ?? 1;
    if (scales.length !== 1 && scales.length !== channels) return `scales need 1 or ${channels} entries`;
    if (!scales.every((s) => s > 0 && s < Number.POSITIVE_INFINITY)) return "scales must be positive";
    const n = columnsOf(t);
    if (ints(attrs.strict).some((k) => k < 0 || k >= n)) return `strict needs indices below ${n}`;
    const levels = ints(attrs.levels);
    if (levels.length !== 0 && levels.length !== n + 1) return `levels needs ${n + 1} entries`;
    if (levels.some((v, i) => i > 0 && v < levels[i - 1]!)) return "levels must not fall";
    const [lo, hi] = levels.length === 0 ? [0, n] : [levels[0]!, levels.at(-1)!];
    const { lo: least, hi: most } = want.elem as QuantType;
    if (lo < least || hi > most) return `the result's range must hold ${lo} … ${hi}`;
    return [{ shape: x!.shape, elem: want.elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const t = attrs.thresholds as Dense;
    const levels = ints(attrs.levels);
    const strict = new Set(ints(attrs.strict));
    const scales = ints(attrs.scales);
    const axis = attrs.axis as number;
    const inner = sizeOf(type!.shape.slice(axis + 1));
    const channels = type!.shape[axis] ?? 1;
    const columns = columnsOf(t);
    const out = new Float64Array(x!.data.length);
    for (let i = 0; i < out.length; i++) {
      const c = Math.floor(i / inner) % channels;
      const row = rowsOf(t) === 1 ? 0 : c;
      const v = x!.data[i]! / scales[scales.length === 1 ? 0 : c]!;
      let n = 0;
      for (let k = 0; k < columns; k++) {
        const threshold = t.data[row * columns + k]!;
        if (strict.has(k) ? v > threshold : v >= threshold) n++;
      }
      out[i] = levels.length === 0 ? n : levels[n]!;
    }
    return [storeInts(out, type!)];
  },
});

/** Steps of one channel of a `qc.threshold`: y = base + #{k : v > thresholds[k]}, v = −1 − a where `mirrored`, else a. */
export interface Steps {
  readonly base: number;
  readonly mirrored: boolean;
  readonly thresholds: ArrayLike<number>;
}

export function stepsOf(attrs: Attrs, channel: number): Steps {
  const t = attrs.thresholds as Dense;
  const row = rowsOf(t) === 1 ? 0 : channel;
  const columns = columnsOf(t);
  return {
    base: ints(attrs.base)[row]!,
    mirrored: ints(attrs.mirrored)[row] === 1,
    thresholds: t.data.subarray(row * columns, (row + 1) * columns) as ArrayLike<number>,
  };
}

export function countSteps({ base, mirrored, thresholds }: Steps, a: number): number {
  const v = mirrored ? -1 - a : a;
  let n = base;
  for (let k = 0; k < thresholds.length; k++) if (v > thresholds[k]!) n++;
  return n;
}

export const qcThreshold = defineOp({
  name: "qc.threshold",
  summary:
    "base[c] + #{k : v > T[c][k]}, with v = −1 − a in `mirrored` channels, v = a in the others. The author chooses the result's integer type.",
  operands: ["a"],
  attrs: {
    thresholds: required("dense", "T: i32, one row for the tensor or one per channel, not falling"),
    base: required("ints", "one per row"),
    mirrored: required("ints", "one per row: 1 or 0"),
    axis: axisDoc,
  },
  traits: ["elementwise"],
  infer: ([a], attrs, declared): readonly TensorType[] | string => {
    const bad = allOf("int", [a!]);
    if (bad) return bad;
    const t = attrs.thresholds as Dense;
    if (t.elem.kind !== "int" || !t.elem.signed || t.elem.bits !== 32) return "thresholds must be i32";
    const wrong = fault(t, attrs.axis as number, a!.shape);
    if (wrong) return wrong;
    if (ints(attrs.base).length !== rowsOf(t)) return "base needs one entry per row";
    if (ints(attrs.mirrored).length !== rowsOf(t)) return "mirrored needs one entry per row";
    if (ints(attrs.mirrored).some((m) => m !== 0 && m !== 1)) return "mirrored holds 0 and 1";
    return chosenInt(a!.shape, declared, a!.elem);
  },
  evaluate: ([a], attrs, [type]) => {
    const channels = type!.shape[attrs.axis as number] ?? 1;
    const steps = Array.from({ length: channels }, (_, c) => stepsOf(attrs, c));
    return [mapChannels([a!], attrs.axis as number, type!, (c, [v]) => countSteps(steps[c]!, v!))];
  },
});
