/**
 * Speed of single layers over shapes, to find cliffs: `npx node bench/sweep.ts [--relaxed] [family …]`. Each line is one layer, its
 * nominal multiply-accumulates per cycle, and of the engine's peak; `<` marks less than half of the better of its neighbours.
 * `--relaxed` runs the relaxed kernels even where their results would be wrong.
 */
import { parseArgs } from "node:util";
import { profile } from "../compiler/cli/bench/profile.ts";
import { table } from "../compiler/cli/print.ts";
import { compileModel } from "../compiler/compile.ts";
import { FAMILIES, type Layer } from "./sweep-layers.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { relaxed: { type: "boolean", default: false } },
});
const backend = values.relaxed ? "relaxed" : "baseline";
const SAMPLING = { rounds: 15, sampleMs: 0.3 };

/** MAC/cycle of the layer's kernels together, and of the peak. */
async function measure({ onnx, macs: own }: Layer): Promise<{ rate: number; us: number; peak: number }> {
  const compiled = await compileModel(onnx, { target: "wasm", profile: true });
  if (!compiled.ok) throw new Error(compiled.diagnostics.map((d) => d.message).join("\n"));
  const [port] = compiled.value.manifest.inputs;
  const size = port!.shape.reduce((n, d) => n * d, 1);
  const input = Uint8Array.from({ length: size }, (_, i) => (i * 37) & 127);
  const p = await profile(compiled.value, backend, new Map([[port!.name, input]]), SAMPLING);
  // Kernels without products are the layer's own only between those with.
  const first = p.kernels.findIndex((k) => k.macs > 0);
  const last = p.kernels.findLastIndex((k) => k.macs > 0);
  const layers = p.kernels.filter((_, i) => i >= first && i <= last);
  const ms = layers.reduce((sum, k) => sum + k.ms, 0);
  const macs = own ?? layers.reduce((sum, k) => sum + k.macs, 0);
  return { rate: macs / (ms * p.gigahertz * 1e6), us: ms * 1000, peak: p.peakMacsPerCycle };
}

const unknown = positionals.filter((f) => !(f in FAMILIES));
if (unknown.length > 0)
  throw new Error(`no family ${unknown.join(", ")}; there are ${Object.keys(FAMILIES).join(", ")}`);
for (const [family, layers] of Object.entries(FAMILIES)) {
  if (positionals.length > 0 && !positionals.includes(family)) continue;
  const measured: { layer: Layer; rate: number; us: number; peak: number }[] = [];
  for (const layer of layers()) measured.push({ layer, ...(await measure(layer)) });
  const rows = measured.map(({ layer, rate, us, peak }, i) => {
    const better = Math.max(measured[i - 1]?.rate ?? 0, measured[i + 1]?.rate ?? 0);
    return [
      layer.name,
      us.toFixed(1),
      rate.toFixed(2),
      `${((100 * rate) / peak).toFixed(0)} %`,
      2 * rate < better ? "<" : "",
    ];
  });
  console.log(`\n${family}\n${table([["layer", "µs", "MAC/cycle", "of peak", ""], ...rows], [1, 2, 3])}`);
}
