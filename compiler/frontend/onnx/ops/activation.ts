/** Activations with parameters, and those that are compositions. */
import { badAttributeValue } from "../../../ir/messages.ts";
import { elementwise } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { floatAttr, input, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { scalar, withAttrs } from "./elementwise.ts";

// ONNX declares its defaults as float32.
const f32 = Math.fround;

/** x · sigmoid(α·x) */
function swish(n: NodeImport, alpha: number): Operand {
  const x = input(n, 0);
  if (alpha === 1) return elementwise(n, "float.silu", [x]);
  const gate = elementwise(n, "float.sigmoid", [elementwise(n, "float.mul", [x, scalar(x, alpha)])]);
  return elementwise(n, "float.mul", [x, gate]);
}

const alphaOp = (op: string, name: string, since: number, fallback: number): Importer => ({
  op,
  since,
  inputs: [1, 1],
  attributes: { alpha: "float" },
  run: (n) => withAttrs(n, name, { alpha: floatAttr(n, "alpha", fallback) }),
});

export const activationImporters: readonly Importer[] = [
  alphaOp("LeakyRelu", "float.leaky_relu", 6, f32(0.01)),
  alphaOp("Elu", "float.elu", 6, 1),
  alphaOp("Celu", "float.celu", 12, 1),
  alphaOp("ThresholdedRelu", "float.thresholded_relu", 10, 1),
  {
    op: "Selu",
    since: 6,
    inputs: [1, 1],
    attributes: { alpha: "float", gamma: "float" },
    run: (n) =>
      withAttrs(n, "float.selu", {
        alpha: floatAttr(n, "alpha", f32(1.6732632423543772)),
        gamma: floatAttr(n, "gamma", f32(1.0507009873554805)),
      }),
  },
  {
    op: "HardSigmoid",
    since: 6,
    inputs: [1, 1],
    attributes: { alpha: "float", beta: "float" },
    run: (n) =>
      withAttrs(n, "float.hard_sigmoid", {
        alpha: floatAttr(n, "alpha", f32(0.2)),
        beta: floatAttr(n, "beta", 0.5),
      }),
  },
  {
    op: "PRelu",
    since: 7,
    inputs: [2, 2],
    run: (n) => elementwise(n, "float.prelu", [input(n, 0), input(n, 1)]),
  },
  {
    op: "Gelu",
    domains: ["", "com.microsoft"],
    inputs: [1, 1],
    attributes: { approximate: "string" },
    run: (n) => {
      const approximate = stringAttr(n, "approximate", "none");
      if (approximate !== "none" && approximate !== "tanh")
        reject(badAttributeValue(n.loc, "approximate", 'must be "none" or "tanh"'));
      return withAttrs(n, "float.gelu", { approximate });
    },
  },
  {
    op: "FastGelu",
    domains: ["com.microsoft"],
    inputs: [1, 2],
    run: (n) => {
      const bias = n.inputs[1];
      const x = bias === undefined ? input(n, 0) : elementwise(n, "float.add", [input(n, 0), bias]);
      return elementwise(n, "float.gelu", [x], { approximate: "tanh" });
    },
  },
  {
    op: "QuickGelu",
    domains: ["com.microsoft"],
    inputs: [1, 1],
    attributes: { alpha: "float" },
    run: (n) => swish(n, floatAttr(n, "alpha", f32(1.702))),
  },
  {
    op: "Swish",
    since: 24,
    inputs: [1, 1],
    attributes: { alpha: "float" },
    run: (n) => swish(n, floatAttr(n, "alpha", 1)),
  },
];
