/** `qc opt`: text in, passes, text out. */
import { fail, printModule, runPasses } from "../index.ts";
import { readModule } from "./model.ts";
import { EXIT, report } from "./report.ts";
import type { CommonOptions, Terminal } from "./terminal.ts";

export interface OptCommand extends CommonOptions {
  readonly passes: string;
  readonly elide?: boolean;
  readonly batch?: number;
}

/** Findings about `--passes` itself. */
const PASS_TEXT: ReadonlySet<string> = new Set(["QC4041", "QC4042"]);

export async function opt(path: string, options: OptCommand, terminal: Terminal): Promise<number> {
  const module = await readModule(path, options.batch === undefined ? {} : { batch: options.batch });
  const result = module.ok ? runPasses(module.value, options.passes) : fail();
  const diagnostics = [...module.diagnostics, ...result.diagnostics];
  const text = result.ok ? printModule(result.value, { elide: options.elide === true }) : undefined;
  const code = report(terminal, options, diagnostics, text === undefined ? {} : { module: text });
  if (text !== undefined && !options.json) terminal.out(text.endsWith("\n") ? text : `${text}\n`);
  return result.diagnostics.some((d) => PASS_TEXT.has(d.code)) ? EXIT.usage : code;
}
