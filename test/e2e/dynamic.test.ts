/**
 * Dynamic quantization, bit for bit: the oracle in float32 = onnxruntime = the interpreter in float32 = both modules, at every
 * output; products are integer kernels. Values at the ends of what float32 and the integers hold.
 */
import { describe, expect, test } from "vitest";
import { targetsOf } from "../../compiler/backends/wasm/build.ts";
import { runReference } from "../../compiler/cli/reference.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { type Compiled, compileModel } from "../../compiler/index.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { runOrt } from "../import-spec.ts";
import { normal as normalValues } from "../normal.ts";
import { f32, i8, type ModelSpec, model as modelBytes, node, u8, value } from "../onnx-writer.ts";
import { evaluateOnnx } from "../oracle/evaluate.ts";
import { randomSource } from "../zoo.ts";
import { compileBytes, firstDifference } from "./compiled.ts";
import { readTensor, writeTensor } from "./memory.ts";

type Floats = readonly number[];
type Fill = (n: number, seed: number) => Floats;

const normal: Fill = (n, seed) => Array.from(normalValues(n, seed));

/** What a tensor can be. */
const FILLS: { readonly [name: string]: Fill } = {
  normal,
  "all zero": (n) => new Array<number>(n).fill(0),
  "all equal": (n) => new Array<number>(n).fill(Math.fround(1.3)),
  "all equal and negative": (n) => new Array<number>(n).fill(Math.fround(-0.7)),
  positive: (n, seed) => normal(n, seed).map((v) => Math.abs(v) + 1),
  negative: (n, seed) => normal(n, seed).map((v) => -Math.abs(v) - 1),
  "one large": (n, seed) => normal(n, seed).map((v, i) => (i === n >> 1 ? 1e6 : v)),
  huge: (n, seed) => normal(n, seed).map((v) => Math.fround(v * 1e33)),
  tiny: (n, seed) => normal(n, seed).map((v) => Math.fround(v * 1e-37)),
  denormal: (n, seed) => normal(n, seed).map((v) => Math.fround(v * 1e-40)),
  ties: (n, seed) => normal(n, seed).map((v, i) => (i === 0 ? 255 : Math.abs(Math.round(v * 40)) + 0.5)),
};

const integers = (n: number, seed: number, lo: number, hi: number): number[] => {
  const next = randomSource(seed);
  return Array.from({ length: n }, (_, i) =>
    i === 0 ? lo : i === 1 ? hi : lo + Math.floor(next() * (hi - lo + 1)),
  );
};
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const weights = (dims: readonly number[], seed = 5) => i8(dims, integers(sizeOf(dims), seed, -128, 127));
const unsigned = (dims: readonly number[], seed = 6) => u8(dims, integers(sizeOf(dims), seed, 0, 255));

type Outputs = Readonly<Record<string, ArrayLike<number>>>;
type Feeds = ReadonlyMap<string, Float32Array | Uint8Array | Int8Array>;

/** The relaxed kernels as an engine runs them whose dot product is exact. */
function relaxedProgram({ module }: Compiled): (feeds: Feeds) => Outputs {
  const lowered = lowerModule(module, targetsOf("wasm").relaxed!);
  if (!lowered.ok) throw new Error("not lowered");
  const { program, inputs, outputs } = lowered.value;
  return (feeds) => {
    const memory = runProgram({ ...program, kernels: [] });
    for (const { port, layout } of inputs)
      writeTensor(memory.get(layout.buffer)!, layout, feeds.get(port.name)!);
    runProgram(program, memory, { dot: "u8s8" });
    return Object.fromEntries(
      outputs.map(({ port, layout }) => [port.name, readTensor(memory.get(layout.buffer)!, layout)]),
    );
  };
}

/** What computes an artifact: the baseline module as users have it, the relaxed kernels. */
async function modulesOf(artifact: Compiled) {
  const { manifest, baseline } = artifact;
  const wasm = baseline as Uint8Array<ArrayBuffer>;
  const model = await loadModel(layoutOf(manifest), {}, { wasm, backend: "baseline" });
  return [
    ["baseline", (feeds: Feeds) => model.run(Object.fromEntries(feeds)) as Outputs],
    ["relaxed", relaxedProgram(artifact)],
  ] as const;
}

interface Options {
  readonly fills?: readonly string[];
  /** onnxruntime computes in another order or not at all. */
  readonly alone?: boolean;
}

