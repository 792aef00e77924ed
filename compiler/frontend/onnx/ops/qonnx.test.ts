/** QONNX quantizers in the graph IR. What they compute is compared with the exact oracle in test/e2e/qonnx-graphs.test.ts. */
import { describe, expect, test } from "vitest";
import { findings, mainOf, opNames } from "../../../../test/import-spec.ts";
import { f32, type ModelSpec, node, type Tensor, value } from "../../../../test/onnx-writer.ts";
import type { Dense, Func, Op } from "../../../ir/module.ts";
import type { QuantType } from "../../../ir/types.ts";

const domain = "qonnx.custom_op.general";
const one = (x: number): Tensor => f32([], [x]);

interface Spec {
  readonly op?: string;
  readonly domain?: string;
  readonly opsets?: { readonly [domain: string]: number };
  readonly attributes?: { readonly [name: string]: number | string };
  readonly parameters?: readonly Tensor[];
  /** A constant instead of the graph input. */
  readonly constant?: Tensor;
}

const QUANT = { signed: 1, narrow: 0, rounding_mode: "ROUND" };

/** x[2, 3] → op → y, beside an input that is always read. */
function spec({
  op = "Quant",
  domain: at = domain,
  opsets = { [at]: 1 },
  attributes = QUANT,
  parameters = [one(0.5), one(0), one(4)],
  constant,
}: Spec = {}): ModelSpec {
  const names = parameters.map((_, i) => `p${i}`);
  const initializers = Object.fromEntries(parameters.map((p, i) => [names[i]!, p]));
  return {
    inputs: [value("x", "float32", [2, 3])],
    outputs: [value("y")],
    initializers: constant === undefined ? initializers : { ...initializers, c: constant },
    nodes: [
      node(op, [constant === undefined ? "x" : "c", ...names], ["q"], attributes, { domain: at }),
      node("Add", ["x", "q"], ["y"]),
    ],
    opsets,
  };
}

const op = (func: Func, name: string): Op => func.ops.find((o) => o.name === name)!;
const typeOf = (o: Op): QuantType => o.results[0]!.type.elem as QuantType;
const integers = (func: Func): { readonly type: QuantType; readonly data: readonly number[] } => {
  const c = op(func, "const");
  return { type: typeOf(c), data: Array.from((c.attrs.value as Dense).data) };
};

test("an activation: quantize under the name of the result, dequantize", () => {
  const main = mainOf(
    spec({ parameters: [one(0.25), one(1.5), one(3)], attributes: { ...QUANT, narrow: 1 } }),
  );
  expect(opNames(main)).toEqual(["quant.quantize", "quant.dequantize", "float.add"]);
  const q = op(main, "quant.quantize");
  expect(q.attrs).toEqual({ rounding: "half_even", order: "shift_then_round" });
  expect(q.results[0]!.name).toBe("q");
  expect(typeOf(q)).toEqual({
    kind: "quant",
    storage: { kind: "int", signed: true, bits: 3 },
    lo: -3,
    hi: 3,
    scheme: { kind: "tensor", scale: 0.25, zeroPoint: 1.5 },
  });
});

test.each([
  [1, 0, 1, [-1, 0]],
  [1, 0, 4, [-8, 7]],
  [1, 1, 4, [-7, 7]],
  [0, 0, 1, [0, 1]],
  [0, 0, 4, [0, 15]],
  [0, 1, 4, [0, 14]],
  [1, 0, 32, [-(2 ** 31), 2 ** 31 - 1]],
] as const)("signed %i, narrow %i, %i bits", (signed, narrow, bits, [lo, hi]) => {
  const main = mainOf(
    spec({ parameters: [one(0.5), one(0), one(bits)], attributes: { ...QUANT, signed, narrow } }),
  );
  const type = typeOf(op(main, "quant.quantize"));
  // One signed bit is bipolar.
  expect([type.lo, type.hi]).toEqual(signed === 1 && bits === 1 ? [0, 1] : [lo, hi]);
});

test.each([
  ["round", "half_even"],
  ["HALF_EVEN", "half_even"],
  ["CEIL", "ceil"],
  ["Floor", "floor"],
  ["UP", "up"],
  ["DOWN", "down"],
  ["ROUND_TO_ZERO", "down"],
  ["HALF_UP", "half_up"],
  ["HALF_DOWN", "half_down"],
])("rounding mode %s", (mode, rounding) => {
  const main = mainOf(spec({ attributes: { ...QUANT, rounding_mode: mode } }));
  expect(op(main, "quant.quantize").attrs.rounding).toBe(rounding);
});

