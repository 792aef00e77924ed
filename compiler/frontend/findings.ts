import type { Diagnostic } from "../ir/diagnostics.ts";
import { moreOfTheSame } from "../ir/messages.ts";

const MAX_PER_CODE = { error: 50, warning: 5, note: 5 };

/** At most `MAX_PER_CODE` findings of a code, then how many more there are; errors first. */
export function limited(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const groups = new Map<string, Diagnostic[]>();
  for (const d of diagnostics) {
    const key = `${d.code} ${d.severity}`;
    const group = groups.get(key);
    if (group) group.push(d);
    else groups.set(key, [d]);
  }
  const kept = new Set<Diagnostic>();
  const more: Diagnostic[] = [];
  for (const group of groups.values()) {
    const { code, severity } = group[0]!;
    const most = MAX_PER_CODE[severity];
    for (const d of group.slice(0, most)) kept.add(d);
    if (group.length > most) more.push(moreOfTheSame(code, severity, group.length - most));
  }
  const all = [...diagnostics.filter((d) => kept.has(d)), ...more];
  const isError = (d: Diagnostic): boolean => d.severity === "error";
  return [...all.filter(isError), ...all.filter((d) => !isError(d))];
}
