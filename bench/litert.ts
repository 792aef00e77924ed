/** LiteRT.js as an entrant of the race. Nothing here knows Node or pages. */

/** The default build uses relaxed SIMD, the compat build does not. */
export type LiteRtBuild = "default" | "compat";

/** The part of `@litertjs/core` that is used. */
export interface LiteRt {
  loadLiteRt(script: string): Promise<{ readonly liteRtWasm: { readonly HEAPU8: Uint8Array } }>;
  loadAndCompile(
    model: string | Uint8Array,
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
  /** Of the engine's linear memory, now. */
  readonly memoryBytes: () => number;
}

export const SCRIPTS: Readonly<Record<LiteRtBuild, string>> = {
  default: "litert_wasm_internal.js",
  compat: "litert_wasm_compat_internal.js",
};

/**
 * `model` (bytes or an address) with `data` as its only input. `open` gives a fresh instance of the package for a build, and where that
 * build's script is: the package holds one build per instance. Throws an Error if the model takes another type or number of elements.
 */
export async function liteRtEntrant(
  build: LiteRtBuild,
  open: (build: LiteRtBuild) => Promise<{ readonly litert: LiteRt; readonly script: string }>,
  model: string | Uint8Array,
  data: Numbers,
): Promise<LiteRtEntrant> {
  const { litert, script } = await open(build);
  const { liteRtWasm } = await litert.loadLiteRt(script);
  const compiled = await litert.loadAndCompile(model, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
  const [input] = compiled.getInputDetails();
  const tensor = new litert.Tensor(data, Array.from(input!.shape));
  return {
    build,
    run: async () => {
      const outputs = await compiled.run([tensor]);
      const result = outputs[0]!.toTypedArray();
      for (const o of outputs) o.delete();
      return result;
    },
    memoryBytes: () => liteRtWasm.HEAPU8.buffer.byteLength,
  };
}

/** In a page whose server has the files of `liteRtFiles` at its root. */
export async function openInPage(build: LiteRtBuild): Promise<{ litert: LiteRt; script: string }> {
  const specifier = `/litert.js?${build}`;
  return { litert: (await import(specifier)) as LiteRt, script: `/${SCRIPTS[build]}` };
}
