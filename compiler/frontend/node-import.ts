/** What an importer sees of its node, and how it adds ops. */
import type { Diagnostic, Loc } from "../ir/diagnostics.ts";
import {
  axisOutOfRange,
  badAttributeValue,
  badOperandValue,
  missingAttribute,
  missingInput,
  mustBeConstant,
} from "../ir/messages.ts";
import type { Dense } from "../ir/module.ts";
import { type Constant, isFloatDtype } from "./constants.ts";
import type { GraphImport } from "./import-state.ts";
import type { OnnxNode, OnnxTensor } from "./onnx/model.ts";
import type { Operand } from "./operand.ts";

/** Leaves an importer; caught where nodes are imported, so that the rest of the graph is still examined. */
export interface Rejection {
  readonly rejection: Diagnostic;
}

export const isRejection = (error: unknown): error is Rejection =>
  typeof error === "object" && error !== null && "rejection" in error;

export const reject = (diagnostic: Diagnostic): never => {
  throw { rejection: diagnostic } satisfies Rejection;
};

/** A node whose operator, version, attribute kinds and input count have been checked. */
export interface NodeImport {
  readonly node: OnnxNode;
  readonly loc: Loc;
  readonly opset: number;
  /** Undefined where an optional input was left out. */
  readonly inputs: readonly (Operand | undefined)[];
  readonly graph: GraphImport;
}

/** Input `i`, which must be there. */
export const input = (n: NodeImport, i: number): Operand => n.inputs[i] ?? reject(missingInput(n.loc, i));

/** All inputs of an operator that takes any number. */
export const allInputs = (n: NodeImport): readonly Operand[] => n.inputs.map((_, i) => input(n, i));

// The attribute readers rely on the kinds having been checked against the import table.

const exact = (v: number | bigint): number =>
  typeof v === "number" ? v : v < 0n ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;

export function intAttr(n: NodeImport, name: string, fallback?: number): number {
  const a = n.node.attributes.get(name);
  if (a?.kind === "int") return exact(a.value);
  return fallback ?? reject(missingAttribute(n.loc, name));
}

/** 0 is false, 1 is true. */
export function flagAttr(n: NodeImport, name: string, fallback?: boolean): boolean {
  const v = intAttr(n, name, fallback === undefined ? undefined : fallback ? 1 : 0);
  if (v !== 0 && v !== 1) reject(badAttributeValue(n.loc, name, `must be 0 or 1, is ${v}`));
  return v === 1;
}

export function intsAttr(n: NodeImport, name: string): readonly number[] | undefined {
  const a = n.node.attributes.get(name);
  return a?.kind === "ints" ? a.value.map(exact) : undefined;
}

export function floatAttr(n: NodeImport, name: string, fallback?: number): number {
  const a = n.node.attributes.get(name);
  if (a?.kind === "float") {
    if (Number.isNaN(a.value)) reject(badAttributeValue(n.loc, name, "is not a number"));
    return a.value;
  }
  return fallback ?? reject(missingAttribute(n.loc, name));
}

export function stringAttr(n: NodeImport, name: string, fallback?: string): string {
  const a = n.node.attributes.get(name);
  if (a?.kind === "string") return a.value;
  return fallback ?? reject(missingAttribute(n.loc, name));
}

export function tensorAttr(n: NodeImport, name: string): OnnxTensor | undefined {
  const a = n.node.attributes.get(name);
  return a?.kind === "tensor" ? a.value : undefined;
}

/** An axis counted from the front; −rank ≤ axis < rank. */
export function axisOf(n: NodeImport, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) reject(axisOutOfRange(n.loc, axis, rank));
  return axis < 0 ? axis + rank : axis;
}

/** Distinct axes counted from the front, in the given order. */
export function axesOf(n: NodeImport, axes: readonly number[], rank: number): readonly number[] {
  const out = axes.map((a) => axisOf(n, a, rank));
  if (new Set(out).size !== out.length)
    reject(badAttributeValue(n.loc, "axes", `names an axis twice: [${axes.join(", ")}]`));
  return out;
}

/** The operand as a constant; `role` says what it is for, in an error. */
export function constantOf(n: NodeImport, operand: Operand, role: string): Constant {
  return operand.kind === "constant" ? operand.constant : reject(mustBeConstant(n.loc, role, operand.name));
}

/** The integers of a constant operand of an integer type, flattened. ±∞ stands for what lies beyond ±2^53. */
export function constantInts(n: NodeImport, operand: Operand, role: string): readonly number[] {
  const { dtype, dense } = constantOf(n, operand, role);
  if (isFloatDtype(dtype))
    reject(badOperandValue(n.loc, operand.name, `(${role}) must have an integer type, has ${dtype}`));
  if (dense.data.length > 65536)
    reject(badOperandValue(n.loc, operand.name, `(${role}) has ${dense.data.length} elements`));
  return Array.from(dense.data);
}

/** The numbers of a constant operand, which may come through a DequantizeLinear, flattened. */
export const constantNumbers = (n: NodeImport, operand: Operand, role: string): ArrayLike<number> =>
  dequantizedNumbers(n, operand) ?? constantOf(n, operand, role).dense.data;

/** The one number of such an operand. */
export function constantScalar(n: NodeImport, operand: Operand, role: string): number {
  const data = constantNumbers(n, operand, role);
  if (data.length !== 1)
    reject(badOperandValue(n.loc, operand.name, `(${role}) must have one element, has ${data.length}`));
  return data[0]!;
}

/** (q − z)·s of dequantize(const): exact, as q − z and s have 24 bits or fewer. */
function dequantizedNumbers(n: NodeImport, operand: Operand): Float64Array | undefined {
  if (operand.kind !== "value") return undefined;
  const op = n.graph.definitions.get(operand.value);
  const stored = op?.name === "quant.dequantize" ? op.operands[0]! : undefined;
  const made = stored && n.graph.definitions.get(stored);
  const elem = stored?.type.elem;
  if (made?.name !== "const" || elem?.kind !== "quant" || elem.storage.bits > 16) return undefined;
  const { data, shape } = made.attrs.value as Dense;
  const { scheme } = elem;
  if (scheme.kind === "tensor") return Float64Array.from(data, (q) => (q - scheme.zeroPoint) * scheme.scale);
  const inner = shape.slice(scheme.axis + 1).reduce((a, b) => a * b, 1);
  return Float64Array.from(data, (q, i) => {
    const channel = Math.floor(i / inner) % shape[scheme.axis]!;
    return (q - scheme.zeroPoints[channel]!) * scheme.scales[channel]!;
  });
}

/** A list of axes or sizes given by an attribute (older operator sets) or by a constant input. */
export function intsFrom(n: NodeImport, name: string, index: number): readonly number[] | undefined {
  const operand = n.inputs[index];
  return operand === undefined ? intsAttr(n, name) : constantInts(n, operand, name);
}
