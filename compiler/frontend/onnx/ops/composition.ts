/** Operators that are compositions of others: logarithms of sums, norms as divisors, hyperbolic functions. */
import { badAttributeValue } from "../../../ir/messages.ts";
import { elementwise, real, reshape } from "../../graph-import.ts";
import { forOps, type Importer } from "../../importer.ts";
import { axisOf, flagAttr, input, intAttr, type NodeImport, reject } from "../../node-import.ts";
import { type Operand, valueOperand } from "../../operand.ts";
import { scalar } from "./elementwise.ts";
import { alongAxis, reduceMax, reduction } from "./reduce.ts";

const op = (n: NodeImport, name: string, ...operands: readonly Operand[]): Operand =>
  real(n, `float.${name}`, operands);

/** ln Σ e^x along axes that stay with size 1, and x minus the greatest. */
function logSumExp(n: NodeImport, x: Operand, axes: readonly number[]) {
  const top = reduceMax(n, x, { axes, keepdims: true });
  const moved = op(n, "sub", x, top);
  const sum = real(n, "float.reduce_sum", [op(n, "exp", moved)], { axes, keepdims: true });
  return { top, moved, log: op(n, "log", sum) };
}

export function logSoftmax(n: NodeImport, x: Operand, axis: number): Operand {
  const { moved, log } = logSumExp(n, x, [axis]);
  return op(n, "sub", moved, log);
}

const logSoftmaxes = alongAxis("LogSoftmax", logSoftmax);

const REDUCTION = {
  inputs: [1, 2],
  attributes: { axes: "ints", keepdims: "int", noop_with_empty_axes: "int" },
} as const;

const logReductions: readonly Importer[] = [
  {
    op: "ReduceLogSum",
    ...REDUCTION,
    run: (n) => {
      const x = input(n, 0);
      const { axes, keepdims } = reduction(n, x);
      return op(n, "log", real(n, "float.reduce_sum", [x], { axes, keepdims }));
    },
  },
  {
    op: "ReduceLogSumExp",
    ...REDUCTION,
    run: (n) => {
      const x = input(n, 0);
      const { axes, keepdims } = reduction(n, x);
      const { top, log } = logSumExp(n, x, axes);
      const y = op(n, "add", top, log);
      return keepdims
        ? y
        : reshape(
            n,
            y,
            x.shape.filter((_, a) => !axes.includes(a)),
          );
    },
  },
];

/** Norms below this count as 0: the least normal float32. */
const LEAST_NORM = 2 ** -126;

const lpNormalization: Importer = {
  op: "LpNormalization",
  inputs: [1, 1],
  attributes: { axis: "int", p: "int" },
  run: (n) => {
    const x = input(n, 0);
    const p = intAttr(n, "p", 2);
    if (p !== 1 && p !== 2) reject(badAttributeValue(n.loc, "p", `must be 1 or 2, is ${p}`));
    const axes = [axisOf(n, intAttr(n, "axis", -1), x.shape.length)];
    const terms = p === 1 ? op(n, "abs", x) : op(n, "mul", x, x);
    const sum = real(n, "float.reduce_sum", [terms], { axes, keepdims: true });
    const norm = p === 1 ? sum : op(n, "sqrt", sum);
    return op(n, "div", x, op(n, "max", norm, scalar(x, LEAST_NORM)));
  },
};

const functions: readonly Importer[] = [
  {
    op: "Tan",
    since: 7,
    inputs: [1, 1],
    run: (n) => {
      const x = input(n, 0);
      return elementwise(n, "float.div", [
        elementwise(n, "float.sin", [x]),
        elementwise(n, "float.cos", [x]),
      ]);
    },
  },
  {
    op: "Cosh",
    since: 9,
    inputs: [1, 1],
    run: (n) => {
      const x = input(n, 0);
      const [a, b] = [x, elementwise(n, "float.neg", [x])].map((v) => elementwise(n, "float.exp", [v]));
      const sum = elementwise(n, "float.add", [a!, b!]);
      return elementwise(n, "float.mul", [sum, scalar(sum, 0.5)]);
    },
  },
];

/** Positions are int64 in ONNX; the least element is the greatest of the negatives. */
const positions = forOps(["ArgMax", "ArgMin"], (name) => ({
  inputs: [1, 1],
  attributes: { axis: "int", keepdims: "int", select_last_index: "int" },
  run: (n) => {
    const given = input(n, 0);
    const x = name === "ArgMin" ? op(n, "neg", given) : given;
    const axis = axisOf(n, intAttr(n, "axis", 0), x.shape.length);
    const last = flagAttr(n, "select_last_index", false);
    const found = real(n, "float.arg_max", [x], { axis, last });
    if (found.kind !== "value") throw new Error("a computed operand is a value");
    const y = valueOperand(found.value, "int64");
    return flagAttr(n, "keepdims", true)
      ? y
      : reshape(
          n,
          y,
          x.shape.filter((_, a) => a !== axis),
        );
  },
}));

export const compositionImporters: readonly Importer[] = [
  ...positions,
  ...logSoftmaxes,
  ...logReductions,
  lpNormalization,
  ...functions,
];
