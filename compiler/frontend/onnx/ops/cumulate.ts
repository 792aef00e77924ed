/** Running sums and products, and the reductions that follow from them: products, and sums and extremes of integers. */
import { badOperands } from "../../../ir/messages.ts";
import { tensor } from "../../../ir/types.ts";
import { append, move, reshape } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import { axisOf, constantScalar, flagAttr, input, type NodeImport, reject } from "../../node-import.ts";
import { type Operand, valueOperand } from "../../operand.ts";
import { anyValue, cast, intervalOf, isIntegers, typeOf } from "../../plain-integers.ts";
import { firstOf, gatherElements } from "./indexing.ts";

interface Options {
  readonly product: boolean;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

/** Sums or products of the elements so far, along an axis. */
function cumulate(n: NodeImport, x: Operand, axis: number, options: Options): Operand {
  const attrs = { axis, ...options };
  const value = anyValue(n, x);
  if (!isIntegers(x)) return valueOperand(append(n, "index.cumulate", [x], [value], attrs), x.dtype);
  const size = x.shape[axis]!;
  const { lo, hi } = intervalOf(n, x);
  const most = Math.max(Math.abs(lo), Math.abs(hi), 1) ** size;
  const interval = options.product
    ? { lo: lo < 0 ? -most : 0, hi: most }
    : { lo: Math.min(lo * size, 0), hi: Math.max(hi * size, 0) };
  const elem = typeOf(n, x.dtype, interval);
  const wide = cast(n, value, elem);
  const made = append(n, "index.cumulate", [x], [wide], attrs, tensor(x.shape, elem));
  return valueOperand(made, x.dtype);
}

const runs = forOps(["CumSum", "CumProd"], (op) => ({
  inputs: [2, 2],
  attributes: { exclusive: "int", reverse: "int" },
  run: (n) => {
    const x = input(n, 0);
    const axis = axisOf(n, constantScalar(n, input(n, 1), "axis"), x.shape.length);
    return cumulate(n, x, axis, {
      product: op === "CumProd",
      exclusive: flagAttr(n, "exclusive", false),
      reverse: flagAttr(n, "reverse", false),
    });
  },
}));

/** One element per axis that is reduced, axis by axis. */
function overAxes(
  n: NodeImport,
  x: Operand,
  axes: readonly number[],
  keepdims: boolean,
  one: (x: Operand, axis: number) => Operand,
): Operand {
  const y = axes.reduce((v, axis) => (v.shape[axis] === 1 ? v : one(v, axis)), x);
  if (keepdims) return y;
  return reshape(
    n,
    y,
    x.shape.filter((_, a) => !axes.includes(a)),
  );
}

/** The last of the running sums or products. */
const total =
  (n: NodeImport, product: boolean) =>
  (x: Operand, axis: number): Operand => {
    const all = cumulate(n, x, axis, { product, exclusive: false, reverse: false });
    const size = x.shape[axis]!;
    return move(n, "layout.slice", [all], { starts: [size - 1], ends: [size], steps: [1], axes: [axis] });
  };

/** Reductions without a kernel of their own. */
export function reduceByRuns(
  n: NodeImport,
  op: string,
  x: Operand,
  axes: readonly number[],
  keepdims: boolean,
): Operand {
  const order = (v: Operand, axis: number): Operand =>
    gatherElements(n, v, firstOf(n, v, axis, 1, op === "ReduceMax"), axis);
  switch (op) {
    case "ReduceProd":
    case "ReduceSum":
      return overAxes(n, x, axes, keepdims, total(n, op === "ReduceProd"));
    case "ReduceMax":
    case "ReduceMin":
      return overAxes(n, x, axes, keepdims, order);
    default:
      return reject(badOperands(n.loc, `${op} of ${x.dtype} is not supported`, []));
  }
}

export const cumulateImporters: readonly Importer[] = runs;
