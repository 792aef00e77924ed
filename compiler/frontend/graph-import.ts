/** The function under construction: adds ops with inferred types, folds what is constant, keeps findings. */

import { withDefaults } from "../ir/builder.ts";
import { type Loc, quote } from "../ir/diagnostics.ts";
import {
  badOperands,
  emptyDimension,
  integerArithmetic,
  tensorTooLarge,
  unsupportedType,
} from "../ir/messages.ts";
import type { Attrs, Dense, Elements, Op, Value } from "../ir/module.ts";
import { opDef } from "../ir/ops/index.ts";
import { F64, I32, type QuantType, sizeOf, type TensorType, tensor } from "../ir/types.ts";
import { asFloat64, type Constant, isFloatDtype, isRuntimeDtype, roundTo } from "./constants.ts";
import type { GraphImport } from "./import-state.ts";
import { type NodeImport, reject } from "./node-import.ts";
import type { DataType } from "./onnx/data-types.ts";
import { constantOperand, type Operand, valueOperand } from "./operand.ts";

/** Bounds on what a hostile file can ask for. */
export const LIMITS = {
  rank: 32,
  axis: 2 ** 24,
  elements: 2 ** 28,
  folded: 2 ** 24,
  moved: 2 ** 26,
  foldedInAll: 2 ** 28,
};

const shapeText = (shape: readonly number[]): string => `[${shape.join(", ")}]`;
const describe = (o: Operand): string => `${quote(o.name)}: ${o.dtype}${shapeText(o.shape)}`;

/** Rejects shapes beyond the limits. */
export function checkShape(loc: Loc, name: string, shape: readonly number[]): void {
  if (shape.length > LIMITS.rank)
    reject(tensorTooLarge(loc, name, shape.slice(0, LIMITS.rank), `${LIMITS.rank} axes`));
  if (shape.some((d) => d > LIMITS.axis))
    reject(tensorTooLarge(loc, name, shape, `${LIMITS.axis} elements in one axis`));
  if (sizeOf(shape) > LIMITS.elements)
    reject(tensorTooLarge(loc, name, shape, `${LIMITS.elements} elements`));
}

function infer(
  n: NodeImport,
  name: string,
  types: readonly TensorType[],
  attrs: Attrs,
  declared: readonly TensorType[] | undefined,
  operands: readonly Operand[],
): TensorType {
  const inferred = opDef(name).infer(types, attrs, declared);
  if (typeof inferred === "string") return reject(badOperands(n.loc, inferred, operands.map(describe)));
  const type = inferred[0]!;
  checkShape(n.loc, n.node.outputs[0] ?? "", type.shape);
  return type;
}

/** Appends an op that has one result. */
export function append(
  n: NodeImport,
  name: string,
  operands: readonly Operand[],
  values: readonly Value[],
  attrs: Attrs,
  declared?: TensorType,
): Value {
  const { graph } = n;
  const full = withDefaults(opDef(name), attrs);
  const types = values.map((v) => v.type);
  const type = infer(n, name, types, full, declared && [declared], operands);
  if (sizeOf(type.shape) === 0) reject(emptyDimension(n.node.outputs[0] ?? "", type.shape));
  const result: Value = { name: "", type };
  const op: Op = { name, operands: values, attrs: full, results: [result], loc: n.loc };
  graph.ops.push(op);
  graph.definitions.set(result, op);
  return result;
}

/** The value of an operand. Constants become `const` ops; a constant of a quantised type needs `quant`. */
export function materialize(n: NodeImport, operand: Operand, quant?: QuantType): Value {
  if (operand.kind === "value") return operand.value;
  const { constant } = operand;
  const word = wordConstant(constant);
  if (word !== undefined) return materialize(n, { ...operand, constant: word }, quant);
  if (!isRuntimeDtype(constant.dtype))
    return reject(unsupportedType(n.loc, operand.name, constant.dtype, "the constant operand"));
  const known = quant === undefined ? n.graph.constants.get(constant) : undefined;
  if (known !== undefined) return known;
  const declared = quant && tensor(operand.shape, quant);
  const made = append(n, "const", [operand], [], { value: constant.dense }, declared);
  if (operand.name !== "") n.graph.names.set(made, operand.name);
  if (quant === undefined) n.graph.constants.set(constant, made);
  return made;
}

