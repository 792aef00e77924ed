import { describe, expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";
import * as wire from "../../../test/protobuf-wire.ts";
import type { Diagnostic } from "../../ir/diagnostics.ts";
import { functionKey, type OnnxModel } from "./model.ts";
import { type ReadOptions, readModel, readTensor } from "./reader.ts";
import { elements } from "./tensor.ts";

function read(bytes: Uint8Array, options?: ReadOptions): OnnxModel {
  const result = readModel(bytes, options);
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return result.value;
}
const text = (d: Diagnostic) => `${d.code} ${d.message}`;
function problems(bytes: Uint8Array, options?: ReadOptions): string[] {
  const result = readModel(bytes, options);
  expect(result.ok).toBe(!result.diagnostics.some((d) => d.severity === "error"));
  return result.diagnostics.map(text);
}
const ascii = (s: string) => Uint8Array.from(s, (c) => c.charCodeAt(0));

describe("models", () => {
  test("header, opsets, metadata", () => {
    const model = read(
      w.model({
        opset: 21,
        opsets: { "com.microsoft": 1 },
        irVersion: 14,
        producer: "p",
        metadata: { __proto__x: "v" },
      }),
    );
    expect(model.irVersion).toBe(14);
    expect([...model.opsets]).toEqual([
      ["", 21],
      ["com.microsoft", 1],
    ]);
    expect(model.producer).toEqual({ name: "p", version: "" });
    expect(model.metadata.get("__proto__x")).toBe("v");
  });

  test("ai.onnx is the standard domain", () => {
    const model = read(
      w.model({ opsets: { "ai.onnx": 13 }, nodes: [w.node("Relu", [], ["y"], {}, { domain: "ai.onnx" })] }),
    );
    expect([...model.opsets]).toEqual([["", 13]]);
    expect(model.graph.nodes[0]!.domain).toBe("");
  });

  test("names that break careless code stay exact", () => {
    const names = [
      "__proto__",
      "constructor",
      "*/",
      '"; process.exit()',
      "a\nb\0c",
      "\u202eevil",
      "é\u{1f600}",
    ];
    const model = read(
      w.model({
        initializers: new Map(names.map((name, i) => [name, w.i8([1], [i])])),
        nodes: [w.node("X", names, ["__proto__ "], new Map(names.map((name, i) => [name, i])))],
      }),
    );
    expect([...model.graph.initializers.keys()]).toEqual(names);
    expect(model.graph.nodes[0]!.inputs).toEqual(names);
    expect([...model.graph.nodes[0]!.attributes]).toEqual(
      names.map((name, i) => [name, { kind: "int", value: i }]),
    );
  });

  test("declared types", () => {
    const { graph } = read(
      w.model({
        inputs: [
          w.value("a", "int4", [1, "N", undefined, 0]),
          w.value("b", "float32"),
          w.value("c", "bool", []),
        ],
        outputs: [w.value("d")],
        valueInfo: [w.value("e", "float6e3m2", [2])],
      }),
    );
    expect(graph.inputs).toEqual([
      { name: "a", container: "tensor", elemType: "int4", shape: [1, "N", undefined, 0] },
      { name: "b", container: "tensor", elemType: "float32", shape: undefined },
      { name: "c", container: "tensor", elemType: "bool", shape: [] },
    ]);
    expect(graph.outputs).toEqual([
      { name: "d", container: "undeclared", elemType: undefined, shape: undefined },
    ]);
    expect(graph.valueInfo.get("e")?.elemType).toBe("float6e3m2");
  });

  test("types that are no tensors", () => {
    const containers = ["sequence", "map", "opaque", "sparse", "optional"];
    const model = read(
      w.model({
        extra: wire.concat(
          [4, 5, 7, 8, 9].map((field) =>
            wire.message(11, [wire.string(1, `v${field}`), wire.message(2, [wire.message(field, [])])]),
          ),
        ),
      }),
    );
    expect(model.graph.inputs.map((v) => v.container)).toEqual(containers);
  });

  test("quantization annotations", () => {
    const { graph } = read(w.model({ annotations: { x: { SCALE_TENSOR: "s" } } }));
    expect(graph.annotations.get("x")?.get("SCALE_TENSOR")).toBe("s");
  });
});

describe("nodes", () => {
  test("attributes of every kind", () => {
    const { graph } = read(
      w.model({
        nodes: [
          w.node("Op", ["", "x"], ["y", ""], {
            f: 1.5,
            fi: w.float(2),
            i: -3,
            big: -(2n ** 63n),
            edge: 2n ** 53n - 1n,
            s: "text",
            t: w.i8([2], [1, -1]),
            g: w.graph({ name: "body", nodes: [w.node("Inner", [], ["z"])] }),
            fs: [0.5, 1],
            fs0: w.floats([]),
            is: [1, -2, 2n ** 62n],
            ss: ["a", "b"],
            ts: { kind: "tensors", value: [w.u8([1], [9])] },
            gs: { kind: "graphs", value: [w.graph({ name: "g2" })] },
            tp: { kind: "type", value: w.value("", "int8", [1]) },
          }),
        ],
      }),
    );
    const attribute = (name: string) => graph.nodes[0]!.attributes.get(name)!;
    expect(graph.nodes[0]!.inputs).toEqual(["", "x"]);
    expect(graph.nodes[0]!.outputs).toEqual(["y", ""]);
    expect(attribute("f")).toEqual({ kind: "float", value: 1.5 });
    expect(attribute("fi")).toEqual({ kind: "float", value: 2 });
    expect(attribute("i")).toEqual({ kind: "int", value: -3 });
    expect(attribute("big")).toEqual({ kind: "int", value: -(2n ** 63n) });
    expect(attribute("edge")).toEqual({ kind: "int", value: Number.MAX_SAFE_INTEGER });
    expect(attribute("s")).toEqual({ kind: "string", value: "text" });
    expect(attribute("fs")).toEqual({ kind: "floats", value: [0.5, 1] });
    expect(attribute("fs0")).toEqual({ kind: "floats", value: [] });
    expect(attribute("is")).toEqual({ kind: "ints", value: [1, -2, 2n ** 62n] });
    expect(attribute("ss")).toEqual({ kind: "strings", value: ["a", "b"] });
    expect(attribute("tp")).toEqual({
      kind: "type",
      value: { container: "tensor", elemType: "int8", shape: [1] },
    });
    const [t, g, ts, gs] = ["t", "g", "ts", "gs"].map(attribute);
    expect(t?.kind === "tensor" && elements(t.value)).toEqual(Int8Array.of(1, -1));
    expect(ts?.kind === "tensors" && elements(ts.value[0]!)).toEqual(Uint8Array.of(9));
    expect(g?.kind === "graph" && g.value.nodes[0]!.op).toBe("Inner");
    expect(gs?.kind === "graphs" && gs.value[0]!.name).toBe("g2");
  });

  test("a scalar that a proto3 writer left out is zero", () => {
    const bytes = (type: number) => ({ kind: "bytes", value: wire.int(20, type) }) as const;
    const { graph } = read(
      w.model({ nodes: [w.node("Op", [], ["y"], { f: bytes(1), i: bytes(2), s: bytes(3) })] }),
    );
    expect([...graph.nodes[0]!.attributes.values()].map((a) => "value" in a && a.value)).toEqual([0, 0, ""]);
  });

  test("packed and unpacked repeated numbers are the same", () => {
    const attribute = {
      kind: "bytes",
      value: wire.concat([wire.packed(8, [1, -2]), wire.int(8, 3), wire.int(20, 7)]),
    } as const;
    const { graph } = read(w.model({ nodes: [w.node("Op", [], ["y"], { is: attribute })] }));
    expect(graph.nodes[0]!.attributes.get("is")).toEqual({ kind: "ints", value: [1, -2, 3] });
  });

  test("overload, metadata and the exporter's source line", () => {
    const trace = (t: string) => ({ metadata: { "pkg.torch.onnx.stack_trace": t } });
    const torch =
      'File "/m/a.py", line 3, in forward\n    return self.f(x)\nFile "/m/b.py", line 41, in f\n    y = conv(x)\n';
    const { graph } = read(
      w.model({
        nodes: [
          w.node("A", [], ["a"], {}, { name: "n", overload: "o", ...trace(torch) }),
          w.node("B", [], ["b"], {}, trace("no frame")),
          w.node("C", [], ["c"], {}, trace('File "\u001b[31m.py", line 1')),
        ],
      }),
    );
    expect(graph.nodes[0]!.overload).toBe("o");
    expect(graph.nodes[0]!.metadata.get("pkg.torch.onnx.stack_trace")).toBe(torch);
    expect(graph.nodes.map((n) => n.loc)).toEqual([
      { kind: "node", op: "A", name: "n", output: "a", source: "/m/b.py:41  y = conv(x)" },
      { kind: "node", op: "B", name: "", output: "b" },
      { kind: "node", op: "C", name: "", output: "c", source: "\\u001b[31m.py:1" },
    ]);
  });

  test("functions with defaults and overloads", () => {
    const fn = (overload: string) => ({
      name: "F",
      domain: "d",
      overload,
      inputs: ["x"],
      outputs: ["y"],
      required: ["r"],
      defaults: { alpha: 0.5 },
      nodes: [w.node("Elu", ["x"], ["y"], { alpha: w.reference("alpha", 1) })],
      opset: 18,
    });
    const { functions } = read(w.model({ functions: [fn("a"), fn("b")] }));
    expect([...functions.keys()]).toEqual([functionKey("d", "F", "a"), functionKey("d", "F", "b")]);
    const a = functions.get(functionKey("d", "F", "a"))!;
    expect(a.required).toEqual(["r"]);
    expect([...a.defaults]).toEqual([["alpha", { kind: "float", value: 0.5 }]]);
    expect([...a.opsets]).toEqual([["", 18]]);
    expect(a.nodes[0]!.attributes.get("alpha")).toEqual({ kind: "reference", value: "alpha" });
    expect(problems(w.model({ functions: [fn("a"), fn("a")] }))).toEqual([
      'QC1024 function "F" is defined twice',
    ]);
  });

  test.each([
    [
      "a kind that differs from the value",
      wire.concat([wire.int(3, 1), wire.int(20, 1)]),
      "is declared as float but carries int",
    ],
    ["two values", wire.concat([wire.int(3, 1), wire.float(2, 1)]), "has several values (float, int)"],
    ["no value", new Uint8Array(), "has neither type nor value"],
    ["an unknown kind", wire.int(20, 15), "has the unknown type 15"],
    ["a tensor that is missing", wire.int(20, 4), "is declared as tensor but carries none"],
    ["a graph that is missing", wire.int(20, 5), "is declared as graph but carries none"],
    [
      "a reference with a value",
      wire.concat([wire.int(3, 1), wire.string(21, "x")]),
      "has a value and also refers to an attribute of the function",
    ],
  ])("attribute with %s", (_, value, message) => {
    const result = readModel(
      w.model({ nodes: [w.node("Op", [], ["y"], { a: { kind: "bytes", value } }, { name: "n" })] }),
    );
    expect(result.diagnostics.map(text)).toEqual([`QC1022 attribute "a" ${message}`]);
    expect(result.diagnostics[0]!.loc).toEqual({ kind: "node", op: "Op", name: "n", output: "y" });
  });

  test("an attribute given twice; a broken tensor in an attribute", () => {
    const twice = w.node("Op", [], ["y"]);
    const bytes = wire.message(5, [wire.string(1, "a"), wire.int(3, 1), wire.int(20, 2)]);
    const node = wire.message(1, [wire.string(2, twice.outputs[0]!), wire.string(4, "Op"), bytes, bytes]);
    expect(problems(w.model({ extra: node }))).toEqual(['QC1022 attribute "a" is given twice']);
    const broken = readModel(
      w.model({ nodes: [w.node("Constant", [], ["c"], { value: w.raw("int8", [2], [1]) })] }),
    );
    expect(broken.diagnostics[0]).toMatchObject({ code: "QC1014", loc: { kind: "tensor", name: "c.value" } });
  });
});

describe("findings about the model", () => {
  const header = [wire.int(1, 10), wire.message(8, [wire.int(2, 13)])];
  test.each([
    ["no graph", wire.concat(header), "QC1006 the model contains no graph"],
    [
      "no opset",
      wire.concat([wire.int(1, 10), wire.message(7, [])]),
      "QC1007 the model does not say which operator set it uses (opset_import is missing)",
    ],
    [
      "opset 0",
      w.model({ opset: 0 }),
      'QC1008 opset_import of the model: domain "" has the impossible version 0',
    ],
    [
      "two opsets",
      w.model({ opset: 13, opsets: { "ai.onnx": 14 } }),
      'QC1008 opset_import of the model: domain "" is imported as version 13 and as version 14',
    ],
    ["a later IR", w.model({ irVersion: 15 }), "QC1009 IR version 15 is not one this reader knows (3 to 14)"],
    [
      "training",
      w.model({ modelExtra: wire.message(20, []) }),
      "QC1010 training_info is ignored: only the inference graph is compiled",
    ],
    [
      "sparse",
      w.model({ extra: wire.message(15, [wire.message(1, [wire.string(8, "s")])]) }),
      "QC1011 sparse initializers are not supported: kernels read weights densely",
    ],
    [
      "negative dim",
      w.model({ inputs: [w.value("x", "int8", [-1])] }),
      "QC1023 declared shape: dimension -1 is negative; the dimension is taken as unknown",
    ],
    [
      "initializer twice",
      w.model({ initializers: { a: w.i8([], [1]), b: w.named("a", w.i8([], [1])) } }),
      'QC1107 initializer "a" is given twice',
    ],
    [
      "nameless initializer",
      w.model({ initializers: { "": w.i8([], [1]) } }),
      'QC1108 an initializer of graph "main" has no name',
    ],
    [
      "nameless operator",
      w.model({ nodes: [w.node("", [], ["y"])] }),
      "QC1108 the operator of a node has no name",
    ],
  ])("%s", (_, bytes, message) => {
    expect(problems(bytes)).toEqual([message]);
  });
  test("all findings at once", () => {
    const codes = problems(
      w.model({
        opset: 0,
        initializers: { a: w.raw("int8", [2], []), b: w.f32([-1], []) },
        nodes: [w.node("", [], ["y"])],
      }),
    ).map((p) => p.slice(0, 6));
    expect(codes).toEqual(["QC1008", "QC1014", "QC1013", "QC1108"]);
  });
});

describe("files that are no models", () => {
  test.each([
    ["", "QC1001 the model file is empty"],
    ["\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"],
    ["PK\x03\x04\x14\0\0\0", "a ZIP archive (a PyTorch, Keras or NumPy file, or a packed model)"],
    ['{"format": "graph-model"}', "JSON"],
    ["<!DOCTYPE html><html>", "an HTML or XML page"],
    ["version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"],
    ["\x1c\0\0\0TFL3\0\0\0\0", "a TensorFlow Lite model"],
    ["\x20\0\0\0ORTM\0\0\0\0", "an ORT-format model"],
    ["\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)"],
    ["\x80\x02}q\0", "a Python pickle"],
    ["\x1f\x8b\x08\0", "a gzip archive"],
    ["import torch\n", "text"],
    ['@\0\0\0\0\0\0\0{"a"', "a safetensors file"],
    ["\0asm\x01\0\0\0", "a WebAssembly module"],
  ])("%j", (content, what) => {
    const expected = what.startsWith("QC") ? what : `QC1002 not an ONNX model: the file looks like ${what}`;
    expect(problems(ascii(content), { path: "m.onnx" })).toEqual([expected]);
  });
  test("a file beyond protobuf's limit is refused unread", () => {
    expect(problems(new Uint8Array(2 ** 31))).toEqual([
      "QC1005 the model file has 2147483648 bytes; protobuf allows at most 2147483647",
    ]);
  });
  test("a protobuf of something else", () => {
    expect(problems(wire.string(2, "other"))).toContain("QC1006 the model contains no graph");
  });
});

test("a tensor of its own", () => {
  const bytes = wire.concat([
    wire.int(1, 2),
    wire.int(2, 22),
    wire.bytes(9, Uint8Array.of(0xf8)),
    wire.string(8, "t"),
  ]);
  const result = readTensor(bytes);
  expect(result.ok && elements(result.value)).toEqual(Int8Array.of(-8, -1));
  expect(readTensor(wire.int(1, 2)).diagnostics.map((d) => d.code)).toEqual(["QC1012"]);
  expect(readTensor(wire.string(2, "x")).diagnostics.map((d) => d.code)).toEqual(["QC1003"]);
});
