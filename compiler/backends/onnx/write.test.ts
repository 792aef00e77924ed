/** What is written means what the module means: to onnxruntime, and to the importer, which gives the module back. */
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { full } from "../../../test/require.ts";
import { randomSource } from "../../../test/zoo.ts";
import { importModel, runPasses } from "../../index.ts";
import { withDefaults } from "../../ir/builder.ts";
import { dense } from "../../ir/dense.ts";
import { interpret } from "../../ir/interpreter.ts";
import { type Attrs, type Module, type Op, type Port, type Value, value } from "../../ir/module.ts";
import { interpolateAttrs } from "../../ir/ops/float-interpolate.ts";
import { opDef } from "../../ir/ops/index.ts";
import { ORDERS, ROUNDINGS } from "../../ir/ops/rounding.ts";
import { printModule } from "../../ir/printer.ts";
import { parseRational } from "../../ir/rational.ts";
import {
  F32,
  F64,
  int,
  intMax,
  intMin,
  type QuantType,
  type Scheme,
  sizeOf,
  type TensorType,
  tensor,
} from "../../ir/types.ts";
import { OPERATORS } from "./operators.ts";
import { writeOnnx } from "./write.ts";

const port = (v: Value, dtype = "float32"): Port => ({
  value: v,
  name: v.name,
  dtype,
  boundary: { kind: "none" },
});

function op(
  name: string,
  operands: readonly Value[],
  attrs: Attrs = {},
  declared?: TensorType,
  as = "y",
): Op {
  const def = opDef(name);
  const full = withDefaults(def, attrs);
  const types = def.infer(
    operands.map((v) => v.type),
    full,
    declared && [declared],
  );
  if (typeof types === "string") throw new Error(types);
  return { name, operands, attrs: full, results: [value(types[0]!, as)] };
}

const moduleOf = (params: readonly Value[], ops: readonly Op[], dtype = "float32"): Module => ({
  funcs: [
    {
      name: "main",
      params: params.map((p) => port(p)),
      ops,
      results: [port(ops.at(-1)!.results[0]!, dtype)],
    },
  ],
});

function bytesOf(module: Module): Uint8Array {
  const written = writeOnnx(module);
  if (!written.ok) throw new Error(written.diagnostics.map((d) => d.message).join("\n"));
  return written.value;
}

type Inputs = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float64Array }>;

function run(module: Module, inputs: Inputs): number[] {
  const args = new Map([...inputs].map(([name, { shape, data }]) => [name, dense(F32, shape, data)]));
  return Array.from(interpret(module, args)[0]!.dense.data, (x) => x + 0);
}

async function runOrt(bytes: Uint8Array, inputs: Inputs): Promise<number[]> {
  const session = await ort.InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 3,
  });
  const feeds = [...inputs].map(
    ([name, { shape, data }]) => [name, new ort.Tensor("float32", Float32Array.from(data), shape)] as const,
  );
  const { y } = await session.run(Object.fromEntries(feeds));
  return Array.from(y!.data as Float32Array, (x) => Number(x) + 0);
}

