/** `--calib`: grids for activations without one, from data on disk. */
import { calibrate, ok, type Result } from "../index.ts";
import { givenOptions, type ModelChoices, type ModelOptions, readModule } from "./model.ts";
import { inputsFrom, inputsOf } from "./reference.ts";
import { readInputs, samplesOf } from "./tensors.ts";

/** What the choices say of the ONNX file at `path`, the calibrated grids among it; notes name those. */
export async function modelOptions(
  path: string,
  bytes: Uint8Array,
  choices: ModelChoices,
): Promise<Result<ModelOptions>> {
  const given = givenOptions(path, choices);
  if (!given.ok || choices.calib === undefined) return given;
  const { batch, external } = given.value;
  const module = await readModule(path, {
    ...(batch !== undefined && { batch }),
    ...(external && { external }),
  });
  if (!module.ok) return module;
  const wanted = inputsOf(module.value);
  const data = readInputs([choices.calib], wanted);
  const samples = data.ok ? samplesOf(data.value, wanted) : data;
  if (!samples.ok) return samples;
  const inputs = samples.value.map((s) => inputsFrom(module.value, s));
  const grids = calibrate(bytes, given.value, inputs, choices.observer ?? "minmax");
  return grids.ok ? ok({ ...given.value, grids: grids.value }, grids.diagnostics) : grids;
}
