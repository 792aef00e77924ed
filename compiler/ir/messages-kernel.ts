/** Messages of the kernel IR, QC405x. */
import type { Diagnostic } from "./diagnostics.ts";
import { quote } from "./diagnostics.ts";
import { diagnostic } from "./messages.ts";

export const kernelInvalid = (kernel: string, text: string): Diagnostic =>
  diagnostic("error", "QC4050", text, { notes: [{ label: "kernel", text: quote(kernel) }] });

export const buffersInvalid = (text: string): Diagnostic => diagnostic("error", "QC4051", text);

export const kernelSyntax = (text: string, file: string, line: number, column: number): Diagnostic =>
  diagnostic("error", "QC4052", text, { loc: { kind: "text", file, line, column } });
