import { describe, expect, test } from "vitest";
import { findings, importSpec, mainOf, noise, opNames, run, runOrt } from "../../test/import-spec.ts";
import {
  bf16,
  f16,
  f32,
  i8,
  i32,
  i64,
  type ModelSpec,
  node,
  type Tensor,
  u8,
  u16,
  value,
} from "../../test/onnx-writer.ts";
import { codes, dq, q, quantOf, s, spec } from "../../test/quantizer-spec.ts";

const pair = [q("x", "q"), dq("q", "y")];
const perTensor = (scale: number, zeroPoint: number) => ({ kind: "tensor", scale, zeroPoint });
describe("parameters", () => {
  const typeOf = (initializers: Readonly<Record<string, Tensor>>, attributes = {}, zero = "z") =>
    quantOf(
      mainOf(
        spec(
          ["float32", [2, 3]],
          [q("x", "q", "s", zero, attributes), dq("q", "y", "s", zero, attributes)],
          initializers,
          {
            opset: 21,
          },
        ),
      ),
      "quant.quantize",
    );

  test("one element of any rank is per tensor, whatever the axis", () => {
    for (const dims of [[], [1], [1, 1]])
      for (const attributes of [{}, { axis: 1 }, { axis: 7 }])
        expect(typeOf({ s: f32(dims, [0.5]), z: i8([], [3]) }, attributes)).toEqual({
          kind: "quant",
          storage: { kind: "int", signed: true, bits: 8 },
          lo: -128,
          hi: 127,
          scheme: perTensor(0.5, 3),
        });
  });
  test("a zero point that is missing or empty is 0, of type uint8 or output_dtype", () => {
    expect(typeOf({ s: s(0.5) }, {}, "")).toMatchObject({ lo: 0, hi: 255, scheme: perTensor(0.5, 0) });
    expect(typeOf({ s: s(0.5) }, { output_dtype: 5 }, "")).toMatchObject({ lo: -32768, hi: 32767 });
    expect(typeOf({ s: f32([1], [0.5]), z: u16([0], []) })).toMatchObject({
      hi: 65535,
      scheme: perTensor(0.5, 0),
    });
  });
  test("per axis, counted from the front; equal entries are per tensor", () => {
    const z = i8([3], [0, 1, 2]);
    expect(typeOf({ s: f32([3], [1, 2, 4]), z }).scheme).toEqual({
      kind: "axis",
      axis: 1,
      scales: [1, 2, 4],
      zeroPoints: [0, 1, 2],
    });
    expect(typeOf({ s: f32([2], [1, 2]), z: i8([2], [0, 0]) }, { axis: -2 }).scheme).toMatchObject({
      axis: 0,
    });
    expect(typeOf({ s: f32([3], [2, 2, 2]), z: i8([3], [1, 1, 1]) }).scheme).toEqual(perTensor(2, 1));
  });
  test("half-width scales are exact", () => {
    expect(typeOf({ s: f16([], [0.0999755859375]), z: i8([], [0]) }).scheme).toEqual(
      perTensor(0.0999755859375, 0),
    );
    expect(typeOf({ s: bf16([], [0.10009765625]), z: i8([], [0]) }).scheme).toEqual(
      perTensor(0.10009765625, 0),
    );
  });
  test("the com.microsoft domain is the same operator", () => {
    const at = { domain: "com.microsoft" };
    const main = mainOf(
      spec(
        ["float32", [2]],
        [q("x", "q", "s", "z", {}, at), dq("q", "y", "s", "z", {}, at)],
        { s: s(2), z: u16([], [9]) },
        {
          opsets: { "com.microsoft": 1 },
        },
      ),
    );
    expect(opNames(main)).toEqual(["quant.quantize", "quant.dequantize"]);
    expect(quantOf(main, "quant.quantize")).toMatchObject({ hi: 65535, scheme: perTensor(2, 9) });
  });
  test("parameters come through Identity, Cast, Reshape and Constant nodes", () => {
    const main = mainOf(
      spec(
        ["float32", [2]],
        [
          node("Constant", [], ["z0"], { value: f32([1], [-3]) }),
          node("Cast", ["z0"], ["z1"], { to: 3 }),
          node("Identity", ["s0"], ["s1"]),
          node("Reshape", ["s1", "one"], ["s"]),
          q("x", "q", "s", "z1"),
          dq("q", "y", "s", "z1"),
        ],
        { s0: s(0.25), one: i64([1], [1]) },
      ),
    );
    expect(opNames(main)).toEqual(["quant.quantize", "quant.dequantize"]);
    expect(quantOf(main, "quant.quantize").scheme).toEqual(perTensor(0.25, -3));
  });
});

