/** `qc opt`: text in, passes, text out. */
import { fail, printModule, runPasses } from "../index.ts";
import { readModule } from "./model.ts";
import { report } from "./report.ts";
import type { CommonOptions, Terminal } from "./terminal.ts";

export interface OptCommand extends CommonOptions {
  readonly passes: string;
  readonly elide?: boolean;
  readonly batch?: number;
}

export async function opt(path: string, options: OptCommand, terminal: Terminal): Promise<number> {
  const module = readModule(path, options.batch);
  const result = module.ok ? runPasses(module.value, options.passes) : fail();
  const diagnostics = [...module.diagnostics, ...result.diagnostics];
  const text = result.ok ? printModule(result.value, { elide: options.elide === true }) : undefined;
  const code = report(terminal, options, diagnostics, text === undefined ? {} : { module: text });
  if (text !== undefined && !options.json) terminal.out(text.endsWith("\n") ? text : `${text}\n`);
  return code;
}
