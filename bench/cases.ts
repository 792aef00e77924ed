/** The models of the bench, compiled, with an input each. */
import { existsSync, readFileSync } from "node:fs";
import { artifactFiles } from "../compiler/backends/wasm/artifact/files.ts";
import { compileModel } from "../compiler/compile.ts";
import type { Compiled } from "../compiler/compiled.ts";
import type { ArtifactFile } from "../compiler/index.ts";
import { type NpyData, parseNpz, rowOf } from "../test/npy.ts";
import { loadModelBytes, loadSamples, zooModels, zooPath } from "../test/zoo.ts";
import { uint8Copy } from "./uint8-copy.ts";

export interface Source {
  readonly name: string;
  readonly onnx: Uint8Array;
  /** One sample for the model's only input. */
  readonly input: NpyData;
  /** The same network before conversion to ONNX, where there is one. */
  readonly tflite?: Uint8Array;
}

export interface Case extends Source {
  readonly compiled: Compiled;
  /** As `qc compile` writes them, stem `model`. */
  readonly files: readonly ArtifactFile[];
  readonly compileMs: number;
  /** What onnxruntime may run, each with its input. */
  readonly peers: readonly { readonly label: string; readonly onnx: Uint8Array; readonly input: NpyData }[];
}

/** `examples/fashion` and the models of `../shared/zoo/int8-qdq` whose name contains one of `filter`; all without. */
export function sources(filter: readonly string[] = []): Source[] {
  const wanted = (name: string): boolean => filter.length === 0 || filter.some((f) => name.includes(f));
  const zoo = zooModels("int8-qdq").flatMap((path): Source[] => {
    const name = path.split("/")[1]!;
    if (!wanted(name)) return [];
    const before = zooPath(`${path}/source.tflite`);
    return [
      {
        name,
        onnx: loadModelBytes(path),
        input: loadSamples(path).inputs[0]!,
        ...(existsSync(before) && { tflite: new Uint8Array(readFileSync(before)) }),
      },
    ];
  });
  return wanted("fashion") ? [fashion(), ...zoo] : zoo;
}

function fashion(): Source {
  const file = (name: string): Uint8Array =>
    new Uint8Array(readFileSync(new URL(`../examples/fashion/${name}`, import.meta.url)));
  const images = parseNpz(file("samples.npz")).get("x")!;
  const input = Float32Array.from(rowOf(images, 0) as Uint8Array, (x) => Math.fround(x / 255));
  return { name: "fashion", onnx: file("fashion.onnx"), input };
}

/** Throws an Error with the diagnostics if the model does not compile. */
export async function compileCase(source: Source): Promise<Case> {
  const start = performance.now();
  const result = await compileModel(source.onnx, { target: "wasm", name: source.name });
  const compileMs = performance.now() - start;
  if (!result.ok)
    throw new Error(`${source.name}: ${result.diagnostics.map((d) => `${d.code} ${d.message}`).join("\n")}`);
  const compiled = result.value;
  const copy = uint8Copy(source.onnx);
  const [port] = compiled.manifest.inputs;
  const moved = copy && port && copy.moved.has(port.name);
  const shifted = moved ? Uint8Array.from(source.input as Int8Array, (q) => q + 128) : source.input;
  const peers = [
    { label: "as is", onnx: source.onnx, input: source.input },
    ...(copy ? [{ label: "uint8 copy", onnx: copy.bytes, input: shifted }] : []),
  ];
  return { ...source, compiled, files: artifactFiles(compiled, "model"), compileMs, peers };
}
