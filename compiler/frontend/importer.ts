/** One row of the import table: how nodes of one ONNX operator become ops of the graph IR. */

import type { NodeImport } from "./node-import.ts";
import type { AttributeValue } from "./onnx/model.ts";
import type { Operand } from "./operand.ts";

/** A quantized input and its parameters, as input indices; without a scale the integers stand for themselves. */
export interface QuantizedInput {
  readonly data: number;
  readonly scale?: number;
  readonly zeroPoint?: number;
}

export interface Importer {
  readonly op: string;
  /** Default: the standard domain. */
  readonly domains?: readonly string[];
  /** First operator set version this row is for; default 1. */
  readonly since?: number;
  /** Last operator set version this row is for; default: no end. */
  readonly until?: number;
  /** Least and greatest number of inputs; those up to the least must not be left out. */
  readonly inputs: readonly [number, number];
  /** Inputs before the last of the least that may be left out all the same. */
  readonly optional?: readonly number[];
  /** Attributes that may occur, with their kinds. Any other is an error: it could change the meaning. */
  readonly attributes?: { readonly [name: string]: AttributeValue["kind"] };
  /** The first input's elements are moved unread; the first output holds them. */
  readonly moves?: true;
  /** Quantized inputs whose parameters are beside them, of a node with so many inputs. */
  readonly quantized?: (inputs: number) => readonly QuantizedInput[];
  /** The operands of the node's outputs, in order; missing ones must not be used. */
  readonly run: (node: NodeImport) => readonly Operand[] | Operand;
}

export const VARIADIC = Number.POSITIVE_INFINITY;

/** Several operators with one import. */
export const forOps = (
  ops: readonly string[],
  row: (op: string) => Omit<Importer, "op">,
): readonly Importer[] => ops.map((op) => ({ op, ...row(op) }));
