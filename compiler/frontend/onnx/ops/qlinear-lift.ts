/** What QLinear operators have in common: dequantize the operands, compute on reals, quantize the result. */
import { makeConstant } from "../../constants.ts";
import { transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { input, type NodeImport } from "../../node-import.ts";
import type { OnnxNode } from "../../onnx/model.ts";
import { constantOperand, named, type Operand } from "../../operand.ts";
import { dequantize, quantize } from "../../qdq.ts";

export type Order = NonNullable<Parameters<typeof quantize>[1]>;

/** The same place in the graph with other inputs and attributes. */
export const within = (
  n: NodeImport,
  inputs: readonly (Operand | undefined)[],
  attributes: OnnxNode["attributes"] = new Map(),
): NodeImport => ({ ...n, inputs, opset: 13, node: { ...n.node, attributes } });

export const axisAttribute = (axis: number | undefined): OnnxNode["attributes"] =>
  new Map(axis === undefined ? [] : [["axis", { kind: "int", value: axis }]]);

/** Zero points may be left out, and are then 0 in the type of what they belong to. */
const zeroPointOf = (operand: Operand | undefined, like: Operand): Operand =>
  operand ?? constantOperand(makeConstant(like.dtype, [], [0]));

/** Input `data` as reals; scale and zero point are the inputs after it, per tensor or along `axis`. */
export function dequantized(n: NodeImport, data: number, axis?: number): Operand {
  const x = input(n, data);
  const zeroPoint = zeroPointOf(n.inputs[data + 2], x);
  const real = dequantize(within(n, [x, input(n, data + 1), zeroPoint], axisAttribute(axis)));
  return x.name === "" ? real : namedValue(n, real, `${x.name}_real`);
}

/** Names a value of the graph that has no ONNX name of its own, for diagnostics. */
export function namedValue(n: NodeImport, x: Operand, name: string): Operand {
  if (x.kind === "value" && !n.graph.names.has(x.value)) n.graph.names.set(x.value, name);
  return named(x, name);
}

/** `real` quantized by the scale at input `scale` and the zero point after it; `like` has the type they may leave open. */
export function quantized(
  n: NodeImport,
  real: Operand,
  scale: number,
  like: Operand,
  order?: Order,
): Operand {
  const x = namedValue(n, real, `${n.node.outputs[0]}_real`);
  return quantize(within(n, [x, input(n, scale), zeroPointOf(n.inputs[scale + 1], like)]), order);
}

/** The import of a float operator, applied to reals; the newest row that is not newer than `opset`. */
export function onReals(
  n: NodeImport,
  rows: readonly Importer[],
  op: string,
  inputs: readonly (Operand | undefined)[],
  {
    opset = 13,
    attributes = n.node.attributes,
  }: { opset?: number; attributes?: OnnxNode["attributes"] } = {},
): Operand {
  const row = rows.find(
    ({ op: name, since = 1, until = Number.POSITIVE_INFINITY }) =>
      name === op && since <= opset && opset <= until,
  )!;
  const result = row.run({ ...within(n, inputs, attributes), opset });
  return "kind" in result ? result : result[0]!;
}

/** f on [N, C, spatial …] where x is [N, spatial …, C] and the result is to be too. */
export function channelsLast(n: NodeImport, last: boolean, x: Operand, f: (x: Operand) => Operand): Operand {
  const rank = x.shape.length;
  if (!last || rank < 3) return f(x);
  const spatial = Array.from({ length: rank - 2 }, (_, i) => i);
  const y = f(transpose(n, x, [0, rank - 1, ...spatial.map((i) => i + 1)]));
  return transpose(n, y, [0, ...spatial.map((i) => i + 2), 1]);
}

/** Triples of data, scale and zero point, at these inputs. */
export const triples =
  (...first: readonly number[]): NonNullable<Importer["quantized"]> =>
  () =>
    first.map((data) => ({ data, scale: data + 1, zeroPoint: data + 2 }));
