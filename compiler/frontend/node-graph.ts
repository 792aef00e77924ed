/** Walks the ONNX graph: resolves names, imports live nodes in order, types integer inputs by their readers. */
import { type Loc, quote } from "../ir/diagnostics.ts";
import {
  badInputCount,
  missingInput,
  unorderedNode,
  unsupportedAttribute,
  unsupportedForm,
  unsupportedOperator,
  unsupportedOpset,
  unsupportedType,
  wrongAttributeKind,
} from "../ir/messages.ts";
import { foreignQuantizer } from "../ir/messages-onnx.ts";
import { type Port, value } from "../ir/module.ts";
import { type QuantType, sizeOf } from "../ir/types.ts";
import { constantOf, elementOf, isQuantDtype, rangeOf } from "./constants.ts";
import { type Encoding, encoded } from "./encodings.ts";
import type { ScopedNode } from "./functions.ts";
import { checkShape } from "./graph-import.ts";
import type { GraphImport } from "./import-state.ts";
import type { Importer, QuantizedInput } from "./importer.ts";
import { batchNames, inputShape } from "./inputs.ts";
import { isRejection, type NodeImport, reject } from "./node-import.ts";
import type { DataType } from "./onnx/data-types.ts";
import type { OnnxGraph, OnnxNode, ValueInfo } from "./onnx/model.ts";
import { importersOf } from "./onnx/ops/index.ts";
import { isQonnx } from "./onnx/ops/qonnx.ts";
import { constantOperand, named, type Operand, valueOperand } from "./operand.ts";
import { isPortDtype, portElem } from "./plain-integers.ts";
import { quantTypeOf } from "./quantizer.ts";

/** Something was reported about the value; its readers are passed over. */
const BROKEN = { kind: "broken" } as const;

type Binding = Operand | typeof BROKEN;

export interface NodeGraph {
  /** Reports operators and versions that are not in the import table, once each. */
  readonly reportUnsupported: () => void;
  readonly importInputs: (batch: number) => readonly Port[];
  readonly importNodes: () => void;
  /** What a name stands for; undefined if something was reported about it. */
  readonly operand: (name: string) => Operand | undefined;
  /** A place outside all nodes. */
  readonly boundary: (name: string) => NodeImport;
  /** Names of encodings that no tensor took. */
  readonly unencoded: () => readonly string[];
}

const operatorName = ({ domain, op }: OnnxNode): string => (domain === "" ? op : `${domain}::${op}`);
const describe = ({ name, outputs }: OnnxNode): string =>
  name === "" ? `making ${quote(outputs[0] ?? "")}` : quote(name);

/** Operators with bodies of their own. */
const CONTROL_FLOW = ["If", "Loop", "Scan", "SequenceMap"];

/** Operators whose results are as many as the values say. */
const SIZED_BY_VALUES = ["NonMaxSuppression", "NonZero", "Unique"];

