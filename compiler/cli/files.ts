/** Writing an artifact: all of it or nothing. */
import { existsSync, mkdirSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type ArtifactFile, cannotWrite, type Diagnostic, possibleFiles } from "../index.ts";

/** The model's file name without `.onnx`: what the artifact's files are called. */
export function stemOf(path: string): string {
  return basename(path).replace(/\.(onnx|qir)$/i, "") || "model";
}

const reasons: { readonly [code: string]: string } = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  ENOSPC: "no space left",
  EROFS: "the file system is read-only",
  ENOTDIR: "a part of the path is not a folder",
  EEXIST: "a file of that name is in the way",
  EISDIR: "a folder of that name is in the way",
  ENAMETOOLONG: "the name is too long",
};

/** A system error in words; any other error is a bug and thrown again. */
function reason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : undefined;
  if (code === undefined) throw error;
  return reasons[code] ?? code;
}

/** Removes the folders that were created, from `dir` up to `first`, as far as they are empty. */
function unmake(dir: string, first: string | undefined): void {
  if (first === undefined) return;
  try {
    for (let d = dir; d.length >= first.length; d = dirname(d)) rmdirSync(d);
  } catch {}
}

/**
 * Writes `files` into `dir`, each beside its place and then renamed, so that a failure leaves nothing behind. Files of an earlier
 * artifact of the same stem that are no longer part of it are removed. Where `dir` has no package.json, it gets one
 * that makes `.js` files modules.
 */
export function writeArtifact(
  dir: string,
  stem: string,
  files: readonly ArtifactFile[],
): Diagnostic | undefined {
  let at = dir;
  let created: string | undefined;
  const temporary: string[] = [];
  try {
    created = mkdirSync(dir, { recursive: true });
    const type = existsSync(join(dir, "package.json"))
      ? []
      : [{ name: "package.json", bytes: new TextEncoder().encode('{\n  "type": "module"\n}\n') }];
    const moves = [...files, ...type].map((file, i) => {
      const to = join(dir, file.name);
      const from = join(dir, `.qc-${process.pid}-${i}.tmp`);
      at = to;
      if (statSync(to, { throwIfNoEntry: false })?.isDirectory())
        throw Object.assign(new Error(), { code: "EISDIR" });
      temporary.push(from);
      writeFileSync(from, file.bytes);
      return { from, to };
    });
    for (const { from, to } of moves) {
      at = to;
      renameSync(from, to);
    }
    for (const name of possibleFiles(stem))
      if (!files.some((f) => f.name === name)) rmSync(join(dir, name), { force: true });
    return undefined;
  } catch (error) {
    for (const path of temporary) rmSync(path, { force: true });
    unmake(dir, created);
    return cannotWrite(at, reason(error));
  }
}

/** Writes one file: beside its place and then renamed, so that a failure leaves what was there. */
export function writeWhole(path: string, bytes: Uint8Array): Diagnostic | undefined {
  const beside = join(dirname(path), `.qc-${process.pid}.tmp`);
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw Object.assign(new Error(), { code: "EISDIR" });
    writeFileSync(beside, bytes);
    renameSync(beside, path);
    return undefined;
  } catch (error) {
    rmSync(beside, { force: true });
    return cannotWrite(path, reason(error));
  }
}
