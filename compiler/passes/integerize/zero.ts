/** Grids on which real zero is not an integer of the tensor: bipolar ones, fractional zero points. */
import type { Attr, Op } from "../../ir/module.ts";
import { div, isInteger, mul, neg, rational, sign, ZERO } from "../../ir/rational.ts";
import { intTypeFor, tensor } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import { intervalOf } from "./ranges.ts";
import { type Linear, perTensor, zeroPoint } from "./rep.ts";

/** Integers are moved by table. */
const BITS = 8;

/**
 * The same reals S·(t − z) from integers around zero: (S / d)·t′ with t′ = d·(t − z), d the denominator of z, in a type that
 * holds 0. `x` itself where that is not needed (z is an integer, and with `held` one of t's type) or takes more than 8
 * bits, or where x is not one term of one scale. No pending clamp.
 */
export function centred(ctx: Context, op: Op, x: Linear, held = false): Linear {
  const term = x.terms[0]!;
  if (x.terms.length > 1 || !perTensor(x) || sign(term.scale[0]!) === 0) return x;
  const { min, max } = intervalOf(term.value);
  const known = zeroPoint(x);
  if (known !== undefined && (!held || (min <= known && known <= max))) return x;
  const scale = term.scale[0]!;
  const z = neg(div(x.offset[0]!, scale));
  const d = rational(z.den);
  const base = mul(d, z);
  if (max - min >= 2 ** BITS || !isInteger(base) || z.den > BigInt(2 ** BITS)) return x;
  const data = Int32Array.from(
    { length: max - min + 1 },
    (_, i) => Number(z.den) * (min + i) - Number(base.num),
  );
  const elem = intTypeFor(Math.min(0, data[0]!), Math.max(0, data.at(-1)!));
  if (elem === undefined || elem.bits > BITS) return x;
  const value = ctx.emit(
    "qc.table",
    [term.value],
    { table: { kind: "dense", elem, shape: [data.length], data } satisfies Attr, min },
    { type: tensor(term.value.type.shape, elem), ...(op.loc ? { loc: op.loc } : {}) },
  );
  return { ...x, terms: [{ value, scale: [div(scale, d)] }], offset: [ZERO] };
}
