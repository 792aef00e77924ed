/** LiteRT.js as an entrant of the race, inside a page. Nothing here knows Node. */

/** The default build uses relaxed SIMD, the compat build does not. */
export type LiteRtBuild = "default" | "compat";

/** The part of `@litertjs/core` that is used. */
interface LiteRt {
  loadLiteRt(script: string): Promise<unknown>;
  loadAndCompile(
    model: string,
    options: { accelerator: "wasm"; cpuOptions: { numThreads: number } },
  ): Promise<LiteRtModel>;
  readonly Tensor: new (data: Numbers, shape: readonly number[]) => LiteRtTensor;
}
interface LiteRtModel {
  run(inputs: readonly LiteRtTensor[]): Promise<readonly LiteRtTensor[]>;
  getInputDetails(): readonly { readonly shape: ArrayLike<number>; readonly dtype: string }[];
}
interface LiteRtTensor {
  toTypedArray(): Numbers;
  delete(): void;
}
type Numbers = Float32Array | Int8Array | Uint8Array;

export interface LiteRtEntrant {
  readonly build: LiteRtBuild;
  /** One inference: a fresh array of the first output. */
  readonly run: () => Promise<Numbers>;
}

const SCRIPTS: Readonly<Record<LiteRtBuild, string>> = {
  default: "/litert_wasm_internal.js",
  compat: "/litert_wasm_compat_internal.js",
};

/**
 * Both builds on `/source.tflite`, with `data` as the only input. The package holds one build per instance of its module,
 * hence the query. Throws an Error if the model takes another type or number of elements.
 */
export async function liteRtEntrants(data: Numbers): Promise<readonly LiteRtEntrant[]> {
  const entrants: LiteRtEntrant[] = [];
  for (const build of ["default", "compat"] as const) {
    const specifier = `/litert.js?${build}`;
    const litert = (await import(specifier)) as LiteRt;
    await litert.loadLiteRt(SCRIPTS[build]);
    const model = await litert.loadAndCompile("/source.tflite", {
      accelerator: "wasm",
      cpuOptions: { numThreads: 1 },
    });
    const [input] = model.getInputDetails();
    const shape = Array.from(input!.shape);
    const tensor = new litert.Tensor(data, shape);
    entrants.push({
      build,
      run: async () => {
        const outputs = await model.run([tensor]);
        const result = outputs[0]!.toTypedArray();
        for (const o of outputs) o.delete();
        return result;
      },
    });
  }
  return entrants;
}
