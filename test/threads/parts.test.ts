/** Layers with enough work that parts of their kernels are functions of their own: the interpreter's integers on any number of threads. */
import { expect, test } from "vitest";
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import { asObject } from "../../compiler/cli/tensors.ts";
import { layoutOf } from "../../runtime/format.ts";
import { relaxedEngine } from "../../runtime/relaxed.ts";
import { loadModel } from "../../runtime/threads.ts";
import { compileBytes, differences, runnersOf } from "../e2e/compiled.ts";
import { integersOf } from "../e2e/exact.ts";
import { graphBuilder } from "../e2e/graphs/builder.ts";
import { decodeWasm } from "../wasm-decode.ts";

/** Two layers of one shape, one of another, and a depthwise one between them. */
function network(): Uint8Array {
  const g = graphBuilder();
  const conv = (x: string, shape: readonly number[], group = 1): string => {
    const pads = shape[2] === 3 ? [1, 1, 1, 1] : [0, 0, 0, 0];
    const y = g.op("Conv", [x, g.weights(shape)], { kernel_shape: shape.slice(2), pads, group });
    return g.fq(g.op("Relu", [y]), 0.05 * Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)), 0);
  };
  let x = g.dq(g.input([1, 64, 30, 30]), 0.05, 64);
  x = conv(x, [128, 64, 1, 1]);
  x = conv(x, [128, 1, 3, 3], 128);
  x = conv(x, [128, 128, 1, 1]);
  x = conv(x, [128, 128, 1, 1]);
  return g.finish([x]);
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Number of functions in a module, by its function section. */
function functionsOf(bytes: Uint8Array): number {
  let at = 8;
  const leb = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const b = bytes[at++]!;
      value += (b & 127) * scale;
      if (b < 128) return value;
    }
  };
  while (at < bytes.length) {
    const id = bytes[at++];
    const end = leb() + at;
    if (id === 3) return leb();
    at = end;
  }
  throw new Error("no function section");
}

test("as many functions as shapes, and the same integers on one, two and three threads", async () => {
  const artifact = await compileBytes(network(), { threads: true, profile: true });
  const kernels = decodeWasm(artifact.baseline).functions.filter((f) => f.exportName !== undefined).length;
  // Beside the kernels: `run`, what spreads constants out, and parts.
  const without = await compileBytes(network(), { threads: true });
  expect(functionsOf(without.baseline)).toBe(functionsOf(artifact.baseline));
  const called = decodeWasm(artifact.baseline)
    .functions.filter((f) => f.exportName !== undefined)
    .map((f) => f.body.flatMap((i) => (i.callee === undefined ? [] : [i.callee])));
  expect(called.length).toBe(kernels);
  const parts = new Set(called.flat());
  expect(parts.size).toBeGreaterThanOrEqual(2);
  expect(called.flat().length).toBeGreaterThan(parts.size);
  expect(functionsOf(artifact.threads!.baselineThreads!)).toBeGreaterThan(kernels + 5);

  const [inputs] = randomInputs(artifact.manifest.inputs, 1, 5);
  const wanted = integersOf(artifact.module, inputs!);
  for (const { name, run } of await runnersOf(artifact))
    expect(differences(wanted, run(inputs!)), name).toEqual([]);
  const layout = { ...layoutOf(artifact.manifest), exactOn: { relaxed: "any", relaxedS8: "any" } } as const;
  const { baseline, relaxed, threads: modules } = artifact;
  for (const backend of relaxedEngine() ? (["baseline", "relaxed"] as const) : (["baseline"] as const)) {
    const outputs: unknown[] = [];
    for (const threads of [1, 2, 3]) {
      const sources = { wasm: baseline as Bytes, relaxed: relaxed as Bytes, ...(modules as object) };
      const model = await loadModel(layout, {}, { ...sources, backend, threads });
      expect(model.threads).toBe(threads);
      outputs.push(model.run(asObject(inputs!)));
      model.dispose();
    }
    expect(outputs[1], `${backend}, 2 threads`).toEqual(outputs[0]);
    expect(outputs[2], `${backend}, 3 threads`).toEqual(outputs[0]);
  }
});
