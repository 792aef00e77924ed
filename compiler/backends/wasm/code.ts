/** Kernels cut into functions: statements of the kernel IR, and calls. */
import type { Expr, KType, Stmt } from "../../ir/kernel/ir.ts";

/** Runs a procedure. Arguments are evaluated in order. */
export interface Call {
  readonly k: "call";
  readonly to: string;
  readonly args: readonly Expr[];
}

type For = Omit<Stmt & { readonly k: "for" }, "body"> & { readonly body: readonly Code[] };
type If = Omit<Stmt & { readonly k: "if" }, "then" | "else"> & {
  readonly then: readonly Code[];
  readonly else: readonly Code[];
};
export type Code = Exclude<Stmt, { readonly k: "for" | "if" }> | For | If | Call;

export interface Param {
  readonly name: string;
  readonly type: KType;
}

/** A part of one or more kernels. Its parameters are not assigned. */
export interface Procedure {
  readonly name: string;
  readonly params: readonly Param[];
  readonly body: readonly Code[];
}
