/**
 * Kernels of an artifact with float islands, each by itself: from the operands it really had, what it leaves in memory is what the
 * interpreter computes in float32. By `===` for integers and for correctly rounded operations in a stated order; sums and
 * functions of islands (softmax, normalizations, exponentials …) within a bound.
 */
import { runReference } from "../../compiler/cli/reference.ts";
import type { Compiled } from "../../compiler/index.ts";
import { dense, storageOf } from "../../compiler/ir/dense.ts";
import { interpretFunc } from "../../compiler/ir/interpreter.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import { legalize } from "../../compiler/ir/kernel/legalize.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";
import type { Func, Value } from "../../compiler/ir/module.ts";
import { hasTrait } from "../../compiler/ir/ops/index.ts";
import type { Target } from "../../compiler/ir/target.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { firstDifference } from "./compiled.ts";
import { argumentsOf, type Tensors } from "./exact.ts";
import { readTensor, writeTensor } from "./memory.ts";

/** Operations of islands that are one correct rounding, or none. */
const ROUNDED: ReadonlySet<string> = new Set(
  "add sub mul div min max neg abs sqrt reciprocal relu floor ceil round sign clip leaky_relu prelu cast from_int to_int reduce_max reduce_min max_pool"
    .split(" ")
    .map((op) => `float.${op}`),
);
const isExact = (func: Func): boolean =>
  func.ops.every((op) => ROUNDED.has(op.name) || op.name === "const" || !hasTrait(op, "float"));

export interface IslandRun {
  /** Kernels and elements compared by ===, and kernels within the bound. */
  readonly exact: number;
  readonly elements: number;
  readonly bounded: number;
  readonly wrong: readonly string[];
  /** Elements of every output. */
  readonly outputs: ReadonlyMap<string, Float64Array>;
}

const LEAST = 1e-6;
const SLACK = 1e-4;

/** Runs the program of `module` for a target in the kernel interpreter, checking every kernel. */
export function runIslands({ module }: Compiled, target: Target, inputs: Tensors): IslandRun {
  const lowered = lowerModule(module, target);
  if (!lowered.ok) throw new Error(JSON.stringify(lowered.diagnostics));
  const { program, layouts, inputs: ports, outputs, steps } = lowered.value;
  const legal = legalize(program, target);
  const faults = verifyProgram(legal);
  if (faults.length > 0) throw new Error(JSON.stringify(faults[0]));
  const memory = runProgram({ ...legal, kernels: [] });
  const read = (v: Value): Float64Array => {
    const at = layouts.get(v)!;
    return readTensor(memory.get(at.buffer)!, at);
  };
  const args = argumentsOf(module, inputs);
  for (const { port, layout } of ports) writeTensor(memory.get(layout.buffer)!, layout, args.get(port)!.data);
  const wrong: string[] = [];
  let [exact, bounded, elements] = [0, 0, 0];
  for (const [i, { kernel, call }] of steps.entries()) {
    const func = module.funcs.find((f) => f.name === call?.attrs.callee);
    const operands = call?.operands.map((v) => dense(storageOf(v.type.elem) as never, v.type.shape, read(v)));
    runProgram({ ...legal, kernels: [legal.kernels[i]!] }, memory, { dot: "u8s8" });
    if (call === undefined || func === undefined) continue;
    const [want] = interpretFunc(module, func, operands!, { float32: true });
    const got = read(call.results[0]!);
    if (isExact(func)) {
      exact++;
      elements += got.length;
      const d = firstDifference(got, want!.data);
      if (d !== undefined) wrong.push(`${kernel} ${d}`);
      continue;
    }
    bounded++;
    const most = Array.from(want!.data).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const far = got.findIndex((v, e) => !(Math.abs(v - want!.data[e]!) <= LEAST + SLACK * most));
    if (far >= 0) wrong.push(`${kernel} [${far}]: ${got[far]}, not ${want!.data[far]}`);
  }
  return {
    exact,
    elements,
    bounded,
    wrong,
    outputs: new Map(
      outputs.map(({ port, layout }) => [port.name, readTensor(memory.get(layout.buffer)!, layout)]),
    ),
  };
}

/** The interpreter on the whole graph, every float rounded to float32. */
export const interpreted = ({ module }: Compiled, inputs: Tensors): ReadonlyMap<string, ArrayLike<number>> =>
  new Map(runReference(module, inputs, { float32: true }).map((r) => [r.port.name, r.data as Float32Array]));
