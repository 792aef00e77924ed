/** Where integers and the real numbers of a float island meet, in float32 as ONNX computes it. */
import { defineOp, type OpDef } from "../op.ts";
import type { Rounding } from "../rational.ts";
import { F32, type TensorType } from "../types.ts";
import { axisIn, indexAlong } from "./axes.ts";
import { allOf, chosenInt, floats, optional, required, storeInts } from "./define.ts";
import { ORDERS, ROUNDINGS, roundReal } from "./rounding.ts";

/** Lists of one entry, or one per index of `axis`. */
function listsFault(x: TensorType, axis: number, lists: readonly (readonly number[])[]): string | undefined {
  if (lists.every((l) => l.length === 1)) return undefined;
  if (!axisIn(axis, x.shape.length)) return `axis ${axis} is not an axis of the operand`;
  const n = x.shape[axis]!;
  return lists.every((l) => l.length === 1 || l.length === n)
    ? undefined
    : `axis ${axis} needs ${n} entries, or one`;
}

const pick = (list: readonly number[], c: number): number => (list.length === 1 ? list[0]! : list[c]!);
const numbers = (a: unknown): readonly number[] => a as readonly number[];

const axis = { axis: optional("int", "along which the lists vary", 0) };

const fromInt = defineOp({
  name: "float.from_int",
  summary:
    "fround(fround(fround(t − zero[c]) · scale[c]) + offset[c]), c the index along `axis`; lists of one entry hold for all.",
  operands: ["t"],
  attrs: {
    ...axis,
    zeros: required("ints", "taken from the integer"),
    scales: required("floats", "float32 factors"),
    offsets: required("floats", "float32 terms"),
  },
  traits: ["elementwise", "float"],
  infer: ([t], a) =>
    allOf("int", [t!]) ??
    listsFault(t!, a.axis as number, [numbers(a.zeros), numbers(a.scales), numbers(a.offsets)]) ?? [
      { shape: t!.shape, elem: F32 },
    ],
  evaluate: ([t], a, [type]) => {
    const channel = indexAlong(type!.shape, a.axis as number);
    const out = new Float64Array(t!.data.length);
    for (let i = 0; i < out.length; i++) {
      const c = channel(i);
      const product = Math.fround(
        Math.fround(t!.data[i]! - pick(numbers(a.zeros), c)) * pick(numbers(a.scales), c),
      );
      out[i] = Math.fround(product + pick(numbers(a.offsets), c));
    }
    return [floats(type!, out)];
  },
});

const toInt = defineOp({
  name: "float.to_int",
  summary:
    "clamp(R(fround(x / scale[c])) + zero[c], lo, hi), or with `shift_then_round` clamp(R(fround(fround(x / scale[c]) + zero[c])), lo, hi); NaN gives lo.",
  operands: ["x"],
  attrs: {
    ...axis,
    scales: required("floats", "float32 divisors"),
    zeros: required("floats", "added after or before R; integers where after"),
    lo: required("int", "least result"),
    hi: required("int", "greatest result"),
    rounding: optional({ oneOf: ROUNDINGS }, "R", "half_even"),
    order: optional({ oneOf: ORDERS }, "whether the zero is added after or before R", "round_then_shift"),
  },
  traits: ["elementwise", "float"],
  infer: ([x], a, declared) => {
    const bad =
      allOf("float", [x!]) ?? listsFault(x!, a.axis as number, [numbers(a.scales), numbers(a.zeros)]);
    if (bad !== undefined) return bad;
    if (a.order === "round_then_shift" && !numbers(a.zeros).every(Number.isInteger))
      return "zeros must be integers";
    return chosenInt(x!.shape, declared, { kind: "int", signed: true, bits: 32 });
  },
  evaluate: ([x], a, [type]) => {
    const channel = indexAlong(type!.shape, a.axis as number);
    const [lo, hi] = [a.lo as number, a.hi as number];
    const after = a.order === "round_then_shift";
    const out = new Float64Array(x!.data.length);
    for (let i = 0; i < out.length; i++) {
      const c = channel(i);
      const z = pick(numbers(a.zeros), c);
      const v = Math.fround(x!.data[i]! / pick(numbers(a.scales), c));
      const r = roundReal(a.rounding as Rounding, after ? v : Math.fround(v + z)) + (after ? z : 0);
      out[i] = r >= lo ? Math.min(r, hi) : lo;
    }
    return [storeInts(out, type!)];
  },
});

export const floatBorderOps: readonly OpDef[] = [fromInt, toInt];
