/** Constants quantized in blocks: one scale and zero point per run of elements along an axis. */
import { toFloat64 } from "../dense.ts";
import type { Attrs } from "../module.ts";
import { defineOp, type OpDef } from "../op.ts";
import { F32, sameShape, sizeOf, type TensorType } from "../types.ts";
import { axisIn } from "./axes.ts";
import { floats, isFloat, isInt, required } from "./define.ts";
import { matmul, matmulShape } from "./linear.ts";

/** For each element of `shape`, the index of its block's scale: blocks of `block` elements along `axis`, the last may be shorter. */
export function blockIndex(shape: readonly number[], axis: number, block: number): (i: number) => number {
  const inner = sizeOf(shape.slice(axis + 1));
  const extent = shape[axis]!;
  const blocks = Math.ceil(extent / block);
  return (i) => {
    const at = Math.floor(i / inner);
    return (Math.floor(at / extent) * blocks + Math.floor((at % extent) / block)) * inner + (i % inner);
  };
}

/** A sentence if scales and zero points are not those of `q`'s blocks. */
function badParameters(
  q: TensorType,
  scales: TensorType,
  zeros: TensorType,
  axis: number,
  block: number,
): string | undefined {
  if (!isInt(q)) return "q must have a plain integer element type";
  if (!isFloat(scales)) return "the scales must have a float element type";
  if (!isInt(zeros) && !isFloat(zeros)) return "the zero points must be plain integers or floats";
  if (!axisIn(axis, q.shape.length)) return `axis ${axis} is not an axis of q`;
  if (!(block >= 1)) return `block must be 1 or more, is ${block}`;
  const want = q.shape.map((d, a) => (a === axis ? Math.ceil(d / block) : d));
  if (!sameShape(want, scales.shape)) return `the scales' shape must be [${want.join(", ")}]`;
  return sameShape(want, zeros.shape) ? undefined : `the zero points' shape must be [${want.join(", ")}]`;
}

const dequantizeBlocks = defineOp({
  name: "quant.dequantize_blocks",
  summary:
    "(q − z)·s, with one s and z per `block` elements along `axis`, of which the last block of a row may have fewer. Integer zero points are exact; others are subtracted first.",
  operands: ["q", "scales", "zeros"],
  attrs: {
    axis: required("int", "axis of the blocks"),
    block: required("int", "elements per block"),
  },
  traits: ["float"],
  infer: ([q, scales, zeros], attrs) => {
    const bad = badParameters(q!, scales!, zeros!, attrs.axis as number, attrs.block as number);
    return bad ?? [{ shape: q!.shape, elem: F32 }];
  },
  evaluate: ([q, scales, zeros], attrs, [type]) => {
    const at = blockIndex(q!.shape, attrs.axis as number, attrs.block as number);
    const out = new Float64Array(q!.data.length);
    for (let i = 0; i < out.length; i++) out[i] = (q!.data[i]! - zeros!.data[at(i)]!) * scales!.data[at(i)]!;
    return [floats(type!, out)];
  },
});

function productShape([x, q, scales, zeros]: readonly TensorType[], attrs: Attrs): number[] | string {
  if (!isFloat(x!)) return "x must have a float element type";
  if (q!.shape.length !== 2) return "q must be [N, K]";
  const bad = badParameters(q!, scales!, zeros!, 1, attrs.block as number);
  return bad ?? matmulShape(x!.shape, [q!.shape[1]!, q!.shape[0]!]);
}

const matmulBlocks = defineOp({
  name: "float.matmul_blocks",
  summary:
    "y[…, m, n] = Σ x[…, m, k] · w[n, k] with w[n, k] = (q[n, k] − z[n, b])·s[n, b] rounded to float32, b = ⌊k / block⌋.",
  operands: ["x", "q", "scales", "zeros"],
  attrs: { block: required("int", "elements of k per block") },
  traits: ["float"],
  infer: (types, attrs) => {
    const shape = productShape(types, attrs);
    return typeof shape === "string" ? shape : [{ shape, elem: types[0]!.elem }];
  },
  evaluate: ([x, q, scales, zeros], attrs, [type]) => {
    const [n, k] = q!.shape as [number, number];
    const at = blockIndex(q!.shape, 1, attrs.block as number);
    const w = new Float64Array(n * k);
    for (let i = 0; i < w.length; i++) {
      const [c, depth] = [Math.floor(i / k), i % k];
      const b = at(i);
      w[depth * n + c] = Math.fround(Math.fround(q!.data[i]! - zeros!.data[b]!) * scales!.data[b]!);
    }
    return [floats(type!, matmul(toFloat64(x!.data), x!.shape, w, [k, n], type!.shape))];
  },
});

const gatherBlocks = defineOp({
  name: "float.gather_blocks",
  summary:
    "y[i…, d] = (q[r, d] − z[r, b])·s[r, b] in float32, r = indices[i…], b = ⌊d / block⌋. Negative indices count from the end; one outside is the nearest row.",
  operands: ["indices", "q", "scales", "zeros"],
  attrs: { block: required("int", "elements of a row per block") },
  traits: ["float"],
  infer: ([indices, q, scales, zeros], attrs) => {
    if (!isInt(indices!)) return "the indices must have a plain integer element type";
    if (q!.shape.length !== 2) return "q must be [rows, columns]";
    const bad = badParameters(q!, scales!, zeros!, 1, attrs.block as number);
    return bad ?? [{ shape: [...indices!.shape, q!.shape[1]!], elem: F32 }];
  },
  evaluate: ([indices, q, scales, zeros], attrs, [type]) => {
    const [rows, columns] = q!.shape as [number, number];
    const at = blockIndex(q!.shape, 1, attrs.block as number);
    const out = new Float64Array(indices!.data.length * columns);
    indices!.data.forEach((index, i) => {
      const r = Math.min(Math.max(index < 0 ? index + rows : index, 0), rows - 1);
      for (let d = 0; d < columns; d++) {
        const [from, b] = [r * columns + d, at(r * columns + d)];
        out[i * columns + d] = Math.fround(Math.fround(q!.data[from]! - zeros!.data[b]!) * scales!.data[b]!);
      }
    });
    return [floats(type!, out)];
  },
});

export const quantBlockOps: readonly OpDef[] = [dequantizeBlocks, matmulBlocks, gatherBlocks];
