/** Files for the reader: the model itself, and external data confined to the model's folder. */
import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { type Diagnostic, type ExternalData, externalDataOutside, unreadableFile } from "../index.ts";

/**
 * The files below the folder of `modelPath`. A location that is reached through a link is used only if it ends up in
 * that folder again; anything that is not a regular file is refused.
 */
export function externalDataBeside(modelPath: string): ExternalData {
  return (location) => {
    let real: string;
    try {
      const folder = realpathSync(dirname(modelPath));
      real = realpathSync(join(folder, location));
      if (!real.startsWith(folder.endsWith(sep) ? folder : folder + sep))
        return externalDataOutside(location);
    } catch (error) {
      const missing = ["ENOENT", "ENOTDIR"].includes(codeOf(error));
      return missing ? undefined : unreadableFile(location, reasonOf(error));
    }
    return readBytes(real, location);
  };
}

/** The bytes of a regular file of any size, or why it cannot be read. `shown` stands for the path in the diagnostic. */
export function readBytes(path: string, shown: string = path): Uint8Array | Diagnostic {
  try {
    // Before opening: opening a pipe would wait for its other end.
    if (!statSync(path).isFile()) return unreadableFile(shown, "it is not a regular file");
    const file = openSync(path, "r");
    try {
      const bytes = new Uint8Array(fstatSync(file).size);
      let at = 0;
      while (at < bytes.length) {
        const read = readSync(file, bytes, at, Math.min(bytes.length - at, 1 << 30), at);
        if (read === 0) break;
        at += read;
      }
      return bytes.subarray(0, at);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return unreadableFile(shown, reasonOf(error));
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  ENOTDIR: "no such file",
  EACCES: "permission denied",
  EISDIR: "it is a folder",
  ELOOP: "too many links",
};

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

const reasonOf = (error: unknown): string =>
  error instanceof RangeError ? "it does not fit into memory" : (REASONS[codeOf(error)] ?? codeOf(error));