describe("parameters that make no sense", () => {
  const one = (
    initializers: Readonly<Record<string, Tensor>>,
    attributes = {},
    shape: readonly number[] = [2, 3],
  ) =>
    findings(
      spec(
        ["float32", shape],
        [q("x", "q", "s", "z", attributes), dq("q", "y", "s", "z", attributes)],
        initializers,
        {
          opset: 21,
        },
      ),
    );
  const z = i8([], [0]);

  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("scale %s", (x) => {
    const [first] = one({ s: s(x), z });
    expect(first).toMatchObject({
      code: "QC2120",
      severity: "error",
      loc: { kind: "node", op: "QuantizeLinear", output: "q" },
    });
    expect(first!.message).toContain('scale "s" is');
  });
  test("one bad scale of several names its index", () => {
    expect(one({ s: f32([3], [1, 0, 1]), z: i8([3], [0, 0, 0]) })[0]!.message).toContain("at index 1");
  });
  test("a denormal scale is a warning", () => {
    const found = one({ s: s(2 ** -130), z });
    expect(found.map((d) => [d.code, d.severity])).toEqual([
      ["QC2121", "warning"],
      ["QC2121", "warning"],
    ]);
  });
  test("lengths and axes", () => {
    expect(one({ s: f32([2], [1, 2]), z: i8([2], [0, 0]) })[0]!.message).toBe(
      'scale "s" has 2 entries, axis 1 has size 3',
    );
    expect(one({ s: f32([3], [1, 2, 3]), z: i8([2], [0, 0]) })[0]).toMatchObject({ code: "QC2123" });
    expect(one({ s: f32([2], [1, 2]), z: i8([2], [0, 0]) }, { axis: 2 })[0]).toMatchObject({
      code: "QC1137",
    });
    expect(one({ s: f32([0], []), z })[0]).toMatchObject({ code: "QC2123" });
  });
  test("blocks", () => {
    expect(
      one(
        { s: f32([2, 3], noise(6, 1).map(Math.abs)), z: i8([2, 3], [0, 0, 0, 0, 0, 0]) },
        { block_size: 2 },
      )[0],
    ).toMatchObject({
      code: "QC2125",
    });
    expect(one({ s: f32([2, 3], [1, 2, 3, 4, 5, 6]), z })[0]).toMatchObject({ code: "QC2125" });
  });
  test("scales computed at run time are arithmetic", () => {
    const dynamic = spec(["float32", [1]], [q("x", "q", "x"), dq("q", "y", "x")], { z });
    expect(findings(dynamic)).toEqual([]);
    const names = opNames(mainOf(dynamic));
    expect(names).toContain("float.div");
    expect(names).toContain("float.mul");
  });
  test("contradicting types", () => {
    expect(
      codes(
        spec(
          ["float32", [2]],
          [q("x", "q", "s", "z", { output_dtype: 2 }), dq("q", "y")],
          { s: s(1), z },
          { opset: 21 },
        ),
      ),
    ).toContain("error QC2127");
    const other = (zero: Tensor) =>
      codes(spec(["float32", [2]], [q("x", "q"), dq("q", "y", "s", "u")], { s: s(1), z, u: zero }));
    expect(other(u8([], [0]))).toEqual(["warning QC2127"]);
    expect(other(u8([], [200]))).toEqual(["error QC2127"]);
  });
  test("an axis beyond a rank-1 bias is a warning with the right result", () => {
    const bias = (axis: number, n = 2): ModelSpec =>
      spec(["float32", [1, 2]], [dq("b", "c", "s", "z", { axis }), node("Add", ["x", "c"], ["y"])], {
        b: i32([n], [10, 20]),
        s: f32([2], [0.5, 0.25]),
        z: i32([2], [0, 0]),
      });
    expect(codes(bias(3))).toEqual(["warning QC2124"]);
    expect([...run(bias(3), new Map([["x", [0, 0]]])).get("y")!]).toEqual([5, 5]);
    const three = { ...bias(3), initializers: { ...bias(3).initializers, b: i32([3], [1, 2, 3]) } };
    expect(codes(three)).toEqual(["error QC1137"]);
  });
});

