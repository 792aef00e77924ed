/** Normalizations. */
import { badAttributeValue, badOperandValue, unsupportedAttribute } from "../../../ir/messages.ts";
import { fromNumber } from "../../../ir/rational.ts";
import { sizeOf } from "../../../ir/types.ts";
import { elementwise, real, realConstant, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import {
  axisOf,
  constantNumbers,
  flagAttr,
  floatAttr,
  input,
  intAttr,
  type NodeImport,
  reject,
} from "../../node-import.ts";
import type { Operand } from "../../operand.ts";

const EPSILON = Math.fround(1e-5);

/** ⌊√n⌋ */
function isqrt(n: bigint): bigint {
  if (n < 2n) return n;
  let x = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const y = (x + n / x) >> 1n;
    if (y >= x) return x;
    x = y;
  }
}

/** γ / √(variance + ε), correctly rounded to float64: the root of the exact γ² / (variance + ε). */
export function batchNormScale(gamma: number, variance: number, epsilon: number): number {
  if (gamma === 0) return 0;
  const [g, v, e] = [fromNumber(gamma), fromNumber(variance), fromNumber(epsilon)];
  const num = g.num * g.num * v.den * e.den;
  const den = g.den * g.den * (v.num * e.den + e.num * v.den);
  // 64 or more bits of the root, and a sticky bit below them, so that the last rounding sees no false tie.
  const shift = Math.max(0, 140 - (num.toString(2).length - den.toString(2).length)) & ~1;
  const scaled = (num << BigInt(shift)) / den;
  const root = isqrt(scaled);
  const sticky = root * root === scaled && scaled * den === num << BigInt(shift) ? 0n : 1n;
  return Math.sign(gamma) * Number((root << 1n) | sticky) * 2 ** -(shift / 2 + 1);
}

/** (x − mean)·k + β with k = γ / √(variance + ε). */
const batchNormalization: Importer = {
  op: "BatchNormalization",
  since: 7,
  inputs: [5, 5],
  attributes: { epsilon: "float", momentum: "float", spatial: "int", training_mode: "int" },
  run: (n) => {
    if (flagAttr(n, "training_mode", false))
      reject(
        unsupportedAttribute(n.loc, "training_mode", "is 1: the statistics would be those of the batch"),
      );
    if (!flagAttr(n, "spatial", true))
      reject(unsupportedAttribute(n.loc, "spatial", "is 0, which is not supported"));
    const x = input(n, 0);
    const axis = axisOf(n, 1, x.shape.length);
    const channels = x.shape[axis]!;
    const shape = x.shape.map((_, i) => (i === axis ? channels : 1));
    const numbers = (p: Operand, role: string): number[] => Array.from(constantNumbers(n, p, role));
    const parameter = (i: number, role: string): Operand => {
      const p = input(n, i);
      const size = sizeOf(p.shape);
      if (size !== channels)
        reject(badOperandValue(n.loc, p.name, `(${role}) has ${size} elements for ${channels} channels`));
      if (p.kind === "value") return p;
      const { data } = p.constant.dense;
      const bad = data.findIndex((v) => !Number.isFinite(v));
      if (bad >= 0) reject(badOperandValue(n.loc, p.name, `(${role}) is ${data[bad]} at index ${bad}`));
      return p;
    };
    const gamma = numbers(parameter(1, "scale"), "scale");
    const beta = parameter(2, "bias");
    const mean = parameter(3, "mean");
    const variances = parameter(4, "variance");
    const variance = numbers(variances, "variance");
    const epsilon = floatAttr(n, "epsilon", EPSILON);
    const bad = variance.findIndex((v) => !(v + epsilon > 0));
    if (bad >= 0)
      reject(badOperandValue(n.loc, variances.name, `(variance) is ${variance[bad]} at index ${bad}`));
    const k = gamma.map((g, i) => batchNormScale(g, variance[i]!, epsilon));
    const centred = elementwise(n, "float.sub", [x, reshape(n, mean, shape)]);
    const scaled = elementwise(n, "float.mul", [centred, realConstant(shape, k)]);
    return elementwise(n, "float.add", [scaled, reshape(n, beta, shape)]);
  },
};

interface Rows {
  readonly centre: boolean;
  /** Default: the attribute `axis`. */
  readonly axis?: number;
  /** The operator's default. */
  readonly fallback?: number;
}

