/** The models of the bench, compiled, with an input each. */
import { existsSync, readFileSync } from "node:fs";
import { artifactFiles } from "../compiler/backends/wasm/artifact/files.ts";
import { compileModel } from "../compiler/compile.ts";
import type { Compiled } from "../compiler/compiled.ts";
import type { ArtifactFile } from "../compiler/index.ts";
import type { Quantization } from "../runtime/format.ts";
import { type NpyData, parseNpz, rowOf } from "../test/npy.ts";
import { loadModelBytes, loadSamples, zooModels, zooPath } from "../test/zoo.ts";
import { floatCopy } from "./float-copy.ts";
import { GENERATED, generatedInput, generatedModel } from "./generate.ts";
import type { Refused } from "./results.ts";
import { uint8Copy } from "./uint8-copy.ts";

export interface Source {
  readonly name: string;
  readonly onnx: Uint8Array;
  /** One sample for the model's only input. */
  readonly input: NpyData;
  /** The same network before conversion to ONNX, where there is one. */
  readonly tflite?: Uint8Array;
  /** The float network that was quantized, where there is one. */
  readonly float?: Uint8Array;
}

export interface Case extends Source {
  readonly compiled: Compiled;
  /** As `qc compile` writes them, stem `model`. */
  readonly files: readonly ArtifactFile[];
  readonly compileMs: number;
  /** What onnxruntime may run, each with its input. */
  readonly peers: readonly { readonly label: string; readonly onnx: Uint8Array; readonly input: NpyData }[];
  /** The float model that was quantized, or else the one that is left without quantizers, and its input. */
  readonly floatPeer?: { readonly onnx: Uint8Array; readonly input: NpyData };
}

/**
 * `examples/fashion`, the models of `../shared/zoo/int8-qdq` and the generated ones, whose name contains one of `filter`; all
 * without. Each is read or generated when its turn comes.
 */
export function* sources(filter: readonly string[] = []): Generator<Source> {
  const wanted = (name: string): boolean => filter.length === 0 || filter.some((f) => name.includes(f));
  if (wanted("fashion")) yield fashion();
  for (const path of zooModels("int8-qdq")) {
    const name = path.split("/")[1]!;
    if (!wanted(name)) continue;
    const before = zooPath(`${path}/source.tflite`);
    yield {
      name,
      onnx: loadModelBytes(path),
      input: loadSamples(path).inputs[0]!,
      ...(existsSync(before) && { tflite: new Uint8Array(readFileSync(before)) }),
    };
  }
  for (const name of GENERATED) {
    if (!wanted(name)) continue;
    const { int8, fp32 } = generatedModel(name);
    const read = (path: string): Uint8Array => new Uint8Array(readFileSync(path));
    yield { name, onnx: read(int8), input: generatedInput(), float: read(fp32) };
  }
}

function fashion(): Source {
  const file = (name: string): Uint8Array =>
    new Uint8Array(readFileSync(new URL(`../examples/fashion/${name}`, import.meta.url)));
  const images = parseNpz(file("samples.npz")).get("x")!;
  const input = Float32Array.from(rowOf(images, 0) as Uint8Array, (x) => Math.fround(x / 255));
  return { name: "fashion", onnx: file("fashion.onnx"), input };
}

/** What integers stand for. */
function realNumbers(input: NpyData, quantization: Quantization | undefined): Float32Array {
  const [scale, zeroPoint] = [quantization?.scale ?? 1, quantization?.zeroPoint ?? 0].map(Number) as [
    number,
    number,
  ];
  return Float32Array.from(input as ArrayLike<number>, (q) => (q - zeroPoint) * scale);
}

/** The case, or why the model does not compile. */
export async function compileCase(source: Source): Promise<Case | Refused> {
  const start = performance.now();
  const result = await compileModel(source.onnx, { target: "wasm", name: source.name });
  const compileMs = performance.now() - start;
  if (!result.ok) {
    const errors = result.diagnostics.filter((d) => d.severity === "error");
    return { name: source.name, reason: errors.map((d) => `${d.code} ${d.message}`).join("; ") };
  }
  const compiled = result.value;
  const copy = uint8Copy(source.onnx);
  const [port] = compiled.manifest.inputs;
  const moved = copy && port && copy.moved.has(port.name);
  const shifted = moved ? Uint8Array.from(source.input as Int8Array, (q) => q + 128) : source.input;
  const peers = [
    { label: "as is", onnx: source.onnx, input: source.input },
    ...(copy ? [{ label: "uint8 copy", onnx: copy.bytes, input: shifted }] : []),
  ];
  const float = source.float ?? floatCopy(source.onnx);
  const floatPeer = float && { onnx: float, input: realNumbers(source.input, port?.quantization) };
  return {
    ...source,
    ...(floatPeer && { floatPeer }),
    compiled,
    files: artifactFiles(compiled, "model"),
    compileMs,
    peers,
  };
}
