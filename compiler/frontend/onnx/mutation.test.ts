/** Damaged files: whatever happens to the bytes, the reader answers, the same each time, and never throws. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as w from "../../../test/onnx-writer.ts";
import { checkGraph } from "./graph.ts";
import type { OnnxGraph } from "./model.ts";
import { readModel } from "./reader.ts";
import { elements } from "./tensor.ts";

const body = w.graph({ nodes: [w.node("Relu", ["x"], ["r"])], outputs: [w.value("r")] });
const seed = w.model({
  inputs: [w.value("x", "float32", ["N", 2])],
  outputs: [w.value("y", "float32", ["N", 2])],
  valueInfo: [w.value("t", "int4", [2])],
  initializers: {
    a: w.f32([2], [1, 2]),
    b: w.typed(w.i4([3], [1, -8, 7])),
    c: w.unpacked(w.i64([2], [1, -1])),
    d: w.external(w.u8([2], []), "d", { offset: 1, length: 2 }),
    e: w.tensor("string", [1], ["s"]),
    f: w.f16([2], [0.5, -2]),
  },
  nodes: [
    w.node(
      "Add",
      ["x", "a"],
      ["t"],
      { k: [1, 2], f: 0.5, s: "s" },
      { metadata: { "pkg.torch.onnx.stack_trace": 'File "a", line 1' } },
    ),
    w.node("If", ["t"], ["y"], { then_branch: body, v: w.u2([5], [1, 2, 3, 0, 1]) }),
  ],
  functions: [
    {
      name: "F",
      domain: "d",
      inputs: ["i"],
      outputs: ["o"],
      defaults: { z: 1 },
      nodes: [w.node("Neg", ["i"], ["o"])],
    },
  ],
});
const external = () => new Uint8Array(8);

/** Everything the reader and its users would do, as a string. */
function outcome(bytes: Uint8Array): string {
  const result = readModel(bytes, { external });
  if (!result.ok) return JSON.stringify(result.diagnostics);
  const sizes: number[] = [];
  const visit = (graph: OnnxGraph) => {
    const tensors = [...graph.initializers.values()];
    for (const { attributes } of graph.nodes)
      for (const attribute of attributes.values())
        if (attribute.kind === "graph") visit(attribute.value);
        else if (attribute.kind === "tensor") tensors.push(attribute.value);
    for (const t of tensors) {
      const count = elements(t).length;
      if (count !== t.size * (t.dataType.startsWith("complex") ? 2 : 1))
        throw new Error(`${count} of ${t.size}`);
      sizes.push(count);
    }
  };
  visit(result.value.graph);
  return JSON.stringify([sizes, checkGraph(result.value)]);
}

describe("damaged files", () => {
  test("the undamaged one reads", () => expect(readModel(seed, { external }).ok).toBe(true));
  test("every truncation", () => {
    for (let length = 0; length < seed.length; length++) outcome(seed.subarray(0, length));
  });
  test("every single bit", () => {
    let accepted = 0;
    for (let bit = 0; bit < 8 * seed.length; bit++) {
      const bytes = seed.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (outcome(bytes).startsWith("[[")) accepted++;
    }
    // Flips in names and data leave a model; flips in tags and lengths mostly do not.
    expect(accepted).toBeGreaterThan(seed.length);
    expect(accepted).toBeLessThan(7 * seed.length);
  });
  test("bytes overwritten, cut out, repeated and spliced, the same outcome twice", () => {
    const place = fc.nat(seed.length - 1);
    const edit = fc.oneof(
      fc.record({
        kind: fc.constant("set"),
        at: place,
        bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
      }),
      fc.record({
        kind: fc.constant("cut"),
        at: place,
        bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }),
      }),
      fc.record({
        kind: fc.constant("insert"),
        at: place,
        bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }),
      }),
      fc.record({
        kind: fc.constant("copy"),
        at: place,
        from: place,
        bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let bytes: Uint8Array = seed;
        for (const e of edits) {
          const piece = "from" in e ? seed.slice(e.from, e.from + e.bytes.length) : e.bytes;
          const rest = e.kind === "insert" || e.kind === "copy" ? e.at : e.at + piece.length;
          bytes = Uint8Array.from([
            ...bytes.subarray(0, e.at),
            ...(e.kind === "cut" ? [] : piece),
            ...bytes.subarray(rest),
          ]);
        }
        expect(outcome(bytes)).toBe(outcome(bytes.slice()));
      }),
      { numRuns: 2000, seed: 7 },
    );
  });
  test("noise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        outcome(bytes);
      }),
      { numRuns: 1000, seed: 9 },
    );
  });
});
