/** Losses by class: what graphs that compute their own score end in. */
import { badAttributeValue } from "../../../ir/messages.ts";
import { elementwise, move, real, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { input, intAttr, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { logSoftmax } from "./composition.ts";
import { scalar } from "./elementwise.ts";
import { gatherElements, pick } from "./indexing.ts";
import { choose, isEqualTo } from "./logic.ts";

/** −x[target]·w along axis 1, the classes; `ignore_index` weighs nothing. */
function loss(n: NodeImport, x: Operand, target: Operand, weights: Operand | undefined): Operand {
  const reduction = stringAttr(n, "reduction", "mean");
  if (!["none", "sum", "mean"].includes(reduction))
    reject(
      badAttributeValue(n.loc, "reduction", `is ${JSON.stringify(reduction)}, which ONNX does not know`),
    );
  const spread = reshape(n, target, [target.shape[0]!, 1, ...target.shape.slice(1)]);
  const chosen = reshape(n, gatherElements(n, x, spread, 1), target.shape);
  const negative = elementwise(n, "float.neg", [chosen]);
  const ignored = n.node.attributes.has("ignore_index")
    ? isEqualTo(n, target, intAttr(n, "ignore_index"))
    : undefined;
  const own = weights && pick(n, "index.gather", weights, target, { axis: 0 });
  const [zero, one] = [scalar(x, 0), scalar(x, 1)];
  const weight = ignored ? choose(n, ignored, zero, own ?? one) : own;
  const terms = weight ? elementwise(n, "float.mul", [negative, weight]) : negative;
  if (reduction === "none") return terms;
  const all = { axes: target.shape.map((_, i) => i), keepdims: false };
  if (weight === undefined)
    return real(n, reduction === "sum" ? "float.reduce_sum" : "float.reduce_mean", [terms], all);
  const sum = real(n, "float.reduce_sum", [terms], all);
  if (reduction === "sum") return sum;
  const whole = move(n, "layout.expand", [weight], { shape: target.shape });
  return elementwise(n, "float.div", [sum, real(n, "float.reduce_sum", [whole], all)]);
}

const attributes = { reduction: "string", ignore_index: "int" } as const;

export const lossImporters: readonly Importer[] = [
  {
    op: "NegativeLogLikelihoodLoss",
    since: 12,
    inputs: [2, 3],
    attributes,
    run: (n) => loss(n, input(n, 0), input(n, 1), n.inputs[2]),
  },
  {
    op: "SoftmaxCrossEntropyLoss",
    since: 12,
    inputs: [2, 3],
    attributes,
    run: (n) => {
      const logs = logSoftmax(n, input(n, 0), 1);
      return [loss(n, logs, input(n, 1), n.inputs[2]), logs];
    },
  },
];
