/** Passes and the pass manager. Passes are plain data; the manager does no I/O. */
import { type Diagnostic, fail, ok, type Result } from "./diagnostics.ts";
import { checkLegality, type LegalityName } from "./legality.ts";
import { badPassText, unknownPass } from "./messages-text.ts";
import type { Attrs, Module } from "./module.ts";
import { greedy, mapFuncs, type Rule } from "./rewriter.ts";
import { verifyModule } from "./verifier.ts";

export interface PassOption {
  readonly doc: string;
  readonly default?: unknown;
}

export interface PassContext {
  /** The pass's options as given; unknown ones have been refused. */
  readonly options: { readonly [name: string]: unknown };
  /** Reports the share of the work that is done, from 0 to 1. */
  readonly progress: (share: number) => void;
}

interface PassBase {
  readonly name: string;
  /** One sentence for the docs and `qc opt --help`. */
  readonly summary: string;
  readonly options?: { readonly [name: string]: PassOption };
  /** Legality sets that hold before, and that hold after. Checked with `verifyEach`. */
  readonly requires?: readonly LegalityName[];
  readonly ensures?: readonly LegalityName[];
}

/** A pass is either global work (`run`) or local rewrites (`rules`), driven to a fixpoint. */
export type Pass =
  | (PassBase & {
      readonly run: (module: Module, ctx: PassContext) => Result<Module>;
      readonly rules?: undefined;
    })
  | (PassBase & { readonly rules: readonly Rule[]; readonly run?: undefined });

export const definePass = (pass: Pass): Pass => pass;

/** A pass with its options. */
export interface PassUse {
  readonly pass: Pass;
  readonly options?: { readonly [name: string]: unknown };
}

/** Runs one pass. */
export function runPass(
  module: Module,
  { pass, options = {} }: PassUse,
  progress: (share: number) => void = () => {},
): Result<Module> {
  if (pass.run) return pass.run(module, { options, progress });
  const { rules } = pass;
  return ok(mapFuncs(module, (f) => greedy(f, rules)));
}

export interface PipelineOptions {
  /** Verify the module and the legality sets before the first and after every pass. */
  readonly verifyEach?: boolean;
  /** Skip passes up to and including this one: the module is its output. */
  readonly startAfter?: string;
  /** The last pass to run. */
  readonly stopAfter?: string;
  /** Called before each pass. */
  readonly onStart?: (pass: string) => void;
  /** Called while long passes work, with the share that is done. */
  readonly onProgress?: (pass: string, share: number) => void;
  /** Called after each pass with its time in milliseconds. */
  readonly onPhase?: (pass: string, ms: number) => void;
  /** Called after each pass with its output: for printing and dumping. */
  readonly onModule?: (pass: string, module: Module, index: number) => void;
}

/** Runs passes in order. Stops at the first error; warnings accumulate. */
export function runPipeline(
  module: Module,
  passes: readonly (Pass | PassUse)[],
  { verifyEach = false, startAfter, stopAfter, onStart, onProgress, onPhase, onModule }: PipelineOptions = {},
): Result<Module> {
  const all = passes.map((p): PassUse => ("pass" in p ? p : { pass: p }));
  const names = all.map((u) => u.pass.name);
  for (const name of [startAfter, stopAfter])
    if (name !== undefined && !names.includes(name)) return fail(unknownPass(name, names));
  const first = startAfter === undefined ? 0 : names.indexOf(startAfter) + 1;
  const last = stopAfter === undefined ? all.length : names.lastIndexOf(stopAfter) + 1;
  const diagnostics: Diagnostic[] = verifyEach ? [...verifyModule(module)] : [];
  if (diagnostics.length > 0) return fail(...diagnostics);
  let at = module;
  for (const [i, use] of all.entries()) {
    if (i < first || i >= last) continue;
    const { name, requires = [], ensures = [] } = use.pass;
    if (verifyEach) {
      const faults = requires.flatMap((r) => checkLegality(at, r, `before ${name}`));
      if (faults.length > 0) return fail(...diagnostics, ...faults);
    }
    onStart?.(name);
    const start = performance.now();
    const result = runPass(at, use, (share) => onProgress?.(name, share));
    onPhase?.(name, performance.now() - start);
    diagnostics.push(...result.diagnostics);
    if (!result.ok) return fail(...diagnostics);
    at = result.value;
    onModule?.(name, at, i);
    if (verifyEach) {
      const faults = [...verifyModule(at), ...ensures.flatMap((r) => checkLegality(at, r, `after ${name}`))];
      if (faults.length > 0) return fail(...diagnostics, ...faults);
    }
  }
  return ok(at, diagnostics);
}

/**
 * Passes by name, as `qc opt --passes` takes them: `a,b{"option": 1},c`; options are one JSON object per pass. Unknown
 * passes and options are diagnostics.
 */
export function parsePasses(text: string, registry: ReadonlyMap<string, Pass>): Result<readonly PassUse[]> {
  const uses: PassUse[] = [];
  const pattern = /\s*([\w-]+)\s*(\{[^{}]*\})?\s*(?:,|$)/y;
  if (text.trim() === "") return ok([]);
  while (pattern.lastIndex < text.length) {
    const from = pattern.lastIndex;
    const match = pattern.exec(text);
    if (!match) return fail(badPassText(text.slice(from)));
    const pass = registry.get(match[1]!);
    if (!pass) return fail(unknownPass(match[1]!, [...registry.keys()]));
    const options = readOptions(match[2]);
    const known = Object.keys(pass.options ?? {});
    const unknown = options && Object.keys(options).find((k) => !known.includes(k));
    if (!options || unknown !== undefined) return fail(badPassText(match[2]!, known));
    uses.push({ pass, options });
  }
  return ok(uses);
}

function readOptions(text: string | undefined): Attrs | undefined {
  if (text === undefined) return {};
  try {
    return JSON.parse(text) as Attrs;
  } catch {
    return undefined;
  }
}
