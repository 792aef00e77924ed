/** The reader against `onnx-proto`, an independent writer and reader of ONNX 1.10, and on real models. */

import fc from "fast-check";
import { onnx } from "onnx-proto";
import { describe, expect, test } from "vitest";
import { loadModelBytes, zooIsThere, zooModels } from "../../../test/zoo.ts";
import { dataTypeOf } from "./data-types.ts";
import { orderModel } from "./graph.ts";
import type { OnnxGraph, OnnxModel } from "./model.ts";
import { readModel } from "./reader.ts";
import { elements } from "./tensor.ts";

function read(bytes: Uint8Array): OnnxModel {
  const result = readModel(bytes);
  if (!result.ok) throw new Error(result.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n"));
  return result.value;
}

// Integers that `onnx-proto` writes exactly, and that both sides show as numbers.
const int64 = fc.maxSafeInteger();
const name = fc.string({ unit: "grapheme", maxLength: 12 });
const names = fc.array(name, { maxLength: 3 });
const float = fc.float({ noNaN: true });

const tensor = fc.record({
  rank: fc.nat(3),
  data: fc.array(fc.integer({ min: -128, max: 127 })),
  typed: fc.boolean(),
});
const attribute = fc.oneof(
  fc.record({ type: fc.constant(1), f: float }),
  fc.record({ type: fc.constant(2), i: int64 }),
  fc.record({ type: fc.constant(3), s: fc.string({ unit: "grapheme" }) }),
  fc.record({ type: fc.constant(6), floats: fc.array(float) }),
  fc.record({ type: fc.constant(7), ints: fc.array(int64) }),
  fc.record({ type: fc.constant(8), strings: names }),
);
const node = fc.record({
  opType: fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
  name,
  domain: fc.constantFrom("", "com.microsoft"),
  input: names,
  output: names,
  attributes: fc.dictionary(fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }), attribute, {
    maxKeys: 4,
  }),
});
const dim = fc.oneof(
  fc.nat(),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }),
  fc.constant(undefined),
);
const info = fc.record({
  name,
  elemType: fc.integer({ min: 1, max: 16 }),
  shape: fc.option(fc.array(dim, { maxLength: 4 })),
});
const random = fc.record({
  irVersion: fc.integer({ min: 3, max: 8 }),
  opset: fc.integer({ min: 1, max: 30 }),
  graphName: name,
  nodes: fc.array(node, { maxLength: 5 }),
  tensors: fc.dictionary(fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }), tensor, { maxKeys: 4 }),
  inputs: fc.array(info, { maxLength: 3 }),
});
type Random = typeof random extends fc.Arbitrary<infer T> ? T : never;

const utf8 = (text: string) => new TextEncoder().encode(text);
const own = <T>(record: Record<string, T>): [string, T][] => Object.entries(record);
const dimsOf = (t: { rank: number; data: number[] }) =>
  Array.from({ length: t.rank + 1 }, (_, i) => (i === 0 ? t.data.length : 1));

function write(m: Random): Uint8Array {
  return onnx.ModelProto.encode({
    irVersion: m.irVersion,
    producerName: m.graphName,
    opsetImport: [{ domain: "", version: m.opset }],
    graph: {
      name: m.graphName,
      node: m.nodes.map(({ attributes, ...rest }) => ({
        ...rest,
        attribute: own(attributes).map(([key, value]) => ({
          ...value,
          name: key,
          ...("s" in value ? { s: utf8(value.s) } : {}),
          ...("strings" in value ? { strings: value.strings.map(utf8) } : {}),
        })) as onnx.IAttributeProto[],
      })),
      initializer: own(m.tensors).map(([key, t]) => ({
        name: key,
        dataType: 3,
        dims: dimsOf(t),
        ...(t.typed ? { int32Data: t.data } : { rawData: Uint8Array.from(t.data) }),
      })),
      input: m.inputs.map((v) => ({
        name: v.name,
        type: {
          tensorType: {
            elemType: v.elemType,
            ...(v.shape === null
              ? {}
              : {
                  shape: {
                    dim: v.shape.map((d) =>
                      typeof d === "number" ? { dimValue: d } : d === undefined ? {} : { dimParam: d },
                    ),
                  },
                }),
          },
        },
      })),
    },
  }).finish();
}

test("random models are read as onnx-proto wrote them", () => {
  fc.assert(
    fc.property(random, (m) => {
      const model = read(write(m));
      expect(model.irVersion).toBe(m.irVersion);
      expect([...model.opsets]).toEqual([["", m.opset]]);
      expect(model.graph.name).toBe(m.graphName);
      const { nodes, initializers, inputs } = model.graph;
      expect(nodes.map((n) => [n.op, n.name, n.domain, n.inputs, n.outputs])).toEqual(
        m.nodes.map((n) => [n.opType, n.name, n.domain, n.input, n.output]),
      );
      m.nodes.forEach((n, i) => {
        expect([...nodes[i]!.attributes].map(([key, a]) => [key, "value" in a && a.value])).toEqual(
          own(n.attributes).map(([key, a]) => {
            const { type, ...value } = a;
            return [key, Object.values(value)[0]];
          }),
        );
      });
      expect(
        [...initializers].map(([key, t]) => [key, t.dims, Array.from(elements(t) as Int8Array)]),
      ).toEqual(own(m.tensors).map(([key, t]) => [key, dimsOf(t), t.data]));
      expect(inputs).toEqual(
        m.inputs.map((v) => ({
          name: v.name,
          container: "tensor",
          elemType: dataTypeOf(v.elemType),
          shape: v.shape ?? undefined,
        })),
      );
    }),
    { numRuns: 300, seed: 1 },
  );
});

/** Graphs with their subgraphs, in one shape for both readers. */
type Summary = readonly [
  nodes: number,
  initializers: readonly (readonly [string, string])[],
  subgraphs: readonly Summary[],
];
const ours = (graph: OnnxGraph): Summary => [
  graph.nodes.length,
  [...graph.initializers].map(([key, t]) => [key, t.dims.join("x")] as const),
  graph.nodes.flatMap((n) =>
    [...n.attributes.values()].flatMap((a) => (a.kind === "graph" ? [ours(a.value)] : [])),
  ),
];
const theirs = (graph: onnx.IGraphProto): Summary => [
  graph.node?.length ?? 0,
  (graph.initializer ?? []).map((t) => [t.name ?? "", (t.dims ?? []).join("x")] as const),
  (graph.node ?? []).flatMap((n) => (n.attribute ?? []).flatMap((a) => (a.g ? [theirs(a.g)] : []))),
];

// `zooIsThere` prints why, where it is not.
describe.runIf(zooIsThere)("the zoo", () => {
  const models = zooModels();
  test("is not empty", () => expect(models.length).toBeGreaterThan(20));
  test.each(models)("%s", (name) => {
    const bytes = loadModelBytes(name);
    const model = read(bytes);
    expect(ours(model.graph)).toEqual(theirs(onnx.ModelProto.decode(bytes).graph!));
    for (const t of model.graph.initializers.values()) expect(elements(t).length).toBe(t.size);
    // Also `invalid/duplicate_names`: its names are distinct, the clash arises inside onnxruntime's own fusions.
    expect(orderModel(model)).toMatchObject({ ok: true, diagnostics: [] });
  });
});