/** Checks every output of a spec on every kind of values; returns the artifact. */
async function agree(spec: ModelSpec, { fills = Object.keys(FILLS), alone = false }: Options = {}) {
  const bytes = modelBytes(spec);
  const read = readModel(bytes);
  if (!read.ok) throw new Error("not a model");
  const artifact = await compileBytes(bytes, { name: "m", allowFloat: true });
  const modules = await modulesOf(artifact);
  for (const [s, name] of fills.entries()) {
    const feeds = new Map(
      spec.inputs!.map(({ name: input, dtype, shape }, i) => {
        const n = sizeOf(shape as number[]);
        const data =
          dtype === "float32"
            ? Float32Array.from(FILLS[name]!(n, 10 * s + i))
            : dtype === "uint8"
              ? Uint8Array.from(integers(n, s + i, 0, 255).reverse())
              : Int8Array.from(integers(n, s + i, -128, 127).reverse());
        return [input, data] as const;
      }),
    );
    const exact = evaluateOnnx(read.value, feeds, { float32: true });
    const check = (who: string, got: Outputs) => {
      for (const [output, { values }] of exact.outputs) {
        expect(firstDifference(got[output]!, values), `${name}: ${who}, ${output}`).toBeUndefined();
      }
    };
    const reference = runReference(artifact.module, feeds, { float32: true });
    check("interpreter", Object.fromEntries(reference.map((r) => [r.port.name, r.data as Float32Array])));
    for (const [who, run] of modules) check(who, run(feeds));
    // onnxruntime has scale 1 for a tensor of zeros only, where the standard's reference has 1 / 255.
    if (alone || name === "all zero") continue;
    const theirs = await runOrt(spec, new Map([...feeds].map(([k, v]) => [k, Array.from(v)])));
    check("onnxruntime", Object.fromEntries([...theirs].map(([k, v]) => [k, v.data])));
  }
  return artifact;
}

const dynamic = (x = "x", q = "q") => node("DynamicQuantizeLinear", [x], [q, `${q}s`, `${q}z`]);

describe("DynamicQuantizeLinear", () => {
  test.each([[[1]], [[]], [[3]], [[17]], [[2, 3, 5]], [[1, 4, 7, 9]], [[64, 33]]])(
    "of shape %j",
    async (shape) => {
      await agree({
        opset: 13,
        inputs: [value("x", "float32", shape)],
        outputs: [value("q", "uint8"), value("qs", "float32"), value("qz", "uint8")],
        nodes: [dynamic()],
      });
    },
  );
});

/** As quantize_dynamic writes a MatMul with a bias. */
const linear = (
  m: readonly number[],
  k: number,
  n: number,
  options: { wz?: boolean; perColumn?: boolean; unsigned?: boolean } = {},
) => {
  const columns = options.perColumn ? [n] : [];
  const at = (lo: number, hi: number) => integers(sizeOf(columns), 9, lo, hi);
  const make = options.unsigned ? unsigned : weights;
  const zero = options.unsigned
    ? u8(columns, at(3, 250))
    : i8(columns, at(options.wz ? -7 : 0, options.wz ? 100 : 0));
  return {
    opset: 13,
    inputs: [value("x", "float32", [...m, k])],
    initializers: {
      w: make([k, n]),
      wz: zero,
      ws: f32(
        columns,
        normal(sizeOf(columns), 4).map((v) => Math.fround(Math.abs(v) / 100)),
      ),
      b: f32([n], normal(n, 3)),
    },
    outputs: [value("y", "float32")],
    nodes: [
      dynamic(),
      node("MatMulInteger", ["q", "w", "qz", "wz"], ["acc"]),
      node("Cast", ["acc"], ["real"], { to: 1 }),
      node("Mul", ["qs", "ws"], ["scale"]),
      node("Mul", ["real", "scale"], ["scaled"]),
      node("Add", ["b", "scaled"], ["y"]),
    ],
  } satisfies ModelSpec;
};

const kernelsOf = ({ module }: Compiled) => module.funcs.slice(1).flatMap((f) => f.ops.map((op) => op.name));

