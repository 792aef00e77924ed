/** Integer pooling, NHWC. */
import type { Attrs, Dense } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { I32, sizeOf, type TensorType } from "../types.ts";
import { allOf, chosenInt, ints, optional, required, storeInts } from "./define.ts";
import { integerWindow, nhwcShape } from "./integer-linear.ts";
import { emptyWindow, tapTable, windowOf } from "./window.ts";

const kernel = required("ints", "[height, width]");

function pooled(x: TensorType, attrs: Attrs): number[] | string {
  const bad = allOf("int", [x]);
  if (bad) return bad;
  if (x.shape.length !== 4) return "x must be [N, H, W, C]";
  return nhwcShape(x, attrs, ints(attrs.kernel), x.shape[3]!);
}

/** Folds each window of each channel, from `start`, over its taps' values; a padded tap reads `pad`, or is left out. */
function pool(
  x: Dense,
  attrs: Attrs,
  type: TensorType,
  start: number,
  pad: number | undefined,
  fold: (acc: number, v: number) => number,
): Dense {
  const input = x.shape.slice(1, 3);
  const output = type.shape.slice(1, 3);
  const taps = tapTable(input, output, windowOf(attrs, ints(attrs.kernel)));
  const perWindow = sizeOf(ints(attrs.kernel));
  const [pixels, positions, channels] = [sizeOf(input), sizeOf(output), x.shape[3]!];
  const out = new Float64Array(sizeOf(type.shape)).fill(start);
  for (let q = 0; q < x.shape[0]! * positions; q++) {
    const image = Math.floor(q / positions) * pixels;
    for (let t = 0; t < perWindow; t++) {
      const at = taps[(q % positions) * perWindow + t]!;
      if (at < 0 && pad === undefined) continue;
      for (let c = 0; c < channels; c++) {
        const v = at < 0 ? pad! : x.data[(image + at) * channels + c]!;
        out[q * channels + c] = fold(out[q * channels + c]!, v);
      }
    }
  }
  return storeInts(out, type);
}

const sumPool = defineOp({
  name: "qc.sum_pool",
  summary:
    "The sum of each window; a padded tap reads `pad_value`. Floor output size. The author chooses the result's integer type.",
  operands: ["x"],
  attrs: { kernel, ...integerWindow, pad_value: optional("int", "what a padded tap reads", 0) },
  traits: ["accumulates"],
  infer: ([x], attrs, declared) => {
    const shape = pooled(x!, attrs);
    return typeof shape === "string" ? shape : chosenInt(shape, declared, I32);
  },
  evaluate: ([x], attrs, [type]) => [
    pool(x!, attrs, type!, 0, attrs.pad_value as number, (acc, v) => acc + v),
  ],
});

const maxPool = defineOp({
  name: "qc.max_pool",
  summary: "The greatest element of each window; padded taps are left out. Floor output size.",
  operands: ["x"],
  attrs: { kernel, ...integerWindow, dilations: optional("ints", "[vertical, horizontal]", [1, 1]) },
  traits: [],
  infer: ([x], attrs) => {
    const shape = pooled(x!, attrs);
    if (typeof shape === "string") return shape;
    return emptyWindow(windowOf(attrs, ints(attrs.kernel))) ?? [{ shape, elem: x!.elem }];
  },
  evaluate: ([x], attrs, [type]) => [pool(x!, attrs, type!, Number.NEGATIVE_INFINITY, undefined, Math.max)],
});

export const integerWindowOps: readonly OpDef[] = [sumPool, maxPool];
