import { describe, expect, test } from "vitest";
import { findings, mainOf, noise, opNames, run, runOrt } from "../../test/import-spec.ts";
import {
  type AttributeInput,
  bool,
  f16,
  f32,
  f64,
  floats,
  i8,
  i32,
  i64,
  ints,
  type ModelSpec,
  type Node,
  node,
  type Tensor,
  u8,
  value,
} from "../../test/onnx-writer.ts";
import type { Dense } from "../ir/module.ts";
import { makeConstant, roundTo } from "./constants.ts";

/** `x` of shape [2, 3, 4] reshaped by what the nodes compute as `shape`. */
const reshaped = (
  nodes: readonly Node[],
  initializers: Readonly<Record<string, Tensor>> = {},
  opset = 13,
): ModelSpec => ({
  opset,
  inputs: [value("x", "float32", ["N", 3, 4])],
  outputs: [value("y")],
  nodes: [...nodes, node("Reshape", ["x", "shape"], ["y"])],
  initializers,
});
const shapeOf = (spec: ModelSpec, batch = 2): readonly number[] => {
  const main = mainOf(spec, { batch });
  expect(opNames(main)).toEqual(["layout.reshape"]);
  return main.results[0]!.value.type.shape;
};
const vector = (...values: (number | bigint)[]): Tensor => i64([values.length], values);

describe("sizes are constants", () => {
  test("TorchScript: Shape, Gather, Unsqueeze, Concat", () => {
    const chain = [
      node("Shape", ["x"], ["s"]),
      node("Gather", ["s", "zero"], ["n"], { axis: 0 }),
      node("Unsqueeze", ["n", "axes"], ["n1"]),
      node("Constant", [], ["rest"], { value_ints: ints([-1]) }),
      node("Concat", ["n1", "rest"], ["shape"], { axis: 0 }),
    ];
    expect(shapeOf(reshaped(chain, { zero: i64([], [0]), axes: vector(0) }))).toEqual([2, 12]);
  });
  test("with Cast to float and back, arithmetic and Slice between", () => {
    const chain = [
      node("Shape", ["x"], ["s"]),
      node("Cast", ["s"], ["f"], { to: 1 }),
      node("Mul", ["f", "half"], ["h"]),
      node("Floor", ["h"], ["fl"]),
      node("Cast", ["fl"], ["i"], { to: 7 }),
      node("Slice", ["i", "two", "end"], ["last"]),
      node("Concat", ["minus", "last"], ["shape"], { axis: 0 }),
    ];
    expect(
      shapeOf(
        reshaped(chain, {
          half: f32([], [0.5]),
          two: vector(2),
          end: vector(2n ** 63n - 1n),
          minus: vector(-1),
        }),
      ),
    ).toEqual([12, 2]);
  });
  test("Shape with bounds, Size, Div, Sub, Neg", () => {
    const chain = [
      node("Shape", ["x"], ["s"], { start: -2 }),
      node("Size", ["x"], ["all"]),
      node("ReduceProd", ["s"], ["p"]),
      node("Div", ["all", "p"], ["n"]),
      node("Sub", ["n", "p2"], ["d"]),
      node("Neg", ["d"], ["e"]),
      node("Reshape", ["e", "one"], ["e1"]),
      node("Concat", ["s", "e1"], ["shape"], { axis: 0 }),
    ];
    expect(shapeOf(reshaped(chain, { p2: i64([], [4]), one: vector(1) }, 15))).toEqual([3, 4, 2]);
  });
  test("ConstantOfShape, Equal, Where, Expand: how exporters write -1", () => {
    const chain = [
      node("Shape", ["want"], ["rank"]),
      node("ConstantOfShape", ["rank"], ["ones"], { value: i64([1], [1]) }),
      node("Mul", ["ones", "minus"], ["minuses"]),
      node("Equal", ["want", "minuses"], ["open"]),
      node("Where", ["open", "six", "want"], ["shape"]),
    ];
    expect(shapeOf(reshaped(chain, { want: vector(4, -1), minus: i64([], [-1]), six: vector(6) }))).toEqual([
      4, 6,
    ]);
  });
  test("comparisons, logic, Mod and Range", () => {
    const chain = [
      node("Range", ["zero", "four", "one"], ["r"]),
      node("Mod", ["r", "two"], ["m"]),
      node("Greater", ["r", "zero"], ["g"]),
      node("Less", ["m", "one"], ["l"]),
      node("And", ["g", "l"], ["a"]),
      node("Not", ["a"], ["b"]),
      node("Or", ["a", "b"], ["all"]),
      node("Xor", ["all", "b"], ["again"]),
      node("Where", ["again", "n", "one"], ["shape"]),
    ];
    expect(
      shapeOf(
        reshaped(chain, {
          zero: i64([], [0]),
          four: i64([], [4]),
          one: i64([], [1]),
          two: i64([], [2]),
          n: i64([], [24]),
        }),
      ),
    ).toEqual([1, 1, 24, 1]);
  });
});

/** The graph output is the constant that the nodes fold to; its values and element type. */
function folded(nodes: readonly Node[], initializers: Readonly<Record<string, Tensor>> = {}, opset = 13) {
  const main = mainOf({ opset, inputs: [], outputs: [value("y")], nodes, initializers });
  expect(opNames(main)).toEqual(["const"]);
  return { dtype: main.results[0]!.dtype, values: [...(main.ops[0]!.attrs.value as Dense).data] };
}

