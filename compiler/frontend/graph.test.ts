import { describe, expect, test } from "vitest";
import { findings, importBytes, importSpec, mainOf, onlyOp, opNames, run } from "../../test/import-spec.ts";
import {
  type AttributeInput,
  type FunctionSpec,
  f32,
  float,
  graph,
  i64,
  type ModelSpec,
  model,
  node,
  reference,
  type Tensor,
  tensor,
  value,
} from "../../test/onnx-writer.ts";

/** `y` from `x` [1, 4] by one node. */
const one = (
  op: string,
  inputs: readonly string[],
  attributes: Readonly<Record<string, AttributeInput>> = {},
  initializers: Readonly<Record<string, Tensor>> = {},
  more: Partial<ModelSpec> = {},
): ModelSpec => ({
  inputs: [value("x", "float32", [1, 4])],
  outputs: [value("y")],
  nodes: [node(op, inputs, ["y"], attributes, { name: "n1" })],
  initializers,
  ...more,
});

const only = (spec: ModelSpec) => {
  const found = findings(spec);
  expect(found).toHaveLength(1);
  return found[0]!;
};
const at = (op: string) => ({ kind: "node", op, name: "n1", output: "y" });

describe("nodes", () => {
  test.each([
    ["too few inputs", one("Add", ["x"]), "QC1130", "the node has 1 inputs; the operator takes 2"],
    ["too many inputs", one("Relu", ["x", "x"]), "QC1130", "the node has 2 inputs; the operator takes 1"],
    [
      "a required input left out",
      one("Conv", ["", "x"]),
      "QC1131",
      "input 0 is required and has been left out",
    ],
    [
      "the wrong kind of attribute",
      one("LeakyRelu", ["x"], { alpha: 1 }),
      "QC1132",
      'attribute "alpha" must be of kind float, is of kind int',
    ],
    ["a missing attribute", one("Concat", ["x"]), "QC1133", 'attribute "axis" is required'],
    [
      "a permutation that is none",
      one("Transpose", ["x"], { perm: [0, 0] }),
      "QC1134",
      'attribute "perm" is [0, 0], no permutation of 2 axes',
    ],
    [
      "an axis out of range",
      one("Softmax", ["x"], { axis: 2 }),
      "QC1137",
      "axis 2 does not exist in a tensor of rank 2",
    ],
    [
      "an attribute of no meaning here",
      one("Relu", ["x"], { slope: 1 }),
      "QC2003",
      'attribute "slope" is not one of Relu that qc knows',
    ],
    [
      "training",
      one(
        "BatchNormalization",
        ["x", "s", "s", "s", "s"],
        { training_mode: 1 },
        { s: f32([4], [1, 1, 1, 1]) },
        { opset: 15 },
      ),
      "QC2003",
      'attribute "training_mode" is 1: the statistics would be those of the batch',
    ],
    [
      "interpolation",
      one("Resize", ["x", "", "s"], { mode: "sinc" }, { s: f32([2], [1, 2]) }),
      "QC2003",
      'attribute "mode" "sinc" is not supported, only "nearest", "linear" and "cubic" are',
    ],
    [
      "a shape computed at run time",
      { ...one("Reshape", ["x", "s"]), inputs: [value("x", "float32", [1, 4]), value("s", "int32", [2])] },
      "QC2005",
      'the shape "s" must be known at compile time',
    ],
    [
      "a shape that does not fit",
      one("Reshape", ["x", "s"], {}, { s: i64([1], [5]) }),
      "QC1136",
      "the operands do not fit: shape [5] does not hold the 4 elements of [1, 4]",
    ],
    [
      "an index out of range",
      one("Gather", ["x", "i"], { axis: 1 }, { i: i64([1], [4]) }),
      "QC1135",
      'constant input "i" (indices) points outside axis 1 of size 4',
    ],
    [
      "a strange element type",
      one("Add", ["x", "t"], {}, { t: tensor("string", [1], ["a"]) }),
      "QC2004",
      'the initializer "t" has element type string, which is not supported here',
    ],
    [
      "weights of another rank",
      one("MatMul", ["x", "w"], {}, { w: f32([3, 1], [1, 2, 3]) }),
      "QC1136",
      "the operands do not fit: inner sizes differ: 4 and 3",
    ],
    [
      "an opset from before broadcasting",
      one("Add", ["x", "x"], {}, {}, { opset: 6 }),
      "QC2002",
      "operator Add of opset 6 is not supported, only opsets 7 to 28 are",
    ],
  ] as const)("%s", (_, spec, code, message) => {
    const found = only(spec);
    expect(found).toMatchObject({ code, severity: "error", message, loc: at(spec.nodes![0]!.op) });
  });

  test("unknown operators: one finding per type, with all its nodes, also behind others", () => {
    const found = findings({
      inputs: [value("x", "float32", [4])],
      outputs: [value("y")],
      nodes: [
        node("Frobnicate", ["x"], ["a"], {}, { name: "first" }),
        node("Relu", ["a"], ["b"]),
        node("Frobnicate", ["b"], ["c"]),
        node("Warp", ["c"], ["d"], {}, { domain: "my.own" }),
        node("Frobnicate", ["x"], ["unused"]),
        node("Add", ["d"], ["y"]),
      ],
    });
    expect(found.map((d) => [d.code, d.message])).toEqual([
      ["QC2001", "operator Frobnicate is not supported (2 nodes)"],
      ["QC2001", "operator my.own::Warp is not supported (1 node)"],
      ["QC1130", "the node has 1 inputs; the operator takes 2"],
    ]);
    expect(found[0]!.notes).toEqual([
      { label: "node", text: '"first"' },
      { label: "node", text: 'making "c"' },
      { label: "reads", text: '"x" of a graph input' },
      { label: "used by", text: "Relu" },
    ]);
  });
  test("an operator set newer than the table is a warning", () => {
    expect(findings(one("Relu", ["x"], {}, {}, { opset: 99 }))).toMatchObject([
      { code: "QC1149", severity: "warning" },
    ]);
  });
  test("control flow says why", () => {
    const body = graph({ nodes: [node("Identity", ["x"], ["o"])], outputs: [value("o", "float32", [4])] });
    const found = findings(
      one("If", ["c"], { then_branch: body, else_branch: body }, { c: tensor("bool", [], [1]) }),
    );
    expect(found[0]!.message).toContain("control flow");
  });
  test("findings that repeat are cut off and counted", () => {
    const spec: ModelSpec = {
      inputs: [value("x", "float32", [4])],
      outputs: Array.from({ length: 70 }, (_, i) => value(`y${i}`)),
      nodes: Array.from({ length: 70 }, (_, i) => node("Add", ["x"], [`y${i}`])),
    };
    const found = findings(spec);
    expect(found).toHaveLength(51);
    expect(found[50]!.message).toBe("20 more of the same kind are not shown");
  });
  test("optional outputs that nobody reads may be there", () => {
    const spec: ModelSpec = {
      inputs: [value("x", "float32", [1, 1, 4])],
      outputs: [value("y")],
      nodes: [node("MaxPool", ["x"], ["y", "indices"], { kernel_shape: [2] })],
    };
    expect(opNames(mainOf(spec))).toEqual(["float.max_pool"]);
    expect(findings({ ...spec, outputs: [value("y"), value("indices")] })).toMatchObject([
      { code: "QC2007", message: "output 1 of MaxPool is not supported" },
    ]);
  });
  test("ops carry the node they come from", () => {
    const main = mainOf(one("Relu", ["x"]));
    expect(main.ops[0]!.loc).toMatchObject(at("Relu"));
    expect(main.results[0]!.value.name).toBe("y");
  });
});

