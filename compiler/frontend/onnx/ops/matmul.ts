/** Matrix products. */
import { badOperands } from "../../../ir/messages.ts";
import { elementwise, real, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { flagAttr, floatAttr, input, type NodeImport, reject } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";
import { addBias } from "./conv.ts";
import { scalar } from "./elementwise.ts";

const scaled = (n: NodeImport, x: Operand, factor: number): Operand =>
  factor === 1 ? x : elementwise(n, "float.mul", [x, scalar(x, factor)]);

/** α·A′·B′ + β·C; the product is scaled, not A, so that a quantized A stays as it is. */
const gemm: Importer = {
  op: "Gemm",
  since: 7,
  inputs: [2, 3],
  attributes: { alpha: "float", beta: "float", transA: "int", transB: "int" },
  run: (n) => {
    const side = (i: number, name: string): Operand => {
      const x = input(n, i);
      if (x.shape.length !== 2)
        reject(badOperands(n.loc, `operand ${i} has rank ${x.shape.length}, Gemm needs 2`, []));
      return flagAttr(n, name, false) ? transpose(n, x, [1, 0]) : x;
    };
    const product = real(n, "float.matmul", [side(0, "transA"), side(1, "transB")]);
    const y = scaled(n, product, floatAttr(n, "alpha", 1));
    const c = n.inputs[2];
    const beta = floatAttr(n, "beta", 1);
    if (c === undefined || beta === 0) return y;
    const sum = addBias(n, y, scaled(n, c, beta));
    if (sum.shape.length !== 2 || sum.shape.some((d, i) => d !== y.shape[i]))
      reject(
        badOperands(
          n.loc,
          `C of shape [${c.shape.join(", ")}] does not broadcast to [${y.shape.join(", ")}]`,
          [],
        ),
      );
    return sum;
  },
};

/** numpy.matmul: a rank-1 operand is a row on the left, a column on the right, and its axis leaves the result. */
const matmul: Importer = {
  op: "MatMul",
  inputs: [2, 2],
  run: (n) => {
    const [a, b] = [input(n, 0), input(n, 1)];
    if (a.shape.length === 0 || b.shape.length === 0)
      reject(badOperands(n.loc, "a scalar is not a matrix", []));
    const row = a.shape.length === 1;
    const column = b.shape.length === 1;
    const y = real(n, "float.matmul", [
      row ? reshape(n, a, [1, a.shape[0]!]) : a,
      column ? reshape(n, b, [b.shape[0]!, 1]) : b,
    ]);
    const shape = [
      ...y.shape.slice(0, -2),
      ...(row ? [] : y.shape.slice(-2, -1)),
      ...(column ? [] : y.shape.slice(-1)),
    ];
    return reshape(n, y, shape);
  },
};

export const matmulImporters: readonly Importer[] = [gemm, matmul];
