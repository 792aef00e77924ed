/** onnxruntime-web as an entrant, where the user has installed it. */
import type { TensorData } from "../../../runtime/elements.ts";
import { fail, ok, type Result, runFailed } from "../../index.ts";
import type { Tensors, Wanted } from "../tensors.ts";
import type { Entrant } from "./sampling.ts";

/** The part of onnxruntime-web that is used. It is not a dependency of qc. */
interface Ort {
  readonly env: { readonly wasm: { numThreads?: number } };
  readonly Tensor: new (type: string, data: TensorData, dims: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: {
        readonly executionProviders: readonly string[];
        readonly graphOptimizationLevel: string;
        readonly logSeverityLevel: number;
      },
    ): Promise<{ run(feeds: { [name: string]: unknown }): Promise<unknown> }>;
  };
}

const LEVELS = ["all", "extended", "basic", "disabled"];

/**
 * One thread of the WASM provider, at the best optimization level it accepts, input tensors made beforehand. Errors:
 * QC5009, when it is not installed or refuses the model.
 */
export async function onnxruntimeWeb(
  model: Uint8Array,
  wanted: readonly Wanted[],
  inputs: Tensors,
): Promise<Result<Entrant>> {
  const name: string = "onnxruntime-web";
  let ort: Ort;
  try {
    ort = (await import(`${name}/wasm`)) as Ort;
  } catch {
    return fail(runFailed(`${name} is not installed: npm install ${name}`));
  }
  ort.env.wasm.numThreads = 1;
  let reason: unknown;
  for (const level of LEVELS) {
    try {
      const session = await ort.InferenceSession.create(model, {
        executionProviders: ["wasm"],
        graphOptimizationLevel: level,
        logSeverityLevel: 3,
      });
      const feeds: { [name: string]: unknown } = Object.create(null);
      for (const w of wanted) feeds[w.name] = new ort.Tensor(w.dtype, inputs.get(w.name)!, w.shape);
      await session.run(feeds);
      const suffix = level === "all" ? "" : ` (optimizations: ${level})`;
      return ok({ name: `${name}${suffix}`, run: () => session.run(feeds) });
    } catch (error) {
      reason = error;
    }
  }
  return fail(runFailed(`${name} refuses the model: ${reason instanceof Error ? reason.message : reason}`));
}
