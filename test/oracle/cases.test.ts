/** Corners that random graphs rarely reach, each with its answer by hand. */
import { describe, expect, it } from "vitest";
import { modelBuilder } from "./build.ts";
import { evaluateOnnx } from "./evaluate.ts";
import { erf } from "./irrational.ts";
import { fromNumber, rational, roundHalfEven, sqrt, toFloat32, toNumber } from "./rational.ts";

const one = (q: Int32Array) => Array.from(q);

describe("rationals", () => {
  it("round half to even", () => {
    const halves = [-5n, -3n, -1n, 1n, 3n, 5n].map((n) => roundHalfEven(rational(n, 2n)));
    expect(halves).toEqual([-2n, -2n, 0n, 0n, 2n, 2n]);
  });

  it("become the nearest floats, ties to even", () => {
    for (const value of [1, -0.1, 2 ** -1074, 1.7976931348623157e308, 3.3e-310])
      expect(toNumber(fromNumber(value))).toBe(value);
    expect(toNumber(rational(2n ** 53n + 1n))).toBe(2 ** 53);
    expect(toNumber(rational(2n ** 54n + 3n * 2n))).toBe(2 ** 54 + 8);
    // Just above the tie between two float32: rounding to float64 first would lose the excess.
    expect(toFloat32(rational(2n ** 100n + 2n ** 76n + 1n, 2n ** 100n))).toBe(1 + 2 ** -23);
    expect(toFloat32(rational(2n ** 100n + 2n ** 76n, 2n ** 100n))).toBe(1);
  });

  it("have correctly rounded square roots", () => {
    for (const n of [2, 3, 0.1, 1e-30, 12345.678]) expect(sqrt(fromNumber(n))).toBe(Math.sqrt(n));
    expect(sqrt(rational(9n, 4n))).toBe(1.5);
  });
});

describe("quantizers", () => {
  /** A float32 x whose quotient by `s` is on a tie in float32 only, the exact one rounding the other way. */
  function nearTie(s: number): { x: number; rounded: number; exact: number } {
    for (let k = 0; k < 100; k++) {
      const x = Math.fround((k + 0.5) * s);
      const quotient = Math.fround(x / s);
      const exact = Number(
        roundHalfEven(rational(fromNumber(x).num * fromNumber(s).den, fromNumber(x).den * fromNumber(s).num)),
      );
      const rounded = Number(roundHalfEven(fromNumber(quotient)));
      if (rounded !== exact) return { x, rounded, exact };
    }
    throw new Error("no such number");
  }

  it("round graph inputs in float32 and computed values exactly", () => {
    const s = Math.fround(0.1);
    const { x, rounded, exact } = nearTie(s);
    const g = modelBuilder();
    const scheme = [g.constant("float32", [], [s]), g.constant("uint8", [], [0])];
    g.input("x", "float32", [1]);
    const direct = g.node("QuantizeLinear", ["x", ...scheme]);
    const moved = g.node("QuantizeLinear", [
      g.node("Reshape", ["x", g.constant("int64", [2], [1, 1])]),
      ...scheme,
    ]);
    const sum = g.node("Add", ["x", g.constant("float32", [1], [0])]);
    const computed = g.node("QuantizeLinear", [sum, ...scheme]);
    const { quantizers } = evaluateOnnx(
      g.finish([direct, moved, computed]),
      new Map([["x", Float32Array.of(x)]]),
    );
    expect(one(quantizers.get(direct)!.values)).toEqual([rounded]);
    expect(one(quantizers.get(moved)!.values)).toEqual([rounded]);
    expect(one(quantizers.get(computed)!.values)).toEqual([exact]);
  });

  it("take NaN to the least integer and infinities to the ends", () => {
    const g = modelBuilder();
    g.input("x", "float32", [3]);
    const q = g.node("QuantizeLinear", ["x", g.constant("float32", [], [1]), g.constant("int8", [], [5])]);
    const { quantizers } = evaluateOnnx(
      g.finish([q]),
      new Map([["x", Float32Array.of(Number.NaN, -Infinity, Infinity)]]),
    );
    expect(one(quantizers.get(q)!.values)).toEqual([-128, -128, 127]);
  });

  it("round half to even before an odd zero point is added", () => {
    const g = modelBuilder();
    g.input("x", "int8", [4]);
    const x = g.node("DequantizeLinear", ["x", g.constant("float32", [], [0.5])]);
    const q = g.node("QuantizeLinear", [x, g.constant("float32", [], [1]), g.constant("int8", [], [3])]);
    const { quantizers } = evaluateOnnx(g.finish([q]), new Map([["x", Int8Array.of(1, 3, -1, -3)]]));
    expect(one(quantizers.get(q)!.values)).toEqual([3, 5, 3, 1]);
  });

  it("replace results for consumers only", () => {
    const g = modelBuilder();
    g.input("x", "uint8", [2]);
    const scale = g.constant("float32", [], [1]);
    const first = g.node("QuantizeLinear", [g.node("DequantizeLinear", ["x", scale]), scale]);
    const second = g.node("QuantizeLinear", [g.node("DequantizeLinear", [first, scale]), scale]);
    const overrides = new Map([[first, [7, 8]]]);
    const { quantizers } = evaluateOnnx(g.finish([second]), new Map([["x", Uint8Array.of(1, 2)]]), {
      overrides,
    });
    expect(one(quantizers.get(first)!.values)).toEqual([1, 2]);
    expect(one(quantizers.get(second)!.values)).toEqual([7, 8]);
  });
});