describe("chains of quantize_dynamic", () => {
  test.each([
    [[1], 1, 1, {}],
    [[5], 8, 16, {}],
    [[3], 33, 7, { perColumn: true }],
    [[2, 9], 64, 24, { wz: true }],
    [[4], 40, 20, { unsigned: true }],
    [[4], 19, 12, { unsigned: true, perColumn: true }],
    [[2, 3], 50, 9, { perColumn: true, wz: true }],
    [[1], 300, 65, {}],
  ] as const)("MatMulInteger of %j × %d by %d, %j", async (m, k, n, options) => {
    const artifact = await agree(linear(m, k, n, options));
    const { macs, coverage } = artifact.manifest;
    expect(macs.nominal).toBe(sizeOf(m) * k * n);
    expect(coverage.float!.macs).toBe(0);
    const names = kernelsOf(artifact);
    expect(names).toContain("qc.matmul");
    expect(names).toContain("qc.sub_product");
    expect(names).not.toContain("qc.requant");
  });

  test.each([
    ["plain", [1, 3, 8, 9], [4, 3, 3, 3], {}],
    ["padded", [1, 3, 8, 9], [6, 3, 3, 3], { pads: [1, 1, 1, 1] }],
    ["padded on one side, strided", [1, 4, 9, 10], [5, 4, 3, 2], { pads: [0, 1, 2, 0], strides: [2, 2] }],
    ["dilated", [1, 2, 11, 12], [3, 2, 3, 3], { pads: [2, 2, 2, 2], dilations: [2, 2] }],
    ["depthwise", [1, 8, 7, 7], [8, 1, 3, 3], { pads: [1, 1, 1, 1], group: 8 }],
    ["grouped", [1, 8, 6, 5], [12, 2, 3, 3], { pads: [1, 1, 1, 1], group: 4 }],
    ["1 × 1", [1, 16, 4, 6], [20, 16, 1, 1], {}],
    ["patches", [1, 1, 12, 12], [16, 1, 4, 4], { strides: [4, 4] }],
    ["of several images", [3, 2, 6, 6], [4, 2, 3, 3], { pads: [1, 1, 1, 1] }],
    ["one-dimensional", [1, 3, 21], [5, 3, 5], { pads: [2, 2] }],
  ] as const)("ConvInteger %s", async (_, x, w, attributes) => {
    const rest = new Array<number>(x.length - 2).fill(1);
    const artifact = await agree({
      opset: 13,
      inputs: [value("x", "float32", [...x])],
      initializers: {
        w: weights(w),
        wz: i8([], [0]),
        ws: f32([], [Math.fround(0.013)]),
        b: f32([1, w[0], ...rest], normal(w[0], 2)),
      },
      outputs: [value("y", "float32")],
      nodes: [
        dynamic(),
        node("ConvInteger", ["q", "w", "qz", "wz"], ["acc"], attributes as Record<string, number | number[]>),
        node("Cast", ["acc"], ["real"], { to: 1 }),
        node("Mul", ["qs", "ws"], ["scale"]),
        node("Mul", ["real", "scale"], ["scaled"]),
        node("Add", ["scaled", "b"], ["y"]),
      ],
    });
    expect(artifact.manifest.coverage.float!.macs).toBe(0);
    expect(kernelsOf(artifact)).toContain("qc.conv");
  });

  test("two layers, the second quantized from the floats of the first", async () => {
    await agree({
      opset: 13,
      inputs: [value("x", "float32", [6, 20])],
      initializers: {
        w: weights([20, 12]),
        v: weights([12, 5], 8),
        ws: f32([], [0.01]),
        b: f32([12], normal(12, 1)),
      },
      outputs: [value("z", "float32")],
      nodes: [
        dynamic(),
        node("MatMulInteger", ["q", "w", "qz"], ["acc"]),
        node("Cast", ["acc"], ["real"], { to: 1 }),
        node("Mul", ["qs", "ws"], ["scale"]),
        node("Mul", ["real", "scale"], ["scaled"]),
        node("Add", ["scaled", "b"], ["sum"]),
        node("Relu", ["sum"], ["relu"]),
        dynamic("relu", "r"),
        node("MatMulInteger", ["r", "v", "rz"], ["acc2"]),
        node("Cast", ["acc2"], ["real2"], { to: 1 }),
        node("Mul", ["rs", "ws"], ["scale2"]),
        node("Mul", ["real2", "scale2"], ["z"]),
      ],
    });
  });

  test("a tensor read by several products is quantized once", async () => {
    const artifact = await agree({
      opset: 13,
      inputs: [value("x", "float32", [6, 20])],
      initializers: { w: weights([20, 12]), v: weights([20, 12], 8), ws: f32([], [0.01]) },
      outputs: [value("y", "float32"), value("z", "float32")],
      nodes: [
        dynamic(),
        ...["w", "v"].flatMap((w, i) => [
          node("MatMulInteger", ["q", w, "qz"], [`acc${i}`]),
          node("Cast", [`acc${i}`], [`real${i}`], { to: 1 }),
          node("Mul", [`real${i}`, "qs"], [i === 0 ? "y" : "z"]),
        ]),
      ],
    });
    expect(kernelsOf(artifact).filter((op) => op === "float.reduce_max")).toHaveLength(1);
  });

  test("a product of two tensors of the run", async () => {
    const artifact = await agree(
      {
        opset: 13,
        inputs: [value("x", "float32", [2, 5, 8]), value("y", "float32", [2, 8, 6])],
        outputs: [value("z", "float32")],
        nodes: [
          dynamic(),
          dynamic("y", "r"),
          node("MatMulInteger", ["q", "r", "qz", "rz"], ["acc"]),
          node("Cast", ["acc"], ["real"], { to: 1 }),
          node("Mul", ["qs", "rs"], ["scale"]),
          node("Mul", ["real", "scale"], ["z"]),
        ],
      },
      { fills: Object.keys(FILLS).filter((f) => f !== "huge" && f !== "tiny") },
    );
    expect(artifact.manifest.coverage.float!.macs).toBe(0);
  });
});

