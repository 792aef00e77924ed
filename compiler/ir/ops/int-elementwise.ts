/**
 * Elementwise ops on plain integers that no quantizer has made: comparisons, truth values (`u1`), indices. Results wrap modulo
 * 2^bits of their type; where they must not, the author chooses a type that holds them all.
 */
import { storageOf, toFloat64 } from "../dense.ts";
import { type AttrDef, defineOp, type OpDef } from "../op.ts";
import { type IntType, int, type TensorType } from "../types.ts";
import { broadcastShapes, broadcastTo } from "./axes.ts";
import { allOf, chosenInt, floats, required, storeInts } from "./define.ts";

/** A truth value. */
export const TRUTH = int(false, 1);

/** `x` modulo 2^bits, in the type's range. Exact for |x| < 2^53. */
export function wrapTo(type: IntType, x: number): number {
  const size = 2 ** type.bits;
  const rest = x - size * Math.floor(x / size);
  return type.signed && rest >= size / 2 ? rest - size : rest;
}

const intElem = (t: TensorType): IntType => {
  const e = storageOf(t.elem);
  if (e.kind !== "int") throw new Error("an integer tensor is expected");
  return e;
};

/** Plain integers, or the stored ones of a quantised type. */
const integersFault = (types: readonly TensorType[]): string | undefined =>
  types.some((t) => t.elem.kind === "float") ? "the operands must have integer element types" : undefined;

const sameIntegers = (types: readonly TensorType[]): string | undefined =>
  integersFault(types) ??
  (types.some((t) => intElem(t).signed !== intElem(types[0]!).signed && intElem(t).bits === 32)
    ? "32-bit operands must be alike in sign"
    : undefined);

type Binary = (a: number, b: number) => number;

/** Euclid's quotient toward zero; by 0 it is 0. */
const quotient: Binary = (a, b) => (b === 0 ? 0 : Math.trunc(a / b));
/** a − b·⌊a / b⌋; by 0 it is 0. */
const floorMod: Binary = (a, b) => (b === 0 ? 0 : a - b * Math.floor(a / b));
const remainder: Binary = (a, b) => (b === 0 ? 0 : a % b);
const shifted = (left: boolean): Binary =>
  left
    ? (a, b) => (b < 0 || b > 31 ? 0 : wrapTo(int(false, 32), a << b))
    : (a, b) => (b < 0 || b > 31 ? (a < 0 ? -1 : 0) : a < 2 ** 31 ? a >> b : a >>> b);

/** Ops of two integer operands with broadcasting. */
export const INT_BINARY: { readonly [name: string]: readonly [summary: string, f: Binary] } = {
  "int.add": ["a + b.", (a, b) => a + b],
  "int.sub": ["a − b.", (a, b) => a - b],
  "int.mul": ["a · b.", (a, b) => (Math.abs(a * b) < 2 ** 53 ? a * b : Math.imul(a, b))],
  "int.div": ["a / b toward zero; 0 where b = 0.", quotient],
  "int.floor_mod": ["a − b·⌊a / b⌋; 0 where b = 0.", floorMod],
  "int.remainder": ["a − b·trunc(a / b); 0 where b = 0.", remainder],
  "int.min": ["The lesser of a and b.", Math.min],
  "int.max": ["The greater of a and b.", Math.max],
  "int.and": ["Bitwise a ∧ b.", (a, b) => a & b],
  "int.or": ["Bitwise a ∨ b.", (a, b) => a | b],
  "int.xor": ["Bitwise a ⊕ b.", (a, b) => a ^ b],
  "int.shift_left": ["a · 2^b; 0 where b > 31.", shifted(true)],
  "int.shift_right": ["⌊a / 2^b⌋, b > 31 as if endless.", shifted(false)],
};

const binary = ([name, [summary, f]]: [string, (typeof INT_BINARY)[string]]): OpDef =>
  defineOp({
    name,
    summary: `${summary} Modulo 2^bits of the result's type, by default that of a. Numpy broadcasting.`,
    operands: ["a", "b"],
    attrs: {},
    traits: ["elementwise"],
    infer: (types, _, declared) => {
      const bad = sameIntegers(types);
      if (bad) return bad;
      const shape = broadcastShapes(types[0]!.shape, types[1]!.shape);
      return shape ? chosenInt(shape, declared, intElem(types[0]!)) : "the operands' shapes do not broadcast";
    },
    evaluate: ([a, b], _, [type]) => {
      const x = broadcastTo(a!, type!.shape);
      const y = broadcastTo(b!, type!.shape);
      const elem = intElem(type!);
      return [
        storeInts(
          Float64Array.from(x, (v, i) => wrapTo(elem, f(v, y[i]!))),
          type!,
        ),
      ];
    },
  });

