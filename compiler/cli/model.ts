/** Models on disk: `.onnx` through the frontend, `.qir` through the parser. */
import {
  type CompileOptions,
  fail,
  forModels,
  importModel,
  type Module,
  type Observer,
  ok,
  parseModule,
  type Result,
  withGrids,
} from "../index.ts";
import { externalDataBeside, readBytes } from "./external-data.ts";

/** Options that decide what a model file means, see `model-options.ts`. */
export interface ModelChoices {
  readonly batch?: number;
  /** Grids given on the command line. */
  readonly quant?: readonly string[];
  /** An `.encodings` file. */
  readonly encodings?: string;
  /** Representative inputs, for grids of what has none. */
  readonly calib?: string;
  readonly observer?: Observer;
  /** Ops without an integer form run in float32: all, or those of the nodes and tensors named. */
  readonly allowFloat?: boolean;
  readonly allowFloatAt?: readonly string[];
}

/** What `compileModel` and `importModel` need to know of a file. */
export type ModelOptions = Pick<
  CompileOptions,
  "path" | "external" | "batch" | "grids" | "allowFloat" | "encodings" | "encodingsPath"
>;

/** All but calibration, which runs the model: `calib.ts`. */
export function givenOptions(path: string, choices: ModelChoices): Result<ModelOptions> {
  const { batch, quant, allowFloat, allowFloatAt, encodings } = choices;
  const options = {
    path,
    external: externalDataBeside(path),
    ...(batch !== undefined && { batch }),
    ...(quant !== undefined && { grids: quant }),
    ...((allowFloat || allowFloatAt) && { allowFloat: allowFloat || allowFloatAt! }),
  };
  if (encodings === undefined) return ok(options);
  const bytes = readBytes(encodings);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  return ok({ ...options, encodings: new TextDecoder().decode(bytes), encodingsPath: encodings });
}

/** The options for a module in text form, which has no ONNX file behind it. */
export function textOptions(path: string, choices: ModelChoices): Result<ModelOptions> {
  const { quant, encodings, calib, batch } = choices;
  const fits = forModelsOnly(path, {
    ...(encodings !== undefined && { encodings }),
    ...(calib !== undefined && { calib }),
    ...(batch !== undefined && { batch }),
  });
  return fits.ok ? ok(quant === undefined ? {} : { grids: quant }) : fits;
}

/** An error where options for a model are given with something else. */
export function forModelsOnly(path: string, choices: ModelChoices): Result<undefined> {
  const given = [
    ...(choices.quant === undefined ? [] : ["--quant"]),
    ...(choices.encodings === undefined ? [] : ["--encodings"]),
    ...(choices.calib === undefined ? [] : ["--calib"]),
    ...(choices.allowFloat ? ["--allow-float"] : []),
    ...(choices.allowFloatAt === undefined ? [] : ["--allow-float-at"]),
    ...(choices.batch === undefined ? [] : ["--batch"]),
  ];
  return given.length === 0 ? ok(undefined) : fail(forModels(path, given));
}

export async function readModule(path: string, options: ModelOptions = {}): Promise<Result<Module>> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  if (!path.endsWith(".qir"))
    return importModel(bytes, { path, external: externalDataBeside(path), ...options });
  const module = await parseModule(new TextDecoder().decode(bytes), path);
  return module.ok ? withGrids(module.value, options.grids ?? []) : module;
}
