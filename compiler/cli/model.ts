/** Models on disk: `.onnx` through the frontend, `.qir` through the parser. */
import { fail, importModel, type Module, parseModule, type Result } from "../index.ts";
import { externalDataBeside, readBytes } from "./external-data.ts";

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
