/** The second opinion: onnxruntime without graph optimizations, with every quantizer's result as an extra output. */
import onnx from "onnx-proto";
import * as ort from "onnxruntime-node";
import { type DataType, infoOf } from "../../compiler/frontend/onnx/data-types.ts";
import type { OnnxModel } from "../../compiler/frontend/onnx/model.ts";
import { inputShape, type NumericArray } from "./evaluate.ts";

export interface TensorName {
  readonly name: string;
  readonly dtype: DataType;
}

/**
 * The same file with more graph outputs. Concatenated protobuf messages merge, so nothing of the original is decoded
 * or lost.
 */
export function withOutputs(bytes: Uint8Array, tensors: readonly TensorName[]): Uint8Array {
  const output = tensors.map(({ name, dtype }) => ({
    name,
    type: { tensorType: { elemType: infoOf(dtype).number } },
  }));
  const more = onnx.onnx.ModelProto.encode({ graph: { output } }).finish();
  const result = new Uint8Array(bytes.length + more.length);
  result.set(bytes);
  result.set(more, bytes.length);
  return result;
}

export interface Reference {
  /** All graph outputs and the extra ones, by name. */
  readonly run: (inputs: ReadonlyMap<string, NumericArray>) => Promise<Map<string, NumericArray>>;
  readonly release: () => Promise<void>;
}

export async function openReference(
  bytes: Uint8Array,
  model: OnnxModel,
  extra: readonly TensorName[],
  externalData: readonly { readonly path: string; readonly data: Uint8Array }[] = [],
): Promise<Reference> {
  const known = new Set(model.graph.outputs.map(({ name }) => name));
  const session = await ort.InferenceSession.create(
    withOutputs(
      bytes,
      extra.filter(({ name }) => !known.has(name)),
    ),
    {
      graphOptimizationLevel: "disabled",
      intraOpNumThreads: 1,
      logSeverityLevel: 3,
      ...(externalData.length > 0 && { externalData }),
    },
  );
  return {
    run: async (inputs) => {
      const feeds: Record<string, ort.Tensor> = {};
      for (const info of model.graph.inputs) {
        const data = inputs.get(info.name);
        if (data === undefined) continue;
        const type = info.elemType as ort.Tensor.Type;
        feeds[info.name] = new ort.Tensor(
          type,
          data as Float32Array,
          inputShape(info.shape ?? [], data.length),
        );
      }
      const results = await session.run(feeds);
      return new Map(Object.entries(results).map(([name, { data }]) => [name, data as NumericArray]));
    },
    release: () => session.release(),
  };
}
