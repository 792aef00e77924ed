/**
 * Graphs with scales of the run, bit for bit: the oracle in float32 = onnxruntime = the interpreter in float32 = both modules, at
 * every output, on values at the ends of what float32 and the integers hold.
 */
import { expect } from "vitest";
import { targetsOf } from "../../compiler/backends/wasm/build.ts";
import { runReference } from "../../compiler/cli/reference.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import type { Compiled } from "../../compiler/index.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { runOrt } from "../import-spec.ts";
import { normal as normalValues } from "../normal.ts";
import { i8, type ModelSpec, model as modelBytes, node, u8 } from "../onnx-writer.ts";
import { evaluateOnnx } from "../oracle/evaluate.ts";
import { randomSource } from "../zoo.ts";
import { compileBytes, firstDifference } from "./compiled.ts";
import { readTensor, writeTensor } from "./memory.ts";

type Floats = readonly number[];
type Fill = (n: number, seed: number) => Floats;

export const normal: Fill = (n, seed) => Array.from(normalValues(n, seed));

/** What a tensor can be. */
export const FILLS: { readonly [name: string]: Fill } = {
  normal,
  "all zero": (n) => new Array<number>(n).fill(0),
  "all equal": (n) => new Array<number>(n).fill(Math.fround(1.3)),
  "all equal and negative": (n) => new Array<number>(n).fill(Math.fround(-0.7)),
  positive: (n, seed) => normal(n, seed).map((v) => Math.abs(v) + 1),
  negative: (n, seed) => normal(n, seed).map((v) => -Math.abs(v) - 1),
  "one large": (n, seed) => normal(n, seed).map((v, i) => (i === n >> 1 ? 1e6 : v)),
  huge: (n, seed) => normal(n, seed).map((v) => Math.fround(v * 1e33)),
  tiny: (n, seed) => normal(n, seed).map((v) => Math.fround(v * 1e-37)),
  denormal: (n, seed) => normal(n, seed).map((v) => Math.fround(v * 1e-40)),
  ties: (n, seed) => normal(n, seed).map((v, i) => (i === 0 ? 255 : Math.abs(Math.round(v * 40)) + 0.5)),
};

export const integers = (n: number, seed: number, lo: number, hi: number): number[] => {
  const next = randomSource(seed);
  return Array.from({ length: n }, (_, i) =>
    i === 0 ? lo : i === 1 ? hi : lo + Math.floor(next() * (hi - lo + 1)),
  );
};
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const weights = (dims: readonly number[], seed = 5) =>
  i8(dims, integers(sizeOf(dims), seed, -128, 127));
export const unsigned = (dims: readonly number[], seed = 6) => u8(dims, integers(sizeOf(dims), seed, 0, 255));

type Outputs = Readonly<Record<string, ArrayLike<number>>>;
type Feeds = ReadonlyMap<string, Float32Array | Uint8Array | Int8Array>;

/** The relaxed kernels as an engine runs them whose dot product is exact. */
function relaxedProgram({ module }: Compiled): (feeds: Feeds) => Outputs {
  const lowered = lowerModule(module, targetsOf("wasm").relaxed!);
  if (!lowered.ok) throw new Error("not lowered");
  const { program, inputs, outputs } = lowered.value;
  return (feeds) => {
    const memory = runProgram({ ...program, kernels: [] });
    for (const { port, layout } of inputs)
      writeTensor(memory.get(layout.buffer)!, layout, feeds.get(port.name)!);
    runProgram(program, memory, { dot: "u8s8" });
    return Object.fromEntries(
      outputs.map(({ port, layout }) => [port.name, readTensor(memory.get(layout.buffer)!, layout)]),
    );
  };
}

/** What computes an artifact: the baseline module as users have it, the relaxed kernels. */
export async function modulesOf(artifact: Compiled) {
  const { manifest, baseline } = artifact;
  const wasm = baseline as Uint8Array<ArrayBuffer>;
  const model = await loadModel(layoutOf(manifest), {}, { wasm, backend: "baseline" });
  return [
    ["baseline", (feeds: Feeds) => model.run(Object.fromEntries(feeds)) as Outputs],
    ["relaxed", relaxedProgram(artifact)],
  ] as const;
}

interface Options {
  readonly fills?: readonly string[];
  /** onnxruntime computes in another order or not at all. */
  readonly alone?: boolean;
}

/** Checks every output of a spec on every kind of values; returns the artifact. */
export async function agree(spec: ModelSpec, { fills = Object.keys(FILLS), alone = false }: Options = {}) {
  const bytes = modelBytes(spec);
  const read = readModel(bytes);
  if (!read.ok) throw new Error("not a model");
  const artifact = await compileBytes(bytes, { name: "m", allowFloat: true });
  const modules = await modulesOf(artifact);
  for (const [s, name] of fills.entries()) {
    const feeds = new Map(
      spec.inputs!.map(({ name: input, dtype, shape }, i) => {
        const n = sizeOf(shape as number[]);
        const data =
          dtype === "float32"
            ? Float32Array.from(FILLS[name]!(n, 10 * s + i))
            : dtype === "uint8"
              ? Uint8Array.from(integers(n, s + i, 0, 255).reverse())
              : Int8Array.from(integers(n, s + i, -128, 127).reverse());
        return [input, data] as const;
      }),
    );
    const exact = evaluateOnnx(read.value, feeds, { float32: true });
    const check = (who: string, got: Outputs) => {
      for (const [output, { values }] of exact.outputs) {
        expect(firstDifference(got[output]!, values), `${name}: ${who}, ${output}`).toBeUndefined();
      }
    };
    const reference = runReference(artifact.module, feeds, { float32: true });
    check("interpreter", Object.fromEntries(reference.map((r) => [r.port.name, r.data as Float32Array])));
    for (const [who, run] of modules) check(who, run(feeds));
    // onnxruntime has scale 1 for a tensor of zeros only, where the standard's reference has 1 / 255.
    if (alone || name === "all zero") continue;
    const theirs = await runOrt(spec, new Map([...feeds].map(([k, v]) => [k, Array.from(v)])));
    check("onnxruntime", Object.fromEntries([...theirs].map(([k, v]) => [k, v.data])));
  }
  return artifact;
}

export const dynamic = (x = "x", q = "q") => node("DynamicQuantizeLinear", [x], [q, `${q}s`, `${q}z`]);

export const kernelsOf = ({ module }: Compiled) =>
  module.funcs.slice(1).flatMap((f) => f.ops.map((op) => op.name));
