import { describe, expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";
import { checkGraph, orderModel } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import { readModel } from "./reader.ts";

function read(spec: w.ModelSpec): OnnxModel {
  const result = readModel(w.model(spec));
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return result.value;
}
const findings = (spec: w.ModelSpec) =>
  checkGraph(read(spec)).map((d) => [
    `${d.code} ${d.message}`,
    ...d.notes.map((n) => `${n.label} ${n.text}`),
  ]);
function order(spec: w.ModelSpec): string[] {
  const result = orderModel(read(spec));
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  return result.value.graph.nodes.map((n) => n.outputs[0]!);
}
const x = [w.value("x", "float32", [1])];
const y = [w.value("y", "float32", [1])];

describe("well-formed graphs", () => {
  test("nothing to say, and the same nodes", () => {
    const model = read({
      inputs: [...x, w.value("w", "int8", [1])],
      outputs: [...y, w.value("x")],
      initializers: { w: w.i8([1], [1]) },
      nodes: [w.node("A", ["x", "", "w"], ["t", ""]), w.node("B", ["t"], ["y"])],
    });
    const result = orderModel(model);
    expect(result.diagnostics).toEqual([]);
    expect(result.ok && result.value.graph.nodes).toBe(model.graph.nodes);
  });
  test("a subgraph takes values from outside; a function body takes none", () => {
    const body = w.graph({ nodes: [w.node("Add", ["x", "t"], ["r"])], outputs: [w.value("r")] });
    const nodes = [w.node("A", ["x"], ["t"]), w.node("If", ["x"], ["y"], { then_branch: body })];
    expect(findings({ inputs: x, outputs: y, nodes })).toEqual([]);
    const fn = {
      name: "F",
      domain: "d",
      inputs: ["a"],
      outputs: ["b"],
      nodes: [w.node("Add", ["a", "x"], ["b"])],
    };
    expect(findings({ inputs: x, outputs: y, nodes, functions: [fn] })).toEqual([
      ['QC1102 nothing produces "x", which this node reads'],
    ]);
  });
});

describe("order", () => {
  test("nodes move forward only as far as needed, with one warning", () => {
    const nodes = [
      w.node("D", ["c"], ["y"]),
      w.node("A", ["x"], ["a"]),
      w.node("C", ["a", "b"], ["c"]),
      w.node("B", ["a"], ["b"]),
    ];
    expect(order({ inputs: x, outputs: y, nodes })).toEqual(["a", "b", "c", "y"]);
    expect(findings({ inputs: x, outputs: y, nodes })).toEqual([
      ["QC1104 2 nodes come before what they read; the graph was put into dataflow order"],
    ]);
  });
  test("what a subgraph captures orders the node that owns it, and subgraphs are ordered too", () => {
    const body = w.graph({
      nodes: [w.node("B", ["a"], ["r"]), w.node("A", ["t"], ["a"])],
      outputs: [w.value("r")],
    });
    const nodes = [w.node("If", ["x"], ["y"], { then_branch: body }), w.node("T", ["x"], ["t"])];
    const result = orderModel(read({ inputs: x, outputs: y, nodes }));
    const [first, second] = result.ok ? result.value.graph.nodes : [];
    expect([first?.op, second?.op]).toEqual(["T", "If"]);
    const inner = second?.attributes.get("then_branch");
    expect(inner?.kind === "graph" && inner.value.nodes.map((n) => n.op)).toEqual(["A", "B"]);
  });
});

describe("malformed graphs", () => {
  test("a value made twice", () => {
    const nodes = [w.node("A", ["x"], ["y"], {}, { name: "first" }), w.node("B", ["x"], ["y", "x"])];
    expect(findings({ inputs: x, outputs: y, nodes })).toEqual([
      ['QC1101 value "y" is defined more than once', 'defined by "A" "first"', 'defined by "B" making "y"'],
      [
        'QC1101 value "x" is defined more than once',
        "defined by an input or initializer of the graph",
        'defined by "B" making "y"',
      ],
    ]);
  });
  test("a value nobody makes, reported once", () => {
    const nodes = [w.node("A", ["q"], ["a"]), w.node("B", ["q", "a"], ["y"])];
    const model = read({ inputs: x, outputs: [...y, w.value("z")], nodes });
    expect(checkGraph(model)[0]?.loc).toEqual({ kind: "node", op: "A", name: "", output: "a" });
    expect(findings({ inputs: x, outputs: [...y, w.value("z")], nodes })).toEqual([
      ['QC1102 nothing produces "q", which this node reads', "also read by 1 more"],
      ['QC1106 nothing produces the graph output "z"'],
    ]);
  });
  test("cycles, named in the direction of the data", () => {
    const nodes = [
      w.node("A", ["x", "c"], ["a"]),
      w.node("B", ["a"], ["b"], {}, { name: "bee" }),
      w.node("C", ["b"], ["c"]),
      w.node("S", ["s", "a"], ["s"]),
      w.node("Y", ["c", "s"], ["y"]),
    ];
    expect(findings({ inputs: x, outputs: y, nodes })).toEqual([
      [
        "QC1103 3 nodes form a cycle",
        'through "A" making "a"',
        'through "B" "bee"',
        'through "C" making "c"',
      ],
      ["QC1103 the node reads its own output", 'through "S" making "s"'],
    ]);
  });
  test("a cycle through a subgraph", () => {
    const body = w.graph({ nodes: [w.node("A", ["t"], ["r"])], outputs: [w.value("r")] });
    const nodes = [w.node("If", ["x"], ["y"], { then_branch: body }), w.node("T", ["y"], ["t"])];
    expect(findings({ inputs: x, outputs: y, nodes })).toEqual([
      ["QC1103 2 nodes form a cycle", 'through "If" making "y"', 'through "T" making "t"'],
    ]);
  });
  test("names used twice or missing", () => {
    const nodes = [
      w.node("A", ["x"], ["a"], {}, { name: "n" }),
      w.node("B", ["a"], ["y"], {}, { name: "n" }),
    ];
    expect(
      findings({ inputs: [...x, ...x, w.value("")], outputs: [...y, ...y, w.value("")], nodes }),
    ).toEqual([
      ['QC1109 graph input "x" is declared twice'],
      ["QC1108 a graph input has no name"],
      ['QC1105 2 nodes are named "n"', "meaning unaffected: values connect nodes, names only label them"],
      ['QC1109 graph output "y" is declared twice'],
      ["QC1108 a graph output has no name"],
    ]);
  });
});

describe("size", () => {
  const N = 100_000;
  const timed = <T>(f: () => T): [T, number] => {
    const start = performance.now();
    const result = f();
    return [result, performance.now() - start];
  };
  test("100,000 nodes in reverse order", () => {
    const nodes = Array.from({ length: N }, (_, i) =>
      w.node("Relu", [i === 0 ? "x" : `v${i - 1}`], [`v${i}`]),
    );
    const bytes = w.model({ inputs: x, outputs: [w.value(`v${N - 1}`)], nodes: nodes.toReversed() });
    const [result, milliseconds] = timed(() => {
      const model = readModel(bytes);
      return model.ok ? orderModel(model.value) : model;
    });
    expect(result.ok && result.value.graph.nodes.map((n) => n.outputs[0])).toEqual(
      nodes.map((n) => n.outputs[0]),
    );
    expect(milliseconds).toBeLessThan(10_000);
  });
  test("100,000 errors are found in linear time and shown in part", () => {
    const nodes = Array.from({ length: N }, (_, i) =>
      w.node("Add", [`m${i}`, "y", `v${(i + 1) % N}`], [`v${i}`, "y"], {}, { name: `n${i >> 1}` }),
    );
    const model = read({ outputs: y, nodes });
    const [diagnostics, milliseconds] = timed(() => checkGraph(model));
    const counts = new Map<string, number>();
    for (const { code } of diagnostics) counts.set(code, (counts.get(code) ?? 0) + 1);
    expect(Object.fromEntries(counts)).toEqual({ QC1101: 1, QC1102: 51, QC1103: 51, QC1105: 51 });
    expect(diagnostics.map((d) => d.message)).toContain(`${N - 50} more of the same kind are not shown`);
    expect(milliseconds).toBeLessThan(10_000);
  });
  test("a captured set of 200,000 names does not overflow the stack", () => {
    const names = Array.from({ length: 200_000 }, (_, i) => `c${i}`);
    const body = w.graph({ nodes: [w.node("Sum", names, ["r"])], outputs: [w.value("r")] });
    const inputs = names.map((name) => w.value(name));
    expect(findings({ inputs, outputs: y, nodes: [w.node("If", [], ["y"], { then_branch: body })] })).toEqual(
      [],
    );
  });
});