test("scale and zero point along one axis", () => {
  const parameters = [f32([3], [0.5, 1, 2]), f32([1, 3], [0, 1, -1]), one(4)];
  expect(typeOf(op(mainOf(spec({ parameters })), "quant.quantize")).scheme).toEqual({
    kind: "axis",
    axis: 1,
    scales: [0.5, 1, 2],
    zeroPoints: [0, 1, -1],
  });
  const column = [f32([2, 1], [0.5, 1]), one(3), one(4)];
  expect(typeOf(op(mainOf(spec({ parameters: column })), "quant.quantize")).scheme).toMatchObject({
    axis: 0,
    zeroPoints: [3, 3],
  });
  const uniform = [f32([2, 3], [1, 1, 1, 1, 1, 1]), f32([2, 1], [2, 2]), f32([1], [4])];
  expect(typeOf(op(mainOf(spec({ parameters: uniform })), "quant.quantize")).scheme).toEqual({
    kind: "tensor",
    scale: 1,
    zeroPoint: 2,
  });
});

describe("constants", () => {
  const values = f32([2, 3], Float32Array.of(-9, -0.3, 0.3, 0.75, 1.25, Number.NaN));

  test("are quantized at import, in float32; NaN gives the least", () => {
    const { type, data } = integers(mainOf(spec({ constant: values })));
    expect(data).toEqual([-8, -1, 1, 2, 2, -8]);
    expect(type.scheme).toEqual({ kind: "tensor", scale: 0.5, zeroPoint: 0 });
    // The quotient of these two float32 numbers is a little below 3, and 3 in float32.
    const parameters = [one(Math.fround(0.1)), one(0), one(4)];
    const constant = f32([1], Float32Array.of(0.3));
    const floor = { ...QUANT, rounding_mode: "FLOOR" };
    expect(integers(mainOf(spec({ constant, parameters, attributes: floor }))).data).toEqual([3]);
  });

  test("with a fractional zero point live on a finer grid around zero", () => {
    const { type, data } = integers(
      mainOf(spec({ constant: values, parameters: [one(1), one(0.25), one(4)] })),
    );
    expect(data.map((q) => q / 4)).toEqual([-8, 0, 1, 1, 2, -8].map((q) => q - 0.25));
    expect(type.scheme).toEqual({ kind: "tensor", scale: 0.25, zeroPoint: 0 });
    expect([type.lo, type.hi]).toEqual([-33, 7]);
  });

  test("of one sign bit are −1 and 1", () => {
    const bipolar = { op: "BipolarQuant", parameters: [one(0.5)], attributes: {} };
    const quant = { parameters: [one(0.5), one(0), one(1)] };
    for (const form of [bipolar, quant]) {
      const { type, data } = integers(mainOf(spec({ ...form, constant: f32([3], [-2, -0, 3]) })));
      expect(data).toEqual([-1, 1, 1]);
      expect(type).toMatchObject({ lo: -1, hi: 1, scheme: { scale: 0.5, zeroPoint: 0 } });
    }
  });
});

test("BipolarQuant of an activation", () => {
  const q = op(
    mainOf(spec({ op: "BipolarQuant", parameters: [one(0.75)], attributes: {} })),
    "quant.quantize",
  );
  expect(q.attrs).toEqual({ rounding: "half_up", order: "shift_then_round" });
  expect(typeOf(q)).toEqual({
    kind: "quant",
    storage: { kind: "int", signed: false, bits: 1 },
    lo: 0,
    hi: 1,
    scheme: { kind: "tensor", scale: 1.5, zeroPoint: 0.5 },
  });
});

test("domains, versions, aliases", () => {
  for (const at of [domain, "onnx.brevitas", "finn.custom_op.general", "finn"])
    for (const opsets of [{}, { [at]: 1 }, { [at]: 2 }])
      for (const name of ["Quant", "IntQuant"])
        expect(opNames(mainOf(spec({ op: name, domain: at, opsets })))).toContain("quant.quantize");
  expect(findings(spec({ domain: "com.example" })).map((d) => d.code)).toEqual(["QC2008"]);
});

test("what the package requires must be there", () => {
  const codes = (attributes: NonNullable<Spec["attributes"]>) =>
    findings(spec({ attributes })).map((d) => d.code);
  expect(codes({ narrow: 0 })).toEqual(["QC1133"]);
  expect(codes({ signed: 1 })).toEqual(["QC1133"]);
  expect(codes({ signed: 1, narrow: 0 })).toEqual([]);
  expect(codes({ signed: 2, narrow: 0 })).toEqual(["QC1134"]);
});