/** Truth values, and 64-bit integers that fit into 32 bits, in a type of the IR. */
function wordConstant({ dtype, dense }: Constant): Constant | undefined {
  const long = dtype === "int64" || dtype === "uint64";
  if (dtype !== "bool" && !long) return undefined;
  if (long && !dense.data.every((v) => v >= -(2 ** 31) && v < 2 ** 31)) return undefined;
  const elem = long ? I32 : dense.elem;
  const data = long ? Int32Array.from(dense.data) : dense.data;
  return { dtype: long ? "int32" : "uint8", dense: { kind: "dense", elem, shape: dense.shape, data } };
}

function mayFold(graph: GraphImport, size: number, limit: number): boolean {
  if (size > limit || graph.folded + size > LIMITS.foldedInAll) return false;
  graph.folded += size;
  return true;
}

const constantsOf = (operands: readonly Operand[]): readonly Constant[] | undefined => {
  const out: Constant[] = [];
  for (const o of operands) {
    if (o.kind !== "constant") return undefined;
    out.push(o.constant);
  }
  return out;
};

/** The quantised type among the operands, which plain integer constants beside it take on. */
const quantAmong = (operands: readonly Operand[]): QuantType | undefined => {
  for (const o of operands)
    if (o.kind === "value" && o.value.type.elem.kind === "quant") return o.value.type.elem;
  return undefined;
};

/** A `layout` op. Moves constants at once, exactly, and keeps their quantisation bounds. */
export function move(n: NodeImport, name: string, operands: readonly Operand[], attrs: Attrs): Operand {
  const full = withDefaults(opDef(name), attrs);
  const [first] = operands;
  const constants = constantsOf(operands);
  if (constants !== undefined) {
    const types = constants.map((c) => tensor(c.dense.shape, c.dense.elem));
    const type = infer(n, name, types, full, undefined, operands);
    if (name === "layout.reshape" || mayFold(n.graph, sizeOf(type.shape), LIMITS.moved)) {
      const [dense] = opDef(name).evaluate(
        constants.map((c) => c.dense),
        full,
        [type],
        types,
      );
      // A pad adds elements that the Clip has not seen.
      const range = name === "layout.pad" ? undefined : commonRange(constants);
      return constantOperand(
        range === undefined
          ? { dtype: first!.dtype, dense: dense! }
          : { dtype: first!.dtype, dense: dense!, range },
      );
    }
  }
  const weights = moveConstant(n, name, operands, full);
  if (weights !== undefined) return weights;
  const quant = quantAmong(operands);
  const values = operands.map((o) => materialize(n, o, quant));
  return valueOperand(append(n, name, operands, values, full), first!.dtype);
}

/**
 * move(dequantize(const)) = dequantize(move(const)): weights and biases reach their users as constants. Undefined where
 * the operand is something else, or its quantisation axis cannot follow.
 */
function moveConstant(
  n: NodeImport,
  name: string,
  operands: readonly Operand[],
  attrs: Attrs,
): Operand | undefined {
  const [x] = operands;
  if (operands.length !== 1 || x?.kind !== "value") return undefined;
  const { definitions } = n.graph;
  const dequantize = definitions.get(x.value);
  if (dequantize?.name !== "quant.dequantize") return undefined;
  const stored = dequantize.operands[0]!;
  const made = definitions.get(stored);
  if (made?.name !== "const" || name === "layout.pad") return undefined;
  const inferred = opDef(name).infer([stored.type], attrs, undefined);
  if (typeof inferred === "string") return undefined;
  const type = inferred[0]!;
  if (name !== "layout.reshape" && !mayFold(n.graph, sizeOf(type.shape), LIMITS.moved)) return undefined;
  const [dense] = opDef(name).evaluate([made.attrs.value as Dense], attrs, [type], [stored.type]);
  const constant = append(n, "const", operands, [], { value: { ...dense!, shape: type.shape } }, type);
  return valueOperand(append(n, "quant.dequantize", operands, [constant], {}), x.dtype);
}

