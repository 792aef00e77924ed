/** How a per-axis quantised type follows a movement of its axes. */
import {
  type ElemType,
  intMax,
  intMin,
  intTypeFor,
  type QuantType,
  type Scheme,
  sameElem,
} from "../types.ts";

/** Where the quantisation axis went, and which of its indices are taken, in order (all if absent). */
export interface Followed {
  readonly axis: number;
  readonly pick?: readonly number[];
}

/** The element type after a movement; a sentence when the axis cannot follow. Other types are unchanged. */
export function followAxis(elem: ElemType, follow: (axis: number) => Followed | string): ElemType | string {
  if (elem.kind !== "quant" || elem.scheme.kind !== "axis") return elem;
  const to = follow(elem.scheme.axis);
  if (typeof to === "string") return to;
  const { scales, zeroPoints } = elem.scheme;
  const pick = (list: readonly number[]): readonly number[] => to.pick?.map((i) => list[i]!) ?? list;
  return {
    ...elem,
    scheme: { kind: "axis", axis: to.axis, scales: pick(scales), zeroPoints: pick(zeroPoints) },
  };
}

/**
 * The element type of a concatenation along `axis`, wide enough for numbers of different widths; a sentence if other
 * types differ.
 */
export function joinElems(elems: readonly ElemType[], axis: number): ElemType | string {
  const first = elems[0]!;
  if (first.kind === "quant" && first.scheme.kind === "axis" && first.scheme.axis === axis) {
    const scheme = joinSchemes(elems, first, axis);
    return typeof scheme === "string" ? scheme : { ...first, scheme };
  }
  if (elems.every((e) => sameElem(e, first))) return first;
  const floats = elems.flatMap((e) => (e.kind === "float" ? [e] : []));
  if (floats.length === elems.length) return floats.reduce((a, b) => (a.bits >= b.bits ? a : b));
  const ints = elems.flatMap((e) => (e.kind === "int" ? [e] : []));
  const wide =
    ints.length === elems.length
      ? intTypeFor(Math.min(...ints.map(intMin)), Math.max(...ints.map(intMax)))
      : undefined;
  return wide ?? "the operands' element types differ";
}

function joinSchemes(elems: readonly ElemType[], first: QuantType, axis: number): Scheme | string {
  const scales: number[] = [];
  const zeroPoints: number[] = [];
  for (const e of elems) {
    if (
      e.kind !== "quant" ||
      e.scheme.kind !== "axis" ||
      e.scheme.axis !== axis ||
      !sameElem({ ...e, scheme: first.scheme }, first)
    )
      return "the operands' element types differ";
    scales.push(...e.scheme.scales);
    zeroPoints.push(...e.scheme.zeroPoints);
  }
  return { kind: "axis", axis, scales, zeroPoints };
}
