/** Runs golden tests: parse, verify, print and read back, run passes, compare output, errors and meaning. */
import type { Diagnostic } from "../compiler/ir/diagnostics.ts";
import { interpretFunc } from "../compiler/ir/interpreter.ts";
import type { Dense, Module } from "../compiler/ir/module.ts";
import { parseModule } from "../compiler/ir/parser.ts";
import { type Pass, parsePasses, runPipeline } from "../compiler/ir/pass.ts";
import { printModule } from "../compiler/ir/printer.ts";
import { verifyModule } from "../compiler/ir/verifier.ts";
import type { Case, Expectation, FileTest } from "./filetest-format.ts";
import { difference } from "./ir/equal.ts";
import { randomInputs } from "./random-inputs.ts";

export type Passes = ReadonlyMap<string, Pass>;

/** `QC4021 at 3:5: message`; `at -` when the diagnostic has no place in the text. */
export function errorLine({ code, message, loc }: Diagnostic): string {
  const at = loc?.kind === "text" ? `${loc.line}:${loc.column}` : "-";
  return `${code} at ${at}: ${message}`;
}

/** What the case does now. Throws if a check that needs no expectation fails. */
export function actual(file: FileTest, c: Case, passes: Passes): Expectation {
  const parsed = parseModule(c.input, "case");
  if (!parsed.ok) return { text: undefined, errors: parsed.diagnostics.map(errorLine) };
  const before = parsed.value;
  checkRoundTrip(before);
  const faults = verifyModule(before);
  if (faults.length > 0) return { text: undefined, errors: faults.map(errorLine) };
  const uses = parsePasses(file.passes, passes);
  if (!uses.ok) throw new Error(uses.diagnostics.map(errorLine).join("\n"));
  const done = runPipeline(before, uses.value, { verifyEach: true });
  const errors = done.diagnostics.map(errorLine);
  if (!done.ok) return { text: undefined, errors };
  checkRoundTrip(done.value);
  if (c.checkSame) checkSame(before, done.value);
  return { text: printModule(done.value, { elide: true }).trimEnd(), errors };
}

function checkRoundTrip(module: Module): void {
  const text = printModule(module, { locs: true });
  const again = parseModule(text);
  if (!again.ok) throw new Error(`printed text does not parse:\n${text}`);
  const d = difference(module, again.value, false);
  if (d !== undefined) throw new Error(`print and parse changed the module (${d}):\n${text}`);
}

const SEEDS = 5;

/** Runs both modules on seeded random inputs; results must be equal by `===`, whatever their declared widths. */
export function checkSame(before: Module, after: Module): void {
  const [f, g] = [before.funcs[0]!, after.funcs[0]!];
  if (f.params.length !== g.params.length) throw new Error("check: same – the passes changed the params");
  for (let seed = 1; seed <= SEEDS; seed++) {
    const args = [...randomInputs(f, seed).values()];
    const want = interpretFunc(before, f, args);
    const got = interpretFunc(after, g, args);
    if (want.length !== got.length) throw new Error("check: same – the passes changed the results");
    want.forEach((w, i) => {
      compare(w, got[i]!, `result ${i}, seed ${seed}`);
    });
  }
}

function compare(want: Dense, got: Dense, where: string): void {
  if (want.shape.join() !== got.shape.join())
    throw new Error(`check: same – ${where}: shape [${want.shape}] became [${got.shape}]`);
  for (let i = 0; i < want.data.length; i++)
    if (want.data[i] !== got.data[i])
      throw new Error(`check: same – ${where}: element ${i} was ${want.data[i]}, is ${got.data[i]}`);
}
