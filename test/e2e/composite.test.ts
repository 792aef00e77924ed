/**
 * Operators that are imported as their parts: their inner tensors have names, for which grids are given or calibrated. What comes
 * out equals the parts written out with quantizers, which the exact oracle checks.
 */
import { describe, expect, test } from "vitest";
import { calibrate } from "../../compiler/calibrate.ts";
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import { compileModel, importModel } from "../../compiler/index.ts";
import { dense } from "../../compiler/ir/dense.ts";
import { U8 } from "../../compiler/ir/types.ts";
import { compileBytes, differences, runnersOf } from "./compiled.ts";
import { differential } from "./differential.ts";
import { integersOf } from "./exact.ts";
import { type GraphBuilder, graphBuilder } from "./graphs/builder.ts";
import { x } from "./graphs/case.ts";

const file = (build: (g: GraphBuilder) => string, opset = 23): Uint8Array => {
  const g = graphBuilder();
  return g.finish([g.q(build(g), 0.05, 100)], opset);
};

/** The interpreter and the baseline module of `composite` with `grids` give the integers of `parts`, which the oracle confirms. */
async function expectSame(composite: Uint8Array, grids: readonly string[], parts: Uint8Array): Promise<void> {
  expect(await differential(parts, { saturates: true })).toMatchObject({ kind: "compiled", wrong: [] });
  const [a, b] = [await compileBytes(composite, { grids }), await compileBytes(parts)];
  const runners = await runnersOf(a);
  for (const inputs of randomInputs(a.manifest.inputs, 4, 1)) {
    const want = [...integersOf(b.module, inputs).values()];
    const got = integersOf(a.module, inputs);
    expect([...got.values()].map((v) => [...v])).toEqual(want.map((v) => [...v]));
    for (const { run } of runners) expect(differences(got, run(inputs))).toEqual([]);
  }
}

const diagnose = async (bytes: Uint8Array, grids: readonly string[] = []) =>
  (await compileModel(bytes, { target: "wasm", grids })).diagnostics.filter((d) => d.severity === "error");

/** softmax(q·kᵀ / √8)·v of [1, 2, 5, 8], with quantizers between the parts. */
const attendParts = (g: GraphBuilder, q: string, k: string, v: string): string => {
  const products = g.op("MatMul", [q, g.op("Transpose", [k], { perm: [0, 1, 3, 2] })]);
  const scale = g.constant("float32", [], Math.fround(1 / Math.sqrt(8)));
  const scores = g.fq(g.op("Mul", [products, scale]), 0.04, 120);
  return g.op("MatMul", [g.fq(g.op("Softmax", [scores], { axis: 3 }), 1 / 256, 0), v]);
};
const S = Math.fround(1 / 256);

describe("Attention", () => {
  const shape = [1, 2, 5, 8];
  const bytes = file((g) => g.op("Attention", [x(g, shape), x(g, shape), x(g, shape)]));
  const grids = ["t3/scores=u8@0.04,120", `t3/weights=u8@${S}`];

  test("names the tensors inside that need a grid, one after the other", async () => {
    const [first] = await diagnose(bytes);
    expect(first).toMatchObject({
      code: "QC2101",
      tensor: "t3/scores",
      message: 'no quantizer on "t3/scores" inside Attention, so it would run in float',
    });
    expect(first?.fixes?.join()).toContain("--quant t3/scores=u8@");
    expect((await diagnose(bytes, grids.slice(0, 1))).map((d) => d.tensor)).toEqual(["t3/weights"]);
  });

  test("with grids it is the parts with quantizers", () =>
    expectSame(
      bytes,
      grids,
      file((g) => attendParts(g, x(g, shape), x(g, shape), x(g, shape))),
    ));

  test("calibration finds the grids", async () => {
    const module = importModel(bytes);
    if (!module.ok) throw new Error("not imported");
    const sample = new Map(
      module.value.funcs[0]!.params.map((p, i) => [
        p.name,
        dense(
          U8,
          shape,
          Array.from({ length: 80 }, (_, k) => (k * 37 + i * 11) % 256),
        ),
      ]),
    );
    const found = calibrate(bytes, {}, [sample], "minmax");
    if (!found.ok) throw new Error("not calibrated");
    expect(found.value.map((g) => g.replace(/=.*/, ""))).toEqual(["t3/scores", "t3/weights"]);
    expect(await diagnose(bytes, found.value)).toEqual([]);
  });

  test("com.microsoft: MultiHeadAttention splits its heads", () => {
    const flat = [1, 5, 16];
    const split = (g: GraphBuilder) =>
      g.op("Transpose", [g.op("Reshape", [x(g, flat), g.ints([1, 5, 2, 8])])], { perm: [0, 2, 1, 3] });
    const one = file((g) =>
      g.op("MultiHeadAttention", [x(g, flat), x(g, flat), x(g, flat)], { num_heads: 2 }, "com.microsoft"),
    );
    const parts = file((g) => {
      const y = attendParts(g, split(g), split(g), split(g));
      return g.op("Reshape", [g.op("Transpose", [y], { perm: [0, 2, 1, 3] }), g.ints(flat)]);
    });
    return expectSame(one, grids, parts);
  });

  test("com.microsoft: Attention multiplies with the weights of all three", async () => {
    const weights = (g: GraphBuilder) => g.weights([6, 48], 0.002);
    const bias = (g: GraphBuilder) =>
      g.constant(
        "float32",
        [48],
        Array.from({ length: 48 }, (_, i) => Math.fround(Math.sin(i) / 3)),
      );
    const one = file((g) =>
      g.op("Attention", [x(g, [1, 5, 6]), weights(g), bias(g)], { num_heads: 2 }, "com.microsoft"),
    );
    const parts = file((g) => {
      const sum = g.fq(g.op("Add", [g.op("MatMul", [x(g, [1, 5, 6]), weights(g)]), bias(g)]), 0.05, 128);
      const [q, k, v] = [0, 1, 2].map((i) => {
        const part = g.op("Slice", [sum, g.ints([16 * i]), g.ints([16 * i + 16]), g.ints([2])]);
        const heads = g.op("Reshape", [part, g.ints([1, 5, 2, 8])]);
        return g.op("Transpose", [heads], { perm: [0, 2, 1, 3] });
      }) as [string, string, string];
      const y = attendParts(g, q, k, v);
      return g.op("Reshape", [g.op("Transpose", [y], { perm: [0, 2, 1, 3] }), g.ints([1, 5, 16])]);
    });
    const found = (await diagnose(one)).map((d) => d.tensor);
    expect([...new Set(found)]).toEqual(["t2/qkv"]);
    await expectSame(one, ["t2/qkv=u8@0.05,128", "t2/scores=u8@0.04,120", `t2/weights=u8@${S}`], parts);
  });

  test("what it does not take is said", async () => {
    const mask = file((g) =>
      g.op(
        "MultiHeadAttention",
        [x(g, [1, 5, 16]), x(g, [1, 5, 16]), x(g, [1, 5, 16]), "", g.constant("int32", [1], [3])],
        { num_heads: 2 },
        "com.microsoft",
      ),
    );
    expect((await diagnose(mask)).map((d) => d.code)).toEqual(["QC2007"]);
  });
});