function commonRange(constants: readonly Constant[]): Constant["range"] {
  const [first] = constants;
  const same = constants.every((c) => c.range?.lo === first?.range?.lo && c.range?.hi === first?.range?.hi);
  return same ? first?.range : undefined;
}

/** Values of operands that must be real numbers: integers need a DequantizeLinear first. */
function realValues(n: NodeImport, operands: readonly Operand[]): readonly Value[] {
  for (const o of operands) if (!isFloatDtype(o.dtype)) reject(integerArithmetic(n.loc, o.name, o.dtype));
  return operands.map((o) => materialize(n, o));
}

/** A `float` op that is never folded: its exact meaning is better than its float32 value. */
export function real(n: NodeImport, name: string, operands: readonly Operand[], attrs: Attrs = {}): Operand {
  const values = realValues(n, operands);
  return valueOperand(append(n, name, operands, values, attrs), operands[0]!.dtype);
}

/**
 * An elementwise `float` op. Constants are folded as the runtime that trained or quantized the model has it: computed
 * and rounded to the operands' type, op by op. On integer constants the op is computed exactly and truncated.
 */
export function elementwise(
  n: NodeImport,
  name: string,
  operands: readonly Operand[],
  attrs: Attrs = {},
  dtype: DataType = operands[0]!.dtype,
): Operand {
  const full = withDefaults(opDef(name), attrs);
  const constants = constantsOf(operands);
  if (constants !== undefined) {
    const folded = foldElementwise(n, name, operands, constants, full);
    if (folded !== undefined) {
      const finite = constants.every((c) => c.dense.data.every(Number.isFinite));
      if (
        !isFloatDtype(dtype) &&
        !folded.values.every((v) => Number.isFinite(v) || (!finite && !Number.isNaN(v)))
      )
        reject(badOperands(n.loc, "the result is not an integer", operands.map(describe)));
      return constantOperand(roundTo(dtype, folded.shape, folded.values));
    }
  }
  return real(n, name, operands, full);
}

/** Float64 results of an elementwise op on constants, unrounded; undefined if they are too many. */
export function foldElementwise(
  n: NodeImport,
  name: string,
  operands: readonly Operand[],
  constants: readonly Constant[],
  attrs: Attrs,
): { readonly shape: readonly number[]; readonly values: Elements } | undefined {
  const inputs = constants.map(asFloat64);
  const types = inputs.map((d) => tensor(d.shape, F64));
  const type = infer(n, name, types, attrs, undefined, operands);
  if (!mayFold(n.graph, sizeOf(type.shape), LIMITS.folded)) return undefined;
  const [out] = opDef(name).evaluate(inputs, attrs, [type], types);
  return { shape: type.shape, values: out!.data };
}

/** An f64 constant of the IR, for numbers the frontend computes; `shape` row-major. */
export const realConstant = (shape: readonly number[], values: readonly number[] | Float64Array): Operand =>
  constantOperand({
    dtype: "float64",
    dense: { kind: "dense", elem: F64, shape, data: Float64Array.from(values) },
  });

/**
 * `x`, an inner tensor of a node that stands for many ops, under a name that `--quant` and calibration can say: that of the
 * node's first result, then `/role`.
 */
export function named(n: NodeImport, x: Operand, role: string): Operand {
  const name = `${n.node.outputs[0] ?? ""}/${role}`;
  if (x.kind === "constant") return x.name === "" ? { ...x, name } : x;
  if (!n.graph.names.has(x.value)) n.graph.names.set(x.value, name);
  return x;
}

export const reshape = (n: NodeImport, x: Operand, shape: readonly number[]): Operand =>
  x.shape.length === shape.length && x.shape.every((d, i) => d === shape[i])
    ? x
    : move(n, "layout.reshape", [x], { shape });

export const transpose = (n: NodeImport, x: Operand, perm: readonly number[]): Operand =>
  perm.every((p, i) => p === i) ? x : move(n, "layout.transpose", [x], { perm });