describe("ports", () => {
  const shaped = (shape: readonly (number | string | undefined)[] | undefined): ModelSpec => ({
    inputs: [value("x", "float32", shape)],
    outputs: [value("y")],
    nodes: [node("Relu", ["x"], ["y"])],
  });
  test("the batch is 1, or what the caller says", () => {
    for (const dim of ["N", undefined]) {
      expect(mainOf(shaped([dim, 3])).params[0]!.value.type.shape).toEqual([1, 3]);
      expect(mainOf(shaped([dim, 3]), { batch: 5 }).params[0]!.value.type.shape).toEqual([5, 3]);
    }
    expect(mainOf(shaped([2, 3]), { batch: 5 }).params[0]!.value.type.shape).toEqual([2, 3]);
    expect(importSpec(shaped([2, 3]), { batch: 0 })).toMatchObject({
      ok: false,
      diagnostics: [{ code: "QC1148" }],
    });
  });
  test("a symbol of the batch means the batch elsewhere too", () => {
    const spec: ModelSpec = {
      inputs: [value("x", "float32", ["N", 3]), value("z", "float32", [3, "N"])],
      outputs: [value("y", "float32", ["N", "N"])],
      nodes: [node("MatMul", ["x", "z"], ["y"])],
    };
    expect(mainOf(spec, { batch: 4 }).results[0]!.value.type.shape).toEqual([4, 4]);
  });
  test.each([
    [[1, "H", 3], "QC1138", 'axis 1 of the input\'s shape [1, "H", 3] is not fixed'],
    [[1, undefined], "QC1138", "axis 1 of the input's shape [1, ?] is not fixed"],
    [undefined, "QC1139", "the input declares no shape"],
    [[1, 0], "QC1140", "shape [1, 0] has no elements"],
    [
      [1, 2 ** 25],
      "QC1141",
      'tensor "x" of shape [1, 33554432] exceeds the limit of 16777216 elements in one axis',
    ],
    [
      [2 ** 15, 2 ** 15],
      "QC1141",
      'tensor "x" of shape [32768, 32768] exceeds the limit of 268435456 elements',
    ],
  ] as const)("input of shape %j", (shape, code, message) => {
    expect(only(shaped(shape))).toMatchObject({ code, message, loc: { kind: "tensor", name: "x" } });
  });
  test("string and float8 inputs are refused", () => {
    for (const dtype of ["string", "float8e4m3fn"] as const)
      expect(only({ ...shaped([1]), inputs: [value("x", dtype, [1])] })).toMatchObject({ code: "QC2004" });
  });
  test("declared outputs are compared with computed ones", () => {
    const declared = (dtype: "float32" | "int8", shape: readonly number[]) =>
      findings({ ...shaped([1, 4]), outputs: [value("y", dtype, shape)] });
    expect(declared("float32", [1, 4])).toEqual([]);
    expect(declared("float32", [4, 1])).toMatchObject([{ code: "QC1142", severity: "warning" }]);
    expect(declared("int8", [1, 4])).toMatchObject([{ code: "QC1143", severity: "error" }]);
  });
  test("an input may be an output, and a value two outputs", () => {
    const main = mainOf({
      ...shaped([2]),
      outputs: [value("x"), value("y")],
      nodes: [node("Identity", ["x"], ["y"])],
    });
    expect(main.results.map(({ name, value: v }) => [name, v === main.params[0]!.value])).toEqual([
      ["x", true],
      ["y", true],
    ]);
    expect(main.ops).toEqual([]);
  });
  test("inputs that nobody reads stay", () => {
    expect(
      mainOf({ ...shaped([2]), inputs: [value("x", "float32", [2]), value("u", "int8", [3])] }).params.map(
        (p) => p.name,
      ),
    ).toEqual(["x", "u"]);
  });
});

