/** One small ONNX file, compiled and run, against the exact oracle. */
import { randomInputs } from "../../compiler/cli/random-inputs.ts";
import { asObject } from "../../compiler/cli/tensors.ts";
import { readModel } from "../../compiler/frontend/onnx/reader.ts";
import { type Compiled, compileModel, type ExternalData } from "../../compiler/index.ts";
import { layoutOf } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { evaluateOnnx, type NumericArray } from "../oracle/evaluate.ts";
import { differences, firstDifference, type Runner, runnersOf } from "./compiled.ts";
import { compareWithOracle, integersOf, planOf } from "./exact.ts";
import { relaxedRunner } from "./relaxed-runner.ts";

export type Verdict =
  | { readonly kind: "diagnosed"; readonly codes: readonly string[]; readonly messages: readonly string[] }
  /** `elements`: of quantizers and outputs compared with the oracle; `wrong` is empty where all is equal. */
  | { readonly kind: "compiled"; readonly elements: number; readonly wrong: readonly string[] };

/** Whether this engine's relaxed dot product is exact as long as no pair of products saturates. */
export const relaxedRuns = relaxedRefusal("u8s8")?.includes("65534") ?? true;

/**
 * Oracle = interpreter = modules at every quantizer of a debug build, and what the user of the build as shipped gets =
 * the oracle's outputs, on the extremes and on `samples` seeded random inputs.
 */
export async function differential(
  bytes: Uint8Array,
  {
    samples = 4,
    batch,
    saturates = false,
    external,
  }: {
    readonly samples?: number;
    readonly batch?: number | undefined;
    /** Pairs of products may leave 16 bits: relaxed modules run only where they do not saturate. */
    readonly saturates?: boolean | undefined;
    readonly external?: ExternalData | undefined;
  } = {},
): Promise<Verdict> {
  const options = {
    target: "wasm",
    ...(batch === undefined ? {} : { batch }),
    ...(external && { external }),
  } as const;
  const debug = await compileModel(bytes, { ...options, debug: true });
  const shipped = await compileModel(bytes, options);
  if (!debug.ok || !shipped.ok) {
    const errors = [debug, shipped].map((r) => r.diagnostics.filter((d) => d.severity === "error"));
    const [list] = errors as [(typeof errors)[0], (typeof errors)[0]];
    const same = JSON.stringify(errors[0]) === JSON.stringify(errors[1]);
    if (!same) return { kind: "compiled", elements: 0, wrong: ["the debug build has errors of its own"] };
    return { kind: "diagnosed", codes: list.map((d) => d.code), messages: list.map((d) => d.message) };
  }
  const read = readModel(bytes, external ? { external } : {});
  if (!read.ok) throw new Error("compiled, but not readable");
  const model = read.value;
  const wrong: string[] = [];
  let elements = 0;
  const runners = await allRunners(debug.value, saturates);
  const shippedRunners = await allRunners(shipped.value, saturates);
  const { manifest, baseline } = shipped.value;
  const wasm = baseline as Uint8Array<ArrayBuffer>;
  const user = await loadModel(layoutOf(manifest), {}, { wasm, backend: "baseline" });
  for (const [s, inputs] of randomInputs(manifest.inputs, samples, 1).entries()) {
    const say = (texts: readonly string[]) => wrong.push(...texts.map((t) => `sample ${s}: ${t}`));
    const integers = integersOf(debug.value.module, inputs);
    const { quantizers } = evaluateOnnx(model, inputs as ReadonlyMap<string, NumericArray>);
    const plan = planOf(model, debug.value.module, [...quantizers.keys()]);
    const { findings, evaluation } = compareWithOracle(model, plan, inputs, integers);
    elements += findings.elements;
    say(findings.differences.map((d) => `interpreter ${d}`));
    for (const { name, run } of runners)
      say(differences(integers, run(inputs)).map((d) => `${name} against the interpreter: ${d}`));
    const last = integersOf(shipped.value.module, inputs);
    for (const { name, run } of shippedRunners)
      say(differences(last, run(inputs)).map((d) => `${name} as shipped against the interpreter: ${d}`));
    say(userSees(user.run(asObject(inputs)), evaluation.outputs, manifest.outputs));
    for (const { values } of evaluation.outputs.values()) elements += values.length;
  }
  return { kind: "compiled", elements, wrong };
}

type Outputs = ReturnType<typeof evaluateOnnx>["outputs"];

/** Names, shapes and values of the outputs; floats are the exact value rounded once. */
function userSees(
  seen: Readonly<Record<string, ArrayLike<number | bigint>>>,
  outputs: Outputs,
  ports: Compiled["manifest"]["outputs"],
): readonly string[] {
  return [...outputs].flatMap(([name, { values, shape }]) => {
    const port = ports.find((p) => p.name === name);
    if (port?.shape.join() !== shape.join()) return [`output ${name}: shape ${port?.shape}, not ${shape}`];
    const d = firstDifference(Array.from(seen[name]!, Number), values);
    return d === undefined ? [] : [`output ${name} ${d}`];
  });
}

async function allRunners(artifact: Compiled, saturates: boolean): Promise<readonly Runner[]> {
  const runners = await runnersOf(artifact);
  if (!relaxedRuns || saturates || runners.some((r) => r.name === "relaxed")) return runners;
  return [...runners, { name: "relaxed", run: await relaxedRunner(artifact) }];
}
