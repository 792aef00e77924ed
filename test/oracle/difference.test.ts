import { describe, expect, it } from "vitest";
import { modelBuilder } from "./build.ts";
import { compareSteps, histogram } from "./difference.ts";

function model() {
  const g = modelBuilder();
  g.input("x", "int8", [4]);
  const half = g.constant("float32", [], [0.5]);
  const one = [g.constant("float32", [], [1]), g.constant("int8", [], [3])];
  const first = g.node("QuantizeLinear", [g.node("DequantizeLinear", ["x", half]), ...one]);
  const second = g.node("QuantizeLinear", [g.node("DequantizeLinear", [first, ...one]), ...one]);
  return { model: g.finish([second]), first, second };
}

describe("comparison with another runtime", () => {
  const { model: net, first, second } = model();
  const inputs = new Map([["x", Int8Array.of(1, 3, 8, -1)]]);
  const ours = [3, 5, 7, 3];

  it("finds no difference between equal integers", () => {
    const theirs = new Map([first, second].map((name) => [name, ours]));
    expect(compareSteps(net, inputs, theirs)).toMatchObject({ quantizers: 2, elements: 8, differences: [] });
  });

  it("blames the step where a difference arises and measures how far off it is", () => {
    // The other runtime adds the odd zero point before it rounds, and misses the third element by one.
    const wrong = [4, 4, 8, 2];
    const { differences } = compareSteps(
      net,
      inputs,
      new Map([
        [first, wrong],
        [second, wrong],
      ]),
    );
    expect(
      differences.map(({ quantizer, ours, theirs, value, distance, verdict }) => ({
        quantizer,
        ours,
        theirs,
        value,
        distance,
        verdict,
      })),
    ).toEqual([
      { quantizer: first, ours: 3, theirs: 4, value: 3.5, distance: 0, verdict: "ours" },
      { quantizer: first, ours: 5, theirs: 4, value: 4.5, distance: 0, verdict: "ours" },
      { quantizer: first, ours: 7, theirs: 8, value: 7, distance: 0.5, verdict: "ours" },
      { quantizer: first, ours: 3, theirs: 2, value: 2.5, distance: 0, verdict: "ours" },
    ]);
    expect(histogram(differences.map((difference) => difference.ours - difference.theirs))).toBe("1: 4");
  });

  it("insists on integers for every quantizer", () => {
    expect(() => compareSteps(net, inputs, new Map([[first, ours]]))).toThrow(`"${second}"`);
    expect(() =>
      compareSteps(
        net,
        inputs,
        new Map([
          [first, [1]],
          [second, ours],
        ]),
      ),
    ).toThrow("1 elements replace 4");
  });
});