describe("integers and zero points as inputs", () => {
  test.each([
    ["uint8", "int8"],
    ["int8", "int8"],
    ["uint8", "uint8"],
    ["int8", "uint8"],
  ] as const)("MatMulInteger of %s by %s", async (a, b) => {
    const make = b === "int8" ? weights : unsigned;
    await agree(
      {
        opset: 13,
        inputs: [value("x", a, [4, 21]), value("z", a, [])],
        initializers: { w: make([21, 11]) },
        outputs: [value("y", "int32")],
        nodes: [node("MatMulInteger", ["x", "w", "z"], ["y"])],
      },
      { fills: ["normal", "ties"], alone: a === "int8" && b === "uint8" },
    );
  });
  test("a zero point per row", async () => {
    await agree(
      {
        opset: 13,
        inputs: [value("x", "uint8", [4, 21]), value("z", "uint8", [4])],
        initializers: { w: weights([21, 11]) },
        outputs: [value("y", "int32")],
        nodes: [node("MatMulInteger", ["x", "w", "z"], ["y"])],
      },
      { fills: ["normal", "ties"], alone: true },
    );
  });
  test("ConvInteger, padded", async () => {
    await agree(
      {
        opset: 13,
        inputs: [value("x", "uint8", [1, 2, 6, 7]), value("z", "uint8", [])],
        initializers: { w: unsigned([5, 2, 3, 3]), wz: u8([], [131]) },
        outputs: [value("y", "int32")],
        nodes: [node("ConvInteger", ["x", "w", "z", "wz"], ["y"], { pads: [1, 1, 1, 1] })],
      },
      { fills: ["normal", "ties"] },
    );
  });
});

describe("quantizers with parameters of the run", () => {
  test.each(["uint8", "int8"] as const)("QuantizeLinear to %s and DequantizeLinear", async (type) => {
    const spec: ModelSpec = {
      opset: 13,
      inputs: [value("x", "float32", [3, 20]), value("z", type, [])],
      initializers: { l: f32([], [Math.fround(0.02)]) },
      outputs: [value("q", type), value("y", "float32")],
      nodes: [
        node("Abs", ["x"], ["a"]),
        node("ReduceMax", ["a"], ["m"], { keepdims: 0 }),
        node("Max", ["m", "l"], ["n"]),
        node("Mul", ["n", "l"], ["s"]),
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["y"]),
      ],
    };
    await agree(spec, { fills: Object.keys(FILLS).filter((f) => f !== "huge") });
  });

  test("scales per channel", async () => {
    await agree(
      {
        opset: 13,
        inputs: [value("x", "float32", [2, 5, 3]), value("s", "float32", [5])],
        initializers: { z: u8([5], [1, 2, 3, 100, 255]), l: f32([], [Math.fround(0.01)]) },
        outputs: [value("q", "uint8"), value("y", "float32")],
        nodes: [
          node("Abs", ["s"], ["a"]),
          node("Add", ["a", "l"], ["t"]),
          node("QuantizeLinear", ["x", "t", "z"], ["q"], { axis: 1 }),
          node("DequantizeLinear", ["q", "t", "z"], ["y"], { axis: 1 }),
        ],
      },
      { fills: Object.keys(FILLS).filter((f) => f !== "huge") },
    );
  });

  test("a product of what DynamicQuantizeLinear and DequantizeLinear make is one of integers", async () => {
    const spec: ModelSpec = {
      opset: 13,
      inputs: [value("x", "float32", [4, 24])],
      initializers: {
        w: weights([24, 10]),
        ws: f32(
          [10],
          normal(10, 4).map((v) => Math.fround(Math.abs(v) / 100)),
        ),
        wz: i8([10], new Array<number>(10).fill(0)),
      },
      outputs: [value("y", "float32")],
      nodes: [
        dynamic(),
        node("DequantizeLinear", ["q", "qs", "qz"], ["r"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["v"], { axis: 1 }),
        node("MatMul", ["r", "v"], ["y"]),
      ],
    };
    const artifact = await compileBytes(modelBytes(spec), { name: "m", allowFloat: true });
    expect(artifact.manifest.coverage.float!.macs).toBe(0);
    expect(kernelsOf(artifact)).toContain("qc.sub_product");
    const [run] = await modulesOf(artifact);
    for (const name of ["normal", "positive", "ties"]) {
      const x = Float32Array.from(FILLS[name]!(96, 3));
      const theirs = (await runOrt(spec, new Map([["x", Array.from(x)]]))).get("y")!.data;
      const ours = run![1](new Map([["x", x]])).y!;
      const most = theirs.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      for (const [i, v] of theirs.entries()) expect(Math.abs(v - ours[i]!)).toBeLessThanOrEqual(1e-5 * most);
    }
  });
});

