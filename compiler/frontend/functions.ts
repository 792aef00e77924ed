/** Inlining of the model's own functions. */
import type { Diagnostic, Loc } from "../ir/diagnostics.ts";
import { badFunctionCall, functionRecursion, functionsTooLarge } from "../ir/messages.ts";
import {
  type AttributeValue,
  functionKey,
  type OnnxFunction,
  type OnnxModel,
  type OnnxNode,
} from "./onnx/model.ts";

/** A node and the operator set versions it is written against. */
export interface ScopedNode {
  readonly node: OnnxNode;
  readonly opsets: ReadonlyMap<string, number>;
}

const MAX_NODES = 1 << 18;
const MAX_DEPTH = 128;

interface Inlining {
  readonly model: OnnxModel;
  readonly out: ScopedNode[];
  readonly names: Set<string>;
  readonly diagnostics: Diagnostic[];
}

/**
 * The main graph's nodes in order, calls of the model's functions replaced by their bodies. Inner values get names that
 * occur nowhere else. A call that cannot be inlined is reported and left out.
 */
export function inlineFunctions(model: OnnxModel, diagnostics: Diagnostic[]): readonly ScopedNode[] {
  const { opsets } = model;
  if (model.functions.size === 0) return model.graph.nodes.map((node) => ({ node, opsets }));
  const names = new Set<string>();
  for (const { inputs, outputs } of model.graph.nodes)
    for (const name of [...inputs, ...outputs]) names.add(name);
  const inlining: Inlining = { model, out: [], names, diagnostics };
  for (const node of model.graph.nodes) if (!expand(inlining, { node, opsets }, [])) break;
  return inlining.out;
}

/** False when the limit on nodes is reached. */
function expand(inlining: Inlining, scoped: ScopedNode, callers: readonly OnnxFunction[]): boolean {
  const { model, out, diagnostics } = inlining;
  const { node } = scoped;
  const fn = model.functions.get(functionKey(node.domain, node.op, node.overload));
  if (fn === undefined) {
    if (out.length >= MAX_NODES) {
      diagnostics.push(functionsTooLarge(node.loc, MAX_NODES));
      return false;
    }
    out.push(scoped);
    return true;
  }
  if (callers.includes(fn) || callers.length >= MAX_DEPTH) {
    diagnostics.push(functionRecursion(node.loc, fn.name));
    return true;
  }
  const problem = checkCall(node, fn);
  if (problem !== undefined) {
    diagnostics.push(badFunctionCall(node.loc, fn.name, problem));
    return true;
  }
  const rename = namesOf(inlining, node, fn);
  for (const [i, formal] of fn.outputs.entries()) {
    const actual = node.outputs[i];
    const source = fn.inputs.indexOf(formal);
    // A function may hand an input through.
    if (source >= 0 && actual)
      out.push({ node: identity(node, node.inputs[source] ?? "", actual), opsets: model.opsets });
  }
  const called = [...callers, fn];
  return fn.nodes.every((inner) => {
    const body: OnnxNode = {
      ...inner,
      inputs: inner.inputs.map(rename),
      outputs: inner.outputs.map(rename),
      attributes: bind(inner.attributes, node.attributes, fn.defaults),
      loc: fused(inner.loc, node.loc),
    };
    return expand(inlining, { node: body, opsets: fn.opsets }, called);
  });
}

const fused = (inner: Loc, call: Loc): Loc => ({ kind: "fused", locs: [inner, call] });

const identity = (call: OnnxNode, from: string, to: string): OnnxNode => ({
  ...call,
  op: "Identity",
  domain: "",
  overload: "",
  inputs: [from],
  outputs: [to],
  attributes: new Map(),
});

function checkCall(node: OnnxNode, fn: OnnxFunction): string | undefined {
  if (node.inputs.length > fn.inputs.length)
    return `${node.inputs.length} inputs given, it has ${fn.inputs.length}`;
  if (node.outputs.length > fn.outputs.length)
    return `${node.outputs.length} outputs taken, it has ${fn.outputs.length}`;
  const missing = fn.required.find((name) => !node.attributes.has(name));
  return missing === undefined ? undefined : `attribute ${JSON.stringify(missing)} is required`;
}

/** Formal names become actual ones, inner names fresh ones. An input that is left out stays left out. */
function namesOf({ names }: Inlining, node: OnnxNode, fn: OnnxFunction): (name: string) => string {
  const map = new Map<string, string>([["", ""]]);
  fn.outputs.forEach((formal, i) => {
    if (node.outputs[i]) map.set(formal, node.outputs[i]);
  });
  fn.inputs.forEach((formal, i) => {
    map.set(formal, node.inputs[i] ?? "");
  });
  const prefix = node.outputs.find((name) => name !== "") ?? fn.name;
  return (name) => {
    const known = map.get(name);
    if (known !== undefined) return known;
    let fresh = `${prefix}/${name}`;
    while (names.has(fresh)) fresh += "'";
    names.add(fresh);
    map.set(name, fresh);
    return fresh;
  };
}

/** References take the call's attribute, else the default, else vanish. */
function bind(
  attributes: ReadonlyMap<string, AttributeValue>,
  given: ReadonlyMap<string, AttributeValue>,
  defaults: ReadonlyMap<string, AttributeValue>,
): ReadonlyMap<string, AttributeValue> {
  const bound = new Map<string, AttributeValue>();
  for (const [name, a] of attributes) {
    const value = a.kind === "reference" ? (given.get(a.value) ?? defaults.get(a.value)) : a;
    if (value !== undefined) bound.set(name, value);
  }
  return bound;
}
