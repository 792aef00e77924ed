/** Sums of normalized rows without a quantizer in between: their values are taken to a grid that is fine enough not to matter. */
import { takenToGrid } from "../../ir/messages-quant.ts";
import type { Op } from "../../ir/module.ts";
import { attr } from "../../ir/op.ts";
import { unitBits } from "../../ir/ops/normalize-arithmetic.ts";
import {
  add,
  bitLength,
  ceil,
  maxBig,
  mul,
  type Rational,
  rational,
  sign,
  sub,
  ZERO,
} from "../../ir/rational.ts";
import { int, type QuantType, sizeOf } from "../../ir/types.ts";
import type { Context } from "./context.ts";
import { quantizeNormalized } from "./normalize.ts";
import type { Linear, Normalized } from "./rep.ts";

/** Bits of the second multiplication that stay below the grid. */
const BELOW = 3;

const largest = (list: readonly Rational[]): Rational =>
  list.reduce((m, x) => {
    const size = sign(x) < 0 ? sub(ZERO, x) : x;
    return sign(sub(size, m)) > 0 ? size : m;
  }, ZERO);

/** `r` in multiples of 2^-bits such that `count` of them add up within 32 bits; reports the grid. */
function onGrid(ctx: Context, op: Op, r: Normalized, count: number): Linear | undefined {
  const n = sizeOf(r.input.type.shape.slice(r.axis));
  const gain = largest(r.gain.list);
  // No element is more than √n deviations from the mean.
  const reach = ceil(
    add(mul(gain, rational(BigInt(Math.ceil(Math.sqrt(n))))), add(largest(r.bias.list), rational(1n))),
  );
  const bits = Math.min(
    unitBits(n) - 1 - BELOW - bitLength(maxBig(ceil(gain), 1n)),
    29 - bitLength(reach) - bitLength(BigInt(count)),
  );
  const storage = int(true, Math.min(31, 1 + bitLength(reach) + Math.max(0, bits)));
  const limit = 2 ** (storage.bits - 1);
  const step = 2 ** -bits;
  const type: QuantType = {
    kind: "quant",
    storage,
    lo: -limit,
    hi: limit - 1,
    scheme: { kind: "tensor", scale: step, zeroPoint: 0 },
  };
  const q = { type, rounding: "half_even", order: "round_then_shift" } as const;
  const done = quantizeNormalized(ctx, op, q, r, op.operands[0]!, (value) => ({
    kind: "integer",
    shape: r.shape,
    value,
  }));
  if (done.kind !== "integer") return undefined;
  ctx.report(takenToGrid(ctx, op, op.operands[0]!, bits));
  const scale = bits >= 0 ? rational(1n, 1n << BigInt(bits)) : rational(1n << BigInt(-bits));
  return {
    kind: "linear",
    shape: r.shape,
    terms: [{ value: done.value, scale: [scale] }],
    offset: [ZERO],
    axis: 1,
    ...(r.loc ? { loc: r.loc } : {}),
  };
}

/** The context in which a reduction sees integers instead of normalized rows. */
export function withGrid(ctx: Context, op: Op): Context {
  const x = op.operands[0]!;
  const r = ctx.rep(x);
  if (r.kind !== "normalized") return ctx;
  const rank = r.shape.length;
  const count = attr<readonly number[]>(op, "axes").reduce((n, a) => n * r.shape[a < 0 ? a + rank : a]!, 1);
  const made = onGrid(ctx, op, r, count) ?? ({ kind: "poison", shape: r.shape } as const);
  return { ...ctx, rep: (v) => (v === x ? made : ctx.rep(v)) };
}
