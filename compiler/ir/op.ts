/** The op table's row type. One object per op drives verifier, parser, printer, builder, interpreter, docs and generators. */
import type { Attr, Attrs, Dense, Op, Value } from "./module.ts";
import type { TensorType } from "./types.ts";

/** Shape of an attribute, for the verifier, the docs and the random-program generator. */
export type AttrKind =
  | "bool"
  | "int"
  | "bigint"
  | "float"
  | "string"
  | "ints"
  | "floats"
  | "rational"
  | "rationals"
  /** One list of rationals per operand. */
  | "rationalLists"
  | "dense"
  /** A plain dictionary; its keys are the op's own contract, checked by `infer`. */
  | "dict"
  | "any"
  | { readonly oneOf: readonly string[] };

export interface AttrDef {
  readonly kind: AttrKind;
  readonly doc: string;
  /** Absent attributes take this value; without a default the attribute is required. */
  readonly default?: Attr;
}

/** Facts shared code may ask instead of an op's name. */
export type Trait =
  /** Result element i depends only on operand elements i (after broadcasting). */
  | "elementwise"
  /** Moves elements without reading their value; works for every element type. */
  | "movement"
  /** Operands may be swapped. */
  | "commutative"
  /** Non-decreasing in its one tensor operand. */
  | "monotone"
  /** Works on real numbers; must be gone after `integerize`. */
  | "float"
  /** An integer op with 32-bit accumulation. */
  | "accumulates"
  /** No operands; result given by attributes. */
  | "constant";

export interface OpDef {
  /** `dialect.name`. */
  readonly name: string;
  /** One sentence, and the formula. */
  readonly summary: string;
  /** Operand names in order; a trailing `…` marks a variadic tail. */
  readonly operands: readonly string[];
  readonly attrs: { readonly [name: string]: AttrDef };
  readonly traits: readonly Trait[];
  /** Result types from operand types and attributes, or a sentence that says what is wrong. Types that the op lets the author choose are passed in `declared`. */
  readonly infer: (
    operands: readonly TensorType[],
    attrs: Attrs,
    declared: readonly TensorType[] | undefined,
  ) => readonly TensorType[] | string;
  /**
   * The reference meaning: short, slow, obvious. Integers exact; floats in float64. A quantised operand comes as its
   * stored integers; its scheme is in `types`, the operands' declared types.
   */
  readonly evaluate: (
    operands: readonly Dense[],
    attrs: Attrs,
    results: readonly TensorType[],
    types: readonly TensorType[],
  ) => readonly Dense[];
}

export const defineOp = (def: OpDef): OpDef => def;

/** Attribute of an op, with the table's default applied by the builder; throws if absent, which is a bug in qc. */
export function attr<T extends Attr>(op: { readonly attrs: Attrs; readonly name?: string }, name: string): T {
  const v = op.attrs[name];
  if (v === undefined) throw new Error(`op ${op.name ?? ""} lacks attribute ${name}`);
  return v as T;
}

export type { Attrs, Op, Value };
