/** The models of the zoo that must compile to exact integers, compiled once per file of tests, and inputs for them. */
import { describe } from "vitest";
import { type Subject, subjectsOf } from "../../compiler/cli/compare.ts";
import { asObject } from "../../compiler/cli/tensors.ts";
import type { CompileOptions } from "../../compiler/compiled.ts";
import type { OnnxModel } from "../../compiler/frontend/onnx/model.ts";
import { type Compiled, compileModel } from "../../compiler/index.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { full } from "../require.ts";
import { loadModelBytes, loadSamples, randomInputs, zooIsThere, zooModels } from "../zoo.ts";
import type { Tensors } from "./exact.ts";

export const FOLDER = "int8-qdq";
export const shortName = (name: string): string => name.slice(FOLDER.length + 1);

/** Enough to be quick: a depthwise-separable network, fully connected layers, and one from PyTorch. */
const QUICK = ["mlperf_kws_dscnn", "mlperf_ad01", "torch_qat_mnist"].map((m) => `${FOLDER}/${m}`);
/** Exact evaluation takes more than a tenth of a second per sample. */
const LARGE = new Set(["mcunet_vww", "mlperf_vww", "mobilenet_v1_025_128"].map((m) => `${FOLDER}/${m}`));

export const allModels: readonly string[] = zooModels(FOLDER);
export const quickModels: readonly string[] = allModels.filter((m) => QUICK.includes(m));
export const models: readonly string[] = full ? allModels : quickModels;
if (zooIsThere && !full)
  console.warn("skipped: most models, samples and random inputs: slow, they run in npm run test:full");

export const describeZoo = describe.skipIf(!zooIsThere);

/**
 * Why relaxed modules that need a u8·s8 dot product cannot run in this engine. What the module means is then checked by
 * the kernel interpreter, on the very program it is made from.
 */
export const relaxedReason: string | undefined = relaxedRefusal("u8s8");
if (relaxedReason !== undefined)
  console.warn(
    `skipped: running relaxed modules: ${relaxedReason}; the kernel interpreter runs them instead`,
  );

const cache = new Map<string, Promise<Compiled>>();

/** Throws with the diagnostics where the model does not compile. */
export function compiled(name: string, options: Partial<CompileOptions> = {}): Promise<Compiled> {
  const key = JSON.stringify([name, options]);
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = compileBytes(loadModelBytes(name), { name: shortName(name), ...options });
  cache.set(key, made);
  return made;
}

export async function compileBytes(
  bytes: Uint8Array,
  options: Partial<CompileOptions> = {},
): Promise<Compiled> {
  const result = await compileModel(bytes, { target: "wasm", ...options });
  if (result.ok) return result.value;
  throw new Error(
    result.diagnostics.map((d) => `${d.code} ${d.message} ${JSON.stringify(d.loc)}`).join("\n"),
  );
}

export interface Runner {
  /** `baseline`, `relaxed`. */
  readonly name: string;
  /** Integers of every output and, of a debug build, of every quantizer. */
  readonly run: (inputs: Tensors) => ReadonlyMap<string, Int32Array>;
}

/** The modules of an artifact that this engine can run. */
export async function runnersOf(artifact: Compiled): Promise<readonly Runner[]> {
  const { subjects } = await subjectsOf(artifact, "");
  return subjects.map((s: Subject) => ({
    name: s.name,
    run: (inputs) => {
      const out = s.model.run(asObject(inputs));
      return new Map(s.tensors.map((t, i) => [t.name, Int32Array.from(out[String(i)] as Int32Array)]));
    },
  }));
}

export const inputName = (model: OnnxModel): string =>
  model.graph.inputs.find((info) => !model.graph.initializers.has(info.name))!.name;

/**
 * What a model is fed: the provided samples, then seeded random ones, all lowest, all highest, alternating. Quick: one
 * sample, all lowest, alternating.
 */
export function inputsOf(name: string, model: OnnxModel): readonly Tensors[] {
  const input = inputName(model);
  const given = loadSamples(name).inputs.map((data): Tensors => new Map([[input, data]]));
  const random = (count: number) => randomInputs(model, 1, count) as readonly Tensors[];
  if (full) return [...given, ...random(LARGE.has(name) ? 5 : 100)];
  const [lo, , alternating] = random(0);
  return [given[0]!, lo!, alternating!];
}

/** Index and text of the first difference, or undefined. */
export function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): string | undefined {
  if (a.length !== b.length) return `${a.length} elements, not ${b.length}`;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return `[${i}]: ${a[i]}, not ${b[i]}`;
  return undefined;
}

/** Names and first differences of two sets of tensors, `b` having all of `a`. */
export const differences = (
  a: ReadonlyMap<string, ArrayLike<number>>,
  b: ReadonlyMap<string, ArrayLike<number>>,
): readonly string[] =>
  [...a].flatMap(([name, x]) => {
    const y = b.get(name);
    const d = y === undefined ? "absent" : firstDifference(x, y);
    return d === undefined ? [] : [`${name} ${d}`];
  });
