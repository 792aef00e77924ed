/** The fake-quantized graph as qc understands it, as a standard ONNX file. */
import { importModel } from "./compile.ts";
import type { CompileOptions } from "./compiled.ts";
import { fail, ok, type Result } from "./ir/diagnostics.ts";
import { type Pass, type PassUse, runPipeline } from "./ir/pass.ts";
import { integerPasses } from "./pipeline.ts";

const nameOf = (p: Pass | PassUse): string => ("pass" in p ? p.pass.name : p.name);

/**
 * What comes in front of `integerize`, written as ONNX with QuantizeLinear and DequantizeLinear: grids given by the
 * user put in, quantizers and normalizations recognized, QONNX and QOperator nodes taken apart. Compiles to the same
 * integers as the model itself. Errors: those of `importModel` and of the recognizers, and QC5012 for what the
 * standard's operators cannot say.
 */
export async function loweredOnnx(
  bytes: Uint8Array,
  options: Partial<CompileOptions> = {},
): Promise<Result<Uint8Array>> {
  const imported = importModel(bytes, options);
  if (!imported.ok) return imported;
  const passes = integerPasses();
  const end = passes.findIndex((p) => nameOf(p) === "integerize");
  const recognized = runPipeline(imported.value, passes.slice(0, end));
  const diagnostics = [...imported.diagnostics, ...recognized.diagnostics];
  if (!recognized.ok) return fail(...diagnostics);
  const { writeOnnx } = await import("./backends/onnx/write.ts");
  const written = writeOnnx(recognized.value);
  return written.ok ? ok(written.value, diagnostics) : fail(...diagnostics, ...written.diagnostics);
}
