/**
 * The kernels of the artifact as shipped, one by one: after each, the tensor it computes equals the interpreter's on the
 * same graph. In the kernel interpreter for both targets, and in the baseline module with its memory plan.
 */
import { afterAll, expect, test } from "vitest";
import { targetsOf } from "../../compiler/backends/wasm/build.ts";
import { layout as placesOf } from "../../compiler/backends/wasm/layout.ts";
import { table } from "../../compiler/cli/print.ts";
import { runReference } from "../../compiler/cli/reference.ts";
import type { Compiled } from "../../compiler/index.ts";
import { interpret } from "../../compiler/ir/interpreter.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import { legalize } from "../../compiler/ir/kernel/legalize.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";
import type { Dense, Port, Value } from "../../compiler/ir/module.ts";
import type { Target } from "../../compiler/ir/target.ts";
import { type LoweredProgram, lowerModule } from "../../compiler/passes/lower/index.ts";
import { loadModel } from "../zoo.ts";
import { compiled, describeZoo, firstDifference, inputsOf, models, shortName } from "./compiled.ts";
import { argumentsOf, type Tensors } from "./exact.ts";
import { readTensor, writeTensor } from "./memory.ts";

interface Expected {
  readonly args: ReadonlyMap<Port, Dense>;
  readonly values: ReadonlyMap<Value, Dense>;
}

function expectedOf({ module }: Compiled, inputs: Tensors): Expected {
  const args = argumentsOf(module, inputs);
  const values = new Map<Value, Dense>();
  interpret(module, args, { observe: (v, d) => values.set(v, d) });
  return { args, values };
}

function lowered({ module }: Compiled, target: Target): LoweredProgram {
  const result = lowerModule(module, target);
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return result.value;
}

/** First wrong kernel of a run, in words. `step` runs kernel i; `bytesOf` gives a buffer's bytes. */
function firstWrong(
  program: LoweredProgram,
  { args, values }: Expected,
  bytesOf: (buffer: string) => Uint8Array,
  step: (i: number) => void,
): string | undefined {
  for (const { port, layout } of program.inputs)
    writeTensor(bytesOf(layout.buffer), layout, args.get(port)!.data);
  for (const [i, { kernel, call }] of program.steps.entries()) {
    step(i);
    const value = call?.results[0];
    if (value === undefined) continue;
    const at = program.layouts.get(value)!;
    const d = firstDifference(readTensor(bytesOf(at.buffer), at), values.get(value)!.data);
    if (d !== undefined) return `${kernel} ${d}`;
  }
  for (const { port, layout } of program.outputs) {
    const d = firstDifference(readTensor(bytesOf(layout.buffer), layout), values.get(port.value)!.data);
    if (d !== undefined) return `output ${port.name} ${d}`;
  }
  return undefined;
}

function kernelInterpreter(program: LoweredProgram, target: Target, expected: Expected): string | undefined {
  const legal = legalize(program.program, target);
  expect(verifyProgram(legal)).toEqual([]);
  const memory = runProgram({ ...legal, kernels: [] });
  return firstWrong(
    program,
    expected,
    (name) => memory.get(name)!,
    (i) => runProgram({ ...legal, kernels: [legal.kernels[i]!] }, memory),
  );
}

async function baselineModule(
  artifact: Compiled,
  program: LoweredProgram,
  relaxed: LoweredProgram,
  target: Target,
  expected: Expected,
): Promise<string | undefined> {
  const legal = legalize(program.program, target);
  // The module also has the constants of the relaxed kernels, in front of the arena.
  const known = new Set(legal.buffers.map((b) => b.name));
  const more = relaxed.program.buffers.filter((b) => b.data && !known.has(b.name));
  const { addresses } = placesOf({ ...legal, buffers: [...legal.buffers, ...more] }, program.offsets);
  const sizes = new Map(legal.buffers.map((b) => [b.name, b.bytes]));
  const { instance } = await WebAssembly.instantiate(artifact.baseline as Uint8Array<ArrayBuffer>);
  const kernels = instance.exports as Record<string, (() => void) | undefined>;
  const linear = (instance.exports.memory as WebAssembly.Memory).buffer;
  return firstWrong(
    program,
    expected,
    (name) => new Uint8Array(linear, addresses.get(name)!, sizes.get(name)!),
    (i) => kernels[program.steps[i]!.kernel]!(),
  );
}

const rows: string[][] = [];
afterAll(() => {
  if (rows.length === 0) return;
  const head = ["model", "kernels", "relaxed, interpreted", "baseline, interpreted", "baseline module"];
  console.log(`every kernel as shipped = interpreter (samples)\n${table([head, ...rows.sort()])}`);
});

/** Both kernel interpreters run on these over several samples; on the others over one, relaxed. */
const OFTEN = new Set(["int8-qdq/mlperf_kws_dscnn", "int8-qdq/mlperf_ad01"]);

describeZoo("every kernel of the artifact as shipped = interpreter", () => {
  test.each(models)(
    "%s",
    async (name) => {
      const artifact = await compiled(name, { profile: true });
      const { baseline, relaxed } = targetsOf("wasm");
      const programs = { baseline: lowered(artifact, baseline), relaxed: lowered(artifact, relaxed!) };
      const samples = inputsOf(name, loadModel(name));
      const often = OFTEN.has(name);
      const few = samples.slice(0, 1).concat(samples.slice(often ? -3 : samples.length));
      const some = [...samples.slice(0, 3), ...samples.slice(3).slice(-3)];
      for (const [s, inputs] of some.entries()) {
        const expected = expectedOf(artifact, inputs);
        const found = await baselineModule(artifact, programs.baseline, programs.relaxed, baseline, expected);
        expect(found, `sample ${s}, baseline module`).toBeUndefined();
      }
      for (const [s, inputs] of few.entries()) {
        const expected = expectedOf(artifact, inputs);
        expect(runReference(artifact.module, inputs).length).toBe(artifact.manifest.outputs.length);
        expect(
          kernelInterpreter(programs.relaxed, relaxed!, expected),
          `sample ${s}, relaxed`,
        ).toBeUndefined();
        if (often)
          expect(
            kernelInterpreter(programs.baseline, baseline, expected),
            `sample ${s}, baseline`,
          ).toBeUndefined();
      }
      rows.push([
        shortName(name),
        String(programs.baseline.steps.length),
        String(few.length),
        often ? String(few.length) : "–",
        String(some.length),
      ]);
    },
    300_000,
  );
});
