/** `qc opt`: text in, passes, text out. */
import { passNames, printModule, runPasses } from "../index.ts";
import { readModule } from "./model.ts";
import { EXIT, report } from "./report.ts";
import type { CommonOptions, Terminal } from "./terminal.ts";

export interface OptCommand extends CommonOptions {
  readonly passes: readonly string[];
  readonly elide?: boolean;
}

export async function opt(path: string, options: OptCommand, terminal: Terminal): Promise<number> {
  const unknown = options.passes.find((p) => !passNames.includes(p));
  if (unknown !== undefined) {
    terminal.err(`error: no pass ${JSON.stringify(unknown)}; there are ${passNames.join(", ") || "none"}\n`);
    return EXIT.usage;
  }
  const module = readModule(path, undefined);
  const result = module.ok && options.passes.length > 0 ? runPasses(module.value, options.passes) : module;
  const all =
    module.ok && result !== module ? [...module.diagnostics, ...result.diagnostics] : result.diagnostics;
  const text = result.ok ? printModule(result.value, { elide: options.elide === true }) : undefined;
  const code = report(terminal, options, all, text === undefined ? {} : { module: text });
  if (text !== undefined && !options.json) terminal.out(text.endsWith("\n") ? text : `${text}\n`);
  return code;
}
