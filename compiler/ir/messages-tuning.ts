/** QC51xx: tuning files. */
import { type Diagnostic, type Loc, quote } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";

const at = (path: string | undefined): { readonly loc?: Loc } =>
  path === undefined ? {} : { loc: { kind: "file", path } };
const AGAIN = "run qc tune again";

export const notATuning = (path: string | undefined, reason: string): Diagnostic =>
  diagnostic("error", "QC5101", `not a tuning file written by qc tune: ${reason}`, at(path));

export const staleTuning = (path: string | undefined, has: string, wants: string): Diagnostic =>
  diagnostic("warning", "QC5102", "the tuning file is ignored: its schedules are those of another qc", {
    ...at(path),
    notes: [
      { label: "file", text: has },
      { label: "this qc", text: wants },
    ],
    fixes: [AGAIN],
  });

export const unusedTuning = (path: string | undefined, unused: number, all: number, example: string) =>
  diagnostic(
    "warning",
    "QC5103",
    `${unused} of the tuning file's ${all} entries are for no kernel of this model`,
    {
      ...at(path),
      notes: [{ label: "for example", text: quote(example, 200) }],
      fixes: [`if this is the model that was tuned, ${AGAIN}`],
    },
  );

export const refusedTuning = (path: string | undefined, kernel: string, key: string): Diagnostic =>
  diagnostic(
    "warning",
    "QC5104",
    "the tuning file has a schedule that this kernel cannot have; the cost model's is used",
    {
      ...at(path),
      notes: [
        { label: "kernel", text: quote(kernel) },
        { label: "entry", text: quote(key, 200) },
      ],
      fixes: [AGAIN],
    },
  );

export const noBrowser = (wanted: string): Diagnostic =>
  diagnostic("error", "QC5105", `no Chromium to measure in: ${wanted}`, {
    fixes: ["set CHROMIUM to its path, or leave out --engine"],
  });

export const engineFailed = (reason: string): Diagnostic =>
  diagnostic("error", "QC5106", `the engine did not measure: ${reason}`);

export const schedulesDiffer = (key: string): Diagnostic =>
  diagnostic("error", "QC5107", "two schedules of a kernel give different results", {
    notes: [{ label: "kernel", text: quote(key, 200) }],
    fixes: ["this is a bug in qc: please report it with the model"],
  });
