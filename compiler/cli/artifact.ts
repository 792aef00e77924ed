/** Artifacts on disk. */
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { FORMAT_VERSION, loadModel, type Manifest, type ThreadedModel } from "../../runtime/index.ts";
import { type Diagnostic, fail, notAnArtifact, ok, type Result, runFailed } from "../index.ts";
import { readBytes } from "./external-data.ts";

export interface StoredArtifact {
  readonly manifest: Manifest;
  readonly dir: string;
}

const isDirectory = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** The manifest's path from what the user named: a folder with one artifact, or a file of the artifact. */
function manifestPath(path: string): string | Diagnostic {
  if (!isDirectory(path))
    return path.replace(/(\.relaxed(-s8)?)?(\.threads|\.worker)?\.(wasm|js|d\.ts|json)$/, ".json");
  const found = readdirSync(path).filter(
    (n) => n.endsWith(".json") && isDirectory(path) && isOurs(join(path, n)),
  );
  if (found.length === 1) return join(path, found[0]!);
  return notAnArtifact(
    path,
    found.length === 0 ? "the folder holds no manifest" : `the folder holds ${found.length} artifacts`,
  );
}

const isOurs = (path: string): boolean => readManifest(path).ok;

function readManifest(path: string): Result<Manifest> {
  const bytes = readBytes(path);
  if (!(bytes instanceof Uint8Array)) return fail(bytes);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return fail(notAnArtifact(path, "the manifest is not JSON"));
  }
  const m = json as Partial<Manifest> | null;
  if (m?.format !== "qc-wasm" || !m.inputs || !m.outputs || !m.files || !m.hashes)
    return fail(notAnArtifact(path, "the manifest is not qc's"));
  if (m.version !== FORMAT_VERSION) return fail(notAnArtifact(path, `its format is version ${m.version}`));
  return ok(m as Manifest);
}

/** Whether `path` names an artifact rather than a model. */
export const isArtifact = (path: string): boolean =>
  isDirectory(path) || /\.(wasm|js|d\.ts|json)$/.test(path);

export function openArtifact(path: string): Result<StoredArtifact> {
  const at = manifestPath(path);
  if (typeof at !== "string") return fail(at);
  const manifest = readManifest(at);
  return manifest.ok ? ok({ manifest: manifest.value, dir: dirname(at) }) : manifest;
}

/** Loads an artifact from disk in this engine. */
export async function loadStored(
  { manifest, dir }: StoredArtifact,
  options: {
    readonly raw?: boolean;
    readonly backend?: "auto" | "baseline" | "relaxed";
    readonly threads?: number;
  },
): Promise<Result<ThreadedModel>> {
  const modules: Record<string, Uint8Array<ArrayBuffer>> = {};
  for (const [key, name] of Object.entries(manifest.files!)) {
    if (key === "worker" || (key.endsWith("Threads") && (options.threads ?? 1) === 1)) continue;
    if (/[/\\]/.test(name)) return fail(notAnArtifact(dir, "a module's name is a path"));
    const bytes = readBytes(join(dir, name));
    if (!(bytes instanceof Uint8Array)) return fail(bytes);
    modules[key] = bytes as Uint8Array<ArrayBuffer>;
  }
  try {
    return ok(await loadModel(manifest, {}, { ...options, ...modules, verify: true }));
  } catch (error) {
    if (error instanceof Error && error.name === "LoadError") return fail(runFailed(error.message));
    throw error;
  }
}
