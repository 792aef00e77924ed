/** Well-formedness of the graph: every value has one name and one maker, and the nodes are in dataflow order. */
import { type Diagnostic, fail, type Loc, ok, quote, type Result } from "../../ir/diagnostics.ts";
import {
  duplicateDeclaration,
  duplicateNodeName,
  duplicateValue,
  emptyName,
  graphCycle,
  moreOfTheSame,
  outputNotProduced,
  undefinedValue,
  unsortedNodes,
} from "../../ir/messages.ts";
import type { AttributeValue, OnnxFunction, OnnxGraph, OnnxModel, OnnxNode } from "./model.ts";

/** All findings about the model's graphs, errors and warnings; see `orderModel`. */
export const checkGraph = (model: OnnxModel): readonly Diagnostic[] => orderModel(model).diagnostics;

/**
 * The model with the nodes of every graph, subgraph and function body in dataflow order; order is kept where it is
 * already right. Linear time, any graph size; all findings at once, at most `MAX_PER_CODE` of a kind.
 *
 * Errors: a value defined twice (QC1101) or never (QC1102, QC1106), a cycle (QC1103), a missing name (QC1108), an input
 * or output declared twice (QC1109). Warnings: nodes out of order (QC1104), node names used twice (QC1105).
 */
export function orderModel(model: OnnxModel): Result<OnnxModel> {
  const findings = collector();
  const graph = orderGraph(model.graph, () => false, findings.report).graph;
  const functions = new Map<string, OnnxFunction>();
  for (const [key, fn] of model.functions) {
    const body = { nodes: fn.nodes, inputs: fn.inputs, initializers: [], outputs: fn.outputs };
    functions.set(key, { ...fn, nodes: orderScope(body, () => false, findings.report).nodes });
  }
  const diagnostics = findings.all();
  return diagnostics.some(({ severity }) => severity === "error")
    ? fail(...diagnostics)
    : ok({ ...model, graph, functions }, diagnostics);
}

const MAX_PER_CODE = 50;
/** Nodes of a cycle that are listed. */
const MAX_CYCLE_NODES = 8;

type Report = (diagnostic: Diagnostic) => void;

function collector(): { readonly report: Report; readonly all: () => Diagnostic[] } {
  const counts = new Map<string, { count: number; readonly first: Diagnostic }>();
  const kept: Diagnostic[] = [];
  return {
    report: (diagnostic) => {
      const entry = counts.get(diagnostic.code) ?? { count: 0, first: diagnostic };
      counts.set(diagnostic.code, entry);
      if (++entry.count <= MAX_PER_CODE) kept.push(diagnostic);
    },
    all: () => [
      ...kept,
      ...[...counts.values()]
        .filter(({ count }) => count > MAX_PER_CODE)
        .map(({ count, first }) => moreOfTheSame(first.code, first.severity, count - MAX_PER_CODE)),
    ],
  };
}

interface Scope {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly string[];
  readonly initializers: Iterable<string>;
  readonly outputs: readonly string[];
}

/** Whether an enclosing graph defines a name. */
type Outer = (name: string) => boolean;

function orderGraph(
  graph: OnnxGraph,
  outer: Outer,
  report: Report,
): { readonly graph: OnnxGraph; readonly captured: ReadonlySet<string> } {
  const { nodes, captured } = orderScope(
    {
      nodes: graph.nodes,
      inputs: graph.inputs.map(({ name }) => name),
      initializers: graph.initializers.keys(),
      outputs: graph.outputs.map(({ name }) => name),
    },
    outer,
    report,
  );
  return { graph: nodes === graph.nodes ? graph : { ...graph, nodes }, captured };
}

/** `captured`: the names that the scope takes from enclosing ones. */
function orderScope(
  scope: Scope,
  outer: Outer,
  report: Report,
): { readonly nodes: readonly OnnxNode[]; readonly captured: ReadonlySet<string> } {
  const makers = defineValues(scope, report);
  checkNodeNames(scope.nodes, report);

  const captured = new Set<string>();
  const undefinedValues = new Map<string, { readonly loc: Loc; readers: number }>();
  const visible: Outer = (name) => makers.has(name) || outer(name);
  const nodes: OnnxNode[] = [];
  const dependencies: number[][] = [];
  for (const node of scope.nodes) {
    const inner = orderSubgraphs(node, visible, report);
    const made: number[] = [];
    for (const name of [...node.inputs, ...inner.captured]) {
      if (name === "") continue;
      const maker = makers.get(name);
      if (maker !== undefined) {
        if (maker !== OUTSIDE) made.push(maker);
      } else if (outer(name)) captured.add(name);
      else {
        const entry = undefinedValues.get(name);
        if (entry === undefined) undefinedValues.set(name, { loc: node.loc, readers: 1 });
        else entry.readers++;
      }
    }
    dependencies.push(made);
    nodes.push(inner.node);
  }
  for (const [name, { loc, readers }] of undefinedValues) report(undefinedValue(name, loc, readers - 1));

  const outputs = new Set<string>();
  for (const name of scope.outputs) {
    if (name === "") report(emptyName("a graph output"));
    else if (outputs.has(name)) report(duplicateDeclaration("graph output", name));
    else if (!makers.has(name)) {
      if (outer(name)) captured.add(name);
      else report(outputNotProduced(name));
    }
    outputs.add(name);
  }
  const ordered = sortNodes(nodes, dependencies, report);
  const unchanged = ordered.every((node, i) => node === scope.nodes[i]);
  return { nodes: unchanged ? scope.nodes : ordered, captured };
}