describe("functions", () => {
  const scaled: FunctionSpec = {
    name: "Scaled",
    domain: "my",
    inputs: ["a", "b"],
    outputs: ["r", "a"],
    defaults: { alpha: float(0.5) },
    nodes: [
      node("LeakyRelu", ["a"], ["t"], { alpha: reference("alpha", 1) }),
      node("Add", ["t", "b"], ["r"]),
    ],
  };
  const calls = (functions: readonly FunctionSpec[], nodes: ModelSpec["nodes"]): ModelSpec => ({
    opsets: { my: 1 },
    inputs: [value("x", "float32", [2])],
    outputs: [value("y")],
    nodes: nodes!,
    functions,
  });
  const my = { domain: "my" };

  test("are inlined, with attributes of the call or defaults, and inner names kept apart", () => {
    const spec = calls(
      [scaled],
      [
        node("Scaled", ["x", "x"], ["t"], {}, my),
        node("Scaled", ["t", "x"], ["u", "same"], { alpha: float(0.25) }, my),
        node("Add", ["u", "same"], ["y"]),
      ],
    );
    // t = lrelu(x, .5) + x; u = lrelu(t, .25) + x; y = u + t
    expect([...run(spec, new Map([["x", [-4, 2]]])).get("y")!]).toEqual([-1.5 - 4 - 6, 4 + 2 + 4]);
    expect(mainOf(spec).ops[0]!.loc).toMatchObject({
      kind: "fused",
      locs: [{ op: "LeakyRelu" }, { op: "Scaled" }],
    });
  });
  test("an omitted optional attribute stays omitted", () => {
    const spec = calls([{ ...scaled, defaults: {} }], [node("Scaled", ["x", "x"], ["y"], {}, my)]);
    expect(onlyOp(mainOf(spec), "float.leaky_relu").attrs.alpha).toBe(Math.fround(0.01));
  });
  test("recursion, wrong calls and explosions are found", () => {
    const self = { ...scaled, nodes: [node("Scaled", ["a", "b"], ["r"], {}, my)] };
    expect(findings(calls([self], [node("Scaled", ["x", "x"], ["y"], {}, my)]))[0]).toMatchObject({
      code: "QC1144",
    });
    expect(findings(calls([scaled], [node("Scaled", ["x", "x", "x"], ["y"], {}, my)]))[0]).toMatchObject({
      code: "QC1146",
    });
    expect(
      findings(calls([{ ...scaled, required: ["beta"] }], [node("Scaled", ["x", "x"], ["y"], {}, my)]))[0],
    ).toMatchObject({ code: "QC1146" });
    const doubling = Array.from(
      { length: 40 },
      (_, i): FunctionSpec => ({
        name: `F${i}`,
        domain: "my",
        inputs: ["a"],
        outputs: ["r"],
        nodes:
          i === 0
            ? [node("Relu", ["a"], ["r"])]
            : [node(`F${i - 1}`, ["a"], ["t"], {}, my), node(`F${i - 1}`, ["t"], ["r"], {}, my)],
      }),
    );
    const start = performance.now();
    expect(findings(calls(doubling, [node("F39", ["x"], ["y"], {}, my)]))).toContainEqual(
      expect.objectContaining({ code: "QC1145" }),
    );
    expect(performance.now() - start).toBeLessThan(30_000);
  });
});

