/** Tensors that are integers to begin with: exact products of int32 type, and concatenations of quantized tensors. */
import type { Dense, Op, Port, Value } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { cmp, isInteger, rational, ZERO } from "../../ir/rational.ts";
import { I32, type QuantType, tensor } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import { boundsOf } from "./materialize.ts";
import { storageOf } from "./quantizer.ts";
import { clamped, type Linear, type Rep } from "./rep.ts";

/**
 * A quantizer to int32 of scale 1 over what is an int32 already: nothing is rounded or clamped, so the representation
 * stays. Undefined for any other quantizer.
 */
export function liftExact(ctx: Context, op: Op): Linear | undefined {
  const { storage, scheme, lo, hi } = op.results[0]!.type.elem as QuantType;
  const rep = ctx.rep(op.operands[0]!);
  if (storage.bits !== 32 || scheme.kind !== "tensor" || scheme.scale !== 1 || scheme.zeroPoint !== 0)
    return undefined;
  if (rep.kind !== "linear" || clamped(rep)) return undefined;
  if (!rep.offset.every(isInteger) || !rep.terms.every((t) => t.scale.every(isInteger))) return undefined;
  const bounds = boundsOf(rep);
  const fits =
    bounds !== undefined &&
    cmp(bounds.lo, rational(BigInt(lo))) >= 0 &&
    cmp(bounds.hi, rational(BigInt(hi))) <= 0;
  return fits ? rep : undefined;
}

/** The integers of such a representation, as a tensor. */
export function exactIntegers(ctx: Context, port: Port, rep: Linear): Value {
  return ctx.emit(
    "qc.requant",
    rep.terms.map((t) => t.value),
    {
      axis: rep.shape.length - rep.axis,
      scales: rep.terms.map((t) => t.scale),
      offset: rep.offset,
      zero_point: ZERO,
      lo: -(2 ** 31),
      hi: 2 ** 31 - 1,
      rounding: "half_even",
      order: "round_then_shift",
    },
    { type: tensor(rep.shape, I32), hint: port.value.name, ...(rep.loc ? { loc: rep.loc } : {}) },
  );
}

/** A quantized constant as the integers it is stored as. */
function storedConst(ctx: Context, { data }: Dense, q: QuantType, { type: { shape }, name }: Value): Value {
  const elem = storageOf(q);
  const value = { kind: "dense", elem, shape, data: Int32Array.from(data) } as const;
  return ctx.emit("const", [], { value }, { type: tensor(shape, elem), hint: name });
}

/** Quantized tensors of one type side by side, moved as they are; undefined where a part is not an integer tensor. */
export function joinIntegers(ctx: Context, op: Op): Rep | undefined {
  const { shape, elem } = op.results[0]!.type;
  if (elem.kind !== "quant") return undefined;
  const values: Value[] = [];
  for (const v of op.operands) {
    const rep = ctx.rep(v);
    const made = ctx.definition(v);
    if (rep.kind === "integer") values.push(rep.value);
    else if (rep.kind === "constant" && made?.name === "const")
      values.push(storedConst(ctx, attr<Dense>(made, "value"), elem, v));
    else return undefined;
  }
  const options = { hint: op.results[0]!.name, ...(op.loc ? { loc: op.loc } : {}) };
  return { kind: "integer", shape, value: ctx.emit("layout.concat", values, op.attrs, options) };
}
