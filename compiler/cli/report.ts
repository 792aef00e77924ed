/** How commands report findings, and the exit codes. */
import type { Diagnostic } from "../index.ts";
import { diagnosticsText } from "./print.ts";
import type { CommonOptions, Terminal } from "./terminal.ts";

export const EXIT = { ok: 0, input: 1, usage: 2, bug: 70 } as const;

const isError = (d: Diagnostic): boolean => d.severity === "error";

/**
 * Prints findings: as one JSON object on standard output with `--json` (with the command's own `facts`), otherwise as
 * text on standard error, only errors with `--quiet`. Returns the exit code.
 */
export function report(
  terminal: Terminal,
  options: CommonOptions,
  diagnostics: readonly Diagnostic[],
  facts: { readonly [key: string]: unknown } = {},
): number {
  const failed = diagnostics.some(isError);
  if (options.json) terminal.out(`${JSON.stringify({ ok: !failed, diagnostics, ...facts }, undefined, 2)}\n`);
  else {
    const shown = options.quiet ? diagnostics.filter(isError) : diagnostics;
    if (shown.length > 0) terminal.err(`${diagnosticsText(shown, terminal)}${failed ? "" : "\n"}`);
  }
  return failed ? EXIT.input : EXIT.ok;
}
