/** From accumulators to quantised integers: the exact specification and its certified integer form. */
import type { Attrs } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { type Rational, type Rounding, rational } from "../rational.ts";
import { evaluateExact } from "../rescale/exact.ts";
import type { RequantSpec } from "../rescale/types.ts";
import { sameShape, type TensorType } from "../types.ts";
import { axisIn, broadcastShapes } from "./axes.ts";
import { allOf, optional, required } from "./define.ts";
import { mapChannels } from "./per-channel.ts";
import { ORDERS, ROUNDINGS } from "./rounding.ts";
import { qcThreshold } from "./threshold.ts";

/** Result type of a requantization: broadcast operands, declared integers, `axis` in the result. */
export function requantType(
  types: readonly TensorType[],
  attrs: Attrs,
  declared: readonly TensorType[] | undefined,
): readonly TensorType[] | string {
  const bad = allOf("int", types);
  if (bad) return bad;
  if (types.length === 0) return "an operand is needed";
  const want = declared?.[0];
  if (want?.elem.kind !== "int") return "the result must be declared with a plain integer element type";
  const shape = broadcastShapes(...types.map((t) => t.shape));
  if (!shape) return "the operands' shapes do not broadcast";
  if (!sameShape(shape, want.shape)) return `the result's shape must be [${shape.join(", ")}]`;
  const axis = attrs.axis as number;
  if (!axisIn(axis, shape.length) && !(axis === 0 && shape.length === 0))
    return `axis ${axis} is not an axis of the result`;
  return [want];
}

/** One entry for the tensor, or one per channel. */
const perChannel = (list: readonly unknown[], channels: number): boolean =>
  list.length === 1 || list.length === channels;

const at = (list: readonly Rational[], c: number): Rational => (list.length === 1 ? list[0]! : list[c]!);

/** The specification of one channel, from the attributes of a `qc.requant`. */
export const requantSpec = (attrs: Attrs, channel: number): RequantSpec => ({
  scales: (attrs.scales as readonly (readonly Rational[])[]).map((list) => at(list, channel)),
  offset: at(attrs.offset as readonly Rational[], channel),
  zeroPoint: attrs.zero_point as Rational,
  lo: attrs.lo as number,
  hi: attrs.hi as number,
  rounding: attrs.rounding as Rounding,
  order: attrs.order as RequantSpec["order"],
});

const requant = defineOp({
  name: "qc.requant",
  summary:
    "Per channel c, in exact arithmetic: clamp(R(Σ aᵢ·Sᵢ + B) + z, lo, hi), or with `shift_then_round` clamp(R(Σ aᵢ·Sᵢ + B + z), lo, hi). Operands broadcast; the author chooses the result's integer type.",
  operands: ["a", "b…"],
  attrs: {
    axis: required("int", "channel axis, counted from the front of the result"),
    scales: required("rationalLists", "Sᵢ: one list per operand, of one entry or one per channel"),
    offset: optional("rationals", "B: one entry or one per channel", [rational(0)]),
    zero_point: optional("rational", "z", rational(0)),
    lo: required("int", "least result"),
    hi: required("int", "greatest result"),
    rounding: optional({ oneOf: ROUNDINGS }, "R", "half_even"),
    order: optional({ oneOf: ORDERS }, "whether z is added after or before R", "round_then_shift"),
  },
  traits: ["elementwise"],
  infer: (types, attrs, declared) => {
    const result = requantType(types, attrs, declared);
    if (typeof result === "string") return result;
    const channels = result[0]!.shape[attrs.axis as number] ?? 1;
    const scales = attrs.scales as readonly (readonly Rational[])[];
    if (scales.length !== types.length) return "scales needs one list per operand";
    if (![...scales, attrs.offset as readonly Rational[]].every((l) => perChannel(l, channels)))
      return `scales and offset need 1 or ${channels} entries`;
    if ((attrs.lo as number) > (attrs.hi as number)) return "lo must not exceed hi";
    if (attrs.order === "round_then_shift" && (attrs.zero_point as Rational).den !== 1n)
      return "a fractional zero point needs the order shift_then_round";
    return result;
  },
  evaluate: (operands, attrs, [type]) => {
    const channels = type!.shape[attrs.axis as number] ?? 1;
    const specs = Array.from({ length: channels }, (_, c) => requantSpec(attrs, c));
    return [mapChannels(operands, attrs.axis as number, type!, (c, a) => evaluateExact(specs[c]!, a))];
  },
});

export const requantOps: readonly OpDef[] = [requant, qcThreshold];