/** Rows from `axis` on, normalized. */
export function normalized(
  n: NodeImport,
  x: Operand,
  { centre, axis = axisOf(n, intAttr(n, "axis", -1), x.shape.length), fallback = EPSILON }: Rows,
): Operand {
  const epsilon = floatAttr(n, "epsilon", fallback);
  if (!(epsilon >= 0 && Number.isFinite(epsilon)))
    reject(badAttributeValue(n.loc, "epsilon", `must be finite and not negative, is ${epsilon}`));
  return real(n, "float.normalize", [x], { axis, centre, epsilon });
}

const attributes = { axis: "int", epsilon: "float", stash_type: "int" } as const;

const layerNormalization: Importer = {
  op: "LayerNormalization",
  inputs: [2, 3],
  attributes,
  run: (n) => {
    const unit = normalized(n, input(n, 0), { centre: true });
    const y = real(n, "float.mul", [unit, input(n, 1)]);
    const bias = n.inputs[2];
    const shifted = bias === undefined ? y : real(n, "float.add", [y, bias]);
    const wanted = n.node.outputs.slice(1).some((name) => name !== "");
    return wanted ? [shifted, ...statistics(n, input(n, 0))] : shifted;
  },
};

/** Mean of each row, and the reciprocal of its deviation: the further outputs. */
function statistics(n: NodeImport, x: Operand): readonly Operand[] {
  const first = axisOf(n, intAttr(n, "axis", -1), x.shape.length);
  const axes = x.shape.map((_, a) => a).slice(first);
  const mean = (v: Operand): Operand => real(n, "float.reduce_mean", [v], { axes, keepdims: true });
  const centre = mean(x);
  const apart = real(n, "float.sub", [x, centre]);
  const variance = mean(real(n, "float.mul", [apart, apart]));
  const epsilon = realConstant([], [floatAttr(n, "epsilon", EPSILON)]);
  const deviation = real(n, "float.sqrt", [real(n, "float.add", [variance, epsilon])]);
  return [centre, real(n, "float.reciprocal", [deviation])];
}

/** RMSNormalization, and what onnxruntime called it before there was one. */
const rmsNormalization = (op: string): Importer => ({
  op,
  inputs: [2, 2],
  attributes,
  run: (n) => real(n, "float.mul", [normalized(n, input(n, 0), { centre: false }), input(n, 1)]),
});

/** A vector with one element per channel, along axis 1 of `rank`. */
const perChannel = (n: NodeImport, v: Operand, rank: number): Operand =>
  reshape(n, v, [sizeOf(v.shape), ...new Array<number>(rank - 2).fill(1)]);

/** y·scale + bias, inputs 1 and 2. */
const scaleAndShift = (n: NodeImport, y: Operand, of: (v: Operand) => Operand): Operand =>
  real(n, "float.add", [real(n, "float.mul", [y, of(input(n, 1))]), of(input(n, 2))]);

const instanceNormalization: Importer = {
  op: "InstanceNormalization",
  since: 6,
  inputs: [3, 3],
  attributes: { epsilon: "float" },
  run: (n) => {
    const x = input(n, 0);
    const rank = x.shape.length;
    if (rank < 3) reject(badOperandValue(n.loc, x.name, `has ${rank} axes; at least 3 are needed`));
    return scaleAndShift(n, normalized(n, x, { centre: true, axis: 2 }), (v) => perChannel(n, v, rank));
  },
};

/** Rows are the channels of a group with all their pixels. Scale and bias are per group before opset 21. */
const groupNormalization: Importer = {
  op: "GroupNormalization",
  since: 18,
  inputs: [3, 3],
  attributes: { epsilon: "float", num_groups: "int", stash_type: "int" },
  run: (n) => {
    const x = input(n, 0);
    const [batch, channels = 0, ...pixels] = x.shape;
    const groups = intAttr(n, "num_groups");
    if (x.shape.length < 2 || !(groups > 0) || channels % groups !== 0)
      reject(badAttributeValue(n.loc, "num_groups", `is ${groups}, for ${channels} channels`));
    const split = reshape(n, x, [batch!, groups, channels / groups, ...pixels]);
    const unit = normalized(n, split, { centre: true, axis: 2 });
    const rank = x.shape.length;
    if (n.opset >= 21) return scaleAndShift(n, reshape(n, unit, x.shape), (v) => perChannel(n, v, rank));
    return reshape(
      n,
      scaleAndShift(n, unit, (v) => perChannel(n, v, rank + 1)),
      x.shape,
    );
  },
};

export const normalizationImporters: readonly Importer[] = [
  batchNormalization,
  layerNormalization,
  instanceNormalization,
  groupNormalization,
  rmsNormalization("RMSNormalization"),
  rmsNormalization("SimplifiedLayerNormalization"),
];