const contrib = { opset: 13, opsets: { "com.microsoft": 1 } } as const;
const microsoft = { domain: "com.microsoft" } as const;

describe("com.microsoft", () => {
  test.each([
    ["plain", {}],
    ["with a zero point", { zero: [] }],
    ["per column, with bias", { columns: true, zero: [13], bias: true }],
    ["with bias, without zero point", { bias: true }],
  ] as const)(
    "DynamicQuantizeMatMul %s",
    async (_, o: { columns?: true; zero?: readonly number[]; bias?: true }) => {
      const columns = o.columns ? [13] : [];
      const n = sizeOf(columns);
      await agree({
        ...contrib,
        inputs: [value("x", "float32", [7, 30])],
        initializers: {
          w: weights([30, 13]),
          ws: f32(
            columns,
            normal(n, 4).map((v) => Math.fround(Math.abs(v) / 100)),
          ),
          wz: i8(o.zero ?? [], integers(sizeOf(o.zero ?? []), 3, -5, 90)),
          b: f32([13], normal(13, 2)),
        },
        outputs: [value("y", "float32")],
        nodes: [
          node(
            "DynamicQuantizeMatMul",
            ["x", "w", "ws", o.zero ? "wz" : "", o.bias ? "b" : ""],
            ["y"],
            {},
            microsoft,
          ),
        ],
      });
    },
  );

  test.each([
    ["uint8", {}],
    ["uint8", { zeros: true, bias: true }],
    ["int8", { columns: true, bias: true }],
    ["uint8", { zeros: true, columns: true }],
  ] as const)(
    "MatMulIntegerToFloat of %s, %j",
    async (type, o: { columns?: true; zeros?: true; bias?: true }) => {
      const columns = o.columns ? [13] : [];
      const n = sizeOf(columns);
      await agree(
        {
          ...contrib,
          inputs: [
            value("x", type, [7, 30]),
            value("s", "float32", []),
            ...(o.zeros ? [value("z", type, [])] : []),
          ],
          initializers: {
            w: weights([30, 13]),
            ws: f32(
              columns,
              normal(n, 4).map((v) => Math.fround(Math.abs(v) / 100)),
            ),
            wz: i8(columns, integers(n, 3, -5, 90)),
            b: f32([13], normal(13, 2)),
          },
          outputs: [value("y", "float32")],
          nodes: [
            node(
              "MatMulIntegerToFloat",
              ["x", "w", "s", "ws", o.zeros ? "z" : "", o.zeros ? "wz" : "", o.bias ? "b" : ""],
              ["y"],
              {},
              microsoft,
            ),
          ],
        },
        { fills: ["normal", "positive", "ties", "tiny"] },
      );
    },
  );
});

describe("without floats", () => {
  test("the scale of the run is named, with the way out", async () => {
    const result = await compileModel(modelBytes(linear([3], 8, 8)), { target: "wasm-simd" });
    expect(result.ok).toBe(false);
    const errors = result.diagnostics.filter((d) => d.severity === "error");
    expect(errors.map((d) => d.code)).toEqual(["QC2148"]);
    expect(errors[0]!.message).toBe(
      'DynamicQuantizeLinear: the scale of "x" is a float32 that is computed at run time, and no float is allowed',
    );
    expect(errors[0]!.fixes[0]).toContain("--allow-float");
    expect(errors[0]!.loc).toMatchObject({ kind: "node", op: "DynamicQuantizeLinear" });
  });
});
