/** The import rules of ARCHITECTURE.md, as data, and what it takes to check them. */

export interface Edge {
  /** Path below the project root, with `/`. */
  readonly from: string;
  /** The same for project files; otherwise the bare specifier. `undefined`: computed at run time. */
  readonly to: string | undefined;
  readonly kind: "static" | "type" | "lazy";
}

const STATEMENT =
  /^(?:import|export)\s+(type\s+)?(?:[\w$]+\s*,?\s*)?(?:\*(?:\s+as\s+[\w$]+)?)?(?:\{[^}]*\})?\s*from\s*["']([^"']+)["']/gm;
const BARE = /^import\s*["']([^"']+)["']/gm;
/** `import("x")`, as an expression or in a type; not on a comment's line. */
const CALL = /^(?!\s*(?:\*|\/\/|\/\*)).*?\bimport\s*\(\s*(?:["'`]([^"'`$]+)["'`]\s*\)|)/gm;

/** Resolves `./x` against the folder of `from`. */
function resolve(from: string, to: string): string {
  if (!to.startsWith(".")) return to;
  const parts = from.split("/").slice(0, -1);
  for (const part of to.split("/"))
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  return parts.join("/");
}

/** Every import and re-export of a source file. Statements start a line, as the formatter leaves them. */
export function importsOf(from: string, source: string): Edge[] {
  const edges: Edge[] = [];
  for (const [, type, to] of source.matchAll(STATEMENT))
    edges.push({ from, to: resolve(from, to!), kind: type === undefined ? "static" : "type" });
  for (const [, to] of source.matchAll(BARE)) edges.push({ from, to: resolve(from, to!), kind: "static" });
  for (const [, to] of source.matchAll(CALL))
    edges.push({ from, to: to === undefined ? undefined : resolve(from, to), kind: "lazy" });
  return edges;
}

/** `compiler/passes/lower/x.ts` and `compiler/passes/lower.ts` belong to `compiler/passes/lower`. */
const unit = (path: string, depth: number): string =>
  path
    .split("/")
    .slice(0, depth)
    .join("/")
    .replace(/\.gen\.js$|\.ts$/, "");
const below = (path: string, ...folders: readonly string[]): boolean =>
  folders.some((folder) => path.startsWith(`${folder}/`));
const sameUnit =
  (depth: number) =>
  (from: string, to: string): boolean =>
    unit(from, depth) === unit(to, depth);

/** The pipeline and the public API: files directly in compiler/. */
const isDriver = (path: string): boolean => /^compiler\/[^/]+\.ts$/.test(path);
/** The artifact format, and the arrays that carry it. */
const FORMAT = ["runtime/format.ts", "runtime/elements.ts"];
/** A constant. */
const VERSION = "compiler/version.gen.js";

export interface Layer {
  readonly name: string;
  readonly has: (path: string) => boolean;
  readonly may: (from: string, to: string) => boolean;
  /** May use Node's own modules. */
  readonly node?: true;
}

/** Each source file belongs to the first layer that has it. */
export const LAYERS: readonly Layer[] = [
  {
    name: "compiler/ir",
    has: (path) => below(path, "compiler/ir"),
    may: (_, to) => below(to, "compiler/ir"),
  },
  {
    name: "compiler/frontend",
    has: (path) => below(path, "compiler/frontend"),
    may: (_, to) => below(to, "compiler/frontend", "compiler/ir"),
  },
  {
    name: "compiler/passes",
    has: (path) => below(path, "compiler/passes"),
    may: (from, to) => below(to, "compiler/ir") || sameUnit(3)(from, to),
  },
  {
    name: "compiler/backends",
    has: (path) => below(path, "compiler/backends"),
    may: (from, to) =>
      below(to, "compiler/ir") || FORMAT.includes(to) || to === VERSION || sameUnit(3)(from, to),
  },
  {
    name: "drivers",
    has: isDriver,
    may: (_, to) =>
      isDriver(to) ||
      to === VERSION ||
      FORMAT.includes(to) ||
      below(to, "compiler/frontend", "compiler/ir", "compiler/passes", "compiler/backends"),
  },
  {
    name: "compiler/cli, compiler/plugin",
    has: (path) => below(path, "compiler/cli", "compiler/plugin"),
    may: (from, to) =>
      to === "compiler/index.ts" || to === VERSION || below(to, "runtime") || sameUnit(2)(from, to),
    node: true,
  },
  { name: "runtime", has: (path) => below(path, "runtime"), may: (_, to) => below(to, "runtime") },
];

/** Where each package may be imported; `lazy`: only as `import("…")`, types aside. */
export const DOORS: Readonly<Record<string, { readonly files: RegExp; readonly lazy?: true }>> = {
  protobufjs: {
    files: /^compiler\/(frontend\/onnx\/(reader\.ts|schema\.gen\.js)|backends\/onnx\/encode\.ts)$/,
  },
  chevrotain: { files: /^compiler\/ir\/(parser\.ts|text\/.*\.ts|kernel\/parser\.ts)$/ },
  binaryen: { files: /^compiler\/backends\/wasm\/assemble\.ts$/, lazy: true },
  commander: { files: /^compiler\/cli\// },
  fflate: { files: /^compiler\/cli\// },
};

const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
const isProjectFile = (to: string): boolean =>
  /^(compiler|runtime|test|bench|scripts|examples|dist)\//.test(to);

/** What is wrong with one import; `undefined` if nothing is. */
export function fault({ from, to, kind }: Edge): string | undefined {
  const layer = LAYERS.find(({ has }) => has(from));
  if (layer === undefined) return `${from} belongs to no layer`;
  if (to === undefined)
    return layer.node ? undefined : `${from} imports a module whose name is computed at run time`;
  if (isProjectFile(to)) return layer.may(from, to) ? undefined : `${layer.name}: ${from} imports ${to}`;
  if (to.startsWith("node:")) return layer.node ? undefined : `${layer.name}: ${from} imports ${to}`;
  const door = DOORS[packageOf(to)];
  if (door === undefined) return `${from} imports ${to}, which is no dependency`;
  if (!door.files.test(from)) return `${from} imports ${to} past its door`;
  if (door.lazy && kind === "static") return `${from} must load ${to} lazily, with import()`;
  return undefined;
}

/** One cycle of imports per knot, as a path that ends where it starts. */
export function cycles(edges: readonly Edge[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) if (to !== undefined) next.set(from, [...(next.get(from) ?? []), to]);
  const state = new Map<string, "open" | "done">();
  const path: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      found.push([...path.slice(path.indexOf(file)), file]);
      return;
    }
    state.set(file, "open");
    path.push(file);
    for (const to of next.get(file) ?? []) visit(to);
    path.pop();
    state.set(file, "done");
  };
  for (const file of next.keys()) visit(file);
  return found;
}
