/** Linear and cubic resampling: per axis, a weighted sum of gathered elements. */
import { unsupportedAttribute } from "../../../ir/messages.ts";
import { makeConstant } from "../../constants.ts";
import { elementwise, move } from "../../graph-import.ts";
import { flagAttr, floatAttr, type NodeImport, reject } from "../../node-import.ts";
import { constantOperand, type Operand } from "../../operand.ts";

export interface ResampledAxis {
  readonly from: number;
  readonly to: number;
  /** Position in the input of an output index. */
  readonly position: (i: number) => number;
}

/** Weight of the neighbour at distance k − (taps/2 − 1) from ⌊x⌋, `t` behind it. */
type Kernel = { readonly taps: number; readonly weight: (t: number, k: number) => number };

const LINEAR: Kernel = { taps: 2, weight: (t, k) => (k === 0 ? 1 - t : t) };

/** Keys' cubic convolution. */
const cubic = (a: number): Kernel => ({
  taps: 4,
  weight: (t, k) => {
    const d = Math.abs(t - (k - 1));
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  },
});

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

/** x resampled along every axis; outside, the edge's elements go on, or weigh nothing with `exclude_outside`. */
export function interpolate(
  n: NodeImport,
  x: Operand,
  mode: string,
  axes: readonly ResampledAxis[],
): Operand {
  const { taps, weight } = kernelOf(n, mode);
  const exclude = flagAttr(n, "exclude_outside", false);
  return axes.reduce((y, { from, to, position }, axis) => {
    const indices = Array.from({ length: taps }, () => new Array<number>(to).fill(0));
    const weights = Array.from({ length: taps }, () => new Array<number>(to).fill(0));
    for (let i = 0; i < to; i++) {
      const x0 = position(i);
      const base = Math.floor(x0);
      const own = Array.from({ length: taps }, (_, k) => {
        const at = base + k - (taps / 2 - 1);
        indices[k]![i] = Math.min(Math.max(at, 0), from - 1);
        return exclude && (at < 0 || at >= from) ? 0 : weight(x0 - base, k);
      });
      const total = exclude ? own.reduce((a, b) => a + b, 0) : 1;
      own.forEach((w, k) => {
        weights[k]![i] = w / total;
      });
    }
    const still =
      to === from && indices.every((list, k) => list.every((at, i) => at === i || weights[k]![i] === 0));
    if (still) return y;
    const shape = y.shape.map((_, a) => (a === axis ? to : 1));
    const terms = indices.flatMap((list, k) => {
      if (weights[k]!.every((w) => w === 0)) return [];
      const gathered = move(n, "layout.gather", [y], { axis, indices: list });
      const factor = constantOperand(makeConstant(y.dtype, shape, weights[k]!.map(Math.fround)));
      return [elementwise(n, "float.mul", [gathered, factor])];
    });
    return terms.reduce((a, b) => elementwise(n, "float.add", [a, b]));
  }, x);
}
