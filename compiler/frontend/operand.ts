/** What an ONNX tensor name stands for during import. */
import type { Value } from "../ir/module.ts";
import type { Constant } from "./constants.ts";
import type { DataType } from "./onnx/data-types.ts";

/** Known at compile time; becomes a `const` op only when an op of the graph needs it. */
export interface ConstantOperand {
  readonly kind: "constant";
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly constant: Constant;
}

/** Computed at run time. */
export interface ValueOperand {
  readonly kind: "value";
  readonly name: string;
  /** The type ONNX gives it; the IR type is in `value`. */
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly value: Value;
}

export type Operand = ConstantOperand | ValueOperand;

export const constantOperand = (constant: Constant, name = ""): ConstantOperand => ({
  kind: "constant",
  name,
  dtype: constant.dtype,
  shape: constant.dense.shape,
  constant,
});

export const valueOperand = (value: Value, dtype: DataType, name = value.name): ValueOperand => ({
  kind: "value",
  name,
  dtype,
  shape: value.type.shape,
  value,
});

/** The operand under an ONNX name. */
export const named = <T extends Operand>(operand: T, name: string): T => ({ ...operand, name });
