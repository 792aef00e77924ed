/** Random small integer graphs of the kind `unsigned` leaves: convolutions, requants with harsh clamps, and what moves data. */
import { createBuilder, type FuncBuilder } from "../compiler/ir/builder.ts";
import { dense } from "../compiler/ir/dense.ts";
import type { Attrs, Module, Value } from "../compiler/ir/module.ts";
import { rational } from "../compiler/ir/rational.ts";
import { dce } from "../compiler/ir/rewriter.ts";
import { I8, I32, int, intMax, intMin, sameElem, sizeOf, tensor, U8 } from "../compiler/ir/types.ts";
import { randomWords } from "./random-inputs.ts";

interface Draw {
  /** An integer in lo … hi. */
  readonly int: (lo: number, hi: number) => number;
  readonly one: <T>(list: readonly T[]) => T;
  readonly maybe: (probability: number) => boolean;
}

function drawing(seed: number): Draw {
  const word = randomWords(seed);
  const draw = (lo: number, hi: number): number => lo + Math.floor((word() / 2 ** 32) * (hi - lo + 1));
  return {
    int: draw,
    one: (list) => list[draw(0, list.length - 1)]!,
    maybe: (p) => word() / 2 ** 32 < p,
  };
}

const list = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i));
const last = (v: Value): number => v.type.shape.at(-1)!;
const sameShapes = (a: Value, b: Value): boolean => a.type.shape.join() === b.type.shape.join();

/** A module with u8 activations and one or two results; `seed` decides everything. */
export function randomIntegerGraph(seed: number): Module {
  const d = drawing(seed);
  const b = createBuilder();
  const channels = d.int(1, 5);
  const x = b.param(tensor([1, d.int(3, 5), d.int(3, 5), channels], U8), { name: "x", dtype: "uint8" });
  const live = [x];
  const accumulators: Value[] = [];
  for (let i = d.int(3, 10); i > 0; i--) {
    const step = d.one(steps);
    const y = step(b, d, d.maybe(0.7) ? live.at(-1)! : d.one(live), live, accumulators);
    if (y !== undefined) live.push(y);
  }
  if (d.maybe(0.5)) live.push(head(b, d, live.at(-1)!));
  b.result(live.at(-1)!, { name: "y", dtype: "int32" });
  if (d.maybe(0.3)) b.result(d.one([...live, ...accumulators]), { name: "z", dtype: "int32" });
  return { funcs: [dce(b.build())] };
}

type Step = (
  b: FuncBuilder,
  d: Draw,
  x: Value,
  live: readonly Value[],
  accumulators: Value[],
) => Value | undefined;

/** Weights with many zeros, sometimes a whole row of them. */
function weights(b: FuncBuilder, d: Draw, shape: readonly number[]): Value {
  const row = sizeOf(shape.slice(1));
  const data: number[] = [];
  for (let o = 0; o < shape[0]!; o++) {
    const empty = d.maybe(0.1);
    for (let i = 0; i < row; i++) data.push(empty || d.maybe(0.4) ? 0 : d.int(-9, 9));
  }
  return b.add1("const", [], { value: dense(I8, shape, data) }, { types: [tensor(shape, I8)] });
}

function accumulator(b: FuncBuilder, d: Draw, x: Value): Value {
  const [, h, w] = x.type.shape as [number, number, number, number];
  const k = h >= 3 && w >= 3 && d.maybe(0.5) ? 3 : 1;
  const pad = k === 3 && (d.maybe(0.6) || h < 4 || w < 4) ? 1 : 0;
  const stride = d.one([1, 1, 2]);
  const attrs: Attrs = {
    strides: [stride, stride],
    pads: [pad, pad, pad, pad],
    pad_value: d.one([0, 0, 0, 255, d.int(0, 255)]),
  };
  const depthwise = d.maybe(0.4);
  const outputs = depthwise ? last(x) * d.one([1, 1, 2]) : d.int(1, 6);
  const w_ = weights(b, d, [outputs, k, k, depthwise ? 1 : last(x)]);
  return b.add1("qc.conv", [x, w_], { ...attrs, groups: depthwise ? last(x) : 1 });
}

/** A requantization to u8 whose offset often lies far outside, so that the channel saturates. */
function requant(b: FuncBuilder, d: Draw, operands: readonly Value[], reach: number): Value {
  const shape = operands[0]!.type.shape;
  const n = shape.at(-1)!;
  const scale = () =>
    rational(d.maybe(0.1) ? 0 : d.int(-20, 80), d.int(1, 40) * Math.max(1, Math.round(reach / 255)));
  const offset = () =>
    d.maybe(0.4) ? rational(d.one([-1, -1, 1]) * 100000) : rational(d.int(-4000, 4000), d.int(1, 30));
  const perTensor = d.maybe(0.2);
  const attrs: Attrs = {
    axis: perTensor ? 0 : shape.length - 1,
    scales: operands.map(() => list(perTensor || d.maybe(0.2) ? 1 : n, scale)),
    offset: perTensor ? [d.maybe(0.8) ? rational(3, 7) : offset()] : list(n, offset),
    zero_point: rational(d.one([0, 0, 3, 128])),
    lo: d.one([0, 0, 0, 10]),
    hi: d.one([255, 255, 100]),
    rounding: d.one(["half_even", "half_even", "floor", "half_up"]),
    order: d.one(["round_then_shift", "shift_then_round"]),
  };
  return b.add1("qc.requant", operands, attrs, { types: [tensor(shape, U8)] });
}

