/** Shorthands for writing op definitions. */
import { allocate, storageOf } from "../dense.ts";
import type { Attr, Dense } from "../module.ts";
import type { AttrDef, AttrKind } from "../op.ts";
import { type ElemType, intMax, intMin, type TensorType } from "../types.ts";

/** A required attribute. */
export const required = (kind: AttrKind, doc: string): AttrDef => ({ kind, doc });
/** An attribute with a default. */
export const optional = (kind: AttrKind, doc: string, def: Attr): AttrDef => ({ kind, doc, default: def });

export const isFloat = (t: TensorType): boolean => t.elem.kind === "float";
export const isInt = (t: TensorType): boolean => t.elem.kind === "int";
export const isQuant = (t: TensorType): boolean => t.elem.kind === "quant";

/** A sentence if any operand is not of the wanted kind. */
export function allOf(kind: ElemType["kind"], operands: readonly TensorType[]): string | undefined {
  const bad = operands.findIndex((t) => t.elem.kind !== kind);
  return bad < 0 ? undefined : `operand ${bad} must have a ${names[kind]} element type`;
}
const names = { int: "plain integer", float: "float", quant: "quantised" } as const;

/** Float results: the widest operand type. */
export function floatOf(operands: readonly TensorType[]): ElemType {
  let best = operands[0]!.elem;
  for (const { elem } of operands)
    if (elem.kind === "float" && best.kind === "float" && elem.bits > best.bits) best = elem;
  return best;
}

/** The integer result type an op lets its author choose: the declared one, or `fallback`. A sentence if it is no integer. */
export function chosenInt(
  shape: readonly number[],
  declared: readonly TensorType[] | undefined,
  fallback: ElemType,
): readonly TensorType[] | string {
  const elem = declared?.[0]?.elem ?? fallback;
  return elem.kind === "int" ? [{ shape, elem }] : "the result must have a plain integer element type";
}

/**
 * Stores exact integers under their declared type. A value outside it means that a proof in the compiler is wrong:
 * throws with the value and the type.
 */
export function storeInts(values: ArrayLike<number>, type: TensorType): Dense {
  const elem = storageOf(type.elem);
  const data = allocate(elem, values.length);
  if (elem.kind === "int") {
    const lo = intMin(elem);
    const hi = intMax(elem);
    for (let i = 0; i < values.length; i++) {
      const v = values[i]!;
      if (!(v >= lo && v <= hi))
        throw new RangeError(`${v} at element ${i} is outside ${elem.signed ? "i" : "u"}${elem.bits}`);
    }
  }
  data.set(values);
  return { kind: "dense", elem, shape: type.shape, data };
}

/** Wraps float64 results. */
export const floats = (type: TensorType, data: Float64Array): Dense => ({
  kind: "dense",
  elem: storageOf(type.elem),
  shape: type.shape,
  data,
});

export const ints = (a: Attr | undefined): readonly number[] => a as readonly number[];
