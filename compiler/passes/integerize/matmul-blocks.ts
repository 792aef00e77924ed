/** Products with matrices quantized in blocks. */
import type { Elements, Op, Value } from "../../ir/module.ts";
import { add, isInteger, mul, neg, type Rational, rational, sub, ZERO } from "../../ir/rational.ts";
import { type IntType, intMax, intMin } from "../../ir/types.ts";
import { type Run, runsOf } from "./blocks.ts";
import { type Context, poison } from "./context.ts";
import { accumulator } from "./linear.ts";
import { intervalOf } from "./ranges.ts";
import { type Constant, collapse, type GridBlocks, type Linear, type Rep, type Term } from "./rep.ts";
import { columnSums, integerConst, productSums } from "./weights.ts";

/** A run's integers, and what is missing from them: w − (zero point − what w is less already). */
interface Part {
  readonly w: Elements;
  /** Per column; absent where `w` is all. */
  readonly rest?: readonly Rational[];
}

/**
 * q − z where that needs no more bits than q. Otherwise q less the middle of its type, so that weights keep their width; the rest
 * multiplies the sum of the run's activations.
 */
function partOf(b: GridBlocks, { from, to, zeros }: Run, n: number): Part {
  const size = (to - from) * n;
  const raw = (i: number): number => b.q[b.element(from * n + i)]!;
  const { elem } = b;
  if (zeros.every(isInteger)) {
    const z = zeros.map((x) => Number(x.num));
    const w = Int32Array.from({ length: size }, (_, i) => raw(i) - z[i % n]!);
    if (w.every((x) => fitsWidth(x, elem))) return { w };
  }
  const middle = elem.signed ? 0 : 2 ** (elem.bits - 1);
  return {
    w: Int32Array.from({ length: size }, (_, i) => raw(i) - middle),
    rest: zeros.map((z) => sub(z, rational(middle))),
  };
}

/** Whether an integer has a place among as many bits, signed or not. */
const fitsWidth = (x: number, { bits }: IntType): boolean => {
  const signed: IntType = { kind: "int", signed: true, bits };
  return x >= intMin(signed) && x <= intMax(signed);
};

/** x·B for a constant matrix in blocks: one accumulator per run of rows. */
export function productOfBlocks(ctx: Context, op: Op, x: Linear, b: Constant, blocks: GridBlocks): Rep {
  const shape = op.results[0]!.type.shape;
  const [k, n] = b.shape as [number, number];
  const [scale, bias] = [x.terms[0]!.scale[0]!, x.offset[0]!];
  const value = x.terms[0]!.value;
  const terms: Term[] = [];
  const offset = new Array<Rational>(n).fill(ZERO);
  const loc = op.loc ? { loc: op.loc } : {};
  const options = { hint: op.results[0]!.name, ...loc };
  for (const run of runsOf(blocks, k, n)) {
    const part = partOf(blocks, run, n);
    const depth = run.to - run.from;
    const columns = columnSums(part.w, depth, n);
    for (let c = 0; c < n; c++) {
      const sum = sub(rational(BigInt(columns.sum[c]!)), mul(rational(depth), part.rest?.[c] ?? ZERO));
      offset[c] = add(offset[c]!, mul(mul(bias, run.scales[c]!), sum));
    }
    const range = intervalOf(value);
    const sums = productSums(columns, range);
    const type = accumulator(ctx, op, shape, sums.min, sums.max);
    if (type === undefined) return poison(shape);
    const slice = depth === k ? value : sliced(ctx, value, run.from, run.to);
    const weights = integerConst(ctx, part.w, [depth, n], op.operands[1]!.name);
    const acc = ctx.emit("qc.matmul", [slice, weights], { a_zero: 0, b_zero: 0 }, { ...options, type });
    terms.push({ value: acc, scale: collapse(run.scales.map((s) => mul(scale, s))) });
    if (part.rest === undefined) continue;
    const one = [...shape.slice(0, -1), 1];
    const sumType = accumulator(ctx, op, one, range.min * depth, range.max * depth);
    if (sumType === undefined) return poison(shape);
    const sum = ctx.emit(
      "qc.reduce_sum",
      [slice],
      { axes: [slice.type.shape.length - 1], keepdims: true },
      { ...options, type: sumType },
    );
    terms.push({
      value: sum,
      scale: collapse(run.scales.map((s, c) => neg(mul(mul(scale, s), part.rest![c]!)))),
    });
  }
  return { kind: "linear", shape, terms, offset: collapse(offset), axis: 1, ...loc };
}

/** Indices `from` … `to` − 1 of the last axis. */
function sliced(ctx: Context, x: Value, from: number, to: number): Value {
  const axes = [x.type.shape.length - 1];
  return ctx.emit("layout.slice", [x], { starts: [from], ends: [to], steps: [1], axes });
}