const named =
  (name: string, attrs: (d: Draw, x: Value) => Attrs | undefined): Step =>
  (b, d, x) => {
    const a = attrs(d, x);
    return a && b.add1(name, [x], a);
  };

const convolution: Step = (b, d, x, _, accumulators) => {
  const acc = accumulator(b, d, x);
  accumulators.push(acc);
  return requant(b, d, [acc], 600);
};

const steps: readonly Step[] = [
  convolution,
  convolution,
  convolution,
  convolution,
  // One accumulator, two readers.
  (b, d, x) => {
    const acc = accumulator(b, d, x);
    return requant(b, d, [requant(b, d, [acc], 600), requant(b, d, [acc], 600)], 1);
  },
  // A sum of two accumulators.
  (b, d, x) => {
    const acc = accumulator(b, d, x);
    const shape = [last(acc), 1, 1, last(acc)];
    const y = b.add1("qc.conv", [requant(b, d, [acc], 600), weights(b, d, shape)], {
      strides: [1, 1],
      pads: [0, 0, 0, 0],
    });
    return requant(b, d, [acc, y], 900);
  },
  // Residual sum; product.
  (b, d, x, live) => {
    const other = live.filter((v) => v !== x && sameShapes(v, x));
    return other.length === 0 ? undefined : requant(b, d, [x, d.one(other)], 1);
  },
  // The greater or the smaller.
  (b, d, x, live) => {
    const y = d.one(live.filter((v) => sameShapes(v, x) && sameElem(v.type.elem, x.type.elem)));
    return b.add1(d.one(["qc.max", "qc.min"]), [x, y], {});
  },
  (b, d, x, live) => {
    const y = b.add1("qc.mul", [x, d.one(live.filter((v) => sameShapes(v, x)))], {
      a_zero: d.int(0, 9),
      b_zero: d.int(0, 9),
    });
    return requant(b, d, [y], 60000);
  },
  (b, d, x, live) => {
    const fits = live.filter((v) => v.type.shape.slice(0, -1).join() === x.type.shape.slice(0, -1).join());
    return last(x) > 12
      ? undefined
      : b.add1("layout.concat", [x, d.one(fits), x].slice(0, d.int(1, 3)), { axis: 3 });
  },
  (b, d, x, live) =>
    x.type.shape[1]! > 8
      ? undefined
      : b.add1("layout.concat", [x, d.one(live.filter((v) => sameShapes(v, x)))], { axis: 1 }),
  named("qc.max_pool", (_, x) =>
    x.type.shape[1]! < 2 || x.type.shape[2]! < 2
      ? undefined
      : { kernel: [2, 2], strides: [1, 1], pads: [0, 0, 0, 0] },
  ),
  (b, d, x) => {
    const p = d.int(0, 1);
    if (x.type.shape[1]! < 2 || x.type.shape[2]! < 2) return undefined;
    const attrs = { kernel: [2, 2], strides: [1, 1], pads: [p, p, 0, 0], pad_value: d.one([0, 7]) };
    return requant(b, d, [b.add1("qc.sum_pool", [x], attrs)], 1000);
  },
  named("qc.clamp", (d) => ({ lo: d.int(0, 50), hi: d.int(50, 255) })),
  named("qc.table", (d) => ({
    table: dense(
      U8,
      [256],
      list(256, () => d.int(0, 255)),
    ),
    min: 0,
  })),
  named("layout.slice", (d, x) => {
    const end = d.int(1, last(x));
    return { starts: [d.int(0, end - 1)], ends: [end], steps: [d.one([1, 1, 2])], axes: [3] };
  }),
  named("layout.gather", (d, x) => ({ axis: 3, indices: list(d.int(1, 6), () => d.int(0, last(x) - 1)) })),
  named("layout.pad", (d) => ({ before: [0, 1, 0, 0], after: [0, 0, 1, 0], value: d.one([0, 255]) })),
  named("layout.transpose", () => ({ perm: [0, 2, 1, 3] })),
  named("layout.tile", (d, x) => (last(x) > 8 ? undefined : { repeats: [1, 1, 1, d.int(1, 2)] })),
  named("qc.add_const", () => undefined),
];

/** Flattening or averaging, then a matmul. */
const head: (b: FuncBuilder, d: Draw, x: Value) => Value = (b, d, x) => {
  const pooled = d.maybe(0.5)
    ? requant(b, d, [b.add1("qc.reduce_sum", [x], { axes: [1, 2], keepdims: d.maybe(0.5) })], 2000)
    : x;
  const flat = b.add1("layout.reshape", [pooled], { shape: [1, sizeOf(pooled.type.shape)] });
  const [k, n] = [last(flat), d.int(1, 4)];
  const w = weights(b, d, [k, n]);
  const acc = b.add1(
    "qc.matmul",
    [flat, w],
    { a_zero: d.one([0, 0, 5]), b_zero: d.one([0, 0, 2]) },
    { types: [tensor([1, n], I32)] },
  );
  return d.maybe(0.7) ? requant(b, d, [acc], 2000) : acc;
};

/** Bounds of a param's inputs, for extreme cases. */
export const limitsOf = (v: Value): readonly [number, number] => {
  const e = v.type.elem.kind === "int" ? v.type.elem : int(true, 8);
  return [intMin(e), intMax(e)];
};
