import { describe, expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";
import * as wire from "../../../test/protobuf-wire.ts";
import { readModel } from "./reader.ts";
import { checkWire } from "./wire.ts";

const problem = (bytes: Uint8Array) => {
  const report = checkWire(bytes);
  return report.ok ? undefined : report.problem;
};
const inGraph = (...parts: Uint8Array[]) => wire.message(7, parts);

describe("framing", () => {
  test.each([
    [
      "a length beyond the end",
      Uint8Array.of(0x3a, 5, 0),
      { offset: 0, path: "graph", reason: "5 bytes are announced, 1 are left" },
    ],
    [
      "a length beyond the parent",
      inGraph(Uint8Array.of(0x0a, 9)),
      { offset: 2, path: "graph.node", reason: "9 bytes are announced, 0 are left" },
    ],
    [
      "a tag that does not end",
      Uint8Array.of(0x80),
      { offset: 0, path: "", reason: "the field tag does not end" },
    ],
    [
      "a tag of more than 32 bits",
      Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x7f),
      { offset: 0, path: "", reason: "the field tag does not end" },
    ],
    [
      "an integer of eleven bytes",
      Uint8Array.of(8, ...Array(10).fill(0x80), 0),
      { offset: 0, path: "ir_version", reason: "the integer does not end" },
    ],
    [
      "a length that does not end",
      Uint8Array.of(0x3a, 0x80),
      { offset: 0, path: "graph", reason: "the length does not end" },
    ],
    ["field number 0", Uint8Array.of(0x02, 0), { offset: 0, path: "", reason: "field number 0" }],
    [
      "a group",
      Uint8Array.of(0x0b),
      { offset: 0, path: "ir_version", reason: "expected a varint, found a group" },
    ],
    [
      "a group in an unknown field",
      Uint8Array.of(8, 10, 0x7b),
      { offset: 2, path: "field 15", reason: "wire type 3 does not occur in ONNX" },
    ],
    [
      "wire type 7",
      Uint8Array.of(0x7f),
      { offset: 0, path: "field 15", reason: "wire type 7 does not occur in ONNX" },
    ],
    [
      "a number for a name",
      inGraph(wire.message(1, [wire.int(4, 1)])),
      { offset: 4, path: "graph.node.op_type", reason: "expected bytes, found a varint" },
    ],
    [
      "bytes for a number",
      wire.string(1, "x"),
      { offset: 0, path: "ir_version", reason: "expected a varint, found bytes" },
    ],
    [
      "floats of three bytes",
      inGraph(wire.message(1, [wire.message(5, [wire.bytes(7, new Uint8Array(3))])])),
      { offset: 8, path: "graph.node.attribute.floats", reason: "3 bytes are not a whole number of floats" },
    ],
    [
      "an open packed integer",
      inGraph(wire.message(1, [wire.message(5, [wire.bytes(8, Uint8Array.of(1, 0x80))])])),
      { offset: 8, path: "graph.node.attribute.ints", reason: "a packed integer does not end" },
    ],
  ])("%s", (_, bytes, expected) => {
    expect(problem(bytes)).toEqual({ kind: "malformed", ...expected });
    expect(readModel(bytes).diagnostics[0]!.code).toBe("QC1003");
  });

  test("unknown fields of every ONNX wire type are skipped", () => {
    const extra = wire.concat([
      wire.int(100, 5),
      wire.float(101, 1),
      wire.double(102, 1),
      wire.string(103, "x"),
    ]);
    expect(readModel(w.model({ modelExtra: extra, extra })).ok).toBe(true);
  });

  test("a name that is not UTF-8", () => {
    const bytes = w.model({
      extra: wire.message(1, [wire.bytes(2, Uint8Array.of(0xff)), wire.string(4, "X")]),
    });
    expect(readModel(bytes).diagnostics[0]!.message).toBe(
      "the file is not well-formed protobuf: a name is not valid UTF-8",
    );
  });
  test("a comment or metadata that is not UTF-8 does no harm", () => {
    const bad = wire.bytes(6, Uint8Array.of(0xff));
    const metadata = wire.message(14, [wire.string(1, "k"), wire.bytes(2, Uint8Array.of(0xff))]);
    expect(readModel(w.model({ modelExtra: wire.concat([bad, metadata]) })).ok).toBe(true);
  });
});

describe("limits", () => {
  const nested = (depth: number) => {
    let g = w.graph({});
    for (let i = 0; i < depth; i++) g = w.graph({ nodes: [w.node("If", [], [`v${i}`], { then_branch: g })] });
    return w.model(g);
  };
  test("subgraphs nest to a limit, and no stack overflows", () => {
    expect(readModel(nested(30)).ok).toBe(true);
    expect(problem(nested(200))).toMatchObject({ kind: "limit", what: "messages nested more than 100 deep" });
    expect(readModel(nested(200)).diagnostics[0]!.code).toBe("QC1004");
    // A megabyte of nothing but nesting.
    let lengths: number[] = [];
    const parts: number[][] = [];
    for (let size = 0, i = 0; i < 200_000; i++) {
      lengths = [...wire.varint(size)];
      parts.push([[0x0a, 0x2a, 0x32][(199_999 - i) % 3]!, ...lengths]);
      size += 1 + lengths.length;
    }
    const graph = Uint8Array.from(parts.reverse().flat());
    expect(problem(wire.message(7, [graph]))?.kind).toBe("limit");
  });
  test("a type that nests without end", () => {
    let type = wire.message(1, []);
    for (let i = 0; i < 300; i++) type = wire.message(4, [wire.message(1, [type])]);
    expect(problem(w.model({ extra: wire.message(11, [wire.message(2, [type])]) }))?.kind).toBe("limit");
  });
  test("the number of messages and numbers is bounded before anything is decoded", () => {
    const nodes = new Uint8Array(2 << 22).map((_, i) => (i % 2 === 0 ? 0x0a : 0));
    const bytes = wire.concat([w.model({}), wire.bytes(7, nodes), wire.bytes(7, nodes.subarray(0, 100))]);
    const before = process.memoryUsage().heapUsed;
    const result = readModel(bytes);
    expect(result.diagnostics[0]!.message).toBe(
      "the model exceeds a limit of the reader: more than 4194304 submessages",
    );
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(32 << 20);
    const many = wire.message(7, [
      wire.message(1, [wire.message(5, [wire.bytes(8, new Uint8Array((1 << 24) + 1))])]),
    ]);
    expect(problem(many)).toMatchObject({
      kind: "limit",
      what: "more than 16777216 numbers outside of tensors",
    });
  });
});