export function createNodeGraph(
  source: OnnxGraph,
  nodes: readonly ScopedNode[],
  graph: GraphImport,
  encodings: ReadonlyMap<string, Encoding> = new Map(),
): NodeGraph {
  const bindings = new Map<string, Binding>();
  const makers = new Map<string, number>();
  nodes.forEach(({ node }, i) => {
    for (const name of node.outputs) if (name !== "" && !makers.has(name)) makers.set(name, i);
  });
  const { live, readers } = liveNodes(source, nodes, makers);
  const done = new Uint8Array(nodes.length);

  const boundary = (name: string): NodeImport => ({
    node: {
      op: "",
      domain: "",
      overload: "",
      name: "",
      inputs: [],
      outputs: [name],
      attributes: new Map(),
      metadata: new Map(),
      loc: { kind: "tensor", name },
    },
    loc: { kind: "tensor", name },
    opset: 0,
    inputs: [],
    graph,
  });

  /** Runs `f`; a rejection becomes a finding. */
  const guarded = <T>(f: () => T): T | undefined => {
    try {
      return f();
    } catch (error) {
      if (!isRejection(error)) throw error;
      graph.diagnostics.push(error.rejection);
      return undefined;
    }
  };

  const left = new Set(encodings.keys());

  /** The operand on the grid of its encoding, if it has one. */
  const onGrid = (name: string, operand: Operand): Binding => {
    const encoding = encodings.get(name);
    if (encoding === undefined) return operand;
    left.delete(name);
    const reader = readers.get(name)?.[0];
    const at = reader === undefined ? undefined : nodes[reader]!.node;
    return guarded(() => encoded(boundary(name), operand, encoding, at)) ?? BROKEN;
  };

  const binding = (name: string, loc: Loc): Binding => {
    const known = bindings.get(name);
    if (known !== undefined) return known;
    const tensor = source.initializers.get(name);
    if (tensor === undefined) {
      // A maker that has not run yet comes later in the list; one that left no binding was passed over.
      const maker = makers.get(name);
      if (maker === undefined || done[maker] === 0) graph.diagnostics.push(unorderedNode(loc, name));
      return BROKEN;
    }
    const constant = constantOf(tensor);
    if (constant === undefined)
      graph.diagnostics.push(unsupportedType(loc, name, tensor.dataType, "the initializer"));
    const made = constant === undefined ? BROKEN : onGrid(name, constantOperand(constant, name));
    bindings.set(name, made);
    return made;
  };

  const rowFor = ({
    node,
    opsets,
  }: ScopedNode): { readonly row: Importer; readonly opset: number } | undefined => {
    const opset = opsets.get(node.domain) ?? (node.domain === "" ? 0 : 1);
    const row = importersOf(node.domain, node.op)?.find(
      ({ since = 1, until = Number.POSITIVE_INFINITY }) => since <= opset && opset <= until,
    );
    return row && { row, opset };
  };

  const importNode = (index: number): void => {
    if (done[index] === 1) return;
    done[index] = 1;
    const scoped = nodes[index]!;
    const { node } = scoped;
    const found = rowFor(scoped);
    const results = found && guarded(() => runNode(node, found.row, found.opset));
    node.outputs.forEach((name, i) => {
      if (name === "" || bindings.has(name)) return;
      const result = results?.[i];
      if (result === undefined && results !== undefined && results !== NOTHING && readers.has(name))
        graph.diagnostics.push(
          unsupportedForm(node.loc, `output ${i} of ${operatorName(node)} is not supported`),
        );
      if (result?.kind === "value" && !graph.names.has(result.value)) graph.names.set(result.value, name);
      bindings.set(name, result === undefined ? BROKEN : onGrid(name, named(result, name)));
    });
  };

  const NOTHING: readonly Operand[] = [];

  const runNode = (node: OnnxNode, row: Importer, opset: number): readonly Operand[] => {
    checkAttributes(node, row);
    const names = trimmed(node.inputs);
    const [least, most] = row.inputs;
    if (names.length < least || names.length > most)
      reject(badInputCount(node.loc, names.length, least, most));
    names.forEach((name, i) => {
      if (name === "" && i < least && !row.optional?.includes(i)) reject(missingInput(node.loc, i));
    });
    const inputs = names.map((name) => (name === "" ? undefined : binding(name, node.loc)));
    const operands = inputs.filter((o) => o !== BROKEN) as (Operand | undefined)[];
    if (operands.length < inputs.length) return NOTHING;
    const result = row.run({ node, loc: node.loc, opset, inputs: operands, graph });
    return "kind" in result ? [result] : result;
  };

  /** The value of a name if it follows from constants alone; imports the nodes that make it. */
  const constantOperandOf = (name: string, depth = 16): Operand | undefined => {
    const maker = makers.get(name);
    if (maker !== undefined && done[maker] === 0) {
      const inputs = nodes[maker]!.node.inputs.filter((input) => input !== "");
      if (depth === 0 || !inputs.every((input) => constantOperandOf(input, depth - 1))) return undefined;
      importNode(maker);
    }
    if (maker === undefined && !source.initializers.has(name)) return undefined;
    const known = binding(name, { kind: "tensor", name });
    return known.kind === "constant" ? known : undefined;
  };

  /** The quantised type an integer input gets from the first node that says what its integers mean. */
  const quantAhead = (info: ValueInfo, dtype: DataType, shape: readonly number[]): QuantType | undefined => {
    const queue = [info.name];
    const visited = new Set(queue);
    const raw = { scheme: { kind: "tensor", scale: 1, zeroPoint: 0 } } as const;
    for (const name of queue)
      for (const index of readers.get(name) ?? []) {
        const scoped = nodes[index]!;
        const { node } = scoped;
        const row = rowFor(scoped);
        if (row === undefined) continue;
        const read = row.row.quantized?.(node.inputs.length).find(({ data }) => node.inputs[data] === name);
        if (read?.scale !== undefined && !isOfRun(node, read)) {
          const type = parametersAhead(node, read, row.opset, name === info.name, { name, dtype, shape });
          if (type !== undefined) return type;
        } else if (node.op === "Cast" || read !== undefined) {
          const range = rangeOf(dtype)!;
          const storage = elementOf(dtype);
          if (storage?.kind === "int") return { kind: "quant", storage, ...range, ...raw };
        } else if (
          row.row.moves === true ||
          node.op === "Clip" ||
          node.op === "MaxPool" ||
          node.op === "Relu"
        )
          for (const next of node.outputs)
            if (next !== "" && !visited.has(next)) {
              visited.add(next);
              queue.push(next);
            }
      }
    return undefined;
  };

  /** Whether scale or zero point are computed at run time, or belong to blocks. */
  const isOfRun = (node: OnnxNode, { scale, zeroPoint }: QuantizedInput): boolean => {
    const block = node.attributes.get("block_size");
    if (block?.kind === "int" && Number(block.value) !== 0) return true;
    return [scale, zeroPoint].some((i) => {
      const name = node.inputs[i ?? -1] ?? "";
      return name !== "" && constantOperandOf(name) === undefined;
    });
  };

  const parametersAhead = (
    node: OnnxNode,
    read: QuantizedInput,
    opset: number,
    direct: boolean,
    x: { readonly name: string; readonly dtype: DataType; readonly shape: readonly number[] },
  ): QuantType | undefined => {
    const scale = node.inputs[read.scale ?? -1] ?? "";
    const zeroPoint = node.inputs[read.zeroPoint ?? -1] ?? "";
    const [s, z] = [scale, zeroPoint].map((name) => (name === "" ? undefined : constantOperandOf(name)));
    if (s === undefined || (z === undefined && zeroPoint !== "")) return undefined;
    // Moved on its way, the tensor may have its axes elsewhere.
    if ((!direct || node.op !== "DequantizeLinear") && sizeOf(s.shape) !== 1) return undefined;
    const before = graph.diagnostics.length;
    try {
      return quantTypeOf({ node, loc: node.loc, opset, inputs: [], graph }, x, s, z);
    } catch (error) {
      if (!isRejection(error)) throw error;
      return undefined;
    } finally {
      // The node itself reports them when it is imported.
      graph.diagnostics.length = before;
    }
  };

  const importInputs = (batch: number): readonly Port[] => {
    const inputs = source.inputs.filter(({ name }) => !source.initializers.has(name));
    const names = batchNames(inputs);
    return inputs.flatMap((info): readonly Port[] => {
      bindings.set(info.name, BROKEN);
      const port = guarded(() => importInput(info, batch, names));
      return port === undefined ? [] : [port];
    });
  };

  const importInput = (info: ValueInfo, batch: number, names: ReadonlySet<string>): Port | undefined => {
    const loc: Loc = { kind: "tensor", name: info.name };
    const dtype = info.elemType;
    if (dtype === undefined || info.container !== "tensor" || !isPortDtype(dtype))
      return reject(unsupportedType(loc, info.name, dtype ?? info.container, "the graph input"));
    const shape = inputShape(info, batch, names, graph.diagnostics);
    if (shape === undefined) return undefined;
    checkShape(loc, info.name, shape);
    const plain = portElem(dtype);
    const elem =
      isQuantDtype(dtype) && plain.kind === "int" ? (quantAhead(info, dtype, shape) ?? plain) : plain;
    const param = value({ shape, elem }, info.name);
    bindings.set(info.name, onGrid(info.name, valueOperand(param, dtype, info.name)));
    return { value: param, name: info.name, dtype, boundary: { kind: "none" } };
  };

  const reportUnsupported = (): void => {
    const groups = new Map<string, { readonly scoped: ScopedNode; readonly nodes: string[] }>();
    nodes.forEach((scoped, i) => {
      if (live[i] === 0 || rowFor(scoped) !== undefined) return;
      const { node, opsets } = scoped;
      const key = JSON.stringify([node.domain, node.op, opsets.get(node.domain)]);
      const group = groups.get(key) ?? { scoped, nodes: [] };
      group.nodes.push(describe(node));
      groups.set(key, group);
    });
    for (const { scoped, nodes: all } of groups.values()) {
      const { node, opsets } = scoped;
      const rows = importersOf(node.domain, node.op);
      const opset = opsets.get(node.domain);
      const known = rows !== undefined && opset !== undefined;
      if (rows === undefined && isForeignQuantizer(node)) {
        graph.diagnostics.push(foreignQuantizer(operatorName(node), all, node.loc));
        continue;
      }
      graph.diagnostics.push(
        known
          ? unsupportedOpset(
              operatorName(node),
              opset,
              rows[0]!.since ?? 1,
              rows.at(-1)!.until ?? 28,
              all,
              node.loc,
            )
          : unsupportedOperator(operatorName(node), all, node.loc, reasonFor(node, rows !== undefined)),
      );
    }
  };

  /** Named like one, of no domain whose operators are known. */
  const isForeignQuantizer = (node: OnnxNode): boolean =>
    node.domain !== "" &&
    !isQonnx(node) &&
    !node.domain.startsWith("com.microsoft") &&
    /quant/i.test(node.op);

  const reasonFor = (node: OnnxNode, imported: boolean): string => {
    if (isQonnx(node)) return "qc does not read this QONNX operator yet";
    if (imported) return `the model imports no operator set for domain ${quote(node.domain)}`;
    if (node.domain === "" && CONTROL_FLOW.includes(node.op))
      return "control flow depends on values, and kernels have a fixed sequence of steps";
    if (node.domain === "" && SIZED_BY_VALUES.includes(node.op))
      return "how many results it has depends on values, and shapes are static: leave it to the code behind the model";
    return "";
  };

  return {
    reportUnsupported,
    importInputs,
    importNodes: () => {
      for (let i = 0; i < nodes.length; i++) if (live[i] === 1) importNode(i);
    },
    operand: (name) => {
      const known = binding(name, { kind: "tensor", name });
      return known === BROKEN ? undefined : (known as Operand);
    },
    boundary,
    unencoded: () => [...left],
  };
}

