/** The one door to binaryen. It costs a third of a second and 127 MB to import, hence the dynamic import. */
import type binaryen from "binaryen";

export type Binaryen = typeof binaryen;
export type Builder = InstanceType<Binaryen["Module"]>;

/** A binaryen expression: a pointer into its heap, to be used exactly once. */
export type Ref = number;

/** Starts loading binaryen, so that it is there when the first module is assembled. A failure shows there. */
export function preload(): void {
  import("binaryen").catch(() => {});
}

/** Runs `build` on a fresh module with the features qc uses and returns the binary. Throws if it does not validate. */
export async function assemble(
  build: (b: Binaryen, m: Builder) => void,
  relaxed: boolean,
  threads = false,
): Promise<Uint8Array> {
  const b = (await import("binaryen")).default;
  const m = new b.Module();
  try {
    const { MVP, SIMD128, RelaxedSIMD, BulkMemory, BulkMemoryOpt, MutableGlobals } = b.Features;
    const always = MVP | SIMD128 | BulkMemory | BulkMemoryOpt | MutableGlobals;
    m.setFeatures(always | (relaxed ? RelaxedSIMD : 0) | (threads ? b.Features.Atomics : 0));
    build(b, m);
    if (!m.validate()) throw new Error("emitted module does not validate");
    return m.emitBinary();
  } finally {
    m.dispose();
  }
}
