import { describe, expect, it } from "vitest";
import { modelBuilder } from "./oracle/build.ts";
import { loadSamples, randomInputs, randomSource, zooIsThere, zooModels } from "./zoo.ts";

describe("random inputs", () => {
  const model = () => {
    const g = modelBuilder();
    g.input("x", "float32", [2, 2, 2, 2]);
    const moved = g.node("Transpose", ["x"], { perm: [0, 2, 3, 1] });
    const q = g.node("QuantizeLinear", [
      moved,
      g.constant("float32", [1], [0.1]),
      g.constant("int8", [1], [7]),
    ]);
    return g.finish([q]);
  };

  it("are reproducible", () => {
    expect(randomInputs(model(), 5, 3)).toEqual(randomInputs(model(), 5, 3));
    expect(randomInputs(model(), 5, 1)[0]).not.toEqual(randomInputs(model(), 6, 1)[0]);
    const random = randomSource(1);
    const mean = Array.from({ length: 10000 }, random).reduce((a, b) => a + b) / 10000;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.02);
  });

  it("lie on the grid of the first quantizer, with the extremes at the end", () => {
    const s = Math.fround(0.1);
    const all = randomInputs(model(), 1, 20).map((inputs) => inputs.get("x") as Float32Array);
    expect(all).toHaveLength(23);
    for (const data of all)
      for (const x of data) {
        const q = Math.round(x / s);
        expect(x).toBe(Math.fround(q * s));
        expect(q).toBeGreaterThanOrEqual(-135);
        expect(q).toBeLessThanOrEqual(120);
      }
    const [lo, hi] = [Math.fround(-135 * s), Math.fround(120 * s)];
    expect(new Set(all.at(-3))).toEqual(new Set([lo]));
    expect(new Set(all.at(-2))).toEqual(new Set([hi]));
    expect(Array.from(all.at(-1)!.subarray(0, 4))).toEqual([lo, hi, lo, hi]);
  });
});

describe.skipIf(!zooIsThere)("zoo", () => {
  it("has its models and samples", () => {
    expect(zooModels("int8-qdq").length).toBeGreaterThanOrEqual(10);
    const samples = loadSamples("int8-qdq/mlperf_resnet8");
    expect(samples.count).toBe(10);
    expect(samples.inputs[0]).toBeInstanceOf(Int8Array);
    expect(samples.inputs[0]).toHaveLength(32 * 32 * 3);
    expect(samples.expected[0]).toHaveLength(10);
  });
});
