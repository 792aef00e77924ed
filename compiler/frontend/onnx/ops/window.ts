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

export const TRANSPOSED_ATTRIBUTES = {
  ...WINDOW_ATTRIBUTES,
  output_padding: "ints",
  output_shape: "ints",
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
  const kernel = kernelOf(n, rank, weights);
  const strides = spatialList(n, "strides", rank, 1, ones);
  const dilations = spatialList(n, "dilations", rank, 1, ones);
  return { kernel, strides, dilations, pads: padsOf(n, input, kernel, strides, dilations) };
}

/** The attribute, which has to agree with the weights where there are any. */
function kernelOf(n: NodeImport, rank: number, weights: readonly number[] | undefined): readonly number[] {
  const kernel = weights ?? spatialList(n, "kernel_shape", rank, 1, new Array<number>(rank).fill(1));
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
  return kernel;
}

export interface TransposedAttrs extends WindowAttrs {
  /** Zeros at the ends. */
  readonly extra: readonly number[];
}

/**
 * Of a transposed convolution: `output_shape`, or size · stride for SAME, decides the pads, whose odd half is at the end for
 * SAME_UPPER, else at the beginning. What the shape asks for beyond the full result becomes zeros at the end.
 */
export function transposedAttrs(
  n: NodeImport,
  input: readonly number[],
  weights: readonly number[],
): TransposedAttrs {
  const rank = input.length;
  const ones = input.map(() => 1);
  const zeros = input.map(() => 0);
  const kernel = kernelOf(n, rank, weights);
  const strides = spatialList(n, "strides", rank, 1, ones);
  const dilations = spatialList(n, "dilations", rank, 1, ones);
  const extra = spatialList(n, "output_padding", rank, 0, zeros);
  const mode = stringAttr(n, "auto_pad", "NOTSET");
  if (!["NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"].includes(mode))
    reject(badAttributeValue(n.loc, "auto_pad", `is ${JSON.stringify(mode)}, which ONNX does not know`));
  const same = mode.startsWith("SAME");
  const wanted =
    intsAttr(n, "output_shape") !== undefined
      ? spatialList(n, "output_shape", rank, 1, ones)
      : same
        ? input.map((size, i) => size * strides[i]!)
        : undefined;
  const shared = { kernel, strides, dilations };
  if (wanted === undefined) {
    const none = [...zeros, ...zeros];
    return { ...shared, extra, pads: mode === "VALID" ? none : spatialList(n, "pads", rank, 0, none) };
  }
  const total = wanted.map(
    (out, i) => strides[i]! * (input[i]! - 1) + extra[i]! + (kernel[i]! - 1) * dilations[i]! + 1 - out,
  );
  const small = total.map((t) => Math.floor(Math.max(t, 0) / 2));
  const large = total.map((t) => Math.ceil(Math.max(t, 0) / 2));
  return {
    ...shared,
    extra: extra.map((e, i) => e + Math.max(0, -total[i]!)),
    pads: mode === "SAME_UPPER" ? [...small, ...large] : [...large, ...small],
  };
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