function imported(bytes: Uint8Array): Module {
  const again = importModel(bytes);
  if (!again.ok) throw new Error(again.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n"));
  return again.value;
}

describe("operators", () => {
  const spatial = { strides: [2, 1], pads: [1, 0, 1, 2], dilations: [1, 1] };
  const W = dense(
    F32,
    [4, 1, 3, 2],
    Float64Array.from({ length: 24 }, (_, i) => (i % 7) - 3),
  );
  /** Attributes and operands beyond one tensor of shape [2, 3]. */
  const cases: { readonly [op: string]: { readonly attrs?: Attrs; readonly shapes?: readonly number[][] } } =
    {
      "float.add": { shapes: [[2, 3], [3]] },
      "float.sub": {
        shapes: [
          [2, 3],
          [2, 1],
        ],
      },
      "float.mul": { shapes: [[3], [2, 3]] },
      "float.div": { shapes: [[2, 3], []] },
      "float.pow": {
        shapes: [
          [2, 3],
          [2, 3],
        ],
      },
      "float.min": {
        shapes: [
          [2, 3],
          [2, 3],
        ],
      },
      "float.max": { shapes: [[2, 3], [3]] },
      "float.prelu": { shapes: [[2, 3], [3]] },
      "float.gelu": { attrs: { approximate: "tanh" } },
      "float.clip": { attrs: { lo: 0.25, hi: Number.POSITIVE_INFINITY } },
      "float.leaky_relu": { attrs: { alpha: 0.125 } },
      "float.hard_sigmoid": { attrs: { alpha: 0.25, beta: 0.5 } },
      "float.conv": {
        attrs: { ...spatial, groups: 2 },
        shapes: [
          [1, 2, 5, 4],
          [4, 1, 3, 2],
        ],
      },
      "float.conv_transpose": {
        attrs: { strides: [2, 1], pads: [1, 0, 1, 0], dilations: [1, 1], groups: 1, output_padding: [1, 0] },
        shapes: [
          [1, 2, 5, 4],
          [2, 1, 3, 2],
        ],
      },
      "float.interpolate": {
        attrs: interpolateAttrs(
          [
            {
              axis: 1,
              taps: 2,
              indices: [-1, 0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 3],
              weights: [
                "1/4",
                "3/4",
                "3/4",
                "1/4",
                "1/4",
                "3/4",
                "3/4",
                "1/4",
                "1/4",
                "3/4",
                "3/4",
                "1/4",
              ].map(parseRational),
            },
          ],
          { mode: "linear", coordinates: "half_pixel", coefficient: -0.75, exclude: false, scales: [] },
        ),
      },
      "float.matmul": {
        shapes: [
          [2, 3],
          [3, 4],
        ],
      },
      "float.max_pool": { attrs: { ...spatial, kernel: [3, 3], ceil_mode: false }, shapes: [[1, 2, 5, 4]] },
      "float.average_pool": {
        attrs: { kernel: [3, 3], strides: [2, 1], pads: [1, 0, 1, 2], count_include_pad: true },
        shapes: [[1, 2, 5, 4]],
      },
      "float.reduce_mean": { attrs: { axes: [1], keepdims: false } },
      "float.reduce_sum": { attrs: { axes: [0], keepdims: true } },
      "float.reduce_max": { attrs: { axes: [0, 1], keepdims: false } },
      "float.reduce_min": { attrs: { axes: [1], keepdims: true } },
      "float.softmax": { attrs: { axis: 1 } },
      "float.arg_max": { attrs: { axis: 1, last: true } },
      "layout.reshape": { attrs: { shape: [3, 1, 2] } },
      "layout.transpose": { attrs: { perm: [1, 0] } },
      "layout.slice": { attrs: { starts: [1, 2], ends: [-1, 0], steps: [-1, -2], axes: [0, 1] } },
      "layout.gather": { attrs: { axis: 1, indices: [2, 0, 2, 1] } },
      "layout.pad": { attrs: { before: [0, 1], after: [2, 0], mode: "constant", value: 1.5 } },
      "layout.expand": { attrs: { shape: [4, 2, 3] } },
      "layout.tile": { attrs: { repeats: [2, 1] } },
      "layout.concat": {
        attrs: { axis: 1 },
        shapes: [
          [2, 3],
          [2, 1],
        ],
      },
    };
  /** float32 arithmetic and libraries, against float64. */
  const CLOSE = 2 ** -16;

  test.each(
    // Weights in blocks: test/e2e/blocks.test.ts.
    Object.keys(OPERATORS).filter((name) => opDefined(name) && name !== "quant.dequantize_blocks"),
  )("%s", async (name) => {
    const { attrs = {}, shapes = [[2, 3]] } = cases[name] ?? {};
    const params = shapes.map((s, i) => value(tensor(s, F32), `x${i}`));
    const module = moduleOf(params, [op(name, params, attrs)], OPERATORS[name]!.result ?? "float32");
    const random = randomSource(1);
    const inputs = new Map(
      params.map((p) => [
        p.name,
        {
          shape: p.type.shape,
          data: Float64Array.from({ length: sizeOf(p.type.shape) }, () => Math.fround(random() * 2 + 0.25)),
        },
      ]),
    );
    const bytes = bytesOf(module);
    const want = run(module, inputs);
    expect(run(imported(bytes), inputs)).toEqual(want);
    const got = await runOrt(bytes, inputs);
    expect(got.length).toBe(want.length);
    got.forEach((x, i) => {
      if (Number.isNaN(want[i]) && Number.isNaN(x)) return;
      expect(Math.abs(x - want[i]!), `element ${i}: ${x}, not ${want[i]}`).toBeLessThanOrEqual(
        CLOSE * Math.max(1, Math.abs(want[i]!)),
      );
    });
    expect(bytesOf(module)).toEqual(bytes);
  });

  test("a bias joins its convolution, an affine map its normalization", () => {
    const x = value(tensor([1, 2, 5, 4], F32), "x");
    const w = op("const", [], { value: W }, undefined, "w");
    const conv = op("float.conv", [x, w.results[0]!], { ...spatial, groups: 2 }, undefined, "c");
    const b = op("const", [], { value: dense(F32, [1, 4, 1, 1], [1, 2, 3, 4]) }, undefined, "b");
    const module = moduleOf([x], [w, conv, b, op("float.add", [conv.results[0]!, b.results[0]!])]);
    expect(operatorsOf(bytesOf(module))).toEqual(["Conv"]);

    const unit = op("float.normalize", [x], { axis: 3, centre: true, epsilon: 2 ** -10 }, undefined, "n");
    const g = op("const", [], { value: dense(F32, [4], [1, 2, 3, 4]) }, undefined, "g");
    const scaled = op("float.mul", [unit.results[0]!, g.results[0]!], {}, undefined, "s");
    const normalized = moduleOf([x], [unit, g, scaled, op("float.add", [scaled.results[0]!, g.results[0]!])]);
    expect(operatorsOf(bytesOf(normalized))).toEqual(["LayerNormalization"]);
    expect(operatorsOf(bytesOf(moduleOf([x], [unit, g, scaled])))).toEqual(["LayerNormalization"]);
  });
});

const opDefined = (name: string): boolean => {
  try {
    return opDef(name) !== undefined;
  } catch {
    return false;
  }
};

/** Operators of the imported module's nodes, each node once. */
function operatorsOf(bytes: Uint8Array): readonly string[] {
  const nodes = new Map<string, string>();
  for (const { loc } of imported(bytes).funcs[0]!.ops)
    if (loc?.kind === "node" && loc.op !== "") nodes.set(loc.output, loc.op);
  return [...nodes.values()];
}

describe("quantizers", () => {
  const scales = [0.5, 0.25, 2];
  /** Multiples of an eighth of a step, so that float32 has every quotient exactly. */
  const shape = [3, 161];
  const x = value(tensor(shape, F32), "x");
  const data = Float64Array.from({ length: sizeOf(shape) }, (_, i) => ((i % 161) - 80) / 16);
  const inputs: Inputs = new Map([["x", { shape, data }]]);

  function fakeQuant(
    scheme: Scheme,
    signed: boolean,
    bits: number,
    [lo, hi]: readonly [number, number],
    attrs: Attrs,
  ): Module {
    const elem: QuantType = { kind: "quant", storage: int(signed, bits), lo, hi, scheme };
    const q = op("quant.quantize", [x], attrs, tensor(shape, elem), "q");
    return moduleOf([x], [q, op("quant.dequantize", [q.results[0]!])]);
  }

  const allStorages: readonly (readonly [boolean, number])[] = [
    [true, 8],
    [false, 8],
    [false, 4],
    [true, 3],
    [true, 16],
    [false, 12],
  ];
  const storages = allStorages.filter((_, i) => full || i % 2 === 0);
  const forms = ROUNDINGS.flatMap((rounding) => ORDERS.map((order) => [rounding, order] as const));
  test.each(forms)("%s, %s", async (rounding, order) => {
    for (const [signed, bits] of storages)
      for (const zero of order === "shift_then_round" ? [0, 3, 0.5] : [0, 3]) {
        const t = int(signed, bits);
        const range = [intMin(t), intMax(t)] as const;
        const schemes: Scheme[] = [
          { kind: "tensor", scale: 0.25, zeroPoint: zero },
          { kind: "axis", axis: 0, scales, zeroPoints: scales.map(() => zero) },
        ];
        for (const scheme of schemes) {
          const module = fakeQuant(scheme, signed, bits, range, { rounding, order });
          const bytes = bytesOf(module);
          const want = run(module, inputs);
          const what = `${signed ? "i" : "u"}${bits}, zero point ${zero}, ${scheme.kind}`;
          expect(await runOrt(bytes, inputs), `onnxruntime: ${what}`).toEqual(want);
          const again = runPasses(imported(bytes), "recognize-quantizers");
          expect(again.ok && run(again.value, inputs), `imported: ${what}`).toEqual(want);
          // Nothing is left that rounds but quantizers.
          expect(again.ok && printModule(again.value)).not.toMatch(/float\.(round|floor|ceil|sign|abs)/);
        }
      }
  });

  test("bytes and whole 16-bit types are QuantizeLinear, with a Clip where they are narrower", () => {
    const plain = { kind: "tensor", scale: 0.25, zeroPoint: 2 } as const;
    const ops = (signed: boolean, bits: number, range: readonly [number, number]) =>
      operatorsOf(bytesOf(fakeQuant(plain, signed, bits, range, {})));
    expect(ops(true, 8, [-128, 127])).toEqual(["QuantizeLinear", "DequantizeLinear"]);
    expect(ops(false, 16, [0, 65535])).toEqual(["QuantizeLinear", "DequantizeLinear"]);
    expect(ops(true, 8, [-127, 127])).toEqual(["Clip", "DequantizeLinear"]);
    expect(ops(false, 4, [0, 15])).toEqual(["Clip", "DequantizeLinear"]);
  });

  test("constants keep their integers, four bits packed, and scales that are no float32", async () => {
    const values = [-8, 7, 3, -1, 0, 5];
    for (const scheme of [
      { kind: "tensor", scale: 0.5, zeroPoint: 0 },
      { kind: "tensor", scale: 0.5 * (1 + 2 ** -40), zeroPoint: 0 },
      { kind: "axis", axis: 1, scales, zeroPoints: [0, 1, -2] },
      { kind: "axis", axis: 1, scales, zeroPoints: [0.5, 1.5, 0] },
    ] satisfies Scheme[])
      for (const bits of [4, 8, 12, 32]) {
        const elem: QuantType = {
          kind: "quant",
          storage: int(true, bits),
          lo: intMin(int(true, bits)),
          hi: intMax(int(true, bits)),
          scheme,
        };
        const z = value(tensor([2, 3], F32), "z");
        const c = op("const", [], { value: dense(elem.storage, [2, 3], values) }, tensor([2, 3], elem), "c");
        const d = op("quant.dequantize", [c.results[0]!], {}, undefined, "d");
        const module = moduleOf([z], [c, d, op("float.add", [z, d.results[0]!])]);
        const zeros: Inputs = new Map([["z", { shape: [2, 3], data: new Float64Array(6) }]]);
        const want = run(module, zeros);
        const bytes = bytesOf(module);
        expect(run(imported(bytes), zeros)).toEqual(want);
        expect(await runOrt(bytes, zeros)).toEqual(want.map(Math.fround));
      }
  });

  test("constants that are no float32 are computed with in float64", async () => {
    const k = op("const", [], { value: dense(F64, [], [1 + 2 ** -40]) }, undefined, "k");
    const module = moduleOf([x], [k, op("float.mul", [x, k.results[0]!])]);
    const bytes = bytesOf(module);
    expect(run(imported(bytes), inputs)).toEqual(run(module, inputs));
    expect(await runOrt(bytes, inputs)).toEqual(run(module, inputs).map(Math.fround));
  });

  test("an output of integers, and names that clash", () => {
    const elem: QuantType = {
      kind: "quant",
      storage: int(false, 8),
      lo: 0,
      hi: 255,
      scheme: { kind: "tensor", scale: 0.5, zeroPoint: 7 },
    };
    const q = op("quant.quantize", [x], { order: "shift_then_round" }, tensor(shape, elem), "q");
    const d = op("quant.dequantize", [q.results[0]!], {}, undefined, "q");
    const ports = [
      { ...port(q.results[0]!, "uint8"), name: "q" },
      { ...port(d.results[0]!), name: "x " },
      { ...port(x), name: "same" },
    ];
    const module: Module = { funcs: [{ name: "main", params: [port(x)], ops: [q, d], results: ports }] };
    const again = imported(bytesOf(module)).funcs[0]!;
    expect(again.results.map((p) => [p.name, p.dtype])).toEqual([
      ["q", "uint8"],
      ["x ", "float32"],
      ["same", "float32"],
    ]);
    const args = new Map([["x", dense(F32, shape, data)]]);
    const recognized = runPasses({ funcs: [again] }, "recognize-quantizers");
    const [want, got] = [module, recognized.ok ? recognized.value : module].map((m) =>
      interpret(m, args).map((o) => Array.from(o.dense.data, (v) => v + 0)),
    );
    expect(got).toEqual(want);
  });
});

test("what ONNX cannot say is an error, not an approximation", () => {
  const x = value(tensor([2, 3], F32), "x");
  const refused = (module: Module): unknown => writeOnnx(module).diagnostics.map((d) => d.code);
  expect(refused(moduleOf([x], [op("float.leaky_relu", [x], { alpha: 0.1 })]))).toEqual(["QC5012"]);
  expect(refused(moduleOf([x], [op("float.leaky_relu", [x], { alpha: Math.fround(0.1) })]))).toEqual([]);
  const elem: QuantType = {
    kind: "quant",
    storage: int(true, 8),
    lo: -128,
    hi: 127,
    scheme: { kind: "axis", axis: 1, scales: [1, 1, 1], zeroPoints: [0, 1, 2] },
  };
  const q = op("quant.quantize", [x], { rounding: "floor" }, tensor([2, 3], elem), "q");
  expect(refused(moduleOf([x], [q, op("quant.dequantize", [q.results[0]!])]))).toEqual(["QC5012"]);
});
