/**
 * Why another runtime's integers differ: each quantizer as one step from that runtime's own integers, every differing
 * element decided by an exact rational.
 */
import type { OnnxModel } from "../../compiler/frontend/onnx/model.ts";
import { type Evaluation, evaluateOnnx, type NumericArray } from "./evaluate.ts";
import { quantizeRational, rangeOf } from "./quantize.ts";
import { divide, fromNumber, rational, subtract, toNumber } from "./rational.ts";
import { exactAt, toReal } from "./tensor.ts";

export interface Difference {
  readonly quantizer: string;
  readonly index: number;
  readonly ours: number;
  readonly theirs: number;
  /** x / s + z, the value that was to be rounded, as the nearest float64. */
  readonly value: number;
  /**
   * Distance of x / s + z from the rounding boundary that `theirs` would have needed it to cross; 0 is a tie. It is
   * what rounding errors of the other runtime must amount to, in quanta of this quantizer.
   */
  readonly distance: number;
  /**
   * `ours`: the exact rational rounds to our integer; `undecided`: an irrational value too close to a boundary;
   * `theirs`: we are wrong.
   */
  readonly verdict: "ours" | "undecided" | "theirs";
}

export interface Comparison {
  readonly quantizers: number;
  readonly elements: number;
  readonly differences: readonly Difference[];
  /** Our evaluation of the single steps. */
  readonly evaluation: Evaluation;
}

/** `theirs`: the other runtime's integers of every quantizer, by tensor name, for the same inputs. */
export function compareSteps(
  model: OnnxModel,
  inputs: ReadonlyMap<string, NumericArray>,
  theirs: ReadonlyMap<string, ArrayLike<number>>,
): Comparison {
  const evaluation = evaluateOnnx(model, inputs, { keep: "all", overrides: theirs });
  const differences: Difference[] = [];
  let elements = 0;
  for (const [name, { values }] of evaluation.quantizers) {
    const other = theirs.get(name);
    if (other === undefined) throw new Error(`no integers of the other runtime for "${name}"`);
    elements += values.length;
    for (let i = 0; i < values.length; i++)
      if (values[i] !== other[i]) differences.push(explainDifference(evaluation, name, i, other[i]!));
  }
  return { quantizers: evaluation.quantizers.size, elements, differences, evaluation };
}

/** Decides element `index` of `quantizer`; `evaluation` must have kept all tensors. */
export function explainDifference(
  evaluation: Evaluation,
  quantizer: string,
  index: number,
  theirs: number,
): Difference {
  const result = evaluation.quantizers.get(quantizer);
  const step = evaluation.steps.get(quantizer);
  if (step === undefined || result === undefined) throw new Error(`no quantizer "${quantizer}"`);
  const { real: x, scheme } = step;
  const channel = scheme.index === undefined ? 0 : scheme.index[index]!;
  const s = fromNumber(scheme.scales[channel]!);
  const z = scheme.zeroPoints[channel]!;
  const ours = result.values[index]!;
  // The last integer that still rounds to theirs, seen from our side.
  const edge = theirs < ours ? theirs + 0.5 : theirs - 0.5;
  const common = { quantizer, index, ours, theirs };
  if (x.kind === "approx") {
    const value = x.value[index]! / scheme.scales[channel]! + z;
    const bounds = result.undecided?.get(index);
    const open = bounds !== undefined && bounds[0] <= theirs && theirs <= bounds[1];
    return { ...common, value, distance: Math.abs(value - edge), verdict: open ? "undecided" : "ours" };
  }
  const quotient = divide(exactAt(toReal(x).terms(), index), s);
  const [lo, hi] = rangeOf(scheme.dtype);
  const literal = x.kind === "real" && x.literal !== undefined;
  const right = literal ? ours : quantizeRational(exactAt(toReal(x).terms(), index), s, z, lo, hi);
  const shifted = subtract(quotient, rational(BigInt(-z)));
  return {
    ...common,
    value: toNumber(shifted),
    distance: Math.abs(toNumber(subtract(shifted, fromNumber(edge)))),
    verdict: right === ours ? "ours" : "theirs",
  };
}

/** Counts by absolute difference: "1: 12, 2: 1". */
export function histogram(differences: Iterable<number>): string {
  const counts = new Map<number, number>();
  for (const difference of differences)
    counts.set(Math.abs(difference), (counts.get(Math.abs(difference)) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([size, count]) => `${size}: ${count}`)
    .join(", ");
}
