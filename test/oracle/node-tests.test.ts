/**
 * The oracle on the ONNX standard's own node tests: for every operator it covers, the reference outputs. Integers must
 * be equal; floats are float32 results of the reference, so they agree to float32 precision only.
 */
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import type { OnnxModel, OnnxTensor } from "../../compiler/frontend/onnx/model.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { elements } from "../../compiler/frontend/onnx/tensor.ts";
import { requireOrSkip } from "../require.ts";
import { zooPath } from "../zoo.ts";
import { evaluateOnnx, type NumericArray } from "./evaluate.ts";

const ARCHIVE = zooPath("onnx-node-tests.tar.gz");

/** Regular files of a tar archive. */
function untar(bytes: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (from: number, length: number) =>
    new TextDecoder().decode(bytes.subarray(from, from + length)).replace(/\0.*$/s, "");
  let longName: string | undefined;
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    const type = text(at + 156, 1);
    const body = bytes.slice(at + 512, at + 512 + size);
    const prefix = text(at + 345, 155);
    if (type === "L") longName = new TextDecoder().decode(body).replace(/\0.*$/s, "");
    else {
      if (type === "0" || type === "")
        files.set(longName ?? (prefix === "" ? "" : `${prefix}/`) + text(at, 100), body);
      longName = undefined;
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

const joined = (...parts: readonly ArrayLike<number>[]): Uint8Array => {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
};

/** A protobuf field of submessage `bytes`. */
function field(number: number, bytes: Uint8Array): Uint8Array {
  const head = [number * 8 + 2];
  let length = bytes.length;
  for (; length >= 128; length = Math.floor(length / 128)) head.push((length % 128) + 128);
  return joined(head, [length], bytes);
}

/** A serialized TensorProto, read as the only initializer of a model; undefined for anything else. */
function readTensor(bytes: Uint8Array): OnnxTensor | undefined {
  const irVersion = [8, 10];
  const opset = field(8, Uint8Array.of(16, 21));
  const result = readModel(joined(irVersion, opset, field(7, field(5, bytes))));
  return result.ok ? [...result.value.graph.initializers.values()][0] : undefined;
}

interface Case {
  readonly name: string;
  readonly model: OnnxModel;
  readonly inputs: readonly OnnxTensor[];
  readonly outputs: readonly OnnxTensor[];
}

function casesOf(files: ReadonlyMap<string, Uint8Array>): Case[] {
  return [...files.keys()]
    .filter((path) => path.endsWith("/model.onnx"))
    .flatMap((path) => {
      const folder = path.slice(0, -"model.onnx".length);
      const result = readModel(files.get(path)!);
      if (!result.ok) return [];
      const list = (kind: string) => {
        const tensors: (OnnxTensor | undefined)[] = [];
        for (let i = 0; files.has(`${folder}test_data_set_0/${kind}_${i}.pb`); i++)
          tensors.push(readTensor(files.get(`${folder}test_data_set_0/${kind}_${i}.pb`)!));
        return tensors;
      };
      const [inputs, outputs] = [list("input"), list("output")];
      if (![...inputs, ...outputs].every((tensor) => tensor !== undefined)) return [];
      const name = folder.split("/").at(-2)!;
      return [
        { name, model: result.value, inputs: inputs as OnnxTensor[], outputs: outputs as OnnxTensor[] },
      ];
    });
}

/** Tests whose expected values were written down with four decimals. */
const ROUNDED = ["test_averagepool_2d_ceil_last_window_starts_on_pad"];

/** Which of the standard's tests hold what; thrown errors are what the oracle does not cover. */
function outcome({
  name: test,
  model,
  inputs,
  outputs,
}: Case): "passed" | { readonly failed: string } | { readonly skipped: string } {
  const data = new Map<string, NumericArray>();
  model.graph.inputs.forEach((info, i) => {
    if (inputs[i] !== undefined) data.set(info.name, elements(inputs[i]) as NumericArray);
  });
  let evaluation: ReturnType<typeof evaluateOnnx>;
  try {
    evaluation = evaluateOnnx(model, data);
  } catch (error) {
    return { skipped: error instanceof Error ? error.message : String(error) };
  }
  for (const [i, { name }] of model.graph.outputs.entries()) {
    const expected = outputs[i]!;
    const result = evaluation.outputs.get(name)!;
    if (result.shape.join() !== expected.dims.join())
      return { failed: `${name}: shape [${result.shape.join()}] instead of [${expected.dims.join()}]` };
    const values = Array.from(elements(expected) as ArrayLike<number | bigint>, Number);
    const largest = values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const float32 = ROUNDED.includes(test) ? 1e-4 : 2e-5 * largest + 1e-6;
    const slack = result.kind === "int" ? 0 : expected.dataType === "float32" ? float32 : 2e-2 * largest;
    const at = values.findIndex(
      (value, e) => !(Object.is(value, result.values[e]) || Math.abs(value - result.values[e]!) <= slack),
    );
    if (at >= 0) return { failed: `${name}[${at}]: ${result.values[at]} instead of ${values[at]}` };
  }
  return "passed";
}

const present = requireOrSkip("the standard's node tests", existsSync(ARCHIVE), `no ${ARCHIVE}`);
describe.skipIf(!present)("the standard's node tests", () => {
  it("hold for every operator the oracle covers", () => {
    const cases = casesOf(untar(gunzipSync(new Uint8Array(readFileSync(ARCHIVE)))));
    const passed = new Map<string, number>();
    const skipped = new Map<string, string[]>();
    const failed: string[] = [];
    for (const one of cases) {
      const result = outcome(one);
      const op = one.model.graph.nodes.map((node) => node.op).join("+");
      if (result === "passed") passed.set(op, (passed.get(op) ?? 0) + 1);
      else if ("failed" in result) failed.push(`${one.name}: ${result.failed}`);
      else skipped.set(result.skipped, [...(skipped.get(result.skipped) ?? []), one.name]);
    }
    const total = [...passed.values()].reduce((a, b) => a + b, 0);
    const simple = [...passed].filter(([op]) => !op.includes("+")).sort();
    console.log(`${total} of ${cases.length} passed: ${simple.map(([op, n]) => `${op} ${n}`).join(", ")}`);
    if (process.env.QC_LIST_SKIPPED === "1")
      console.log([...skipped].map(([why, names]) => `${why}: ${names.join()}`).join("\n"));
    expect(failed).toEqual([]);
    expect(total).toBeGreaterThan(200);
    const products = { QLinearConv: 1, QLinearMatMul: 8, ConvInteger: 2, MatMulInteger: 1 };
    for (const [op, count] of Object.entries(products)) expect([op, passed.get(op)]).toEqual([op, count]);
  });
});
