import { describe, expect, test } from "vitest";
import { f32, i8, model, node, value } from "../test/onnx-writer.ts";
import { calibrate, gridOf } from "./calibrate.ts";
import { compileModel } from "./compile.ts";
import { dense } from "./ir/dense.ts";
import { F32 } from "./ir/types.ts";

/** Two quantized convolutions whose inputs have no quantizer, and a curve between them. */
const bytes = model({
  inputs: [value("x", "float32", [1, 1, 2, 2])],
  outputs: [value("y")],
  initializers: { w: i8([1, 1, 1, 1], [2]), s: f32([], [0.25]) },
  nodes: [
    node("DequantizeLinear", ["w", "s"], ["wf"]),
    node("Conv", ["x", "wf"], ["a"]),
    node("Sigmoid", ["a"], ["b"]),
    node("Conv", ["b", "wf"], ["y"]),
  ],
  opset: 13,
});

const sample = (values: readonly number[]) => new Map([["x", dense(F32, [1, 1, 2, 2], values)]]);

describe("calibrate", () => {
  test("gives every activation that lacks a grid one, until the model compiles", async () => {
    const result = calibrate(bytes, {}, [sample([-1, 0, 1, 2]), sample([0, 0, 0, 3])], "minmax");
    if (!result.ok) throw new Error("not calibrated");
    const scale = Math.fround(4 / 255);
    expect(result.value[0]).toBe(`x=u8@${scale},${Math.round(1 / scale)}`);
    // The curve takes the accumulator as it is: its quantizer is behind it.
    expect(result.value.map((g) => g.replace(/=.*/, ""))).toEqual(["x", "b"]);
    expect(result.diagnostics.map((d) => d.code)).toEqual(["QC2145", "QC2145"]);
    const bare = await compileModel(bytes, { target: "wasm-simd" });
    expect(bare.diagnostics.map((d) => d.code)).toContain("QC2101");
    expect((await compileModel(bytes, { target: "wasm-simd", grids: result.value })).ok).toBe(true);
  });

  test("keeps the grids it is given", () => {
    const result = calibrate(bytes, { grids: ["x=i8@0.5"] }, [sample([0, 0, 0, 3])], "minmax");
    expect(result.ok && result.value[0]).toBe("x=i8@0.5");
    expect(result.ok && result.value.some((g) => g.startsWith("x=u8"))).toBe(false);
  });

  test("values that are never finite", () => {
    const result = calibrate(bytes, {}, [sample([Number.NaN, Number.NaN, Number.NaN, Number.NaN])], "minmax");
    expect(result.diagnostics.map((d) => d.code)).toEqual(["QC2144"]);
  });
});

describe("observers", () => {
  const values = Float64Array.from({ length: 100_001 }, (_, i) => (i === 7 ? 1000 : (i % 256) / 255));

  test("all values", () => expect(gridOf("t", values, "minmax")).toBe(`t=u8@${Math.fround(1000 / 255)}`));
  test("all but a ten-thousandth at either end", () =>
    expect(gridOf("t", values, "percentile")).toBe(`t=u8@${Math.fround(1 / 255)}`));
  test("the least squared error clips a single outlier of a long tail, not one that weighs more than the rest", () => {
    const scaleOf = (grid: string): number => Number(/@([^,]+)/.exec(grid)![1]);
    const tail = values.map((v) => (v === 1000 ? 3 : v));
    expect(scaleOf(gridOf("t", tail, "mse"))).toBeLessThan(3 / 255);
    expect(scaleOf(gridOf("t", values, "mse"))).toBeGreaterThan(100 / 255);
  });
  test("zero is a level", () => {
    expect(gridOf("t", Float64Array.of(2, 4), "minmax")).toBe(`t=u8@${Math.fround(4 / 255)}`);
    expect(gridOf("t", Float64Array.of(-4, -2), "minmax")).toBe(`t=u8@${Math.fround(4 / 255)},255`);
    expect(gridOf("t", Float64Array.of(0, 0), "minmax")).toBe("t=u8@1");
  });
});
