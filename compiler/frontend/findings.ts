import type { Diagnostic } from "../ir/diagnostics.ts";
import { moreOfTheSame } from "../ir/messages.ts";

const MAX_PER_CODE = 50;

/** At most `MAX_PER_CODE` findings of a code, then how many more there are; errors first. */
export function limited(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const groups = new Map<string, Diagnostic[]>();
  for (const d of diagnostics) {
    const key = `${d.code} ${d.severity}`;
    const group = groups.get(key);
    if (group) group.push(d);
    else groups.set(key, [d]);
  }
  const kept = new Set([...groups.values()].flatMap((group) => group.slice(0, MAX_PER_CODE)));
  const more = [...groups.values()]
    .filter((group) => group.length > MAX_PER_CODE)
    .map((group) => moreOfTheSame(group[0]!.code, group[0]!.severity, group.length - MAX_PER_CODE));
  const all = [...diagnostics.filter((d) => kept.has(d)), ...more];
  const isError = (d: Diagnostic): boolean => d.severity === "error";
  return [...all.filter(isError), ...all.filter((d) => !isError(d))];
}
