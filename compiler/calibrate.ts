/** Grids for activations without quantizers, from the values they take on given inputs. */

import { importModel, withGrids } from "./compile.ts";
import type { CompileOptions } from "./compiled.ts";
import { type Diagnostic, fail, ok, type Result } from "./ir/diagnostics.ts";
import { type Inputs, interpret } from "./ir/interpreter.ts";
import { gridChosen, notCalibrated } from "./ir/messages-quant.ts";
import type { Module } from "./ir/module.ts";
import { runPipeline } from "./ir/pass.ts";
import { integerPasses } from "./pipeline.ts";

/**
 * How the values of a tensor become the range of its grid: all of them, all but a ten-thousandth at either end, or the
 * range with the least squared error.
 */
export type Observer = "minmax" | "percentile" | "mse";

const LEVELS = 255;
/** Values of a tensor that are kept, evenly over the samples. */
const KEPT = 2 ** 20;
const TAIL = 1e-4;
/** Ranges that `mse` tries, as fractions of the whole. */
const FRACTIONS = 64;

/** Scale and zero point of the 256 levels that cover lo … hi and zero. */
function levelsOf(lo: number, hi: number): { readonly scale: number; readonly zero: number } {
  const [a, b] = [Math.min(lo, 0), Math.max(hi, 0)];
  const scale = Math.fround((b - a) / LEVELS) || 1;
  return { scale, zero: Math.min(Math.max(Math.round(-a / scale), 0), LEVELS) };
}

function squaredError(values: Float64Array, lo: number, hi: number): number {
  const { scale, zero } = levelsOf(lo, hi);
  let sum = 0;
  for (const v of values) {
    const q = Math.min(Math.max(Math.round(v / scale) + zero, 0), LEVELS);
    sum += (v - (q - zero) * scale) ** 2;
  }
  return sum;
}

/** `values`: rising. */
function rangeOf(values: Float64Array, observer: Observer): readonly [number, number] {
  const [lo, hi] = [values[0]!, values.at(-1)!];
  if (observer === "minmax") return [lo, hi];
  if (observer === "percentile") {
    const tail = Math.floor(TAIL * values.length);
    return [values[tail]!, values[values.length - 1 - tail]!];
  }
  let best: readonly [number, number] = [lo, hi];
  let least = squaredError(values, lo, hi);
  for (let i = 1; i < FRACTIONS; i++) {
    const fraction = 1 - i / FRACTIONS;
    const error = squaredError(values, lo * fraction, hi * fraction);
    if (error < least) [best, least] = [[lo * fraction, hi * fraction], error];
  }
  return best;
}

/** The grid of a tensor's values, as `--quant` takes it. */
export function gridOf(tensor: string, values: Float64Array, observer: Observer): string {
  const [lo, hi] = rangeOf(values.toSorted(), observer);
  const { scale, zero } = levelsOf(lo, hi);
  return `${tensor}=u8@${scale}${zero === 0 ? "" : `,${zero}`}`;
}

/** Values of the named tensors over all samples; undefined for one that is never finite. */
function observe(module: Module, names: ReadonlySet<string>, samples: readonly Inputs[]) {
  const seen = new Map<string, number[]>();
  const each = Math.max(1, Math.floor(KEPT / samples.length));
  for (const inputs of samples)
    interpret(module, inputs, {
      observe: ({ name }, { data }) => {
        if (!names.has(name)) return;
        const list = seen.get(name) ?? [];
        const stride = Math.max(1, Math.floor(data.length / each));
        for (let i = 0; i < data.length; i += stride) if (Number.isFinite(data[i])) list.push(data[i]!);
        seen.set(name, list);
      },
    });
  return (name: string): Float64Array | undefined => {
    const list = seen.get(name);
    return list === undefined || list.length === 0 ? undefined : Float64Array.from(list);
  };
}

/**
 * The grids, `options.grids` first, under which every activation of the model has one. `samples`: inputs by name, at least
 * one. What else keeps the model from being compiled is left to `compileModel`. Notes (QC2145) name the grids chosen.
 */
export function calibrate(
  bytes: Uint8Array,
  options: Pick<CompileOptions, "path" | "external" | "batch" | "grids" | "encodings" | "encodingsPath">,
  samples: readonly Inputs[],
  observer: Observer,
): Result<readonly string[]> {
  const imported = importModel(bytes, { ...options, grids: [] });
  if (!imported.ok) return imported;
  const grids = [...(options.grids ?? [])];
  const chosen: Diagnostic[] = [];
  const known = new Set<string>();
  for (;;) {
    const quantized = withGrids(imported.value, grids);
    if (!quantized.ok) return quantized;
    const { diagnostics } = runPipeline(quantized.value, integerPasses());
    const missing = new Set(diagnostics.flatMap((d) => (d.tensor !== undefined ? [d.tensor] : [])));
    for (const name of known) missing.delete(name);
    missing.delete("");
    if (missing.size === 0) return ok(grids, chosen);
    const valuesOf = observe(imported.value, missing, samples);
    for (const name of missing) {
      const values = valuesOf(name);
      if (values === undefined) return fail(notCalibrated(name));
      const grid = gridOf(name, values, observer);
      known.add(name);
      grids.push(grid);
      chosen.push(gridChosen(grid));
    }
  }
}
