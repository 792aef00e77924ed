/** onnxruntime as a second opinion, where the user has installed it. */
import type { TensorData } from "../../runtime/elements.ts";
import { fail, ok, type Result, runFailed } from "../index.ts";
import type { Tensors, Wanted } from "./tensors.ts";

export interface Peer {
  readonly name: string;
  /** Output tensors by name. */
  readonly run: (inputs: Tensors) => Promise<ReadonlyMap<string, TensorData>>;
}

/** The part of onnxruntime-node that is used. It is not a dependency of qc. */
interface Ort {
  readonly Tensor: new (type: string, data: TensorData, dims: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: { graphOptimizationLevel: "disabled"; logSeverityLevel: number },
    ): Promise<{
      run(feeds: { [name: string]: unknown }): Promise<{ [name: string]: { data: TensorData } }>;
    }>;
  };
}

/** Graph optimizations are off: they change results by an LSB here and there. Errors: QC5009. */
export async function onnxruntime(model: Uint8Array, wanted: readonly Wanted[]): Promise<Result<Peer>> {
  const name: string = "onnxruntime-node";
  let ort: Ort;
  try {
    const module = await import(name);
    ort = (module.default ?? module) as Ort;
  } catch {
    return fail(runFailed(`${name} is not installed: npm install ${name}`));
  }
  try {
    const options = { graphOptimizationLevel: "disabled", logSeverityLevel: 3 } as const;
    const session = await ort.InferenceSession.create(model, options);
    return ok({
      name: "onnxruntime",
      async run(inputs) {
        const feeds: { [name: string]: unknown } = Object.create(null);
        for (const w of wanted) feeds[w.name] = new ort.Tensor(w.dtype, inputs.get(w.name)!, w.shape);
        const out = await session.run(feeds);
        return new Map(Object.entries(out).map(([n, t]) => [n, t.data]));
      },
    });
  } catch (error) {
    return fail(
      runFailed(`onnxruntime refuses the model: ${error instanceof Error ? error.message : error}`),
    );
  }
}
