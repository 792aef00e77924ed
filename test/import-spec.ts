/** ONNX specs through reader, ordering and import, and their evaluation by interpreter and onnxruntime. */
import * as ort from "onnxruntime-node";
import { type ImportOptions, importModel } from "../compiler/frontend/import.ts";
import { orderModel } from "../compiler/frontend/onnx/graph.ts";
import { readModel } from "../compiler/frontend/onnx/reader.ts";
import { dense, storageOf } from "../compiler/ir/dense.ts";
import type { Diagnostic, Result } from "../compiler/ir/diagnostics.ts";
import { interpret } from "../compiler/ir/interpreter.ts";
import type { Func, Module, Op } from "../compiler/ir/module.ts";
import { type ModelSpec, model } from "./onnx-writer.ts";

export function importBytes(bytes: Uint8Array, options?: ImportOptions): Result<Module> {
  const read = readModel(bytes);
  if (!read.ok) return read;
  const ordered = orderModel(read.value);
  return ordered.ok ? importModel(ordered.value, options) : ordered;
}

export const importSpec = (spec: ModelSpec, options?: ImportOptions): Result<Module> =>
  importBytes(model(spec), options);

const texts = (diagnostics: readonly Diagnostic[]): string =>
  diagnostics.map((d) => `${d.code} ${d.message}`).join("\n");

/** The entry function of a spec that imports without errors. Throws with the findings otherwise. */
export function mainOf(spec: ModelSpec, options?: ImportOptions): Func {
  const result = importSpec(spec, options);
  if (!result.ok) throw new Error(texts(result.diagnostics));
  return result.value.funcs[0]!;
}

/** The errors of a spec that does not import, warnings of one that does; each as code and message. */
export const findings = (spec: ModelSpec, options?: ImportOptions): readonly Diagnostic[] =>
  importSpec(spec, options).diagnostics;

export const opNames = (func: Func): readonly string[] => func.ops.map((op) => op.name);

export function onlyOp(func: Func, name: string): Op {
  const found = func.ops.filter((op) => op.name === name);
  if (found.length !== 1) throw new Error(`${found.length} ops are called ${name}: ${opNames(func).join()}`);
  return found[0]!;
}

/** Results of the interpreter by output name. */
export function run(
  spec: ModelSpec,
  inputs: ReadonlyMap<string, readonly number[]>,
): ReadonlyMap<string, Float64Array> {
  const main = mainOf(spec);
  const args = new Map(
    main.params.map((p) => [
      p.name,
      dense(storageOf(p.value.type.elem), p.value.type.shape, inputs.get(p.name)!),
    ]),
  );
  const outputs = interpret({ funcs: [main] }, args);
  return new Map(outputs.map(({ port, dense: d }) => [port.name, Float64Array.from(d.data)]));
}

const ARRAYS = {
  float32: Float32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int32: Int32Array,
} as const;

/** Results of onnxruntime, graph optimizations disabled, by output name; with the shapes. */
export async function runOrt(
  spec: ModelSpec,
  inputs: ReadonlyMap<string, readonly number[]>,
): Promise<ReadonlyMap<string, { readonly dims: readonly number[]; readonly data: Float64Array }>> {
  const session = await ort.InferenceSession.create(model(spec), {
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
  });
  const feeds: Record<string, ort.Tensor> = {};
  for (const { name, dtype, shape } of spec.inputs ?? []) {
    const array = ARRAYS[dtype as keyof typeof ARRAYS];
    const dims = shape!.map((d) => (typeof d === "number" ? d : 1));
    feeds[name] = new ort.Tensor(dtype as "float32", array.from(inputs.get(name)!) as Float32Array, dims);
  }
  const results = await session.run(feeds);
  return new Map(
    Object.entries(results).map(([name, t]) => [
      name,
      { dims: t.dims, data: Float64Array.from(t.data as Float32Array, Number) },
    ]),
  );
}

/** Seeded numbers in [−1, 1), multiples of 2^−12, hence exact in float32. */
export function noise(n: number, seed: number): number[] {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 19) / 4096 - 1;
  });
}
