/** Scales that a graph computes from the tensor they are for: said as such, rather than as a missing quantizer. */
import type { Diagnostic } from "../../ir/diagnostics.ts";
import { runtimeScale } from "../../ir/messages-float.ts";
import type { Op, Value } from "../../ir/module.ts";
import { hasTrait } from "../../ir/ops/index.ts";
import type { Context } from "./context.ts";

const EXTREMES: ReadonlySet<string> = new Set([
  "float.max_pool",
  "float.reduce_max",
  "float.reduce_min",
  "float.reduce_mean",
]);
const BESIDE: ReadonlySet<string> = new Set(["float.abs", "float.neg", "layout.reshape", "layout.transpose"]);
/** Ops between a tensor and its scale. */
const FAR = 8;
/** Tensors looked at for one finding, and readers of one tensor. */
const MANY = 32;

const readers = (ctx: Context, v: Value): readonly Op[] => ctx.users(v).slice(0, MANY);

const passes = (op: Op): boolean =>
  EXTREMES.has(op.name) || hasTrait(op, "elementwise") || hasTrait(op, "movement");

/** The op that takes the extreme which x is multiplied with or divided by, on its way to a quantizer. */
function extremeFor(ctx: Context, x: Value): Op | undefined {
  const seen = new Set<Value>();
  const walk = (v: Value, extreme: Op | undefined, far: number): Op | undefined => {
    if (far === FAR || seen.has(v) || seen.size > MANY) return undefined;
    seen.add(v);
    for (const op of readers(ctx, v)) {
      const scales =
        (op.name === "float.mul" || op.name === "float.div") && op.operands.includes(x) && v !== x;
      const rounds = readers(ctx, op.results[0]!).some((user) => user.name === "quant.quantize");
      if (extreme && scales && rounds) return extreme;
      if (!passes(op)) continue;
      const found = walk(op.results[0]!, EXTREMES.has(op.name) ? op : extreme, far + 1);
      if (found) return found;
    }
    return undefined;
  };
  return walk(x, undefined, 0);
}

/** DynamicQuantizeLinear takes both ends of the range itself. */
const quantizerOf = (ctx: Context, x: Value): Op | undefined =>
  readers(ctx, x).find((op) => op.name === "float.reduce_max" || op.name === "float.reduce_min") ??
  extremeFor(ctx, x);

/** Ops that a tensor goes through before it is quantized. */
const before = (op: Op): boolean =>
  hasTrait(op, "elementwise") ||
  hasTrait(op, "movement") ||
  op.name === "float.normalize" ||
  op.name === "float.softmax";

interface Found {
  readonly op: Op;
  readonly tensor: string;
}

/** The first tensor from `x` on that is quantized by a scale of its own. */
function quantizedAhead(ctx: Context, x: Value, far = 0, seen = new Set<Value>()): Found | undefined {
  if (seen.has(x) || seen.size > MANY) return undefined;
  seen.add(x);
  const op = quantizerOf(ctx, x);
  if (op) return { op, tensor: x.name };
  if (far === FAR) return undefined;
  for (const user of readers(ctx, x)) {
    const found = before(user) ? quantizedAhead(ctx, user.results[0]!, far + 1, seen) : undefined;
    if (found) return found;
  }
  return undefined;
}

/** The finding about `op`, or a better one where what it computes is quantized by a scale of the run, or is one. */
export function explained(ctx: Context, op: Op, d: Diagnostic): Diagnostic {
  if (d.code !== "QC2101") return d;
  // With constant parameters, quantizers are not made of arithmetic.
  if (
    op.loc?.kind === "node" &&
    /^(Dequantize|Quantize)Linear$/.test(op.loc.op) &&
    op.name !== "quant.quantize"
  )
    return runtimeScale(op, op.loc.output);
  for (let x = op.operands[0]; x !== undefined; ) {
    const extreme = extremeFor(ctx, x);
    if (extreme) return runtimeScale(extreme, x.name);
    const made = ctx.definition(x);
    x = made && BESIDE.has(made.name) ? made.operands[0] : undefined;
  }
  const ahead = before(op) ? quantizedAhead(ctx, op.results[0]!) : undefined;
  return ahead ? runtimeScale(ahead.op, ahead.tensor) : d;
}