describe("signs and maxima are decided exactly", () => {
  /** Values 2^30·a + 2^-40·b that no float64 can tell apart. */
  function model(op: "Relu" | "Max" | "MaxPool") {
    const g = modelBuilder();
    g.input("a", "int8", [1, 1, 1, 2]);
    g.input("b", "int8", [1, 1, 1, 2]);
    const large = g.node("DequantizeLinear", ["a", g.constant("float32", [], [2 ** 30])]);
    const small = g.node("DequantizeLinear", ["b", g.constant("float32", [], [2 ** -40])]);
    const x = g.node("Add", [large, small]);
    const minus = g.node("Sub", [x, g.constant("float32", [1], [2 ** 30])]);
    const flipped = g.node("Slice", [x, ...[[1], [-9], [3], [-1]].map((v) => g.constant("int64", [1], v))]);
    const y =
      op === "Relu"
        ? g.node("Relu", [minus])
        : op === "Max"
          ? g.node("Sub", [g.node("Max", [x, flipped]), g.constant("float32", [1], [2 ** 30])])
          : g.node("Sub", [
              g.node("MaxPool", [x], { kernel_shape: [1, 2] }),
              g.constant("float32", [1], [2 ** 30]),
            ]);
    const q = g.node("QuantizeLinear", [
      y,
      g.constant("float32", [], [2 ** -40]),
      g.constant("int8", [], [0]),
    ]);
    const inputs = new Map([
      ["a", Int8Array.of(1, 1)],
      ["b", Int8Array.of(-3, 5)],
    ]);
    return one(evaluateOnnx(g.finish([q]), inputs).quantizers.get(q)!.values);
  }

  it("where float64 sums have the wrong sign", () => {
    const g = modelBuilder();
    const values = Int8Array.from({ length: 100 }, (_, i) => i + 1);
    g.input("x", "int8", [values.length]);
    const x = g.node("DequantizeLinear", ["x", g.constant("float32", [], [1])]);
    const part = (of: string, divisor: number) => g.node("Div", [of, g.constant("float32", [], [divisor])]);
    const thirds = g.node("Add", [part(x, 3), part(x, 7)]);
    const tens = part(g.node("Mul", [x, g.constant("float32", [], [10])]), 21);
    const zero = g.node("Sub", [thirds, tens]);
    const tiny = [2 ** -70];
    const y = g.node("Relu", [g.node("Sub", [zero, g.constant("float32", [], tiny)])]);
    const q = g.node("QuantizeLinear", [y, g.constant("float32", [], tiny), g.constant("int8", [], [0])]);
    const { quantizers } = evaluateOnnx(g.finish([q]), new Map([["x", values]]));
    expect(one(quantizers.get(q)!.values)).toEqual(one(new Int32Array(values.length)));
  });

  it("by Relu", () => expect(model("Relu")).toEqual([0, 5]));
  it("by Max", () => expect(model("Max")).toEqual([5, 5]));
  it("by MaxPool", () => expect(model("MaxPool")).toEqual([5]));
});

describe("irrational functions", () => {
  it("leave values on a rounding boundary undecided, and only those", () => {
    const g = modelBuilder();
    g.input("x", "int8", [3]);
    const x = g.node("DequantizeLinear", ["x", g.constant("float32", [], [1])]);
    const y = g.node("Sigmoid", [x]);
    // σ(0) = 1/2 is exactly one and a half of these.
    const q = g.node("QuantizeLinear", [
      y,
      g.constant("float32", [], [Math.fround(1 / 3)]),
      g.constant("uint8", [], [0]),
    ]);
    const tie = g.node("QuantizeLinear", [y, g.constant("float32", [], [1]), g.constant("uint8", [], [1])]);
    const { quantizers } = evaluateOnnx(g.finish([q, tie]), new Map([["x", Int8Array.of(0, 9, -9)]]));
    expect(quantizers.get(q)!.undecided).toBeUndefined();
    expect(one(quantizers.get(tie)!.values)).toEqual([1, 2, 1]);
    expect([...quantizers.get(tie)!.undecided!]).toEqual([[0, [1, 2]]]);
  });

  it("know erf", () => {
    // Abramowitz and Stegun, table 7.1, and erfc(4).
    expect(Math.abs(erf(0.5) - 0.5204998778130465)).toBeLessThan(1e-15);
    expect(Math.abs(erf(1.5) - 0.96610514647531)).toBeLessThan(1e-15);
    expect(Math.abs(erf(-2.5) + 0.999593047982555)).toBeLessThan(1e-15);
    expect(Math.abs(1 - erf(4) - 1.541725790028002e-8)).toBeLessThan(1e-15);
  });
});

describe("what is not covered", () => {
  it("is named", () => {
    const g = modelBuilder();
    g.input("x", "float32", [1]);
    const y = g.node("Det", ["x"]);
    expect(() => evaluateOnnx(g.finish([y]), new Map([["x", Float32Array.of(1)]]))).toThrow(
      'Det "" (t0): operator Det is not covered',
    );
  });
});
