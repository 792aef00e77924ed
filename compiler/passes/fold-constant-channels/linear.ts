/** Convolutions and matmuls with constant weights, seen alike: accumulator o = Σ over inputs i and taps t of w(o, t, i)·x. */
import type { Dense, Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { type ChannelRange, rangeAt } from "../../ir/ranges.ts";
import { type IntType, intMax, intMin } from "../../ir/types.ts";

export interface Linear {
  readonly weights: Dense;
  /** What a weight that multiplies nothing is stored as. */
  readonly zero: number;
  /** Taken from every input before the product. */
  readonly inputZero: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly taps: number;
  /** One input per output: output o reads input ⌊o / (outputs / inputs)⌋ only. */
  readonly depthwise: boolean;
  /** What a padded tap reads; `undefined` without padding. */
  readonly padding: number | undefined;
  /** Index into the weights' data, affine in each argument; `i` is 0 for a depthwise op. */
  readonly index: (o: number, t: number, i: number) => number;
}

/** `undefined` for other ops, non-constant weights, and groups of several channels. */
export function linearOf(op: Op, constant: (op: Op, i: number) => Dense | undefined): Linear | undefined {
  if (op.name === "qc.conv") return convolution(op, constant(op, 1));
  if (op.name === "qc.matmul") return product(op, constant(op, 1));
  return undefined;
}

function convolution(op: Op, weights: Dense | undefined): Linear | undefined {
  if (weights === undefined) return undefined;
  const [outputs, kh, kw, perGroup] = weights.shape as [number, number, number, number];
  const groups = attr<number>(op, "groups");
  if (groups !== 1 && perGroup !== 1) return undefined;
  const taps = kh * kw;
  const padded = attr<readonly number[]>(op, "pads").some((p) => p !== 0);
  return {
    weights,
    zero: 0,
    inputZero: 0,
    inputs: groups * perGroup,
    outputs,
    taps,
    depthwise: groups !== 1,
    padding: padded ? attr<number>(op, "pad_value") : undefined,
    index: (o, t, i) => (o * taps + t) * perGroup + i,
  };
}

function product(op: Op, weights: Dense | undefined): Linear | undefined {
  if (weights?.shape.length !== 2 || weights.elem.kind !== "int") return undefined;
  if (attr<boolean>(op, "transpose_b")) return undefined;
  const zero = attr<number>(op, "b_zero");
  if (zero < intMin(weights.elem) || zero > intMax(weights.elem)) return undefined;
  const [inputs, outputs] = weights.shape as [number, number];
  return {
    weights,
    zero,
    inputZero: attr<number>(op, "a_zero"),
    inputs,
    outputs,
    taps: 1,
    depthwise: false,
    padding: undefined,
    index: (o, _, i) => i * outputs + o,
  };
}

/** Σ over the taps of the effective weights between one input and one output. */
export function tapSum(l: Linear, o: number, i: number): number {
  let sum = 0;
  for (let t = 0; t < l.taps; t++) sum += l.weights.data[l.index(o, t, i)]! - l.zero;
  return sum;
}

export function touches(l: Linear, o: number, i: number): boolean {
  for (let t = 0; t < l.taps; t++) if (l.weights.data[l.index(o, t, i)] !== l.zero) return true;
  return false;
}

/** Whether every sum over a subset of the inputs fits in 32 bits, whatever the subset. */
export function fitsAnySubset(l: Linear, x: ChannelRange): boolean {
  const reach = new Float64Array(l.inputs);
  for (let i = 0; i < l.inputs; i++) {
    const { min, max } = rangeAt(x, i);
    reach[i] = Math.max(
      Math.abs(min - l.inputZero),
      Math.abs(max - l.inputZero),
      Math.abs((l.padding ?? min) - l.inputZero),
    );
  }
  const { data, elem } = l.weights;
  const perOutput = l.outputs / l.inputs;
  const terms = l.taps * (l.depthwise ? 1 : l.inputs);
  const most = reach.reduce((a, b) => Math.max(a, b), 0);
  if (elem.kind === "int" && terms * most * largest(elem, l.zero) <= 2 ** 31 - 1) return true;
  const step = l.inputs > 1 && !l.depthwise ? l.index(0, 0, 1) - l.index(0, 0, 0) : 0;
  for (let o = 0; o < l.outputs; o++) {
    let sum = 0;
    const [from, to] = l.depthwise
      ? [Math.floor(o / perOutput), Math.floor(o / perOutput) + 1]
      : [0, l.inputs];
    for (let t = 0; t < l.taps; t++)
      for (let i = from, at = l.index(o, t, 0); i < to; i++, at += step)
        sum += Math.abs(data[at]! - l.zero) * reach[i]!;
    if (sum > 2 ** 31 - 1) return false;
  }
  return true;
}

/** Largest distance of a value of the type from `zero`. */
const largest = (elem: IntType, zero: number): number =>
  Math.max(Math.abs(intMin(elem) - zero), Math.abs(intMax(elem) - zero));
