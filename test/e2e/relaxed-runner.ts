/** Relaxed modules where the runtime would not choose them. */
import type { Compiled } from "../../compiler/index.ts";
import { rawDtype } from "../../runtime/elements.ts";
import { layoutOf } from "../../runtime/format.ts";
import { createModel } from "../../runtime/index.ts";
import type { Tensors } from "./exact.ts";

/** Runs the relaxed module whatever the engine's dot product; integers by tensor. */
export async function relaxedRunner({ manifest, baseline, relaxed }: Compiled) {
  const { memory } = (await WebAssembly.instantiate(baseline as Uint8Array<ArrayBuffer>)).instance
    .exports as { memory: WebAssembly.Memory };
  const { run } = (await WebAssembly.instantiate(relaxed as Uint8Array<ArrayBuffer>, { env: { memory } }))
    .instance.exports as { run: () => void };
  const ports = [...manifest.outputs, ...(manifest.taps ?? [])];
  const outputs = ports.map((p, i) => {
    const slot = { ...p.slots[0]!, boundary: { kind: "none" } as const };
    return { name: String(i), dtype: rawDtype(slot), shape: p.shape, slots: [slot] };
  });
  const model = createModel(
    { ...layoutOf(manifest), outputs },
    { memory, run },
    { backend: "relaxed", backendReason: "test" },
  );
  return (inputs: Tensors): ReadonlyMap<string, Int32Array> => {
    const out = model.run(Object.fromEntries(inputs));
    return new Map(ports.map((p, i) => [p.name, Int32Array.from(out[String(i)] as Int32Array)]));
  };
}
