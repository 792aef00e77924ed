/** Both ends of an error: who makes what it is about, and who reads it, as the file names them. */
import { type Diagnostic, plain, quote } from "../ir/diagnostics.ts";
import { withEnds } from "../ir/messages-onnx.ts";
import type { OnnxModel, OnnxNode } from "./onnx/model.ts";

/** Neighbours that are listed. */
const MOST = 4;

const nodeText = (n: OnnxNode): string => `${plain(n.op)}${n.name === "" ? "" : ` ${quote(n.name)}`}`;

/** The errors among `diagnostics` with their neighbours in the graph; others, and those of no one place, as they are. */
export function located(
  diagnostics: readonly Diagnostic[],
  model: OnnxModel,
  nodes: readonly OnnxNode[],
): readonly Diagnostic[] {
  if (!diagnostics.some((d) => d.severity === "error")) return diagnostics;
  const makers = new Map<string, OnnxNode>();
  const readers = new Map<string, OnnxNode[]>();
  for (const n of nodes) {
    for (const name of n.outputs) if (name !== "") makers.set(name, n);
    for (const name of new Set(n.inputs)) {
      const list = readers.get(name);
      if (list) list.push(n);
      else readers.set(name, [n]);
    }
  }
  const results = new Set(model.graph.outputs.map((o) => o.name));
  const inputs = new Set(model.graph.inputs.map((i) => i.name));
  const usersOf = (names: readonly string[]): readonly string[] => [
    ...names.flatMap((name) => readers.get(name) ?? []).map(nodeText),
    ...names.filter((name) => results.has(name)).map((name) => `graph output ${quote(name)}`),
  ];
  const madeBy = (name: string): string | undefined => {
    const maker = makers.get(name);
    if (maker) return nodeText(maker);
    return model.graph.initializers.has(name)
      ? "an initializer"
      : inputs.has(name)
        ? "a graph input"
        : undefined;
  };
  return diagnostics.map((d) => {
    const { loc } = d;
    if (d.severity !== "error" || d.notes?.some((n) => n.label === "made by" || n.label === "used by"))
      return d;
    if (loc?.kind === "tensor") {
      const made = madeBy(loc.name);
      return withEnds(d, {
        made: made === undefined ? [] : [made],
        users: usersOf([loc.name]).slice(0, MOST),
      });
    }
    const at = loc?.kind === "node" ? makers.get(loc.output) : undefined;
    if (at === undefined) return d;
    const reads = at.inputs.filter((name) => name !== "" && !model.graph.initializers.has(name));
    return withEnds(d, {
      reads: reads.slice(0, MOST).map((name) => `${quote(name)} of ${madeBy(name) ?? "nobody"}`),
      users: usersOf(at.outputs.filter((name) => name !== "")).slice(0, MOST),
    });
  });
}
