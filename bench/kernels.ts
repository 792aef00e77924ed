/**
 * Where one inference spends its time, kernel by kernel: `npx node bench/kernels.ts [--relaxed] [--quick] [model …]`.
 * `--relaxed` runs the relaxed kernels even where their results would be wrong.
 */
import { parseArgs } from "node:util";
import { profile } from "../compiler/cli/bench/profile.ts";
import { profileText } from "../compiler/cli/bench/text.ts";
import { compileModel } from "../compiler/compile.ts";
import { sources } from "./cases.ts";
import { typedFor } from "./race.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { relaxed: { type: "boolean", default: false }, quick: { type: "boolean", default: false } },
});
const SAMPLING = values.quick ? { rounds: 21, sampleMs: 0.5 } : { rounds: 61, sampleMs: 1 };

for (const source of sources(positionals)) {
  const compiled = await compileModel(source.onnx, { target: "wasm", profile: true });
  if (!compiled.ok) throw new Error(compiled.diagnostics.map((d) => d.message).join("\n"));
  const [port] = compiled.value.manifest.inputs;
  const input = typedFor(port!.dtype, source.input as ArrayLike<number>);
  const backend = values.relaxed ? "relaxed" : "baseline";
  const p = await profile(compiled.value, backend, new Map([[port!.name, input]]), SAMPLING);
  console.log(`\n${source.name}\n${profileText(p)}`);
}
