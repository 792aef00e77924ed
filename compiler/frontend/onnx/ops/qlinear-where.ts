/** QLinearWhere: a choice between two quantized tensors that is known at compile time. */
import { badOperands } from "../../../ir/messages.ts";
import { broadcastShapes, broadcastTo } from "../../../ir/ops/axes.ts";
import { sizeOf } from "../../../ir/types.ts";
import { checkShape, move, reshape } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { constantOf, input, type NodeImport, reject } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { dequantized, namedValue, quantized, triples } from "./qlinear-lift.ts";

/** Both tensors under the one quantizer, then of each element the one that the condition names. */
function choose(n: NodeImport): Operand {
  const [x, y] = [dequantized(n, 1), dequantized(n, 4)];
  const condition = constantOf(n, input(n, 0), "condition").dense;
  const shape = broadcastShapes(condition.shape, x.shape, y.shape);
  if (shape === undefined) return reject(badOperands(n.loc, "the shapes do not broadcast", []));
  const output = n.node.outputs[0] ?? "";
  checkShape(n.loc, output, shape);
  const size = sizeOf(shape);
  checkShape(n.loc, output, [2 * size]);
  const flat = (o: Operand): Operand => reshape(n, move(n, "layout.expand", [o], { shape }), [size]);
  const both = quantized(n, move(n, "layout.concat", [flat(x), flat(y)], { axis: 0 }), 7, input(n, 1));
  namedValue(n, both, `${output}_both`);
  const indices = Array.from(broadcastTo(condition, shape), (c, i) => (c === 0 ? size + i : i));
  return reshape(n, move(n, "layout.gather", [both], { axis: 0, indices }), shape);
}

export const qlinearWhere: Importer = {
  op: "QLinearWhere",
  domains: ["com.microsoft"],
  inputs: [9, 9],
  quantized: triples(1, 4),
  run: choose,
};
