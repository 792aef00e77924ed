/** What `qc compare` puts side by side: a model or an artifact in this engine, or a model in onnxruntime. */
import type { TensorData } from "../../runtime/elements.ts";
import type { Manifest, PortLayout, Quantization } from "../../runtime/format.ts";
import { loadModel } from "../../runtime/index.ts";
import { compileModel, type Diagnostic, fail, ok, type Result, withOutputs } from "../index.ts";
import { isArtifact, loadStored, openArtifact } from "./artifact.ts";
import { modelOptions } from "./calib.ts";
import { integerLayout } from "./compare.ts";
import { readBytes } from "./external-data.ts";
import { forModelsOnly, type ModelChoices } from "./model.ts";
import { onnxruntime } from "./peer.ts";
import { asObject, type Tensors } from "./tensors.ts";

/** A tensor of one side: integers, or the floats that onnxruntime has. */
export interface SideTensor {
  readonly name: string;
  /** Absent where the side does not know its shape before it runs. */
  readonly shape?: readonly number[];
  /** What its integers stand for, where that is known. */
  readonly quantization?: Quantization;
}

export interface Side {
  /** Path of the file. Untrusted. */
  readonly name: string;
  /** Where it runs, unless here. */
  readonly engine?: string;
  readonly inputs: readonly PortLayout[];
  /** In the order in which the graph computes them. */
  readonly tensors: readonly SideTensor[];
  readonly run: (inputs: Tensors) => Promise<ReadonlyMap<string, TensorData>>;
}

/** What a port's integers stand for, also where a boundary converts them. */
function quantizationOf(port: PortLayout): Quantization | undefined {
  const b = port.slots[0]!.boundary;
  if (b.kind !== "dequantize") return port.quantization;
  if (b.scales.length === 1) return { scale: b.scales[0]!, zeroPoint: b.zeroPoints[0]! };
  return { scale: b.scales, zeroPoint: b.zeroPoints, axis: b.axis };
}

/** Every quantizer that was kept, then the outputs, as integers. */
function sideOf(
  name: string,
  manifest: Manifest,
  run: (inputs: Tensors) => { readonly [name: string]: TensorData },
): Side {
  const ports = portsOf(manifest);
  return {
    name,
    inputs: manifest.inputs,
    tensors: ports.map((p) => {
      const quantization = quantizationOf(p);
      return { name: p.name, shape: p.shape, ...(quantization && { quantization }) };
    }),
    run: async (inputs) => {
      const out = run(inputs);
      return new Map(ports.map((p, i) => [p.name, out[String(i)]!]));
    },
  };
}

const portsOf = ({ taps = [], outputs }: Manifest): readonly PortLayout[] => [...taps, ...outputs];

async function openStored(path: string): Promise<Result<Side>> {
  const stored = openArtifact(path);
  if (!stored.ok) return stored;
  const { manifest } = stored.value;
  const { outputs } = integerLayout(manifest, portsOf(manifest));
  const loaded = await loadStored({ ...stored.value, manifest: { ...manifest, outputs } }, {});
  return loaded.ok ? ok(sideOf(path, manifest, (inputs) => loaded.value.run(asObject(inputs)))) : loaded;
}

async function compiledSide(path: string, bytes: Uint8Array, choices: ModelChoices): Promise<Result<Side>> {
  const model = await modelOptions(path, bytes, choices);
  if (!model.ok) return model;
  const compiled = await compileModel(bytes, { target: "wasm-simd", ...model.value, debug: true });
  if (!compiled.ok) return compiled;
  const { manifest, baseline } = compiled.value;
  const layout = integerLayout(manifest, portsOf(manifest));
  const loaded = await loadModel(
    layout,
    {},
    { wasm: baseline as Uint8Array<ArrayBuffer>, backend: "baseline" },
  );
  return ok(
    sideOf(path, manifest, (inputs) => loaded.run(asObject(inputs))),
    [...model.diagnostics, ...compiled.diagnostics],
  );
}

/** An artifact as it is stored; a model compiled with every quantizer's tensor kept. */
export async function openSide(path: string, choices: ModelChoices): Promise<Result<Side>> {
  if (isArtifact(path)) {
    const { quant, encodings, calib } = choices;
    const fits = forModelsOnly(path, {
      ...(quant && { quant }),
      ...(encodings !== undefined && { encodings }),
      ...(calib !== undefined && { calib }),
    });
    return fits.ok ? openStored(path) : fits;
  }
  const bytes = readBytes(path);
  return bytes instanceof Uint8Array ? compiledSide(path, bytes, choices) : fail(bytes);
}

/** The model at `path` in onnxruntime, with the named tensors that its file has. */
export async function openPeer(
  path: string,
  names: readonly string[],
  inputs: readonly PortLayout[],
): Promise<Result<Side>> {
  const bytes = readBytes(path);
  const wanted = bytes instanceof Uint8Array ? withOutputs(bytes, names) : fail(bytes as Diagnostic);
  if (!wanted.ok) return wanted;
  const peer = await onnxruntime(wanted.value, inputs);
  if (!peer.ok) return peer;
  return ok({
    name: path,
    engine: peer.value.name,
    inputs,
    tensors: names.map((name) => ({ name })),
    run: peer.value.run,
  });
}
