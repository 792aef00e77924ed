/** Small models around one quantizer, for the tests of the frontend. */
import type { Func } from "../compiler/ir/module.ts";
import type { QuantType } from "../compiler/ir/types.ts";
import { findings, onlyOp } from "./import-spec.ts";
import { f32, type ModelSpec, type Node, node, type Tensor, value } from "./onnx-writer.ts";

export const s = (x: number): Tensor => f32([], [x]);

/** One input `x`, one output `y`. */
export const spec = (
  x: readonly [dtype: "float32" | "int8" | "uint8" | "int32", shape: readonly number[]],
  nodes: readonly Node[],
  initializers: Readonly<Record<string, Tensor>>,
  more: Partial<ModelSpec> = {},
): ModelSpec => ({
  inputs: [value("x", ...x)],
  outputs: [value("y")],
  nodes,
  initializers,
  ...more,
});

export const q = (x: string, y: string, scale = "s", zero = "z", attributes = {}, options = {}): Node =>
  node("QuantizeLinear", zero === "" ? [x, scale] : [x, scale, zero], [y], attributes, options);
export const dq = (x: string, y: string, scale = "s", zero = "z", attributes = {}, options = {}): Node =>
  node("DequantizeLinear", zero === "" ? [x, scale] : [x, scale, zero], [y], attributes, options);

export const quantOf = (func: Func, name: string): QuantType => {
  const { elem } = onlyOp(func, name).results[0]!.type;
  if (elem.kind !== "quant") throw new Error(`${name} is not quantised`);
  return elem;
};
export const codes = (model: ModelSpec, options = {}) =>
  findings(model, options).map((d) => `${d.severity} ${d.code}`);
