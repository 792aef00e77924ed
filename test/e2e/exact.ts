/**
 * One compiled model against the exact oracle: which tensors to compare, and the comparison, by `===`. Softmax is the
 * one exception: an integer algorithm with a stated bound, whose integers the oracle takes over for what follows.
 */

import { runReference } from "../../compiler/cli/reference.ts";
import type { OnnxModel, OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { dense } from "../../compiler/ir/dense.ts";
import type { Dense, Module, Port } from "../../compiler/ir/module.ts";
import { attr } from "../../compiler/ir/op.ts";
import type { IntType } from "../../compiler/ir/types.ts";
import { quantize } from "../../runtime/boundary.ts";
import type { TensorData } from "../../runtime/elements.ts";
import { type Evaluation, evaluateOnnx, isQuantize, type NumericArray } from "../oracle/evaluate.ts";

export type Tensors = ReadonlyMap<string, TensorData>;

const producer = (model: OnnxModel, tensor: string): OnnxNode | undefined =>
  model.graph.nodes.find((node) => node.outputs.includes(tensor));

/** What is computed within a bound, and what may stand between it and its quantizer. */
const BOUNDED = new Set([
  "Softmax",
  "QLinearSoftmax",
  "LayerNormalization",
  "SimplifiedLayerNormalization",
  "RMSNormalization",
  "SkipLayerNormalization",
  "SkipSimplifiedLayerNormalization",
  "InstanceNormalization",
  "GroupNormalization",
]);
const ENDS = new Set(["DequantizeLinear", "QuantizeLinear"]);

/** Tensors of quantizers whose integers are bounded, not exact: those behind a softmax or a normalization, decomposed or not. */
export function softmaxQuantizers(model: OnnxModel): ReadonlySet<string> {
  const makers = new Map(model.graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  /** Operators between a tensor and the quantizers it comes from. */
  const behind = (tensor: string, seen: Set<OnnxNode>): void => {
    const node = makers.get(tensor);
    if (node === undefined || seen.has(node) || ENDS.has(node.op) || isQuantize(node)) return;
    seen.add(node);
    for (const input of node.inputs) behind(input, seen);
  };
  const bounded = (tensor: string): boolean => {
    const nodes = new Set<OnnxNode>();
    behind(tensor, nodes);
    const ops = new Set([...nodes].map((n) => n.op));
    const root = ops.has("Sqrt") || (ops.has("Pow") && ops.has("ReduceMean"));
    return [...ops].some((op) => BOUNDED.has(op)) || (ops.has("ReduceMean") && root);
  };
  const found = new Set<string>();
  for (const node of model.graph.nodes) {
    if (BOUNDED.has(node.op))
      for (const output of node.outputs) if (node.op.startsWith("QLinear")) found.add(output);
    if (isQuantize(node) && bounded(node.inputs[0]!)) found.add(node.outputs[0]!);
  }
  return found;
}

/** Greatest stated error of the softmaxes and normalizations of a module, in steps of their outputs before rounding. */
export const softmaxError = (module: Module): number =>
  Math.max(
    0,
    ...module.funcs.flatMap((f) =>
      f.ops.flatMap((op) => (typeof op.attrs.error === "number" ? [attr<number>(op, "error")] : [])),
    ),
  );

/** The integers a module's params hold: the numbers themselves, or what the quantizer of a float input makes of them. */
export function argumentsOf(module: Module, inputs: Tensors): ReadonlyMap<Port, Dense> {
  return new Map(
    module.funcs[0]!.params.map((port): [Port, Dense] => {
      const { shape, elem } = port.value.type;
      const x = inputs.get(port.name)!;
      const b = port.boundary;
      if (!("lo" in b))
        return [port, dense(elem as IntType, shape, Float64Array.from(x as Int8Array, Number))];
      const q = new Int32Array(x.length);
      quantize(x as Float32Array, q, b, 0);
      return [port, dense(elem as IntType, shape, q)];
    }),
  );
}

/** The integers of every result of a module by name: of the outputs and, of a debug build, of every quantizer. */
export const integersOf = (module: Module, inputs: Tensors): ReadonlyMap<string, Int32Array> =>
  new Map(runReference(module, inputs, { raw: true }).map((r) => [r.port.name, r.data as Int32Array]));

function intAttribute(node: OnnxNode, name: string): bigint | number {
  const a = node.attributes.get(name);
  return a?.kind === "int" ? a.value : 1;
}

/**
 * What a node computes, in terms of constants, inputs and other nodes: equal texts, equal tensors. Quantizers of one
 * text are one tensor in the compiled graph.
 */
function meanings(model: OnnxModel): (tensor: string) => string {
  const known = new Map<string, string>();
  const numbers = new Map<string, number>();
  const number = (text: string): number => {
    const n = numbers.get(text) ?? numbers.size;
    numbers.set(text, n);
    return n;
  };
  const initializer = (name: string): string | undefined => {
    const t = model.graph.initializers.get(name);
    return (
      t &&
      `${t.dataType}[${t.dims}]${t.size > 64 ? name : JSON.stringify(t, (key, v) => (key === "name" ? undefined : typeof v === "bigint" ? String(v) : v))}`
    );
  };
  /** Integers that are dequantized and quantized on the same grid. */
  const again = (node: OnnxNode): string | undefined => {
    const from = node.op === "QuantizeLinear" ? producer(model, node.inputs[0]!) : undefined;
    if (from?.op !== "DequantizeLinear") return undefined;
    const grid = (n: OnnxNode) =>
      JSON.stringify([...n.inputs.slice(1).map(meaning), Number(intAttribute(n, "axis"))]);
    return grid(node) === grid(from) ? meaning(from.inputs[0]!) : undefined;
  };
  const meaning = (tensor: string): string => {
    const before = known.get(tensor);
    if (before !== undefined) return before;
    const node = producer(model, tensor);
    const text =
      initializer(tensor) ??
      (node && again(node)) ??
      (node === undefined
        ? `input ${tensor}`
        : node.op === "Identity"
          ? meaning(node.inputs[0]!)
          : `${number(
              [
                node.op,
                node.outputs.indexOf(tensor),
                JSON.stringify([...node.attributes], (_, v) => (typeof v === "bigint" ? String(v) : v)),
                ...node.inputs.map(meaning),
              ].join("|"),
            )}`);
    known.set(tensor, text);
    return text;
  };
  return meaning;
}

export interface Plan {
  /** For each quantizer of the file that depends on an input, the compiled graph's tensor that must equal it. */
  readonly tensorOf: ReadonlyMap<string, string>;
  /** Quantizers that only an integer Clip reads, by its result: bounds join the quantizer, which then equals the Clip. */
  readonly clipped: ReadonlyMap<string, string>;
  readonly softmax: ReadonlySet<string>;
  /** Stated bound of a softmax's integers, in steps. */
  readonly softmaxBound: number;
}

function onlyClip(model: OnnxModel, tensor: string): string | undefined {
  const [reader, ...others] = model.graph.nodes.filter((node) => node.inputs.includes(tensor));
  return reader?.op === "Clip" && others.length === 0 ? reader.outputs[0] : undefined;
}

/** Whether no value of an input reaches a tensor: the compiler folds its quantizer. */
function constantIn(model: OnnxModel): (tensor: string) => boolean {
  const inputs = new Set(
    model.graph.inputs.map((info) => info.name).filter((name) => !model.graph.initializers.has(name)),
  );
  const known = new Map<string, boolean>();
  const constant = (tensor: string): boolean => {
    const before = known.get(tensor);
    if (before !== undefined) return before;
    const maker = producer(model, tensor);
    const shape = maker?.op === "Shape" || maker?.op === "Size";
    const found = !inputs.has(tensor) && (shape || (maker?.inputs ?? []).every(constant));
    known.set(tensor, found);
    return found;
  };
  return constant;
}

/** Throws where a quantizer of the file has no tensor in the compiled graph and no twin that has one. */
export function planOf(model: OnnxModel, module: Module, quantizers: readonly string[]): Plan {
  const kept = new Set(module.funcs[0]!.results.map((r) => r.name));
  const meaning = meanings(model);
  const twins = new Map(
    quantizers.flatMap((q) =>
      [q, `${q}/integers`].filter((t) => kept.has(t)).map((t) => [meaning(q), t] as const),
    ),
  );
  const tensorOf = new Map<string, string>();
  const clipped = new Map<string, string>();
  const constant = constantIn(model);
  for (const q of quantizers) {
    if (!kept.has(q) && constant(q)) continue;
    if (kept.has(`${q}/integers`)) {
      tensorOf.set(q, `${q}/integers`);
      continue;
    }
    const clip = kept.has(q) ? undefined : onlyClip(model, q);
    if (clip !== undefined && kept.has(clip)) {
      tensorOf.set(q, clip);
      clipped.set(q, clip);
      continue;
    }
    const tensor = kept.has(q) ? q : twins.get(meaning(q));
    if (tensor === undefined) throw new Error(`the compiled graph lost the quantizer of "${q}"`);
    tensorOf.set(q, tensor);
  }
  const error = softmaxError(module);
  return { tensorOf, clipped, softmax: softmaxQuantizers(model), softmaxBound: Math.ceil(error - 0.5) + 1 };
}

export interface Findings {
  readonly elements: number;
  readonly softmaxElements: number;
  /** Elements of softmaxes that are not the correctly rounded real value. */
  readonly softmaxOff: number;
  /** In words, the first of each tensor. Empty when all is equal. */
  readonly differences: readonly string[];
}

/** Compares `integers`, by tensor of the compiled graph, with the oracle on the same inputs. */
export function compareWithOracle(
  model: OnnxModel,
  plan: Plan,
  inputs: Tensors,
  integers: ReadonlyMap<string, Int32Array>,
): { readonly findings: Findings; readonly evaluation: Evaluation } {
  const overrides = new Map([...plan.softmax].map((q) => [q, integers.get(plan.tensorOf.get(q)!)!]));
  const evaluation = evaluateOnnx(model, inputs as ReadonlyMap<string, NumericArray>, {
    overrides,
    keep: plan.clipped.size > 0 ? "all" : "quantizers",
  });
  const differences: string[] = [];
  let elements = 0;
  let softmaxElements = 0;
  let softmaxOff = 0;
  for (const [name, { values: made, undecided }] of evaluation.quantizers) {
    const clip = evaluation.tensors.get(plan.clipped.get(name) ?? "");
    const values = clip?.kind === "int" ? clip.data : made;
    const tensor = plan.tensorOf.get(name);
    if (tensor === undefined) continue;
    const ours = integers.get(tensor);
    if (ours?.length !== values.length) {
      differences.push(`${name}: ${ours?.length} elements instead of ${values.length}`);
      continue;
    }
    const bound = plan.softmax.has(name) ? plan.softmaxBound : 0;
    elements += values.length;
    if (bound > 0) softmaxElements += values.length;
    for (let i = 0; i < values.length; i++) {
      if (ours[i] === values[i]) continue;
      const [least, greatest] = undecided?.get(i) ?? [values[i]!, values[i]!];
      if (ours[i]! >= least - bound && ours[i]! <= greatest + bound && bound > 0) {
        softmaxOff++;
        continue;
      }
      differences.push(`${name}[${i}]: ${ours[i]}, exactly ${values[i]}`);
      break;
    }
  }
  return { findings: { elements, softmaxElements, softmaxOff, differences }, evaluation };
}
