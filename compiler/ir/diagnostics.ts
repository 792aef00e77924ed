/** Where a finding points: the ONNX node or tensor, the exporter's own source line, a text span, or a pass. */
export type Loc =
  | {
      readonly kind: "node";
      readonly op: string;
      readonly name: string;
      /** First output of the node: unique in a valid graph, so it identifies nameless nodes. */
      readonly output: string;
      /** The exporter's source position, from `metadata_props` (`pkg.torch.onnx.stack_trace`). */
      readonly source?: string;
    }
  | { readonly kind: "tensor"; readonly name: string }
  | { readonly kind: "file"; readonly path: string; readonly offset?: number }
  | { readonly kind: "text"; readonly file: string; readonly line: number; readonly column: number }
  | { readonly kind: "fused"; readonly locs: readonly Loc[] }
  | { readonly kind: "pass"; readonly pass: string; readonly at?: Loc };

export type Severity = "error" | "warning" | "note";

/** A finding as a value. The library returns them; only the CLI prints and exits. */
export interface Diagnostic {
  /** Stable, documented code: `QC` and four digits. */
  readonly code: string;
  readonly severity: Severity;
  /** One sentence, lower case, no final full stop. Untrusted names are already escaped with `quote`. */
  readonly message: string;
  readonly loc?: Loc;
  /** Name of the tensor that lacks a grid, as the file has it: untrusted, for programs. */
  readonly tensor?: string;
  /** Labelled facts printed under the message, in order: `tensor`, `made by`, `used by`, `needs` … */
  readonly notes: readonly { readonly label: string; readonly text: string }[];
  /** What the user can do, best first. */
  readonly fixes: readonly string[];
}

/** Result of a phase: a value, or at least one error. Warnings accompany either. */
export type Result<T> =
  | { readonly ok: true; readonly value: T; readonly diagnostics: readonly Diagnostic[] }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

export const ok = <T>(value: T, diagnostics: readonly Diagnostic[] = []): Result<T> => ({
  ok: true,
  value,
  diagnostics,
});
export const fail = (...diagnostics: Diagnostic[]): Result<never> => ({ ok: false, diagnostics });

/**
 * Renders a name that comes from an untrusted file: control characters, quotes and bidirectional overrides become
 * escapes, long names are shortened in the middle. Safe for a terminal and inside a double-quoted string.
 */
export function quote(name: string, max = 120): string {
  const short = name.length > max ? `${name.slice(0, max >> 1)}…${name.slice(-(max >> 1))}` : name;
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A name from an untrusted file as it is where that is unmistakable, quoted and escaped otherwise. */
export const plain = (name: string): string => (/^[\w.:/@-]{1,120}$/.test(name) ? name : quote(name));
