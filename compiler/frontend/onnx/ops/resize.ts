/** Resampling: to the nearest neighbour as one gather per axis, else between neighbours. */
import { badAttributeValue, badOperands, unsupportedAttribute } from "../../../ir/messages.ts";
import { add, div, fromNumber, mul, type Rational, rational, sub, ZERO } from "../../../ir/rational.ts";
import { move } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  axesOf,
  constantInts,
  constantOf,
  flagAttr,
  input,
  intsAttr,
  type NodeImport,
  reject,
  stringAttr,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { interpolate } from "./interpolate.ts";

const f32 = Math.fround;

/** An axis of `from` elements resampled to `to`, by the factor `scale` (a float32). */
interface AxisScale {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}

/** Position in the input of an output index; in float32, as runtimes compute it. */
const COORDINATES: { readonly [mode: string]: (i: number, a: AxisScale) => number } = {
  half_pixel: (i, { scale }) => f32(f32((i + 0.5) / scale) - 0.5),
  half_pixel_symmetric: (i, { from, to, scale }) => {
    const centre = from / 2;
    return f32(f32(centre * f32(1 - f32(to / f32(scale * from)))) + f32(f32((i + 0.5) / scale) - 0.5));
  },
  pytorch_half_pixel: (i, { to, scale }) => (to > 1 ? f32(f32((i + 0.5) / scale) - 0.5) : 0),
  align_corners: (i, { from, to }) => (to > 1 ? f32((i * (from - 1)) / (to - 1)) : 0),
  asymmetric: (i, { scale }) => f32(i / scale),
  tf_half_pixel_for_nn: (i, { scale }) => f32((i + 0.5) / scale),
};

/** Whether a scale is that of the sizes but for its rounding to float32. */
const isRatio = ({ from, to, scale }: AxisScale): boolean => Math.abs(scale * from - to) <= to * 2 ** -22;

/** The same between elements, exactly. */
function between(mode: string, axis: AxisScale): (i: number) => Rational {
  const { from, to } = axis;
  const ratio = isRatio(axis) ? rational(to, from) : fromNumber(axis.scale);
  const half = rational(1, 2);
  const centred = (i: number): Rational => sub(div(add(rational(i), half), ratio), half);
  switch (mode) {
    case "asymmetric":
      return (i) => div(rational(i), ratio);
    case "align_corners":
      return (i) => (to > 1 ? rational(i * (from - 1), to - 1) : ZERO);
    case "pytorch_half_pixel":
      return (i) => (to > 1 ? centred(i) : ZERO);
    case "half_pixel_symmetric": {
      const rest = sub(rational(1), div(rational(to), mul(ratio, rational(from))));
      const offset = mul(rational(from, 2), rest);
      return (i) => add(offset, centred(i));
    }
    // The remaining mode between elements is half_pixel.
    default:
      return centred;
  }
}

const NEAREST: { readonly [mode: string]: (x: number, scale: number) => number } = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: (x) => Math.floor(x),
  ceil: (x) => Math.ceil(x),
  /** Upsample, and Resize of opset 10. */
  simple: (x, scale) => (scale < 1 ? Math.ceil(x) : Math.floor(x)),
};

function resample(
  n: NodeImport,
  x: Operand,
  axes: readonly AxisScale[],
  coordinates: string,
  nearest: string,
  mode = "nearest",
): Operand {
  const position = COORDINATES[coordinates];
  const pick = NEAREST[nearest];
  if (position === undefined)
    return reject(
      unsupportedAttribute(
        n.loc,
        "coordinate_transformation_mode",
        `${JSON.stringify(coordinates)} is not supported`,
      ),
    );
  if (pick === undefined)
    return reject(unsupportedAttribute(n.loc, "nearest_mode", `${JSON.stringify(nearest)} is not supported`));
  for (const [axis, a] of axes.entries())
    if (!(a.scale > 0) || !(a.to >= 1 && a.to <= 2 ** 20))
      reject(badOperands(n.loc, `axis ${axis} of size ${a.from} would get size ${a.to}`, []));
  if (mode !== "nearest") {
    // The standard divides by the size before rounding, runtimes by the size.
    if (coordinates === "align_corners" && axes.some((a) => Math.abs(a.scale * a.from - a.to) > 1e-3))
      reject(
        unsupportedAttribute(
          n.loc,
          "coordinate_transformation_mode",
          '"align_corners" means different things to different runtimes where scales give no whole sizes',
        ),
      );
    const resampled = axes.map((a) => ({ from: a.from, to: a.to, position: between(coordinates, a) }));
    const scales = axes.every(isRatio) ? [] : axes.map((a) => a.scale);
    return interpolate(n, x, { mode, coordinates, scales }, resampled);
  }
  return axes.reduce((y, a, axis) => {
    const indices = Array.from({ length: a.to }, (_, i) =>
      Math.min(Math.max(pick(position(i, a), a.scale), 0), a.from - 1),
    );
    const same = a.to === a.from && indices.every((v, i) => v === i);
    return same ? y : move(n, "layout.gather", [y], { axis, indices });
  }, x);
}

