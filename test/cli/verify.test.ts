/** The pieces of `qc verify`, on a hand-made artifact and the module it should equal. */
import { expect, test } from "vitest";
import { compareExact, compareSample, subjectsOf } from "../../compiler/cli/compare.ts";
import { count, type Histogram, histogramText } from "../../compiler/cli/histogram.ts";
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import { runReference } from "../../compiler/cli/reference.ts";
import type { Compiled } from "../../compiler/index.ts";
import { dense } from "../../compiler/ir/dense.ts";
import { type Module, value } from "../../compiler/ir/module.ts";
import { tensor, U8 } from "../../compiler/ir/types.ts";
import type { PortLayout } from "../../runtime/format.ts";
import { type FixtureOptions, fixture } from "../runtime/fixture.ts";

/** u8 → u8, plus one modulo 256; ports as the fixture's. */
function plusOne(): Module {
  const x = value(tensor([1, 8], U8), "x");
  const y = value(tensor([1, 8], U8), "y");
  const table = dense(
    U8,
    [256],
    Array.from({ length: 256 }, (_, i) => (i + 1) & 255),
  );
  return {
    funcs: [
      {
        name: "main",
        params: [
          {
            value: x,
            name: "image",
            dtype: "float32",
            boundary: { kind: "quantize", scale: 0.5, zeroPoint: 3, lo: 0, hi: 255 },
          },
        ],
        ops: [{ name: "qc.table", operands: [x], attrs: { table, min: 0 }, results: [y] }],
        results: [
          {
            value: y,
            name: "logits",
            dtype: "float32",
            boundary: { kind: "dequantize", axis: 0, scales: [0.25], zeroPoints: [10] },
          },
        ],
      },
    ],
  };
}

const compiled = async (options: FixtureOptions = {}): Promise<Compiled> => ({
  ...(await fixture(options)),
  report: { ops: { before: {}, after: {} }, layers: [] },
  module: plusOne(),
  exact: plusOne(),
});

test("an artifact that equals its module", async () => {
  const c = await compiled({ exactOn: "any" });
  const { subjects, skipped } = await subjectsOf(c, "");
  expect(subjects.length + skipped.length).toBe(2);
  expect(subjects[0]?.name).toBe("baseline");
  randomInputs(c.manifest.inputs, 5, 1).forEach((inputs, i) => {
    const reference = new Map(
      runReference(c.module, inputs, { raw: true }).map((r) => [r.port.name, r.data]),
    );
    for (const s of subjects)
      expect(compareSample(s, inputs, i, reference)).toMatchObject({
        elements: 8,
        differing: 0,
        first: undefined,
      });
  });
});

test("the interpreter against exact values: equal, and not", () => {
  const tensors = (x: number) =>
    new Map([
      ["a", Uint8Array.of(1, 2)],
      ["b", Uint8Array.of(3, x)],
    ]);
  expect(compareExact(0, tensors(4), tensors(4))).toMatchObject({ tensors: 2, elements: 4, differing: 0 });
  const wrong = compareExact(7, tensors(4), tensors(5));
  expect(wrong).toMatchObject({
    differing: 1,
    first: { code: "QC5010", loc: { kind: "tensor", name: "b" } },
  });
  expect(wrong.first?.notes.map((n) => n.text)).toEqual(["7", "1", "4 (interpreter)", "5 (exact)"]);
});

test("an artifact that does not: the first differing element is named", async () => {
  const shifted = (p: PortLayout): PortLayout => ({ ...p, slots: [{ ...p.slots[0]!, offset: 2049 }] });
  const c = await compiled({ output: shifted });
  const { subjects } = await subjectsOf(c, "");
  const inputs = new Map([["image", Float32Array.of(0, 0, 0, 1, 0, 0, 0, 0)]]);
  const reference = new Map(runReference(c.module, inputs, { raw: true }).map((r) => [r.port.name, r.data]));
  expect(compareSample(subjects[0]!, inputs, 7, reference)).toMatchObject({
    differing: 3,
    first: {
      code: "QC5010",
      loc: { kind: "tensor", name: "logits" },
      notes: [
        { label: "sample", text: "7" },
        { label: "element", text: "2" },
        { label: "artifact", text: "6 (baseline)" },
        { label: "reference", text: "4" },
      ],
    },
  });
});

test("random inputs: extremes first, on the grid, repeatable", async () => {
  const { manifest } = await fixture();
  const a = randomInputs(manifest.inputs, 3, 5);
  expect(a).toEqual(randomInputs(manifest.inputs, 3, 5));
  expect(a).not.toEqual(randomInputs(manifest.inputs, 3, 6));
  const [lo, hi, alternating] = a.map((m) => [...m.get("image")!]);
  expect(lo).toEqual(new Array(8).fill(-1.5));
  expect(hi).toEqual(new Array(8).fill(126));
  expect(alternating).toEqual([-1.5, 126, -1.5, 126, -1.5, 126, -1.5, 126]);
  for (const x of a[3]!.get("image")!) expect(Number.isInteger(Number(x) * 2)).toBe(true);
});

test("histogram in quanta of the output", async () => {
  const { manifest } = await fixture();
  const h: Histogram = new Map();
  const ours = Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7);
  count(h, manifest.outputs[0]!, ours, Float32Array.of(0, 1, 2.25, 3, 3.75, 5, 6, 5));
  expect([...h].sort()).toEqual([
    [-1, 1],
    [0, 5],
    [1, 1],
    [8, 1],
  ]);
  expect(histogramText(h)).toBe("62.50 % of 8 equal; LSB −1: 1, +1: 1, +8: 1");
});