describe("folding", () => {
  test("all forms of Constant", () => {
    const one = (attributes: Readonly<Record<string, AttributeInput>>) =>
      folded([node("Constant", [], ["y"], attributes)]);
    expect(one({ value: i32([2], [5, -6]) })).toEqual({ dtype: "int32", values: [5, -6] });
    expect(one({ value_float: 1.5 })).toEqual({ dtype: "float32", values: [1.5] });
    expect(one({ value_floats: floats([1, 2]) })).toEqual({ dtype: "float32", values: [1, 2] });
    expect(
      findings({
        inputs: [],
        outputs: [value("y")],
        nodes: [node("Constant", [], ["y"], { value_string: "a" })],
      }),
    ).toMatchObject([{ code: "QC2004", severity: "error" }]);
  });
  test("initializers that are also inputs are constants", () => {
    const main = mainOf({
      inputs: [value("w", "float32", [1]), value("x", "float32", [1])],
      outputs: [value("y", "float32", [1])],
      initializers: { w: f32([1], [2]) },
      nodes: [node("Mul", ["x", "w"], ["y"])],
    });
    expect(main.params.map(({ name }) => name)).toEqual(["x"]);
  });
  test("casts truncate toward zero, wrap between integers and round between floats", () => {
    const cast = (x: Tensor, to: number) => folded([node("Cast", ["x"], ["y"], { to })], { x }).values;
    expect(cast(f32([3], [-1.7, 2.9, -0.2]), 6)).toEqual([-1, 2, 0]);
    expect(cast(i32([3], [300, -1, 127]), 3)).toEqual([44, -1, 127]);
    expect(cast(i8([2], [-1, 1]), 2)).toEqual([255, 1]);
    expect(cast(f64([2], [1 + 2 ** -30, 0.1]), 1)).toEqual([1, Math.fround(0.1)]);
    expect(cast(f32([3], [2049, 65520, 2 ** -25]), 10)).toEqual([2048, Number.POSITIVE_INFINITY, 0]);
    expect(cast(f16([2], [0.5, -2]), 1)).toEqual([0.5, -2]);
    expect(cast(bool([2], [1, 0]), 1)).toEqual([1, 0]);
  });
  test("a cast whose result ONNX leaves undefined is refused", () => {
    const found = findings({
      inputs: [],
      outputs: [value("y")],
      nodes: [node("Cast", ["x"], ["y"], { to: 3 })],
      initializers: { x: f32([1], [200]) },
    });
    expect(found).toMatchObject([{ code: "QC1135" }]);
  });
  test("float arithmetic rounds to float32 after each operator, as onnxruntime does", async () => {
    const [a, b] = [
      noise(300, 8).map((x) => Math.fround(x * 1.1 + 3)),
      noise(300, 9).map((x) => Math.fround(x / 3 + 2)),
    ];
    for (const op of ["Add", "Sub", "Mul", "Div"]) {
      const spec: ModelSpec = {
        inputs: [value("x", "float32", [1])],
        outputs: [value("y", "float32", [300]), value("z", "float32", [1])],
        initializers: { a: f32([300], a), b: f32([300], b) },
        nodes: [
          node(op, ["a", "b"], ["t"]),
          node("Sqrt", ["t"], ["u"]),
          node(op, ["u", "b"], ["y"]),
          node("Identity", ["x"], ["z"]),
        ],
      };
      const feeds = new Map([["x", [0]]]);
      const want = [...(await runOrt(spec, feeds)).get("y")!.data];
      expect([...run(spec, feeds).get("y")!]).toEqual(want);
    }
  });
  test("integer division truncates; by zero it is refused", () => {
    const divide = (by: number): ModelSpec => ({
      inputs: [],
      outputs: [value("y")],
      nodes: [node("Div", ["a", "b"], ["y"])],
      initializers: { a: i32([3], [-7, 7, 8]), b: i32([], [by]) },
    });
    expect([...run(divide(2), new Map()).get("y")!]).toEqual([-3, 3, 4]);
    expect(findings(divide(0))).toMatchObject([{ code: "QC1136" }]);
  });
  test("movement of constants is exact", () => {
    const { values } = folded(
      [
        node("Transpose", ["x"], ["a"]),
        node("Unsqueeze", ["a", "zero"], ["b"]),
        node("Squeeze", ["b", "zero"], ["c"]),
        node("Slice", ["c", "zero", "two"], ["d"]),
        node("Concat", ["d", "d"], ["e"], { axis: 1 }),
        node("Gather", ["e", "zero"], ["y"], { axis: 1 }),
      ],
      { x: u8([2, 3], [1, 2, 3, 4, 5, 6]), zero: vector(0), two: vector(2) },
    );
    expect(values).toEqual([1, 2]);
  });
  test("64-bit constants can be outputs where they fit into 32 bits", () => {
    const found = (v: number) =>
      findings({
        inputs: [],
        outputs: [value("y")],
        nodes: [node("Identity", ["x"], ["y"])],
        initializers: { x: vector(v) },
      });
    expect(found(2 ** 31 - 1)).toEqual([]);
    expect(found(2 ** 31)).toMatchObject([{ code: "QC2004", severity: "error" }]);
  });
});

test("roundTo: half to even, subnormals and overflow of half-width floats", () => {
  const half = (x: number) => roundTo("float16", [], [x]).dense.data[0];
  expect([2049, 2051, 65519, 65520, 2 ** -25, 1.5 * 2 ** -24, -0].map(half)).toEqual([
    2048,
    2052,
    65504,
    Number.POSITIVE_INFINITY,
    0,
    2 ** -23,
    -0,
  ]);
  const brain = (x: number) => roundTo("bfloat16", [], [x]).dense.data[0];
  expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38].map(brain)).toEqual([
    1,
    1 + 2 ** -6,
    Number.POSITIVE_INFINITY,
  ]);
  expect(() => makeConstant("string", [], [0])).toThrow("string");
});
