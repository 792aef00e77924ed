/** What the forms of a product share: its operands, and how its matrices follow each other. */
import type { Expr } from "../../ir/kernel/ir.ts";
import type { Axis } from "./elementwise-load.ts";
import type { Layout } from "./layout.ts";
import type { Held } from "./product-pack.ts";
import type { Finisher } from "./residual.ts";

/** One operand: where it lies, what it can hold, and its zero point. */
export interface Side {
  readonly layout: Layout;
  readonly zero: number;
  readonly min: number;
  readonly max: number;
  readonly constant: boolean;
}

/** The product of one pair of matrices, and how the matrices follow each other. */
export interface Product {
  readonly a: Side;
  readonly b: Side;
  readonly y: Layout;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly byColumn: boolean;
  readonly finisher: Finisher;
  readonly held: Held;
  /** Room for any form: the modules of one artifact share their memory plan. `rows` is as long as the byte form needs it. */
  readonly scratch: { readonly panels: string; readonly columns: string; readonly rows: string };
  /** Batch axes with the bytes that a, b, y and the residual move; b moves along the outer ones only. */
  readonly outer: readonly Axis[];
  readonly inner: readonly Axis[];
}

/** Byte addresses of the matrices in a, b, y and the residual. */
export type Addresses = readonly [a: Expr, b: Expr, y: Expr, residual: Expr];
