/**
 * Generated models: published architectures with random weights, in the cache `bench/.models`.
 * `npx node bench/generate.ts [model …]` makes those whose name contains one of the words, all without, and prints their files.
 */
import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { architectures } from "./generate/architectures.ts";
import { floatModel, quantizedModel } from "./generate/onnx.ts";
import { randomImage, randomOf } from "./generate/random.ts";

export interface GeneratedModel {
  readonly name: string;
  /** Paths of the model with quantizers and of the float model it was made from. */
  readonly int8: string;
  readonly fp32: string;
}

export const GENERATED: readonly string[] = [...architectures.keys()];

/** Of the generator's sources: what it would write depends on nothing else. */
function version(): string {
  const folder = new URL("./generate/", import.meta.url);
  const hash = createHash("sha256");
  for (const file of readdirSync(folder).sort()) hash.update(readFileSync(new URL(file, folder)));
  return hash.digest("hex").slice(0, 12);
}

/** Writes the model unless it is in the cache. Throws an Error for a name that is not in `GENERATED`. */
export function generatedModel(name: string): GeneratedModel {
  const make = architectures.get(name);
  if (!make) throw new Error(`no architecture ${name}; there are ${GENERATED.join(", ")}`);
  const folder = new URL(`./.models/${version()}/`, import.meta.url);
  const at = (kind: string): string => fileURLToPath(new URL(`${name}.${kind}.onnx`, folder));
  const model = { name, int8: at("int8"), fp32: at("fp32") };
  if (existsSync(model.int8) && existsSync(model.fp32)) return model;
  mkdirSync(folder, { recursive: true });
  const net = make();
  for (const [path, bytes] of [
    [model.fp32, floatModel(net)],
    [model.int8, quantizedModel(net)],
  ] as const) {
    // Another process or thread may be reading or making the same file.
    const draft = `${path}.${randomUUID()}`;
    writeFileSync(draft, bytes);
    renameSync(draft, path);
  }
  return model;
}

/** An input for any generated model, [1, 3, 224, 224], like the image it was calibrated on but another. */
export const generatedInput = (): Float32Array => randomImage(randomOf(99), 3, 224);

if (import.meta.main) {
  const words = process.argv.slice(2);
  for (const name of GENERATED)
    if (words.length === 0 || words.some((w) => name.includes(w))) {
      const { int8, fp32 } = generatedModel(name);
      console.log(`${int8}\n${fp32}`);
    }
}