describe("RotaryEmbedding", () => {
  const angles = (i: number) => (Math.floor(i / 4) + 1) / 10 ** (i % 4);
  const table = (g: GraphBuilder, f: (x: number) => number, shape = [5, 4]) =>
    g.dq(
      g.constant(
        "int16",
        shape,
        Array.from({ length: 20 }, (_, i) => Math.round(f(angles(i)) * 16384)),
      ),
      2 ** -14,
      0,
      { type: "int16" },
    );
  const floats = (g: GraphBuilder, f: (x: number) => number) =>
    g.floats(
      [1, 5, 4],
      Array.from({ length: 20 }, (_, i) => Math.fround(f(angles(i)))),
    );
  const positions = (g: GraphBuilder) => g.constant("int64", [1, 5], [0, 1, 2, 3, 4]);

  /** Pairs of columns `a` and `b` of [1, 2, 5, 8], turned. */
  const turn = (g: GraphBuilder, a: string, b: string): readonly [string, string] => {
    const [cos, sin] = [table(g, Math.cos, [1, 1, 5, 4]), table(g, Math.sin, [1, 1, 5, 4])];
    return [
      g.op("Sub", [g.op("Mul", [a, cos]), g.op("Mul", [b, sin])]),
      g.op("Add", [g.op("Mul", [a, sin]), g.op("Mul", [b, cos])]),
    ];
  };
  const columns = (g: GraphBuilder, t: string, from: number, to: number, step: number) =>
    g.op("Slice", [t, g.ints([from]), g.ints([to]), g.ints([3]), g.ints([step])]);

  test("quantized tables, halves", () => {
    const one = file((g) =>
      g.op("RotaryEmbedding", [x(g, [1, 2, 5, 8]), table(g, Math.cos), table(g, Math.sin), positions(g)]),
    );
    const parts = file((g) => {
      const t = x(g, [1, 2, 5, 8]);
      return g.op("Concat", turn(g, columns(g, t, 0, 4, 1), columns(g, t, 4, 8, 1)), { axis: 3 });
    });
    return expectSame(one, [], parts);
  });

  test("com.microsoft, quantized tables, pairs interleaved, three axes, a rest that stays", () => {
    const one = file((g) =>
      g.op(
        "RotaryEmbedding",
        [x(g, [1, 5, 20]), g.constant("int64", [1], [0]), table(g, Math.cos), table(g, Math.sin)],
        { interleaved: 1, num_heads: 2, rotary_embedding_dim: 8 },
        "com.microsoft",
      ),
    );
    const parts = file((g) => {
      const heads = g.op("Reshape", [x(g, [1, 5, 20]), g.ints([1, 5, 2, 10])]);
      const t = g.op("Transpose", [heads], { perm: [0, 2, 1, 3] });
      const [a, b] = turn(g, columns(g, t, 0, 8, 2), columns(g, t, 1, 8, 2)).map((v) =>
        g.op("Reshape", [v, g.ints([1, 2, 5, 4, 1])]),
      ) as [string, string];
      const pairs = g.op("Reshape", [g.op("Concat", [a, b], { axis: 4 }), g.ints([1, 2, 5, 8])]);
      const all = g.op("Concat", [pairs, columns(g, t, 8, 10, 1)], { axis: 3 });
      return g.op("Reshape", [g.op("Transpose", [all], { perm: [0, 2, 1, 3] }), g.ints([1, 5, 20])]);
    });
    return expectSame(one, [], parts);
  });

  test("float tables are said to be float, and can be put on a grid", async () => {
    const one = file((g) =>
      g.op("RotaryEmbedding", [x(g, [1, 2, 5, 8]), floats(g, Math.cos), floats(g, Math.sin)]),
    );
    const found = await diagnose(one);
    expect(found.map((d) => d.code)).toContain("QC2102");
    expect(JSON.stringify(found)).toContain("t1/cos");
    const parts = file((g) => {
      const t = x(g, [1, 2, 5, 8]);
      return g.op("Concat", turn(g, columns(g, t, 0, 4, 1), columns(g, t, 4, 8, 1)), { axis: 3 });
    });
    await expectSame(one, ["t1/cos=i16@0.00006103515625", "t1/sin=i16@0.00006103515625"], parts);
  });
});