const byScales = (n: NodeImport, x: Operand, scales: readonly number[]): readonly AxisScale[] => {
  if (scales.length !== x.shape.length)
    reject(badOperands(n.loc, `there are ${scales.length} scales for ${x.shape.length} axes`, []));
  return x.shape.map((from, i) => ({ from, to: Math.floor(f32(from * scales[i]!)), scale: scales[i]! }));
};

const bySizes = (n: NodeImport, x: Operand, sizes: readonly number[]): readonly AxisScale[] => {
  if (sizes.length !== x.shape.length)
    reject(badOperands(n.loc, `there are ${sizes.length} sizes for ${x.shape.length} axes`, []));
  return x.shape.map((from, i) => ({ from, to: sizes[i]!, scale: f32(sizes[i]! / from) }));
};

const scalesOf = (n: NodeImport, operand: Operand): readonly number[] =>
  Array.from(constantOf(n, operand, "scales").dense.data.subarray(0, 64));

function nearestOnly(n: NodeImport): void {
  const mode = stringAttr(n, "mode", "nearest");
  if (mode !== "nearest")
    reject(
      unsupportedAttribute(n.loc, "mode", `${JSON.stringify(mode)} is not supported, only "nearest" is`),
    );
}

/** Gives the listed axes the listed values, the others `rest`. */
const spread = (rank: number, axes: readonly number[], values: readonly number[], rest: readonly number[]) =>
  Array.from({ length: rank }, (_, i) => (axes.includes(i) ? values[axes.indexOf(i)]! : rest[i]!));

function resize(n: NodeImport): Operand {
  const x = input(n, 0);
  if (flagAttr(n, "antialias", false)) reject(unsupportedAttribute(n.loc, "antialias", "is not supported"));
  const policy = stringAttr(n, "keep_aspect_ratio_policy", "stretch");
  if (policy !== "stretch")
    reject(
      unsupportedAttribute(n.loc, "keep_aspect_ratio_policy", `${JSON.stringify(policy)} is not supported`),
    );
  const rank = x.shape.length;
  const axes = axesOf(n, intsAttr(n, "axes") ?? x.shape.map((_, i) => i), rank);
  const present = (i: number): Operand | undefined => {
    const operand = n.inputs[i];
    return operand === undefined || operand.shape.includes(0) ? undefined : operand;
  };
  const [scales, sizes] = [present(2), present(3)];
  const list = scales ? scalesOf(n, scales) : sizes ? constantInts(n, sizes, "sizes") : undefined;
  if (list === undefined || list.length !== axes.length)
    return reject(badOperands(n.loc, `scales or sizes must have ${axes.length} entries`, []));
  const ones = x.shape.map(() => 1);
  return resample(
    n,
    x,
    scales
      ? byScales(n, x, spread(rank, axes, list, ones))
      : bySizes(n, x, spread(rank, axes, list, x.shape)),
    stringAttr(n, "coordinate_transformation_mode", "half_pixel"),
    stringAttr(n, "nearest_mode", "round_prefer_floor"),
    stringAttr(n, "mode", "nearest"),
  );
}

export const resizeImporters: readonly Importer[] = [
  {
    op: "Upsample",
    since: 7,
    until: 8,
    inputs: [1, 1],
    attributes: { mode: "string", scales: "floats" },
    moves: true,
    run: (n) => {
      nearestOnly(n);
      const scales = n.node.attributes.get("scales");
      if (scales?.kind !== "floats") return reject(badAttributeValue(n.loc, "scales", "is required"));
      return resample(n, input(n, 0), byScales(n, input(n, 0), scales.value), "asymmetric", "simple");
    },
  },
  {
    op: "Upsample",
    since: 9,
    until: 9,
    inputs: [2, 2],
    attributes: { mode: "string" },
    moves: true,
    run: (n) => {
      nearestOnly(n);
      return resample(
        n,
        input(n, 0),
        byScales(n, input(n, 0), scalesOf(n, input(n, 1))),
        "asymmetric",
        "simple",
      );
    },
  },
  {
    op: "Resize",
    since: 10,
    until: 10,
    inputs: [2, 2],
    attributes: { mode: "string" },
    moves: true,
    run: (n) => {
      nearestOnly(n);
      return resample(
        n,
        input(n, 0),
        byScales(n, input(n, 0), scalesOf(n, input(n, 1))),
        "asymmetric",
        "simple",
      );
    },
  },
  {
    op: "Resize",
    since: 11,
    inputs: [1, 4],
    attributes: {
      mode: "string",
      coordinate_transformation_mode: "string",
      nearest_mode: "string",
      cubic_coeff_a: "float",
      exclude_outside: "int",
      extrapolation_value: "float",
      antialias: "int",
      axes: "ints",
      keep_aspect_ratio_policy: "string",
    },
    moves: true,
    run: resize,
  },
];