const cast = defineOp({
  name: "int.cast",
  summary: "x modulo 2^bits of the result's type.",
  operands: ["x"],
  attrs: {},
  traits: ["elementwise"],
  infer: ([x], _, declared) => integersFault([x!]) ?? chosenInt(x!.shape, declared, intElem(x!)),
  evaluate: ([x], _, [type]) => [
    storeInts(
      Float64Array.from(x!.data, (v) => wrapTo(intElem(type!), v)),
      type!,
    ),
  ],
});

export const RELATIONS = ["equal", "less", "less_equal"] as const;
export type Relation = (typeof RELATIONS)[number];
const relation: { readonly [name: string]: AttrDef } = {
  relation: required({ oneOf: RELATIONS }, "what a must be to b"),
};
const HOLDS: { readonly [r in Relation]: (a: number, b: number) => boolean } = {
  equal: (a, b) => a === b,
  less: (a, b) => a < b,
  less_equal: (a, b) => a <= b,
};

const compare = (kind: "int" | "float"): OpDef =>
  defineOp({
    name: `${kind}.compare`,
    summary: `1 where a is in the relation to b, else 0${kind === "float" ? "; NaN is in none" : ""}. Numpy broadcasting.`,
    operands: ["a", "b"],
    attrs: relation,
    traits: kind === "float" ? ["elementwise", "float"] : ["elementwise"],
    infer: (types) => {
      const bad = kind === "float" ? allOf("float", types) : sameIntegers(types);
      if (bad) return bad;
      const shape = broadcastShapes(types[0]!.shape, types[1]!.shape);
      return shape ? [{ shape, elem: TRUTH }] : "the operands' shapes do not broadcast";
    },
    evaluate: ([a, b], attrs, [type]) => {
      const holds = HOLDS[attrs.relation as Relation];
      const [x, y] = [broadcastTo(a!, type!.shape), broadcastTo(b!, type!.shape)];
      return [
        storeInts(
          Float64Array.from(x, (v, i) => (holds(v, y[i]!) ? 1 : 0)),
          type!,
        ),
      ];
    },
  });

const whereShape = (types: readonly TensorType[]): readonly number[] | string => {
  if (types[0]!.elem.kind === "float") return "operand 0 must have an integer element type";
  return broadcastShapes(...types.map((t) => t.shape)) ?? "the operands' shapes do not broadcast";
};

const intWhere = defineOp({
  name: "int.where",
  summary: "a where the condition is not 0, else b. Numpy broadcasting.",
  operands: ["condition", "a", "b"],
  attrs: {},
  traits: ["elementwise"],
  infer: (types, _, declared) => {
    const shape = whereShape(types);
    const bad = typeof shape === "string" ? shape : sameIntegers(types.slice(1));
    return bad ?? chosenInt(shape as readonly number[], declared, intElem(types[1]!));
  },
  evaluate: (operands, _, [type]) => {
    const [c, a, b] = operands.map((d) => broadcastTo(d, type!.shape));
    const elem = intElem(type!);
    return [
      storeInts(
        Float64Array.from(c!, (v, i) => wrapTo(elem, v !== 0 ? a![i]! : b![i]!)),
        type!,
      ),
    ];
  },
});

const floatWhere = defineOp({
  name: "float.where",
  summary: "a where the condition is not 0, else b. Numpy broadcasting.",
  operands: ["condition", "a", "b"],
  attrs: {},
  traits: ["elementwise", "float"],
  infer: (types) => {
    const shape = whereShape(types);
    if (typeof shape === "string") return shape;
    const [, a, b] = types as [TensorType, TensorType, TensorType];
    const bad = allOf("float", [a, b]);
    if (bad) return bad;
    return a.elem.kind === "float" && b.elem.kind === "float" && a.elem.bits < b.elem.bits
      ? [{ shape, elem: b.elem }]
      : [{ shape, elem: a.elem }];
  },
  evaluate: (operands, _, [type]) => {
    const [c, a, b] = operands.map((d) => toFloat64(broadcastTo(d, type!.shape)));
    return [
      floats(
        type!,
        c!.map((v, i) => (v !== 0 ? a![i]! : b![i]!)),
      ),
    ];
  },
});

export const intElementwiseOps: readonly OpDef[] = [
  ...Object.entries(INT_BINARY).map(binary),
  cast,
  compare("int"),
  compare("float"),
  intWhere,
  floatWhere,
];
