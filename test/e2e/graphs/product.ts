/** Products of two tensors, and what attention needs around them. */

import type { GraphBuilder } from "./builder.ts";
import { f, type GraphCase, graphCase, many, x, y } from "./case.ts";

const t = (g: GraphBuilder, v: string, perm: readonly number[]) => g.op("Transpose", [v], { perm });
const s8 = (g: GraphBuilder, shape: readonly number[], scale = 0.05, zero = 0) =>
  g.dq(g.input(shape, "int8"), scale, zero, { type: "int8" });

const cases: readonly GraphCase[] = [
  graphCase("two activations, rank 2", (g) =>
    y(g, g.op("MatMul", [x(g, [5, 8]), x(g, [8, 9], 0.03, 9)]), 0.9),
  ),
  graphCase("two activations, broadcast", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 3, 5, 8]), x(g, [3, 8, 4], 0.03, 9)]), 0.9),
  ),
  graphCase("two activations, broadcast the other way", (g) =>
    y(g, g.op("MatMul", [x(g, [5, 8]), x(g, [2, 3, 8, 4], 0.03, 9)]), 0.9),
  ),
  graphCase("two activations, broadcast both ways", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 1, 5, 8]), x(g, [1, 3, 8, 4], 0.03, 9)]), 0.9),
  ),
  graphCase("two activations of rank 5, odd sizes", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 1, 2, 13, 19]), x(g, [1, 3, 2, 19, 17], 0.03, 9)]), 0.9),
  ),
  ...(
    [
      [1, 1, 1],
      [1, 7, 33],
      [2, 3, 9],
      [9, 1, 10],
      [4, 64, 8],
      [13, 37, 23],
      [6, 16, 16],
    ] as const
  ).map(([m, k, n]) =>
    graphCase(`two activations, ${m} × ${k} × ${n}`, (g) =>
      y(g, g.op("MatMul", [x(g, [m, k]), x(g, [k, n], 0.02, 77)]), 0.3),
    ),
  ),
  ...(
    [
      [0, 0],
      [255, 255],
      [0, 255],
      [255, 0],
      [128, 128],
    ] as const
  ).map(([a, b]) =>
    graphCase(`two activations, zero points ${a} and ${b}`, (g) =>
      y(g, g.op("MatMul", [x(g, [5, 18], 0.1, a), x(g, [18, 11], 0.02, b)]), 0.9),
    ),
  ),
  graphCase("two activations, int8 and uint8", (g) =>
    y(g, g.op("MatMul", [s8(g, [2, 5, 18]), x(g, [2, 18, 11], 0.02, 3)]), 0.3),
  ),
  graphCase("two activations, uint8 and int8", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 5, 18], 0.1, 200), s8(g, [2, 18, 11], 0.02, -128)]), 0.3),
  ),
  graphCase("two activations, int16 and int8", (g) => [
    g.q(
      g.op("MatMul", [g.dq(g.input([3, 20], "int16"), 0.001, 0, { type: "int16" }), s8(g, [20, 9], 0.02, 5)]),
      0.3,
      0,
      { type: "int16" },
    ),
  ]),
  graphCase("two activations, uint16 with a zero point and uint8", (g) =>
    y(
      g,
      g.op("MatMul", [g.dq(g.input([3, 20], "uint16"), 0.0001, 900, { type: "uint16" }), x(g, [20, 9])]),
      0.3,
    ),
  ),
  graphCase("two activations, a bias in between", (g) => {
    const a = g.op("Add", [x(g, [5, 8], 0.5, 128), f(g, 300)]);
    return y(g, g.op("MatMul", [a, g.op("Sub", [x(g, [8, 9], 0.5, 3), f(g, 1000)])]), 2000);
  }),
  graphCase("two activations as output", (g) => [g.op("MatMul", [x(g, [5, 8]), x(g, [8, 9], 0.03, 9)])]),
  graphCase("a tensor times itself, transposed", (g) => {
    const a = x(g, [2, 7, 20], 0.1, 99);
    return y(g, g.op("MatMul", [a, t(g, a, [0, 2, 1])]), 3);
  }),
  graphCase("Gemm of two activations, transA and transB", (g) =>
    y(g, g.op("Gemm", [x(g, [8, 3]), x(g, [10, 8], 0.2, 7)], { transA: 1, transB: 1 }), 0.9),
  ),
  graphCase("Gemm of two activations with bias, alpha and beta", (g) =>
    y(
      g,
      g.op("Gemm", [x(g, [3, 8]), x(g, [8, 5], 0.2, 7), g.floats([5], [0.1, 9, -0.7, 99, 0])], {
        alpha: { kind: "float", value: 0.3 },
        beta: { kind: "float", value: -1.5 },
      }),
      0.9,
    ),
  ),
  graphCase("vector by matrix, both activations", (g) =>
    y(g, g.op("MatMul", [x(g, [8]), x(g, [3, 8, 7], 0.2, 7)]), 0.3),
  ),
  graphCase("matrix by vector, both activations", (g) =>
    y(g, g.op("MatMul", [x(g, [3, 5, 8]), x(g, [8], 0.2, 7)]), 0.3),
  ),
  graphCase("constant on the left", (g) => y(g, g.op("MatMul", [g.weights([5, 8]), x(g, [8, 3])]), 0.3)),
  graphCase("constant on the left, scales per row, batched", (g) =>
    y(
      g,
      g.op("MatMul", [
        g.weights(
          [5, 8],
          many(5, (i) => 0.01 + i / 100),
          { axis: 0 },
        ),
        x(g, [2, 8, 13], 0.1, 90),
      ]),
      0.3,
    ),
  ),
  graphCase(
    "constant on the left with scales along K is diagnosed",
    (g) =>
      y(
        g,
        g.op("MatMul", [
          g.weights(
            [5, 8],
            many(8, (i) => 0.01 + i / 100),
            { axis: 1 },
          ),
          x(g, [8, 13], 0.1, 90),
        ]),
        0.3,
      ),
    { errors: ["QC2102"] },
  ),
  graphCase("rank 3 by rank 3 constant", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 5, 8]), g.weights([2, 8, 7])]), 0.3),
  ),
  graphCase("rank 3 by rank 3 constant, scales per column", (g) =>
    y(
      g,
      g.op("MatMul", [
        x(g, [2, 5, 8]),
        g.weights(
          [2, 8, 7],
          many(7, (i) => 0.01 + i / 100),
          { axis: 2 },
        ),
      ]),
      0.3,
    ),
  ),
  graphCase("rank 4 by rank 3 constant, scales per matrix", (g) =>
    y(g, g.op("MatMul", [x(g, [2, 3, 5, 8]), g.weights([3, 8, 7], [0.01, 0.02, 0.03], { axis: 0 })]), 0.3),
  ),
  graphCase("two constants", (g) => {
    const p = g.fq(g.op("MatMul", [g.weights([2, 5, 8]), g.weights([8, 6])]), 0.01, 100);
    const q = g.fq(g.op("MatMul", [g.weights([5, 8]), g.weights([8, 6])]), 0.01, 100);
    const t = x(g, [2, 5, 6]);
    return [...y(g, g.op("Add", [p, t]), 0.3), ...y(g, g.op("Add", [t, q]), 0.3)];
  }),
  graphCase("relu, then a residual behind a product", (g) => {
    const p = g.fq(g.op("MatMul", [x(g, [3, 5, 8]), x(g, [3, 8, 9], 0.03, 9)]), 0.9, 128);
    return y(g, g.op("Relu", [g.op("Add", [p, x(g, [3, 5, 9], 1.3, 7)])]), 1.1, 3);
  }),
  graphCase("scores plus a constant mask", (g) => {
    const p = g.fq(g.op("MatMul", [x(g, [2, 4, 8]), t(g, x(g, [2, 4, 8], 0.03, 9), [0, 2, 1])]), 0.9, 128);
    const mask = g.dq(
      g.constant(
        "uint8",
        [4, 4],
        many(16, (i) => (i % 4 > i / 4 ? 0 : 255)),
      ),
      0.5,
      255,
    );
    return y(g, g.op("Add", [p, mask]), 1.1, 200);
  }),
];

