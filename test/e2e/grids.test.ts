/**
 * Models whose input has no quantizer, given a grid: the artifact equals that of the file with the quantizer written into
 * it, which equals the exact oracle.
 */
import onnx from "onnx-proto";
import { expect, test } from "vitest";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { parseGrid } from "../../compiler/passes/insert-quantizers.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel as open } from "../../runtime/index.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { full } from "../require.ts";
import { loadModelBytes, loadSamples } from "../zoo.ts";
import { compileBytes, describeZoo, differences, runnersOf } from "./compiled.ts";
import { compareWithOracle, integersOf, planOf, type Tensors } from "./exact.ts";

const { ModelProto, NodeProto, TensorProto } = onnx.onnx;

/** The file with a QONNX quantizer behind its input. */
function quantizedInput(bytes: Uint8Array, input: string, scale: number, bits: number, signed: boolean) {
  const model = ModelProto.decode(bytes);
  const graph = model.graph!;
  const domain = graph.node!.find((n) => n.opType === "Quant")!.domain!;
  for (const node of graph.node!) node.input = node.input!.map((name) => (name === input ? "on_grid" : name));
  const parameter = (name: string, value: number) =>
    graph.initializer!.push(TensorProto.create({ name, dataType: 1, dims: [], floatData: [value] }));
  parameter("grid_scale", scale);
  parameter("grid_zero", 0);
  parameter("grid_bits", bits);
  const attribute = (name: string, i: number) => ({ name, type: 2, i });
  graph.node!.unshift(
    NodeProto.create({
      opType: "Quant",
      domain,
      input: [input, "grid_scale", "grid_zero", "grid_bits"],
      output: ["on_grid"],
      attribute: [
        attribute("signed", signed ? 1 : 0),
        attribute("narrow", 0),
        { name: "rounding_mode", type: 3, s: new TextEncoder().encode("ROUND") },
      ],
    }),
  );
  return ModelProto.encode(model).finish();
}

const CASES = [
  { name: "qonnx/unsw_nb15_w2a2", input: "onnx::Add_0", grid: "i2@1", scale: 1, bits: 2, signed: true },
  {
    name: "qonnx/espcn_subpixel",
    input: "x.7",
    grid: "u8@0.00392156862745098",
    scale: 1 / 255,
    bits: 8,
    signed: false,
  },
];

if (!full) console.warn("skipped: espcn_subpixel with a grid: slow, it runs in npm run test:full");

describeZoo("grids of inputs", () => {
  test.each(full ? CASES : CASES.slice(0, 1))(
    "$name",
    { timeout: 600_000 },
    async ({ name, input, grid, scale, bits, signed }) => {
      const bytes = loadModelBytes(name);
      const written = quantizedInput(bytes, input, Math.fround(scale), bits, signed);
      const read = readModel(written);
      if (!read.ok) throw new Error(read.diagnostics.map((d) => d.message).join("\n"));
      const model = read.value;
      const samples = loadSamples(name);
      const count = full ? samples.count : 1;
      const debug = await compileBytes(written, { debug: true });
      const runners = await runnersOf(debug);
      const given = await compileBytes(bytes, { grids: [`${input}=${grid}`] });
      const { manifest, baseline } = given;
      const artifact = await open(
        layoutOf(manifest),
        {},
        { wasm: baseline as Uint8Array<ArrayBuffer>, backend: "baseline" },
      );
      const output = manifest.outputs[0]!.name;
      for (let i = 0; i < count; i++) {
        const x: Tensors = new Map([[input, samples.inputs[i]!]]);
        const quantizers = [...evaluateOnnx(model, x as ReadonlyMap<string, NumericArray>).quantizers.keys()];
        const integers = integersOf(debug.module, x);
        const { findings } = compareWithOracle(model, planOf(model, debug.module, quantizers), x, integers);
        expect(findings.differences).toEqual([]);
        for (const { name: module, run } of runners)
          expect(differences(integers, run(x)), module).toEqual([]);
      }
      let [equal, elements] = [0, 0];
      for (let i = 0; i < samples.count; i++) {
        const y = artifact.run({ [input]: samples.inputs[i] as Float32Array })[output] as Float32Array;
        const expected = samples.expected[i] as Float32Array;
        expect(y.length).toBe(expected.length);
        const written = integersOf(debug.module, new Map([[input, samples.inputs[i]!]])).get(output)!;
        const raw = integersOf(given.module, new Map([[input, samples.inputs[i]!]])).get(output)!;
        if (i < count) expect(raw).toEqual(written);
        for (const [j, v] of y.entries()) {
          elements++;
          if (Math.abs(v - expected[j]!) <= 1e-6 * Math.max(1, Math.abs(v))) equal++;
        }
      }
      console.log(`${name}: ${equal} of ${elements} outputs as the zoo states`);
      expect(equal / elements).toBeGreaterThan(0.99);
    },
  );
});

test.each([
  ["x=u4@0.05", { storage: { kind: "int", signed: false, bits: 4 }, lo: 0, hi: 15, zeroPoint: 0 }],
  ["a=b@c=i8@1,-3", { storage: { kind: "int", signed: true, bits: 8 }, lo: -128, hi: 127, zeroPoint: -3 }],
])("%s is a grid", (text, want) => {
  const grid = parseGrid(text)!;
  const { storage, lo, hi, scheme } = grid.type;
  expect(grid.tensor).toBe(text.slice(0, text.lastIndexOf("=")));
  expect({ storage, lo, hi, zeroPoint: scheme.kind === "tensor" && scheme.zeroPoint }).toEqual(want);
});

test.each([
  "x",
  "x=u8",
  "x=f8@1",
  "x=u0@1",
  "x=u33@1",
  "x=u8@0",
  "x=u8@-1",
  "x=u8@x",
  "x=u4@1,16",
  "=u8@1",
  "x=u8@1,2,3",
  "x=u8@1e99",
])("%s is no grid", (text) => expect(parseGrid(text)).toBeUndefined());
