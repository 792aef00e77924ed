/** Transposed convolution as the standard words it: every input element is scattered over the output. */
import type { OnnxNode } from "../../compiler/frontend/onnx/model.ts";
import { intOf, intsOf, stringOf } from "./attributes.ts";
import { multiply } from "./rational.ts";
import {
  LIMIT,
  makeTerm,
  maxAbs,
  type RealTensor,
  reals,
  simplify,
  singleUnits,
  splitDigits,
  type Term,
} from "./tensor.ts";

interface Axis {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly begin: number;
  readonly out: number;
}

/** Every axis with its output size, by the formulas of the standard. */
function axesOf(node: OnnxNode, input: readonly number[], kernel: readonly number[]): Axis[] {
  const rank = input.length;
  const auto = stringOf(node, "auto_pad") ?? "NOTSET";
  const shape = intsOf(node, "output_shape");
  return input.map((size, i): Axis => {
    const of = (name: string, fallback: number): number => intsOf(node, name)?.[i] ?? fallback;
    const [stride, dilation, extra] = [of("strides", 1), of("dilations", 1), of("output_padding", 0)];
    const k = kernel[i]!;
    const full = stride * (size - 1) + extra + (k - 1) * dilation + 1;
    const given = intsOf(node, "pads") ?? [];
    const base = { size, kernel: k, stride, dilation };
    if (shape === undefined && !auto.startsWith("SAME")) {
      const [begin, end] = auto === "VALID" ? [0, 0] : [given[i] ?? 0, given[i + rank] ?? 0];
      return { ...base, begin, out: full - begin - end };
    }
    const out = shape?.[i] ?? size * stride;
    const cut = Math.max(0, full - out);
    const half = Math.floor(cut / 2);
    return { ...base, begin: auto === "SAME_UPPER" ? half : cut - half, out };
  });
}

/** x [N,C,…], w [C,O/groups,…] with one or two spatial axes. */
export function convTransposeReals(node: OnnxNode, x: RealTensor, w: RealTensor): RealTensor {
  const groups = intOf(node, "group") ?? 1;
  const axes = axesOf(node, x.shape.slice(2), w.shape.slice(2));
  const one: Axis = { size: 1, kernel: 1, stride: 1, dilation: 1, begin: 0, out: 1 };
  const [v, h] = axes.length === 1 ? [one, axes[0]!] : [axes[0]!, axes[1]!];
  const [n, c] = x.shape as [number, number];
  const perGroup = w.shape[1]!;
  const outputs = perGroup * groups;
  const size = n * outputs * v.out * h.out;
  const terms: Term[] = [];
  const most = (c / groups) * v.kernel * h.kernel;
  const scatter = (a: Term, b: Term): void => {
    const reach = [maxAbs(a.num), maxAbs(b.num)] as const;
    if (reach[0] * reach[1] === 0) return;
    if (reach[0] * reach[1] * most >= LIMIT) {
      if (reach[0] > reach[1]) for (const part of splitDigits(a)) scatter(part, b);
      else for (const part of splitDigits(b)) scatter(a, part);
      return;
    }
    const num = new Float64Array(size);
    let at = 0;
    for (let image = 0; image < n; image++)
      for (let channel = 0; channel < c; channel++)
        for (let i = 0; i < v.size; i++)
          for (let j = 0; j < h.size; j++) {
            const value = a.num[at++]!;
            const group = Math.floor(channel / (c / groups));
            for (let o = 0; o < perGroup; o++)
              for (let ky = 0; ky < v.kernel; ky++)
                for (let kx = 0; kx < h.kernel; kx++) {
                  const row = i * v.stride + ky * v.dilation - v.begin;
                  const column = j * h.stride + kx * h.dilation - h.begin;
                  if (row < 0 || row >= v.out || column < 0 || column >= h.out) continue;
                  const plane = (image * outputs + group * perGroup + o) * v.out;
                  const weight = b.num[((channel * perGroup + o) * v.kernel + ky) * h.kernel + kx]!;
                  num[(plane + row) * h.out + column]! += value * weight;
                }
          }
    terms.push(makeTerm(num, [multiply(a.units[0]!, b.units[0]!)], undefined));
  };
  const weights = singleUnits(w.terms());
  for (const a of singleUnits(x.terms())) for (const b of weights) scatter(a, b);
  return reals([n, outputs, ...axes.map((axis) => axis.out)], simplify(terms));
}