describe("activations", () => {
  test("a Clip between Q and DQ narrows the quantizer; another reader keeps the full range", () => {
    const both = {
      ...spec(
        ["float32", [5]],
        [q("x", "q"), node("Clip", ["q", "lo", "hi"], ["c"]), dq("c", "y"), dq("q", "full")],
        { s: s(1), z: u8([], [0]), lo: u8([], [0]), hi: u8([], [15]) },
      ),
      outputs: [value("y"), value("full")],
    };
    const main = mainOf(both);
    expect(opNames(main).toSorted()).toEqual([
      "quant.dequantize",
      "quant.dequantize",
      "quant.quantize",
      "quant.quantize",
    ]);
    const results = run(both, new Map([["x", [-3, 7, 15.4, 20, 300]]]));
    expect([...results.get("y")!]).toEqual([0, 7, 15, 15, 15]);
    expect([...results.get("full")!]).toEqual([0, 7, 15, 20, 255]);
    const narrow = mainOf({ ...both, outputs: [value("y")] });
    expect(quantOf(narrow, "quant.quantize")).toMatchObject({ lo: 0, hi: 15 });
  });
  test("an integer Relu and a Clip of an integer input are exact", () => {
    const model = spec(["int8", [6]], [node("Clip", ["x", "lo", "hi"], ["c"]), dq("c", "y")], {
      s: s(0.1),
      z: i8([], [5]),
      lo: i8([], [-10]),
      hi: i8([], [20]),
    });
    const y = run(model, new Map([["x", [-128, -10, 0, 5, 20, 127]]])).get("y")!;
    expect([...y]).toEqual([-15, -15, -5, 0, 15, 15].map((v) => v * Math.fround(0.1)));
  });
  test("integer ports keep their types", () => {
    const main = mainOf(
      spec(["int8", [1, 4]], [dq("x", "r"), node("Relu", ["r"], ["p"]), q("p", "y")], {
        s: s(0.5),
        z: i8([], [1]),
      }),
    );
    expect(main.params.map(({ name, dtype }) => [name, dtype])).toEqual([["x", "int8"]]);
    expect(main.results.map(({ name, dtype }) => [name, dtype])).toEqual([["y", "int8"]]);
    expect(main.params[0]!.value.type.elem).toMatchObject({ kind: "quant", scheme: perTensor(0.5, 1) });
    expect(opNames(main)).toEqual(["quant.dequantize", "float.relu", "quant.quantize"]);
  });
  test("integer inputs take their type from the DequantizeLinear behind movements", () => {
    const main = mainOf(
      spec(
        ["uint8", [1, 2, 2, 3]],
        [
          node("Transpose", ["x"], ["t"], { perm: [0, 3, 1, 2] }),
          node("Reshape", ["t", "shape"], ["r"]),
          dq("r", "y"),
        ],
        { s: s(0.5), z: u8([], [128]), shape: i64([2], [1, -1]) },
      ),
    );
    expect(opNames(main)).toEqual(["layout.transpose", "layout.reshape", "quant.dequantize"]);
    expect(main.params[0]!.value.type.elem).toMatchObject({ kind: "quant", scheme: perTensor(0.5, 128) });
  });
  test("movement and pools between quantizers are onnxruntime's", async () => {
    const model = spec(
      ["float32", [1, 2, 3, 4]],
      [
        q("x", "q"),
        node("Pad", ["q", "pads", "z"], ["p"]),
        node("MaxPool", ["p"], ["m"], { kernel_shape: [2, 2] }),
        node("Transpose", ["m"], ["t"], { perm: [0, 2, 3, 1] }),
        node("Concat", ["t", "c"], ["cc"], { axis: 3 }),
        node("Slice", ["cc", "from", "to", "at"], ["sl"]),
        dq("sl", "y"),
      ],
      {
        s: s(0.01),
        z: i8([], [-7]),
        pads: i64([8], [0, 0, 1, 0, 0, 0, 0, 1]),
        c: i8(
          [1, 3, 4, 1],
          noise(12, 4).map((v) => Math.round(v * 100)),
        ),
        from: i64([1], [1]),
        to: i64([1], [99]),
        at: i64([1], [1]),
      },
    );
    const feeds = new Map([["x", noise(24, 5).map((v) => v * 2)]]);
    const mine = run(model, feeds).get("y")!;
    expect([...mine].map(Math.fround)).toEqual([...(await runOrt(model, feeds)).get("y")!.data]);
  });
  test("different parameters on both sides are taken literally, with a warning", async () => {
    const model = spec(["float32", [7]], [q("x", "q"), dq("q", "y", "t", "u")], {
      s: s(0.1),
      z: i8([], [4]),
      t: s(0.25),
      u: i8([], [-3]),
    });
    expect(codes(model)).toEqual(["warning QC2128"]);
    const feeds = new Map([["x", noise(7, 5).map((v) => v * 20)]]);
    const mine = run(model, feeds).get("y")!;
    expect([...mine].map(Math.fround)).toEqual([...(await runOrt(model, feeds)).get("y")!.data]);
  });
  test("an integer image that is cast to float is its own numbers", () => {
    const model = spec(
      ["uint8", [3]],
      [node("Cast", ["x"], ["f"], { to: 1 }), node("Div", ["f", "s"], ["y"])],
      { s: s(255) },
    );
    expect(opNames(mainOf(model))).toEqual(["quant.dequantize", "const", "float.div"]);
    expect([...run(model, new Map([["x", [0, 51, 255]]])).get("y")!]).toEqual([0, 51 / 255, 1]);
  });
  test("equal quantizers are one: merged by value, not by name", () => {
    const model = {
      ...spec(
        ["float32", [4]],
        [
          q("x", "q1"),
          dq("q1", "d1"),
          q("x", "q2", "s2", "z2"),
          dq("q2", "d2", "s2", "z2"),
          node("Add", ["d1", "d2"], ["y"]),
        ],
        { s: s(0.5), z: i8([], [1]), s2: f32([1], [0.5]), z2: i8([1], [1]) },
      ),
    };
    expect(opNames(mainOf(model))).toEqual(["quant.quantize", "quant.dequantize", "float.add"]);
  });
  test("sums of integers wrap and have no grid, so they cannot be dequantized", () => {
    const found = findings(
      spec(["float32", [4]], [q("x", "q"), node("Add", ["q", "q"], ["a"]), dq("a", "y")], {
        s: s(1),
        z: i8([], [0]),
      }),
    );
    expect(found).toMatchObject([{ code: "QC2130", loc: { kind: "node", op: "DequantizeLinear" } }]);
    expect(found[0]!.message).toContain('"a"');
  });
  test("integers that no quantizer made are cast as they are", () => {
    const twice = spec(["int32", [4]], [node("Cast", ["x"], ["y"], { to: 7 })], {});
    expect(codes(twice)).toEqual([]);
  });
  test("importing is deterministic", () => {
    const model = spec(["float32", [4]], pair, { s: s(0.5), z: i8([], [1]) });
    expect(importSpec(model)).toEqual(importSpec(model));
  });
});
