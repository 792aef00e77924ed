/** The options that decide what a model file means, for every command that takes one. */
import { type Command, InvalidArgumentError, Option } from "commander";

export const positive = (text: string): number => {
  const n = Number(text);
  if (!/^[0-9]+$/.test(text) || n < 1 || n > 2 ** 24)
    throw new InvalidArgumentError("It must be a positive integer.");
  return n;
};

export const collect = (value: string, list: readonly string[] = []): readonly string[] => [...list, value];

export const batch = () =>
  new Option("--batch <n>", "size of a symbolic batch dimension").argParser(positive);

/** Parsed as `ModelChoices`. */
const MODEL_OPTIONS: readonly (() => Option)[] = [
  () =>
    new Option(
      "--quant <tensor=u8@scale,zero>",
      "put a float tensor on a grid of your own, for all that read it; may be repeated",
    ).argParser(collect),
  () => new Option("--encodings <file>", "quantizers that AIMET wrote beside the model, by tensor name"),
  () =>
    new Option(
      "--calib <data.npz>",
      "representative inputs: activations without a quantizer get the grid of the values they take on them",
    ),
  () =>
    new Option("--observer <name>", "how calibration chooses a range from the values")
      .choices(["minmax", "percentile", "mse"])
      .default("minmax"),
  () =>
    new Option("--allow-float", "let operators without an integer form run in float32, instead of failing"),
  () =>
    new Option("--allow-float-at <name>", "the same for one node or tensor; may be repeated").argParser(
      collect,
    ),
  batch,
];

export const withModelOptions = (command: Command): Command =>
  MODEL_OPTIONS.reduce((c, option) => c.addOption(option()), command);