/** Trailing inputs that are left out do not count. */
function trimmed(inputs: readonly string[]): readonly string[] {
  let n = inputs.length;
  while (n > 0 && inputs[n - 1] === "") n--;
  return inputs.slice(0, n);
}

function checkAttributes(node: OnnxNode, { attributes = {} }: Importer): void {
  for (const [name, a] of node.attributes) {
    const wants = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
    if (wants === undefined)
      reject(unsupportedAttribute(node.loc, name, `is not one of ${operatorName(node)} that qc knows`));
    else if (wants !== a.kind) reject(wrongAttributeKind(node.loc, name, wants, a.kind));
  }
}

/** Nodes that some output needs, and for each name the live nodes that read it (outputs count as read). */
function liveNodes(
  source: OnnxGraph,
  nodes: readonly ScopedNode[],
  makers: ReadonlyMap<string, number>,
): { readonly live: Uint8Array; readonly readers: ReadonlyMap<string, readonly number[]> } {
  const live = new Uint8Array(nodes.length);
  const readers = new Map<string, number[]>();
  const queue: number[] = [];
  const need = (name: string): void => {
    const maker = makers.get(name);
    if (maker === undefined || live[maker] === 1) return;
    live[maker] = 1;
    queue.push(maker);
  };
  for (const { name } of source.outputs) {
    readers.set(name, []);
    need(name);
  }
  for (let at = 0; at < queue.length; at++)
    for (const name of nodes[queue[at]!]!.node.inputs) {
      const list = readers.get(name);
      if (list) list.push(queue[at]!);
      else readers.set(name, [queue[at]!]);
      need(name);
    }
  for (const list of readers.values()) list.sort((a, b) => a - b);
  return { live, readers };
}
