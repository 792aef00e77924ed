/** What onnxruntime computes for generated models, to compare networks of different arithmetic. */
import * as ort from "onnxruntime-node";
import { generatedInput } from "../../bench/generate.ts";

/** Of a model with one input of shape [1, 3, 224, 224]. */
export async function outputOf(model: Uint8Array): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: 1,
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 3,
  });
  const x = new ort.Tensor("float32", generatedInput(), [1, 3, 224, 224]);
  return Object.values(await session.run({ x }))[0]!.data as Float32Array;
}

/** Pearson's, in [-1, 1]. */
export function correlation(a: Float32Array, b: Float32Array): number {
  const centred = (v: Float32Array): number[] => {
    const mean = v.reduce((s, x) => s + x, 0) / v.length;
    return Array.from(v, (x) => x - mean);
  };
  const dot = (x: readonly number[], y: readonly number[]): number => x.reduce((s, v, i) => s + v * y[i]!, 0);
  const [x, y] = [centred(a), centred(b)];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}
