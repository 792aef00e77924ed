/**
 * Integers and truth values of the run that no quantizer has made. A dtype of at most 32 bits has its own IR type; int64 and
 * uint64 are carried in a type of at most 32 bits that holds every value they can have: the type of a graph input is checked
 * when the artifact runs, all others follow by interval arithmetic, and what may leave 32 bits is refused.
 */
import { allocate, storageOf } from "../ir/dense.ts";
import { beyondWords } from "../ir/messages-float.ts";
import type { Attrs, Value } from "../ir/module.ts";
import { TRUTH } from "../ir/ops/int-elementwise.ts";
import {
  type ElemType,
  I32,
  type IntType,
  int,
  intMax,
  intMin,
  intTypeFor,
  type TensorType,
  tensor,
} from "../ir/types.ts";
import { elementOf, isFloatDtype, isRuntimeDtype } from "./constants.ts";
import { append, materialize } from "./graph-import.ts";
import { type NodeImport, reject } from "./node-import.ts";
import type { DataType } from "./onnx/data-types.ts";
import { type Operand, valueOperand } from "./operand.ts";

/** dtypes that are wider than the IR's integers. */
export const isLong = (dtype: DataType): boolean => dtype === "int64" || dtype === "uint64";

/** Whether graph inputs may have the dtype. */
export const isPortDtype = (dtype: DataType): boolean =>
  isRuntimeDtype(dtype) || isLong(dtype) || dtype === "bool";

/** The IR type of a graph input. */
export const portElem = (dtype: DataType): ElemType =>
  dtype === "int64" ? I32 : dtype === "uint64" ? int(false, 31) : elementOf(dtype)!;

/** Whether the operand holds integers or truth values. */
export const isIntegers = (o: Operand): boolean => !isFloatDtype(o.dtype);

/** Whether a node has to compute on integers of the run. */
export const onIntegers = (operands: readonly Operand[]): boolean =>
  operands.some((o) => o.kind === "value") && operands.every(isIntegers);

export interface Interval {
  readonly lo: number;
  readonly hi: number;
}

/** What the elements of an operand can be. */
export function intervalOf(n: NodeImport, o: Operand): Interval {
  if (o.kind === "constant") {
    let lo = Number.POSITIVE_INFINITY;
    let hi = Number.NEGATIVE_INFINITY;
    for (const v of o.constant.dense.data) {
      if (v < lo) lo = v;
      if (v > hi) hi = v;
    }
    return { lo, hi };
  }
  const { elem } = o.value.type;
  if (elem.kind === "quant") return { lo: elem.lo, hi: elem.hi };
  if (elem.kind === "float") return reject(beyondWords(n.loc, o.name, o.dtype));
  return { lo: intMin(elem), hi: intMax(elem) };
}

/** The IR type of integers of a dtype that lie in an interval. */
export function typeOf(n: NodeImport, dtype: DataType, { lo, hi }: Interval): IntType {
  if (dtype === "bool") return TRUTH;
  const own = elementOf(dtype);
  if (own?.kind === "int") return own;
  if (dtype === "uint64" && lo < 0) return reject(beyondWords(n.loc, n.node.outputs[0] ?? "", dtype));
  const elem = intTypeFor(lo, hi);
  // Sign and width 32 do not mix with negative numbers.
  if (elem === undefined || (!elem.signed && elem.bits > 31))
    return reject(beyondWords(n.loc, n.node.outputs[0] ?? "", dtype));
  return elem;
}

/** The value of an operand of integers, in an integer type; constants in the narrowest. */
export function integers(n: NodeImport, o: Operand): Value {
  if (o.kind === "value") return o.value;
  const elem = typeOf(n, o.dtype, intervalOf(n, o));
  return constant(n, o, elem);
}

/** A constant of a dtype the IR lacks, as a `const` op. */
export function constant(n: NodeImport, o: Operand & { readonly kind: "constant" }, elem: IntType): Value {
  const { dense } = o.constant;
  const data = allocate(elem, dense.data.length);
  data.set(dense.data);
  return append(n, "const", [o], [], { value: { kind: "dense", elem, shape: dense.shape, data } });
}

/** Appends an op on integers; `interval` bounds its exact results. */
export function onPlain(
  n: NodeImport,
  name: string,
  operands: readonly Operand[],
  attrs: Attrs,
  dtype: DataType,
  interval: Interval,
): Operand {
  const values = aligned(
    n,
    operands.map((o) => integers(n, o)),
  );
  const elem = typeOf(n, dtype, interval);
  return valueOperand(append(n, name, operands, values, attrs, tensor([], elem) as TensorType), dtype);
}

/** Words without a sign beside signed ones: the narrower are read as words. */
function aligned(n: NodeImport, values: readonly Value[]): readonly Value[] {
  const word = values.some((v) => isWord(v));
  return values.map((v) => (word && !isWord(v) ? cast(n, v, int(false, 32)) : v));
}

const isWord = ({ type }: Value): boolean => {
  const e = storageOf(type.elem);
  return e.kind === "int" && !e.signed && e.bits === 32;
};

export const cast = (n: NodeImport, v: Value, elem: IntType): Value =>
  append(n, "int.cast", [], [v], {}, tensor(v.type.shape, elem));

/** The operand as any value: real numbers as they are, integers in an integer type. */
export const anyValue = (n: NodeImport, o: Operand): Value =>
  isIntegers(o) ? integers(n, o) : materialize(n, o);
