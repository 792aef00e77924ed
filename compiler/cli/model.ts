/** Models on disk: `.onnx` through the frontend, `.qir` through the parser. */
import { fail, importModel, type Module, ok, parseModule, type Result } from "../index.ts";
import { externalDataBeside, readBytes } from "./external-data.ts";

/** Options that decide what a model file means. */
export interface ModelChoices {
  readonly batch?: number;
  /** Grids given on the command line. */
  readonly quant?: readonly string[];
  /** Ops without an integer form run in float32: all, or those of the nodes and tensors named. */
  readonly allowFloat?: boolean;
  readonly allowFloatAt?: readonly string[];
  /** An `.encodings` file. */
  readonly encodings?: string;
}

export const modelChoices = ({ batch, quant, allowFloat, allowFloatAt }: ModelChoices) => ({
  ...(batch !== undefined && { batch }),
  ...(quant !== undefined && { grids: quant }),
  ...((allowFloat || allowFloatAt) && { allowFloat: allowFloat || allowFloatAt! }),
});

/** The choices, with what files beside the model say. */
export function choicesFrom(
  options: ModelChoices,
): Result<
  ReturnType<typeof modelChoices> & { readonly encodings?: string; readonly encodingsPath?: string }
> {
  const choices = modelChoices(options);
  const { encodings: path } = options;
  if (path === undefined) return ok(choices);
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  return ok({ ...choices, encodings: new TextDecoder().decode(bytes), encodingsPath: path });
}

export async function readModule(path: string, batch: number | undefined): Promise<Result<Module>> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  if (path.endsWith(".qir")) return parseModule(new TextDecoder().decode(bytes), path);
  return importModel(bytes, {
    path,
    external: externalDataBeside(path),
    ...(batch !== undefined && { batch }),
  });
}
