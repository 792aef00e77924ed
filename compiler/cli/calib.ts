/** `--calib`: grids for activations without one, from data on disk. */
import { calibrate, type Observer, ok } from "../index.ts";
import { externalDataBeside } from "./external-data.ts";
import { choicesFrom, type ModelChoices, readModule } from "./model.ts";
import { inputsFrom, inputsOf } from "./reference.ts";
import { readInputs, samplesOf } from "./tensors.ts";

export interface CalibChoices extends ModelChoices {
  readonly calib?: string;
  readonly observer?: Observer;
}

/** The choices for `compileModel`, the calibrated grids among them. */
export async function calibratedChoices(
  path: string,
  bytes: Uint8Array,
  options: CalibChoices,
): Promise<ReturnType<typeof choicesFrom>> {
  const read = choicesFrom(options);
  if (!read.ok || options.calib === undefined) return read;
  const choices = read.value;
  const module = await readModule(path, options.batch);
  if (!module.ok) return module;
  const wanted = inputsOf(module.value);
  const given = readInputs([options.calib], wanted);
  const samples = given.ok ? samplesOf(given.value, wanted) : given;
  if (!samples.ok) return samples;
  const inputs = samples.value.map((s) => inputsFrom(module.value, s));
  const file = { path, external: externalDataBeside(path) };
  const grids = calibrate(bytes, { ...choices, ...file }, inputs, options.observer ?? "minmax");
  return grids.ok ? ok({ ...choices, grids: grids.value }, grids.diagnostics) : grids;
}
