/** The project's files, for tests about the source itself. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

export interface SourceFile {
  /** Below the project root, with `/`. */
  readonly path: string;
  readonly text: string;
}

const SKIPPED = new Set(["node_modules", "dist", "coverage", ".git", ".qc"]);

/** Files below `folder`, without build output, sorted by path. */
function walk(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : walk(path);
      return entry.isFile() ? [path] : [];
    })
    .sort();
}

/** Every file of the project that matches, with its text. */
export const files = (match: RegExp): readonly SourceFile[] =>
  walk(ROOT)
    .map((path) => ({ path: relative(ROOT, path).split(sep).join("/"), full: path }))
    .filter(({ path }) => match.test(path))
    .map(({ path, full }) => ({ path, text: readFileSync(full, "utf8") }));

export const isTest = ({ path }: SourceFile): boolean => path.endsWith(".test.ts");
export const isGenerated = ({ path }: SourceFile): boolean => path.includes(".gen.");
