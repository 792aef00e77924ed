/** Quantizers: the border between real numbers and stored integers. */
import { defineOp, type OpDef } from "../op.ts";
import type { Rounding } from "../rational.ts";
import { F32, type QuantType, type TensorType } from "../types.ts";
import { indexAlong } from "./axes.ts";
import { floats, isFloat, isQuant, optional, storeInts } from "./define.ts";
import { ORDERS, ROUNDINGS, roundReal } from "./rounding.ts";
import { quantThreshold } from "./threshold.ts";

/** Index of each element's channel along a per-axis type: i ↦ ⌊i / inner⌋ mod n. */
function channelOf(type: TensorType, elem: QuantType): (i: number) => number {
  return indexAlong(type.shape, elem.scheme.kind === "tensor" ? undefined : elem.scheme.axis);
}

const parameters = (elem: QuantType): { scales: readonly number[]; zeroPoints: readonly number[] } =>
  elem.scheme.kind === "axis"
    ? elem.scheme
    : { scales: [elem.scheme.scale], zeroPoints: [elem.scheme.zeroPoint] };

const quantize = defineOp({
  name: "quant.quantize",
  summary:
    "clamp(R(x/s) + z, lo, hi), or with `shift_then_round` clamp(R(x/s + z), lo, hi); s, z, lo, hi are the declared result type's. NaN gives lo. Float64 here; the exact meaning is in rationals.",
  operands: ["x"],
  attrs: {
    rounding: optional({ oneOf: ROUNDINGS }, "R", "half_even"),
    order: optional(
      { oneOf: ORDERS },
      "whether the zero point is added after or before R",
      "round_then_shift",
    ),
  },
  traits: ["elementwise", "float", "monotone"],
  infer: ([x], _, declared) => {
    if (!isFloat(x!)) return "operand 0 must have a float element type";
    const want = declared?.[0];
    if (!want || !isQuant(want)) return "the result must be declared with a quantised element type";
    return [{ shape: x!.shape, elem: want.elem }];
  },
  evaluate: ([x], attrs, [type]) => {
    const elem = type!.elem as QuantType;
    const { scales, zeroPoints } = parameters(elem);
    const channel = channelOf(type!, elem);
    const rounding = attrs.rounding as Rounding;
    const after = attrs.order === "round_then_shift";
    const out = new Float64Array(x!.data.length);
    for (let i = 0; i < out.length; i++) {
      const c = channel(i);
      const [s, z] = [scales[c]!, zeroPoints[c]!];
      const v = x!.data[i]! / s;
      const q = after ? roundReal(rounding, v) + z : roundReal(rounding, v + z);
      out[i] = q >= elem.lo ? Math.min(q, elem.hi) : elem.lo;
    }
    return [storeInts(out, type!)];
  },
});

const dequantize = defineOp({
  name: "quant.dequantize",
  summary: "(q − z)·s, with s and z of the operand's type.",
  operands: ["q"],
  attrs: {},
  traits: ["elementwise", "float", "monotone"],
  infer: ([q], _, declared) => {
    if (!isQuant(q!)) return "operand 0 must have a quantised element type";
    const want = declared?.[0]?.elem;
    return [{ shape: q!.shape, elem: want?.kind === "float" ? want : F32 }];
  },
  evaluate: ([q], _, [type], [from]) => {
    const elem = from!.elem as QuantType;
    const { scales, zeroPoints } = parameters(elem);
    const channel = channelOf(from!, elem);
    const out = new Float64Array(q!.data.length);
    for (let i = 0; i < out.length; i++) {
      const c = channel(i);
      out[i] = (q!.data[i]! - zeroPoints[c]!) * scales[c]!;
    }
    return [floats(type!, out)];
  },
});

export const quantOps: readonly OpDef[] = [quantize, dequantize, quantThreshold];
