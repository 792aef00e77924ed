/** Einsum by its definition: for each element of the result, the sum over everything else of the product of one element each. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { stringOf } from "./attributes.ts";
import { gather, reshape } from "./gather.ts";
import { literals, sizeOf, type Tensor } from "./tensor.ts";

/** Index names of a term; those of an ellipsis are numbers that count from the end. */
function namesOf(text: string, rank: number): string[] {
  const [front, back] = text.split("...");
  if (back === undefined) return [...front!];
  const dots = rank - front!.length - back.length;
  return [...front!, ...Array.from({ length: dots }, (_, i) => `${i - dots}`), ...back];
}

export function einsum(
  node: OnnxNode,
  inputs: readonly Tensor[],
  matmul: (a: Tensor, b: Tensor) => Tensor,
): Tensor {
  const [left, right] = stringOf(node, "equation")!.replaceAll(" ", "").split("->");
  const terms = left!.split(",").map((text, i) => namesOf(text, inputs[i]!.shape.length));
  const sizes = new Map<string, number>();
  terms.forEach((names, i) => {
    names.forEach((name, a) => {
      sizes.set(name, Math.max(sizes.get(name) ?? 1, inputs[i]!.shape[a]!));
    });
  });
  const all = [...sizes.keys()];
  const dots = all.filter((x) => x.startsWith("-")).sort((a, b) => Number(a) - Number(b));
  const times = (name: string): number => terms.flat().filter((x) => x === name).length;
  const single = all.filter((x) => !x.startsWith("-") && times(x) === 1).sort();
  const result =
    right === undefined
      ? [...dots, ...single]
      : namesOf(right, dots.length + right.replace("...", "").length);
  const summed = all.filter((name) => !result.includes(name));
  const loop = [...result, ...summed];
  const shape = result.map((name) => sizes.get(name)!);
  const [count, sum] = [sizeOf(shape), sizeOf(summed.map((name) => sizes.get(name)!))];
  const factors = inputs.map((x, i) => {
    const index = new Int32Array(count * sum);
    for (let e = 0; e < index.length; e++) {
      const at = new Map<string, number>();
      let rest = e;
      for (const name of loop.toReversed()) {
        at.set(name, rest % sizes.get(name)!);
        rest = Math.floor(rest / sizes.get(name)!);
      }
      index[e] = terms[i]!.reduce((n, name, a) => {
        const size = x.shape[a]!;
        return n * size + (size === 1 ? 0 : at.get(name)!);
      }, 0);
    }
    return gather(x, index, [count, 1, sum]);
  });
  const ones = literals([count, sum, 1], new Float64Array(count * sum).fill(1));
  const second = factors[1] === undefined ? ones : reshape(factors[1], [count, sum, 1]);
  return reshape(matmul(factors[0]!, second), shape);
}
