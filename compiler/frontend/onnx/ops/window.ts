/** Attributes of sliding-window operators: auto_pad and the lists that may be left out. */
import { badAttributeValue } from "../../../ir/messages.ts";
import { intsAttr, type NodeImport, reject, stringAttr } from "../../node-import.ts";

export interface WindowAttrs {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  /** Begins of all spatial axes, then ends. */
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
}

export const WINDOW_ATTRIBUTES = {
  auto_pad: "string",
  kernel_shape: "ints",
  strides: "ints",
  pads: "ints",
  dilations: "ints",
} as const;

function spatialList(n: NodeImport, name: string, rank: number, least: number, fallback: readonly number[]) {
  const list = intsAttr(n, name) ?? fallback;
  if (list.length !== fallback.length)
    reject(
      badAttributeValue(
        n.loc,
        name,
        `needs ${fallback.length} entries for ${rank} spatial axes, has ${list.length}`,
      ),
    );
  const bad = list.find((v) => !(v >= least && v < 2 ** 31));
  if (bad !== undefined)
    reject(badAttributeValue(n.loc, name, `has the entry ${bad}, the least is ${least}`));
  return list;
}

/** `input` are the spatial sizes; `kernel` comes from the weights where there are any. */
export function windowAttrs(
  n: NodeImport,
  input: readonly number[],
  weights: readonly number[] | undefined,
): WindowAttrs {
  const rank = input.length;
  const ones = new Array<number>(rank).fill(1);
  const kernel = weights ?? spatialList(n, "kernel_shape", rank, 1, ones);
  const stated = intsAttr(n, "kernel_shape");
  if (stated === undefined && weights === undefined)
    reject(badAttributeValue(n.loc, "kernel_shape", "is required"));
  if (stated !== undefined && (stated.length !== kernel.length || stated.some((k, i) => k !== kernel[i])))
    reject(
      badAttributeValue(
        n.loc,
        "kernel_shape",
        `is [${stated.join(", ")}], the weights have [${kernel.join(", ")}]`,
      ),
    );
  const strides = spatialList(n, "strides", rank, 1, ones);
  const dilations = spatialList(n, "dilations", rank, 1, ones);
  return { kernel, strides, dilations, pads: padsOf(n, input, kernel, strides, dilations) };
}

function padsOf(
  n: NodeImport,
  input: readonly number[],
  kernel: readonly number[],
  strides: readonly number[],
  dilations: readonly number[],
): readonly number[] {
  const mode = stringAttr(n, "auto_pad", "NOTSET");
  const zeros = [...input, ...input].fill(0);
  if (mode === "NOTSET" || mode === "") return spatialList(n, "pads", input.length, 0, zeros);
  if (mode === "VALID") return zeros;
  if (mode !== "SAME_UPPER" && mode !== "SAME_LOWER")
    return reject(
      badAttributeValue(n.loc, "auto_pad", `is ${JSON.stringify(mode)}, which ONNX does not know`),
    );
  const total = input.map((size, i) => {
    const out = Math.ceil(size / strides[i]!);
    return Math.max((out - 1) * strides[i]! + (kernel[i]! - 1) * dilations[i]! + 1 - size, 0);
  });
  const small = total.map((t) => Math.floor(t / 2));
  const large = total.map((t) => Math.ceil(t / 2));
  return mode === "SAME_UPPER" ? [...small, ...large] : [...large, ...small];
}
