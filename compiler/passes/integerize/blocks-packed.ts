/** Matrices in blocks that stay packed, for float products. */
import type { Attr, Op, Value } from "../../ir/module.ts";
import { isInteger, toNumber } from "../../ir/rational.ts";
import { F32, type IntType, intTypeFor, tensor } from "../../ir/types.ts";
import { runsOf } from "./blocks.ts";
import type { Context } from "./context.ts";

/** Operands of a `float.matmul_blocks`. */
export interface PackedFactor {
  readonly q: Value;
  readonly scales: Value;
  readonly zeros: Value;
  readonly block: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** The K × N matrix in blocks that `v` stands for, as [N, K] with blocks along K; undefined for any other constant. */
export function blockedFactor(ctx: Context, v: Value): PackedFactor | undefined {
  const rep = ctx.rep(v);
  if (rep.kind !== "constant" || rep.blocks === undefined || rep.shape.length !== 2) return undefined;
  const { blocks } = rep;
  if (blocks.elem.bits > 8) return undefined;
  const [k, n] = rep.shape as [number, number];
  const runs = runsOf(blocks, k, n);
  // Whole blocks start at multiples of a common size.
  const block = runs.slice(1).reduce((size, r) => gcd(size, r.from), 0) || k;
  const q = Int32Array.from(
    { length: n * k },
    (_, i) => blocks.q[blocks.element((i % k) * n + Math.floor(i / k))]!,
  );
  const counts = Math.ceil(k / block);
  const starts = Array.from({ length: counts }, (_, b) => runs.find((r) => r.to > b * block)!);
  const per = <T>(f: (run: (typeof runs)[number], column: number) => T): T[] =>
    Array.from({ length: n * counts }, (_, i) => f(starts[i % counts]!, Math.floor(i / counts)));
  const zeros = per((r, c) => r.zeros[c]!);
  const shape = [n, counts];
  const ints = zeros.every(isInteger) ? zeros.map(toNumber) : undefined;
  const zeroType = ints && intTypeFor(Math.min(...bounds(ints)), Math.max(...bounds(ints)));
  return {
    q: emit(ctx, blocks.elem, [n, k], q, v.name),
    scales: emit(
      ctx,
      F32,
      shape,
      Float32Array.from(per((r, c) => toNumber(r.scales[c]!))),
      `${v.name}_scales`,
    ),
    zeros:
      ints && zeroType
        ? emit(ctx, zeroType, shape, Int32Array.from(ints), `${v.name}_zeros`)
        : emit(ctx, F32, shape, Float32Array.from(zeros.map(toNumber)), `${v.name}_zeros`),
    block,
  };
}

/** A `float.gather_blocks` as it is; undefined where its indices are no integers of the run, or its table is not constant. */
export function gatherBlocks(ctx: Context, op: Op): Value | undefined {
  const [indices, ...table] = op.operands as [Value, ...Value[]];
  const rep = ctx.rep(indices);
  const constants = table.map((v) => ctx.definition(v));
  if (rep.kind !== "integer" || !constants.every((c) => c?.name === "const")) return undefined;
  const emitted = constants.map((c, i) =>
    ctx.emit("const", [], c!.attrs, { type: table[i]!.type, hint: table[i]!.name }),
  );
  const { shape } = op.results[0]!.type;
  const loc = op.loc ? { loc: op.loc } : {};
  return ctx.emit(op.name, [rep.value, ...emitted], op.attrs, {
    type: tensor(shape, F32),
    hint: op.results[0]!.name,
    ...loc,
  });
}

const bounds = (list: readonly number[]): [number, number] => [
  list.reduce((a, b) => Math.min(a, b), 0),
  list.reduce((a, b) => Math.max(a, b), 0),
];

function emit(
  ctx: Context,
  elem: IntType | typeof F32,
  shape: readonly number[],
  data: Int32Array | Float32Array,
  hint: string,
): Value {
  const value = { kind: "dense", elem, shape, data } satisfies Attr;
  return ctx.emit("const", [], { value }, { type: tensor(shape, elem), hint });
}
