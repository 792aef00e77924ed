import { describe, expect, test } from "vitest";
import { mainOf, noise, onlyOp, opNames, runOrt } from "../../test/import-spec.ts";
import { f32, i4, i8, i32, type ModelSpec, type Node, node, type Tensor } from "../../test/onnx-writer.ts";
import { codes, dq, q, quantOf, s, spec } from "../../test/quantizer-spec.ts";
import type { Dense } from "../ir/module.ts";

describe("constants", () => {
  /** y = x + dequantized constant. */
  const added = (
    nodes: readonly Node[],
    initializers: Readonly<Record<string, Tensor>>,
    shape: readonly number[],
  ): ModelSpec =>
    spec(["float32", shape], [...nodes, node("Add", ["x", "w"], ["y"])], initializers, { opset: 21 });
  const stored = (model: ModelSpec): readonly number[] => [
    ...(onlyOp(mainOf(model), "const").attrs.value as Dense).data,
  ];

  test("integers stay integers under a quantised type", () => {
    const main = mainOf(
      added(
        [dq("w8", "w", "s", "z", { axis: 0 })],
        { w8: i8([2, 2], [1, -2, 3, -4]), s: f32([2], [0.5, 2]), z: i8([2], [0, 1]) },
        [2, 2],
      ),
    );
    expect(opNames(main)).toEqual(["const", "quant.dequantize", "float.add"]);
    expect(quantOf(main, "const")).toMatchObject({
      lo: -128,
      hi: 127,
      scheme: { kind: "axis", axis: 0, scales: [0.5, 2], zeroPoints: [0, 1] },
    });
  });
  test("four-bit integers", () => {
    const main = mainOf(added([dq("w4", "w", "s", "")], { w4: i4([3], [-8, 7, 1]), s: s(1) }, [3]));
    expect(quantOf(main, "const")).toMatchObject({ storage: { bits: 4 }, lo: -8, hi: 7 });
  });
  test("floats are quantized in float32: rounding, ties, saturation and NaN are onnxruntime's", async () => {
    const values = [
      ...noise(400, 3).map((x) => Math.fround(x * 30)),
      0.5,
      1.5,
      2.5,
      -0.5,
      -1.5,
      1e30,
      -1e30,
    ].map(Math.fround);
    for (const scale of [0.1, 0.0625, 1 / 3, 1e-3].map(Math.fround)) {
      const model = added(
        [q("f", "w8"), dq("w8", "w")],
        { f: f32([values.length], values), s: s(scale), z: i8([], [3]) },
        [values.length],
      );
      const zeros = new Map([["x", values.map(() => 0)]]);
      const ort = (await runOrt(model, zeros)).get("y")!.data;
      const mine = stored(model).map((v) => Math.fround((v - 3) * scale));
      expect(mine).toEqual([...ort]);
    }
    expect(
      stored(
        added([q("f", "w8"), dq("w8", "w")], { f: f32([2], [Number.NaN, 0]), s: s(1), z: i8([], [0]) }, [2]),
      ),
    ).toEqual([-128, 0]);
  });
  test("a Clip narrows the bounds, of either side", () => {
    const w8 = i8([3], [-9, 3, 9]);
    const clipped = (inputs: readonly string[]): ModelSpec =>
      added(
        [node("Clip", ["w8", ...inputs], ["c"]), dq("c", "w", "s", "")],
        { w8, lo: i8([], [-7]), hi: i8([], [7]), s: s(1) },
        [3],
      );
    expect(quantOf(mainOf(clipped(["lo", "hi"])), "const")).toMatchObject({ lo: -7, hi: 7 });
    expect(stored(clipped(["lo", "hi"]))).toEqual([-7, 3, 7]);
    expect(quantOf(mainOf(clipped(["", "hi"])), "const")).toMatchObject({ lo: -128, hi: 7 });
    expect(quantOf(mainOf(clipped(["lo"])), "const")).toMatchObject({ lo: -7, hi: 127 });
    expect(codes(clipped(["hi", "lo"]))).toEqual(["error QC2129"]);
  });
  test("movement before and after the quantizer reaches the constant, and the axis follows", () => {
    const per = { s: f32([2], [0.5, 2]), z: i8([2], [0, 0]), w8: i8([2, 3], [1, 2, 3, 4, 5, 6]) };
    const main = mainOf(
      spec(
        ["float32", [1, 3]],
        [dq("w8", "w", "s", "z", { axis: 0 }), node("Gemm", ["x", "w"], ["y"], { transB: 1 })],
        per,
      ),
    );
    expect(opNames(main)).toEqual(["const", "quant.dequantize", "float.matmul"]);
    expect(quantOf(main, "const").scheme).toMatchObject({ axis: 1, scales: [0.5, 2] });
    expect([...(onlyOp(main, "const").attrs.value as Dense).data]).toEqual([1, 4, 2, 5, 3, 6]);
  });
  test("int32 biases become constants shaped for the convolution", () => {
    const main = mainOf(
      spec(
        ["float32", [1, 1, 3, 3]],
        [
          dq("w8", "w", "s", "z", { axis: 0 }),
          dq("b32", "b", "s", "", { axis: 0 }),
          node("Conv", ["x", "w", "b"], ["y"]),
        ],
        {
          w8: i8([2, 1, 1, 1], [1, 2]),
          b32: i32([2], [100000, -5]),
          s: f32([2], [0.5, 2]),
          z: i8([2], [0, 0]),
        },
      ),
    );
    expect(opNames(main).toSorted()).toEqual([
      "const",
      "const",
      "float.add",
      "float.conv",
      "quant.dequantize",
      "quant.dequantize",
    ]);
    const bias = main.ops.find(
      (op) =>
        op.name === "const" &&
        (op.attrs.value as Dense).data.length === 2 &&
        op.results[0]!.type.shape[1] === 2,
    )!;
    expect(bias.results[0]!.type).toMatchObject({
      shape: [1, 2, 1, 1],
      elem: { storage: { bits: 32 }, scheme: { axis: 1 } },
    });
  });
});
