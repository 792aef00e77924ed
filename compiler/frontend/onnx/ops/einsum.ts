/** Sums of products named by their indices, as matrix products: the indices of both factors and the result are batch axes. */
import { badAttributeValue, badOperands } from "../../../ir/messages.ts";
import { sizeOf } from "../../../ir/types.ts";
import { real, reshape, transpose } from "../../graph-import.ts";
import type { Importer } from "../../importer.ts";
import { allInputs, type NodeImport, reject, stringAttr } from "../../node-import.ts";
import type { Operand } from "../../operand.ts";

type Labels = readonly string[];

interface Equation {
  readonly terms: readonly Labels[];
  readonly result: Labels;
}

const fault = (n: NodeImport, reason: string): never => reject(badAttributeValue(n.loc, "equation", reason));

/** The labels of one term; an ellipsis stands for `dots`, the last of them last. */
function labelsOf(n: NodeImport, text: string, dots: Labels): Labels {
  const parts = text.split("...");
  if (parts.length > 2 || !/^[A-Za-z]*$/.test(parts.join(""))) fault(n, "is not a list of letters");
  const [front, back] = parts.map((p) => [...p]) as [string[], string[] | undefined];
  const labels = back === undefined ? front : [...front, ...dots, ...back];
  if (new Set(labels).size < labels.length) fault(n, "takes a diagonal, which is not supported");
  return labels;
}

function equationOf(n: NodeImport, operands: readonly Operand[]): Equation {
  const [left, right, ...more] = stringAttr(n, "equation").replaceAll(" ", "").split("->");
  const texts = left!.split(",");
  if (more.length > 0 || texts.length !== operands.length)
    fault(n, `names ${texts.length} operands of ${operands.length}`);
  // What each ellipsis stands for, aligned at the end.
  const dotted = operands.map((x, i) => {
    const letters = texts[i]!.replace("...", "").length;
    const rest = x.shape.length - letters;
    if (texts[i]!.includes("...") ? rest < 0 : rest !== 0)
      fault(n, `has ${letters} indices for operand ${i} of rank ${x.shape.length}`);
    return rest;
  });
  const most = Math.max(0, ...dotted);
  const dots = Array.from({ length: most }, (_, i) => `${i}`);
  const terms = texts.map((text, i) => labelsOf(n, text, dots.slice(most - dotted[i]!)));
  const all = terms.flat();
  const once = [...new Set(all)].filter((l) => /[A-Za-z]/.test(l) && all.indexOf(l) === all.lastIndexOf(l));
  const result = right === undefined ? [...dots, ...once.toSorted()] : labelsOf(n, right, dots);
  if (result.some((l) => !all.includes(l))) fault(n, "names an index in the result that no operand has");
  return { terms, result };
}

/** Sum over the labels that nothing else has. */
function summed(n: NodeImport, x: Operand, labels: Labels, wanted: Labels): [Operand, Labels] {
  const axes = labels.flatMap((l, i) => (wanted.includes(l) ? [] : [i]));
  if (axes.length === 0) return [x, labels];
  const kept = labels.filter((l) => wanted.includes(l));
  return [real(n, "float.reduce_sum", [x], { axes, keepdims: false }), kept];
}

const ordered = (n: NodeImport, x: Operand, from: Labels, to: Labels): Operand =>
  transpose(
    n,
    x,
    to.map((l) => from.indexOf(l)),
  );

function product(n: NodeImport, operands: readonly Operand[], { terms, result }: Equation): Operand {
  const [a, la] = summed(n, operands[0]!, terms[0]!, [...terms[1]!, ...result]);
  const [b, lb] = summed(n, operands[1]!, terms[1]!, [...terms[0]!, ...result]);
  const both = la.filter((l) => lb.includes(l));
  const inner = both.filter((l) => !result.includes(l));
  // In the result's order, so that no transpose is left behind in the usual case.
  const batch = result.filter((l) => both.includes(l));
  const [rows, columns] = [la, lb].map((labels) =>
    result.filter((l) => labels.includes(l) && !both.includes(l)),
  );
  const size = (x: Operand, labels: Labels, list: Labels): number[] =>
    list.map((l) => x.shape[labels.indexOf(l)]!);
  for (const l of inner)
    if (size(a, la, [l])[0] !== size(b, lb, [l])[0])
      reject(badOperands(n.loc, `index ${l} has two sizes`, []));
  const [m, k, c] = [size(a, la, rows!), size(a, la, inner), size(b, lb, columns!)];
  const left = ordered(n, a, la, [...batch, ...rows!, ...inner]);
  const right = ordered(n, b, lb, [...batch, ...inner, ...columns!]);
  const y = real(n, "float.matmul", [
    reshape(n, left, [...size(a, la, batch), sizeOf(m), sizeOf(k)]),
    reshape(n, right, [...size(b, lb, batch), sizeOf(k), sizeOf(c)]),
  ]);
  const wide = reshape(n, y, [...y.shape.slice(0, batch.length), ...m, ...c]);
  return ordered(n, wide, [...batch, ...rows!, ...columns!], result);
}

export const einsumImporters: readonly Importer[] = [
  {
    op: "Einsum",
    since: 12,
    inputs: [1, 2],
    attributes: { equation: "string" },
    run: (n) => {
      const operands = allInputs(n);
      const equation = equationOf(n, operands);
      if (operands.length === 2) return product(n, operands, equation);
      const [x, labels] = summed(n, operands[0]!, equation.terms[0]!, equation.result);
      return ordered(n, x, labels, equation.result);
    },
  },
];
