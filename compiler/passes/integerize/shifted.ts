/** Integers less a zero point that is known at run time only: ConvInteger and MatMulInteger behind DynamicQuantizeLinear. */
import type { Op, Value } from "../../ir/module.ts";
import { eq, ONE, sign } from "../../ir/rational.ts";
import type { QuantType } from "../../ir/types.ts";
import { sizeOf } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import { type Interval, intervalOf } from "./ranges.ts";
import { clamped, type Rep } from "./rep.ts";

/** x − zero, numpy broadcasting. */
export interface Shifted {
  readonly x: Value;
  readonly zero: Value;
  /** What the difference can be. */
  readonly range: Interval;
}

/** The integers that a representation is, if it is them as reals. */
function integersOf(rep: Rep): Value | undefined {
  if (rep.kind !== "linear" || rep.terms.length !== 1 || clamped(rep)) return undefined;
  const [{ value, scale }] = rep.terms as [{ value: Value; scale: readonly (typeof ONE)[] }];
  return scale.every((s) => eq(s, ONE)) && rep.offset.every((b) => sign(b) === 0) ? value : undefined;
}

/**
 * What `v` is the difference of, where a quantizer of scale 1 that clamps nothing holds that difference; undefined for
 * anything else. Both operands are integers of at most 8 bits, x of the result's shape, `zero` not of more elements than x.
 */
export function shiftedOf(ctx: Context, v: Value): Shifted | undefined {
  const made = (value: Value | undefined, name: string): Op | undefined => {
    const op = value && ctx.definition(value);
    return op?.name === name ? op : undefined;
  };
  const quantize = made(made(v, "quant.dequantize")?.operands[0], "quant.quantize");
  const difference = made(quantize?.operands[0], "float.sub");
  if (quantize === undefined || difference === undefined) return undefined;
  const { lo, hi, scheme } = quantize.results[0]!.type.elem as QuantType;
  if (scheme.kind !== "tensor" || scheme.scale !== 1 || scheme.zeroPoint !== 0) return undefined;
  const [x, zero] = difference.operands.map((o) => integersOf(ctx.rep(o)));
  if (x === undefined || zero === undefined || sizeOf(x.type.shape) !== sizeOf(v.type.shape))
    return undefined;
  const [a, b] = [intervalOf(x), intervalOf(zero)];
  const range = { min: a.min - b.max, max: a.max - b.min };
  const small = a.max - a.min < 256 && b.max - b.min < 256;
  return small && lo <= range.min && range.max <= hi ? { x, zero, range } : undefined;
}
