/** MultiThreshold, from its published formula: y = out_scale·#{k : x ≥ T[c][k]} + out_bias, c along the channels. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { floatOf, stringOf } from "./attributes.ts";
import { fromNumber, type Rational, subtract, toNumber } from "./rational.ts";
import { exactAt, type RealTensor, reals, sizeOf, type Tensor, type Term, toReal, ULP } from "./tensor.ts";

export interface Counted {
  readonly shape: readonly number[];
  readonly integers: Float64Array;
  readonly undecided: ReadonlyMap<number, readonly [number, number]>;
  readonly read: (integers: Float64Array) => RealTensor;
}

/** How x compares with numbers: the sign of x − t, or undefined where its error bound holds t. */
type Compare = (i: number, t: number) => number | undefined;

export function comparison(x: Tensor): Compare {
  if (x.kind === "approx")
    return (i, t) =>
      Math.abs(x.value[i]! - t) > x.error[i]! * (1 + ULP) ? Math.sign(x.value[i]! - t) : undefined;
  const real = toReal(x);
  const { literal } = real;
  if (literal !== undefined) return (i, t) => (literal[i]! > t ? 1 : literal[i]! === t ? 0 : -1);
  const terms: readonly Term[] = real.terms();
  const near = terms.map(({ units }) => units.map(toNumber));
  const relative = (terms.length + 3) * ULP * 2;
  return (i, t) => {
    let sum = -t;
    let magnitude = Math.abs(t);
    for (const [k, { num, index }] of terms.entries()) {
      const part = num[i]! * near[k]![index === undefined ? 0 : index[i]!]!;
      sum += part;
      magnitude += Math.abs(part);
    }
    if (Math.abs(sum) > magnitude * relative + Number.MIN_VALUE) return Math.sign(sum);
    const exact: Rational = subtract(exactAt(terms, i), fromNumber(t));
    return exact.num > 0n ? 1 : exact.num < 0n ? -1 : 0;
  };
}

export function multiThreshold(node: OnnxNode, inputs: readonly (Tensor | undefined)[]): Counted {
  const [x, thresholds] = inputs as [Tensor, Tensor];
  if (thresholds.kind !== "real" || thresholds.literal === undefined)
    throw new Error("thresholds are not constant");
  const { literal } = thresholds;
  const [rows, columns] = thresholds.shape as [number, number];
  const { shape } = x;
  const axis = stringOf(node, "data_layout") === "NHWC" ? shape.length - 1 : Math.min(1, shape.length - 1);
  const inner = sizeOf(shape.slice(axis + 1));
  const compare = comparison(x);
  const integers = new Float64Array(sizeOf(shape));
  const undecided = new Map<number, readonly [number, number]>();
  for (let i = 0; i < integers.length; i++) {
    const row = rows === 1 ? 0 : Math.floor(i / inner) % shape[axis]!;
    let [least, most] = [0, 0];
    for (let k = 0; k < columns; k++) {
      const sign = compare(i, literal[row * columns + k]!);
      if (sign === undefined || sign >= 0) most++;
      if (sign !== undefined && sign >= 0) least++;
    }
    integers[i] = least;
    if (least !== most) undecided.set(i, [least, most]);
  }
  const [scale, bias] = [floatOf(node, "out_scale") ?? 1, floatOf(node, "out_bias") ?? 0];
  const ones = new Float64Array(integers.length).fill(1);
  const read = (q: Float64Array): RealTensor =>
    reals(shape, [
      { num: q, units: [fromNumber(scale)], index: undefined },
      ...(bias === 0 ? [] : [{ num: ones, units: [fromNumber(bias)], index: undefined }]),
    ]);
  return { shape, integers, undecided, read };
}