const T = 9;
const HEADS = 2;
const D = 12;
const WIDTH = HEADS * D;

const dense = (g: GraphBuilder, v: string, from: number, to: number, zero = 120) =>
  g.fq(g.op("MatMul", [v, g.weights([from, to])]), 0.4, zero);
const heads = (g: GraphBuilder, v: string, perm: readonly number[]) =>
  t(g, g.op("Reshape", [v, g.ints([1, T, HEADS, D])]), perm);

/** From q, k and v of shape [1, heads, T, D], k transposed already, to the result of the output layer. */
function attend(g: GraphBuilder, q: string, k: string, v: string): readonly string[] {
  const scores = g.fq(g.op("Mul", [g.op("MatMul", [q, k]), f(g, 0.2)]), 0.8, 128);
  const p = g.fq(g.op("Softmax", [scores], { axis: -1 }), 1 / 255, 0);
  const y = g.fq(g.op("MatMul", [p, v]), 0.3, 125);
  const joined = g.op("Reshape", [t(g, y, [0, 2, 1, 3]), g.ints([1, T, WIDTH])]);
  return [g.q(g.op("MatMul", [joined, g.weights([WIDTH, 10])]), 0.3, 120)];
}

const attention: readonly GraphCase[] = [
  graphCase("attention", (g) => {
    const a = x(g, [1, T, 16]);
    const [q, k, v] = [90, 120, 150].map((z) => dense(g, a, 16, WIDTH, z)) as [string, string, string];
    return attend(g, heads(g, q, [0, 2, 1, 3]), heads(g, k, [0, 2, 3, 1]), heads(g, v, [0, 2, 1, 3]));
  }),
  graphCase("attention, quantizers around every reshape and transpose", (g) => {
    const a = x(g, [1, T, 16]);
    const moved = (perm: readonly number[]) => {
      const r = g.op("Reshape", [dense(g, a, 16, WIDTH), g.ints([1, T, HEADS, D])]);
      return g.fq(t(g, g.fq(r, 0.4, 120), perm), 0.4, 120);
    };
    return attend(g, moved([0, 2, 1, 3]), moved([0, 2, 3, 1]), moved([0, 2, 1, 3]));
  }),
  graphCase("attention, one projection split along the last axis", (g) => {
    const all = dense(g, x(g, [1, T, 16]), 16, 3 * WIDTH);
    const [q, k, v] = g.ops("Split", [all], 3, { axis: 2, num_outputs: 3 }) as [string, string, string];
    return attend(g, heads(g, q, [0, 2, 1, 3]), heads(g, k, [0, 2, 3, 1]), heads(g, v, [0, 2, 1, 3]));
  }),
  graphCase("attention, one projection transposed and gathered", (g) => {
    const all = dense(g, x(g, [1, T, 16]), 16, 3 * WIDTH);
    const five = t(g, g.op("Reshape", [all, g.ints([1, T, 3, HEADS, D])]), [2, 0, 3, 1, 4]);
    const part = (i: number) => g.op("Gather", [five, g.constant("int64", [], i)], { axis: 0 });
    return attend(g, part(0), t(g, part(1), [0, 1, 3, 2]), part(2));
  }),
  graphCase("attention, one projection split and squeezed", (g) => {
    const all = dense(g, x(g, [1, T, 16]), 16, 3 * WIDTH);
    const five = t(g, g.op("Reshape", [all, g.ints([1, T, 3, HEADS, D])]), [2, 0, 3, 1, 4]);
    const parts = g.ops("Split", [five], 3, { axis: 0, num_outputs: 3 });
    const [q, k, v] = parts.map((p) => g.op("Squeeze", [p, g.ints([0])])) as [string, string, string];
    return attend(g, q, t(g, k, [0, 1, 3, 2]), v);
  }),
  graphCase("attention by Einsum", (g) => {
    const a = x(g, [2, T, 16]);
    const part = (zero: number) => g.op("Reshape", [dense(g, a, 16, WIDTH, zero), g.ints([2, T, HEADS, D])]);
    const einsum = (equation: string, l: string, r: string) =>
      g.op("Einsum", [l, r], { equation: { kind: "string", value: equation } });
    const scores = g.fq(einsum("bqhd,bkhd->bhqk", part(90), part(120)), 0.8, 128);
    const p = g.fq(g.op("Softmax", [scores], { axis: -1 }), 1 / 255, 0);
    const y = g.fq(einsum("bhqk, bkhd -> bqhd", p, part(150)), 0.3, 125);
    const w = g.weights([HEADS, D, 10]);
    return [g.q(einsum("...hd,hdo->...o", y, w), 0.3, 120)];
  }),
  graphCase("Einsum without its result, with sums and of one operand", (g) => {
    const einsum = (equation: string, ...operands: string[]) =>
      g.op("Einsum", operands, { equation: { kind: "string", value: equation } });
    const [a, b] = [x(g, [3, 4, 5]), x(g, [5, 6, 4], 0.03, 9)];
    return [
      g.q(einsum("zab,bka", a, b), 0.9, 99),
      g.q(einsum("zab,bka->kz", a, g.weights([5, 6, 4])), 0.9, 99),
      g.q(einsum("zab,bkc->zb", a, b), 0.9, 99),
      g.q(einsum("zab->ba", a), 0.3, 99),
      g.q(einsum("...b,...b", a, x(g, [1, 5], 0.2, 3)), 0.9, 99),
    ];
  }),
  ...(
    [
      ["a diagonal", "aab->ab"],
      ["two operands of one", "abc,c->ab"],
      ["indices beyond the rank", "abcd->a"],
      ["an index from nowhere", "abc->d"],
      ["other signs", "a*c->a"],
    ] as const
  ).map(([what, equation]) =>
    graphCase(
      `Einsum with ${what} is diagnosed`,
      (g) => y(g, g.op("Einsum", [x(g, [3, 3, 5])], { equation: { kind: "string", value: equation } })),
      { errors: ["QC1134"] },
    ),
  ),
  graphCase("views that are outputs, padded, joined and pooled too", (g) => {
    const a = heads(g, dense(g, x(g, [1, T, 16]), 16, WIDTH), [0, 2, 1, 3]);
    const b = t(g, g.fq(g.op("MatMul", [a, t(g, a, [0, 1, 3, 2])]), 4, 7), [0, 2, 1, 3]);
    const sliced = g.op("Slice", [a, g.ints([1, 2]), g.ints([7, 9]), g.ints([2, 3])]);
    return [
      g.q(a, 0.4, 120),
      g.q(b, 4, 7),
      g.q(g.op("Concat", [sliced, sliced], { axis: 3 }), 0.4, 120),
      g.q(g.op("MatMul", [sliced, t(g, sliced, [0, 1, 3, 2])]), 3, 7),
      g.q(g.op("MaxPool", [b], { kernel_shape: [2, 2] }), 4, 7),
      g.q(g.op("Relu", [sliced]), 0.7, 0),
      g.q(g.op("Softmax", [sliced], { axis: -1 }), 1 / 255, 0),
    ];
  }),
];

export const productCases: readonly GraphCase[] = [...cases, ...attention].map((c) => ({
  ...c,
  saturates: true,
}));
