/** Parameters of QONNX quantizers: tensors that broadcast to x, constant here, and varying along one axis at most. */
import { quote } from "../../../ir/diagnostics.ts";
import {
  badAttributeValue,
  badOperandValue,
  badScale,
  blockQuantization,
  dynamicQuantizer,
  emptyQuantRange,
  quantizerShape,
} from "../../../ir/messages.ts";
import type { Rounding } from "../../../ir/rational.ts";
import { type IntType, int, type QuantType, type Scheme } from "../../../ir/types.ts";
import { flagAttr, input, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";

/** One value for the tensor, or one per index of an axis of x. */
export interface Parameter {
  readonly name: string;
  readonly values: readonly number[];
  readonly axis?: number;
}

/** Input `i`, finite numbers. */
export function parameter(n: NodeImport, x: Operand, i: number, role: string): Parameter {
  const operand = input(n, i);
  if (operand.kind !== "constant") return reject(dynamicQuantizer(n.loc, role, operand.name));
  const { data, shape } = operand.constant.dense;
  const { name } = operand;
  if (data.length === 0) reject(quantizerShape(n.loc, name, `(${role}) has no elements`));
  const bad = data.find((v) => !Number.isFinite(v));
  if (bad !== undefined) reject(badOperandValue(n.loc, name, `(${role}) holds ${bad}`));
  if (data.every((v) => v === data[0])) return { name, values: [data[0]!] };
  const wide = shape.flatMap((d, axis) => (d > 1 ? [axis + x.shape.length - shape.length] : []));
  if (wide.length > 1)
    reject(blockQuantization(n.loc, `${role} ${quote(name)} of shape [${shape.join(", ")}]`, x.name));
  const axis = wide[0]!;
  if (x.shape[axis] !== data.length)
    reject(
      quantizerShape(
        n.loc,
        name,
        `(${role}) of shape [${shape.join(", ")}] does not broadcast to [${x.shape.join(", ")}]`,
      ),
    );
  return { name, values: Array.from(data), axis };
}

export function scaleOf(n: NodeImport, x: Operand, i: number): Parameter {
  const operand = input(n, i);
  if (operand.kind === "constant") {
    const { data } = operand.constant.dense;
    const bad = data.findIndex((s) => !(s > 0 && s < Number.POSITIVE_INFINITY));
    if (bad >= 0) reject(badScale(n.loc, operand.name, data[bad]!, data.length > 1 ? bad : undefined));
  }
  return parameter(n, x, i, "scale");
}

export const ZERO: Parameter = { name: "", values: [0] };

export const at = ({ values }: Parameter, channel: number): number =>
  values.length === 1 ? values[0]! : values[channel]!;

export function schemeOf(n: NodeImport, scale: Parameter, zero: Parameter): Scheme {
  const axis = scale.axis ?? zero.axis;
  if (axis === undefined) return { kind: "tensor", scale: scale.values[0]!, zeroPoint: zero.values[0]! };
  if (scale.axis !== undefined && zero.axis !== undefined && scale.axis !== zero.axis)
    reject(quantizerShape(n.loc, zero.name, "(zero point) varies along another axis than the scale"));
  const channels = Math.max(scale.values.length, zero.values.length);
  const list = (p: Parameter): readonly number[] => Array.from({ length: channels }, (_, c) => at(p, c));
  return { kind: "axis", axis, scales: list(scale), zeroPoints: list(zero) };
}

export interface Integers {
  readonly storage: IntType;
  readonly lo: number;
  readonly hi: number;
}

/** signed: −2^(b−1) + narrow … 2^(b−1) − 1; unsigned: 0 … 2^b − 1 − narrow. The bit width is input `i`. */
export function integersOf(n: NodeImport, x: Operand, i: number): Integers {
  const { values, name } = parameter(n, x, i, "bit width");
  const [bits] = values as [number];
  if (values.length > 1) reject(quantizerShape(n.loc, name, "(bit width) differs between channels"));
  if (!Number.isInteger(bits) || bits < 1 || bits > 32)
    reject(badOperandValue(n.loc, name, `(bit width) must be an integer from 1 to 32, is ${bits}`));
  const signed = flagAttr(n, "signed");
  const narrow = flagAttr(n, "narrow") ? 1 : 0;
  const [lo, hi] = signed ? [-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1 - narrow];
  if (lo > hi) reject(emptyQuantRange(n.loc, lo, hi));
  return { storage: int(signed, bits), lo, hi };
}

export const quantType = (integers: Integers, scheme: Scheme): QuantType => ({
  kind: "quant",
  ...integers,
  scheme,
});

const ROUNDINGS: { readonly [mode: string]: Rounding } = {
  ROUND: "half_even",
  HALF_EVEN: "half_even",
  CEIL: "ceil",
  FLOOR: "floor",
  UP: "up",
  DOWN: "down",
  // Brevitas' name of it.
  ROUND_TO_ZERO: "down",
  HALF_UP: "half_up",
  HALF_DOWN: "half_down",
};

export function roundingOf(n: NodeImport, fallback: string): Rounding {
  const mode = stringAttr(n, "rounding_mode", fallback).toUpperCase();
  const rounding = Object.hasOwn(ROUNDINGS, mode) ? ROUNDINGS[mode] : undefined;
  return (
    rounding ??
    reject(
      badAttributeValue(
        n.loc,
        "rounding_mode",
        `must be one of ${Object.keys(ROUNDINGS).join(", ")}, is ${quote(mode)}`,
      ),
    )
  );
}
