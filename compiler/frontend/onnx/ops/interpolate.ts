/** Linear and cubic resampling: per axis, a weighted sum of neighbours. */
import { unsupportedAttribute } from "../../../ir/messages.ts";
import { interpolateAttrs, type Resampled, type ResizeForm } from "../../../ir/ops/float-interpolate.ts";
import {
  add,
  div,
  floor,
  fromNumber,
  mul,
  ONE,
  type Rational,
  rational,
  sub,
  ZERO,
} from "../../../ir/rational.ts";
import { real } from "../../graph-import.ts";
import { flagAttr, floatAttr, type NodeImport, reject } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";

export interface ResampledAxis {
  readonly from: number;
  readonly to: number;
  /** Position in the input of an output index. */
  readonly position: (i: number) => Rational;
}

/** Weight of the neighbour at distance k − (taps/2 − 1) from ⌊x⌋, `t` behind it; the weights add up to 1. */
type Kernel = { readonly taps: number; readonly weight: (t: Rational, k: number) => Rational };

const LINEAR: Kernel = { taps: 2, weight: (t, k) => (k === 0 ? sub(ONE, t) : t) };

/** Keys' cubic convolution. */
function cubic(coefficient: number): Kernel {
  const a = fromNumber(coefficient);
  const horner = (d: Rational, ...[first, ...rest]: readonly Rational[]): Rational =>
    rest.reduce((sum, c) => add(mul(sum, d), c), first!);
  const times = (n: number): Rational => mul(a, rational(n));
  return {
    taps: 4,
    weight: (t, k) => {
      const behind = sub(t, rational(k - 1));
      const d = behind.num < 0n ? sub(ZERO, behind) : behind;
      if (d.num <= d.den) return horner(d, add(a, rational(2)), sub(ZERO, add(a, rational(3))), ZERO, ONE);
      return d.num < 2n * d.den ? horner(d, a, times(-5), times(8), times(-4)) : ZERO;
    },
  };
}

function kernelOf(n: NodeImport, mode: string): Kernel {
  if (mode === "linear") return LINEAR;
  if (mode === "cubic") return cubic(floatAttr(n, "cubic_coeff_a", -0.75));
  return reject(
    unsupportedAttribute(
      n.loc,
      "mode",
      `${JSON.stringify(mode)} is not supported, only "nearest", "linear" and "cubic" are`,
    ),
  );
}

/** Neighbours and weights of every position; outside, the edge's elements go on, or weigh nothing where `exclude`. */
function resampled(
  { from, to, position }: ResampledAxis,
  axis: number,
  { taps, weight }: Kernel,
  exclude: boolean,
): Resampled {
  const indices: number[] = [];
  const weights: Rational[] = [];
  for (let i = 0; i < to; i++) {
    const x = position(i);
    const below = floor(x);
    const t = sub(x, rational(below));
    const own = Array.from({ length: taps }, (_, k) => {
      const at = Number(below) + k - (taps / 2 - 1);
      indices.push(at);
      return exclude && (at < 0 || at >= from) ? ZERO : weight(t, k);
    });
    const total = exclude ? own.reduce(add) : ONE;
    weights.push(...own.map((w) => div(w, total)));
  }
  return { axis, taps, indices, weights };
}

/** Every position has the element of the same index. */
const isStill = ({ from, to }: ResampledAxis, { taps, indices, weights }: Resampled): boolean =>
  to === from &&
  indices.every((at, k) => {
    const i = Math.floor(k / taps);
    return weights[k]!.num === 0n || Math.min(Math.max(at, 0), from - 1) === i;
  });

/** x resampled along every axis; `scales`: see `ResizeForm`. */
export function interpolate(
  n: NodeImport,
  x: Operand,
  { mode, coordinates, scales }: Pick<ResizeForm, "mode" | "coordinates" | "scales">,
  axes: readonly ResampledAxis[],
): Operand {
  const kernel = kernelOf(n, mode);
  const exclude = flagAttr(n, "exclude_outside", false);
  const coefficient = floatAttr(n, "cubic_coeff_a", -0.75);
  const moving = axes.flatMap((a, axis) => {
    const r = resampled(a, axis, kernel, exclude);
    return isStill(a, r) ? [] : [r];
  });
  const form = { mode, coordinates, coefficient, exclude, scales };
  return moving.length === 0 ? x : real(n, "float.interpolate", [x], interpolateAttrs(moving, form));
}
