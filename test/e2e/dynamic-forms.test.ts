/** Other forms of quantizers with scales of the run: QuantizeLinear, BitLinear, com.microsoft's operators. */
import { describe, expect, test } from "vitest";
import { runOrt } from "../import-spec.ts";
import { f32, i8, type ModelSpec, model as modelBytes, node, u8, value } from "../onnx-writer.ts";
import { compileBytes } from "./compiled.ts";
import {
  agree,
  dynamic,
  FILLS,
  integers,
  kernelsOf,
  modulesOf,
  normal,
  sizeOf,
  weights,
} from "./dynamic-graphs.ts";

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

const ternary = (k: number, n: number, scale = 1) =>
  f32(
    [k, n],
    integers(k * n, 17, -1, 1).map((t) => Math.fround(t * scale)),
  );

describe("BitLinear", () => {
  /** Integers of a row from its greatest magnitude, as transformers has it: bytes, then the product, then both scales. */
  const quantized = (cast: boolean) => [
    node("Abs", ["x"], ["a"]),
    node("ReduceMax", ["a"], ["m"], { axes: [-1], keepdims: 1 }),
    node("Max", ["m", "least"], ["c"]),
    node("Div", ["top", "c"], ["s"]),
    node("Mul", ["x", "s"], ["u"]),
    node("Round", ["u"], ["r"]),
    node("Clip", ["r", "lo", "hi"], [cast ? "v" : "q"]),
    ...(cast ? [node("Cast", ["v"], ["i"], { to: 3 }), node("Cast", ["i"], ["q"], { to: 1 })] : []),
  ];
  const constants = {
    least: f32([], [Math.fround(1e-5)]),
    top: f32([], [127]),
    lo: f32([], [-128]),
    hi: f32([], [127]),
    ws: f32([], [Math.fround(17.3)]),
  };
  test.each([
    ["rows", [5, 48], 20, false],
    ["rows, cast to bytes between", [5, 48], 20, true],
    ["batches of rows", [2, 7, 33], 9, true],
    ["one row of one", [1, 1], 1, false],
  ] as const)("%s, the product before the scales", async (_, shape, n, cast) => {
    const artifact = await agree({
      opset: 17,
      inputs: [value("x", "float32", [...shape])],
      initializers: { ...constants, w: ternary(shape.at(-1)!, n) },
      outputs: [value("y", "float32")],
      nodes: [
        ...quantized(cast),
        node("MatMul", ["q", "w"], ["acc"]),
        node("Mul", ["s", "ws"], ["scale"]),
        node("Div", ["acc", "scale"], ["y"]),
      ],
    });
    const { coverage, macs } = artifact.manifest;
    expect(coverage.float!.macs).toBe(0);
    expect(macs.nominal).toBe(sizeOf(shape) * n);
    const product = artifact.exact.funcs[0]!.ops.find((op) => op.name === "qc.matmul")!;
    const { elem } = product.operands[1]!.type;
    expect(elem.kind === "int" && elem.bits).toBe(sizeOf(shape) === 1 ? 1 : 2);
    // No zero point, no correction.
    expect(kernelsOf(artifact)).not.toContain("qc.sub_product");
  });

  test("weights made ternary in the graph, by their mean magnitude", async () => {
    const artifact = await compileBytes(
      modelBytes({
        opset: 17,
        inputs: [value("x", "float32", [4, 32])],
        initializers: {
          ...constants,
          w: f32([32, 12], normal(32 * 12, 3)),
          one: f32([], [1]),
          minus: f32([], [-1]),
        },
        outputs: [value("y", "float32")],
        nodes: [
          node("Abs", ["w"], ["wa"]),
          node("ReduceMean", ["wa"], ["wm"], { keepdims: 0 }),
          node("Max", ["wm", "least"], ["ws0"]),
          node("Div", ["one", "ws0"], ["wi"]),
          node("Mul", ["w", "wi"], ["wu"]),
          node("Round", ["wu"], ["wr"]),
          node("Clip", ["wr", "minus", "one"], ["wt"]),
          node("Div", ["wt", "wi"], ["wq"]),
          ...quantized(false),
          node("Div", ["q", "s"], ["xq"]),
          node("MatMul", ["xq", "wq"], ["y"]),
        ],
      }),
      { name: "m", allowFloat: true },
    );
    expect(artifact.manifest.coverage.float!.macs).toBe(0);
    const product = artifact.exact.funcs[0]!.ops.find((op) => op.name === "qc.matmul")!;
    expect(product.operands[1]!.type.elem).toMatchObject({ kind: "int", bits: 2 });
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
