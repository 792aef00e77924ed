/** What the lifting rules share: emission into the new function, representations by old value, and findings. */
import type { Diagnostic, Loc } from "../../ir/diagnostics.ts";
import type { Attrs, Func, Op, Port, Value } from "../../ir/module.ts";
import type { TensorType } from "../../ir/types.ts";
import type { Rep } from "./rep.ts";

export interface Context {
  readonly source: Func;
  /** Appends an integer op; returns its one result. `type` is needed where the op lets its author choose. */
  readonly emit: (
    name: string,
    operands: readonly Value[],
    attrs: Attrs,
    options?: { type?: TensorType; hint?: string; loc?: Loc },
  ) => Value;
  /** A new integer param for a float graph input under a quantizer. */
  readonly param: (port: Port) => void;
  readonly rep: (v: Value) => Rep;
  readonly report: (d: Diagnostic) => void;
  /** Old-graph neighbours, for diagnostics. */
  readonly definition: (v: Value) => Op | undefined;
  readonly users: (v: Value) => readonly Op[];
}

export const poison = (shape: readonly number[]): Rep => ({ kind: "poison", shape });

/** The moves of a representation on the integers it became. */
export const replay = (ctx: Context, moves: readonly Op[], value: Value, hint: string): Value =>
  moves.reduce(
    (v, op) => ctx.emit(op.name, [v], op.attrs, { hint, ...(op.loc ? { loc: op.loc } : {}) }),
    value,
  );