describe("size", () => {
  test("100,000 nodes in linear time, without recursion", () => {
    const n = 100_000;
    const bytes = model({
      inputs: [value("x", "float32", [2])],
      outputs: [value(`v${n}`)],
      nodes: Array.from({ length: n }, (_, i) =>
        node(i % 2 === 0 ? "Neg" : "Relu", [i === 0 ? "x" : `v${i}`], [`v${i + 1}`]),
      ),
    });
    const start = performance.now();
    const result = importBytes(bytes);
    expect(performance.now() - start).toBeLessThan(20_000);
    expect(result.ok && result.value.funcs[0]!.ops.length).toBe(n);
  });
  test.each([
    ["Expand", ["x", "s"], { s: i64([1], [2 ** 31 - 1]) }],
    ["Tile", ["x", "s"], { s: i64([2], [2 ** 30, 2 ** 30]) }],
    ["ConstantOfShape", ["s"], { s: i64([2], [2 ** 30, 2 ** 30]) }],
    ["Range", ["a", "b", "c"], { a: i64([], [0]), b: i64([], [2 ** 40]), c: i64([], [1]) }],
    ["Pad", ["x", "s"], { s: i64([4], [0, 2 ** 30, 0, 0]) }],
    ["Resize", ["x", "", "s"], { s: f32([2], [1, 1e9]) }],
  ] as const)("%s cannot ask for more memory than there is", (op, inputs, initializers) => {
    const start = performance.now();
    expect(findings(one(op, inputs, {}, initializers)).some((d) => d.severity === "error")).toBe(true);
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe("equal ops are merged", () => {
  test("by operands, attributes and elements, not by names; −0 and 0 differ", () => {
    const spec: ModelSpec = {
      inputs: [value("x", "float32", [2])],
      outputs: [value("y")],
      initializers: { a: f32([2], [0, 1]), b: f32([2], [0, 1]), c: f32([2], [-0, 1]) },
      nodes: [
        node("Add", ["x", "a"], ["p"]),
        node("Add", ["x", "b"], ["q"]),
        node("Add", ["x", "c"], ["r"]),
        node("Mul", ["p", "q"], ["s"]),
        node("Mul", ["s", "r"], ["y"]),
      ],
    };
    const names = opNames(mainOf(spec));
    expect(names.filter((name) => name === "const")).toHaveLength(2);
    expect(names.filter((name) => name === "float.add")).toHaveLength(2);
  });
});