/** Maker of inputs and initializers. */
const OUTSIDE = -1;

/** Index of the node that makes each value. */
function defineValues(scope: Scope, report: Report): ReadonlyMap<string, number> {
  const makers = new Map<string, number>();
  for (const name of scope.inputs) {
    if (name === "") report(emptyName("a graph input"));
    else if (makers.has(name)) report(duplicateDeclaration("graph input", name));
    else makers.set(name, OUTSIDE);
  }
  for (const name of scope.initializers) makers.set(name, OUTSIDE);
  const duplicates = new Map<string, number[]>();
  for (const [index, node] of scope.nodes.entries())
    for (const name of node.outputs) {
      if (name === "") continue;
      const before = makers.get(name);
      if (before === undefined) makers.set(name, index);
      else {
        const all = duplicates.get(name);
        if (all === undefined) duplicates.set(name, [before, index]);
        else all.push(index);
      }
    }
  const describeMaker = (index: number) =>
    index === OUTSIDE ? "an input or initializer of the graph" : describe(scope.nodes[index]!);
  for (const [name, all] of duplicates)
    report(
      duplicateValue(name, all.slice(0, MAX_CYCLE_NODES).map(describeMaker), scope.nodes[all.at(-1)!]!.loc),
    );
  return makers;
}

const describe = ({ op, name, outputs }: OnnxNode): string =>
  `${quote(op)} ${name === "" ? `making ${quote(outputs[0] ?? "")}` : quote(name)}`;

function checkNodeNames(nodes: readonly OnnxNode[], report: Report): void {
  const names = new Map<string, { count: number; loc: Loc }>();
  for (const { name, loc } of nodes) {
    if (name === "") continue;
    const entry = names.get(name);
    if (entry === undefined) names.set(name, { count: 1, loc });
    else {
      entry.count++;
      entry.loc = loc;
    }
  }
  for (const [name, { count, loc }] of names) if (count > 1) report(duplicateNodeName(name, count, loc));
}

/** Nesting is bounded by the reader, so recursion over subgraphs is too. */
function orderSubgraphs(
  node: OnnxNode,
  visible: Outer,
  report: Report,
): { readonly node: OnnxNode; readonly captured: readonly string[] } {
  const captured: string[] = [];
  let attributes: Map<string, AttributeValue> | undefined;
  const order = (graph: OnnxGraph): OnnxGraph => {
    const result = orderGraph(graph, visible, report);
    for (const name of result.captured) captured.push(name);
    return result.graph;
  };
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind !== "graph" && attribute.kind !== "graphs") continue;
    attributes ??= new Map(node.attributes);
    attributes.set(
      name,
      attribute.kind === "graph"
        ? { kind: "graph", value: order(attribute.value) }
        : { kind: "graphs", value: attribute.value.map(order) },
    );
  }
  return { node: attributes === undefined ? node : { ...node, attributes }, captured };
}

/** Depth-first from each node in file order, so that a node moves only as far forward as its readers need. */
function sortNodes(
  nodes: readonly OnnxNode[],
  dependencies: readonly (readonly number[])[],
  report: Report,
): readonly OnnxNode[] {
  let early = 0;
  let firstEarly: Loc | undefined;
  for (const [index, made] of dependencies.entries())
    if (made.some((maker) => maker >= index)) {
      early++;
      firstEarly ??= nodes[index]!.loc;
    }
  if (firstEarly === undefined) return nodes;

  const ordered: OnnxNode[] = [];
  const next = new Uint32Array(nodes.length);
  /** Position on the stack plus one; 0 for nodes not reached, `DONE` for finished ones. */
  const DONE = 0xffffffff;
  const state = new Uint32Array(nodes.length);
  const stack: number[] = [];
  const push = (index: number) => {
    stack.push(index);
    state[index] = stack.length;
  };
  let cyclic = false;
  for (let root = 0; root < nodes.length; root++) {
    if (state[root] === 0) push(root);
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const maker = dependencies[top]![next[top]!++];
      if (maker === undefined) {
        stack.pop();
        state[top] = DONE;
        ordered.push(nodes[top]!);
      } else if (state[maker] === 0) push(maker);
      else if (state[maker] !== DONE) {
        cyclic = true;
        const start = state[maker]! - 1;
        const length = stack.length - start;
        // Each node on the stack reads the one above it, so data flows downwards, and from `maker` to the top.
        const shown = [maker];
        for (let at = stack.length - 1; at > start && shown.length < MAX_CYCLE_NODES; at--)
          shown.push(stack[at]!);
        const lines = shown.map((index) => describe(nodes[index]!));
        if (length > shown.length) lines.push(`${length - shown.length} more`);
        report(graphCycle(lines, length, nodes[maker]!.loc));
      }
    }
  }
  if (!cyclic) report(unsortedNodes(firstEarly, early));
  return ordered;
}
