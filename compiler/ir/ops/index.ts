/** The op table of the graph IR. */
import type { OpDef, Trait } from "../op.ts";
import { constOps } from "./const.ts";
import { floatBorderOps } from "./float-border.ts";
import { floatElementwiseOps } from "./float-elementwise.ts";
import { floatInterpolateOps } from "./float-interpolate.ts";
import { floatLinearOps } from "./float-linear.ts";
import { floatNormalizeOps } from "./float-normalize.ts";
import { floatSelectOps } from "./float-select.ts";
import { floatWindowOps } from "./float-window.ts";
import { indexSelectOps } from "./index-select.ts";
import { intElementwiseOps } from "./int-elementwise.ts";
import { integerElementwiseOps } from "./integer-elementwise.ts";
import { integerLinearOps } from "./integer-linear.ts";
import { normalizeOps } from "./integer-normalize.ts";
import { requantOps } from "./integer-requant.ts";
import { rescaleOps } from "./integer-rescale.ts";
import { softmaxOps } from "./integer-softmax.ts";
import { integerWindowOps } from "./integer-window.ts";
import { layoutOps } from "./layout.ts";
import { quantOps } from "./quant.ts";
import { quantBlockOps } from "./quant-blocks.ts";

/** All op definitions, by dialect. */
export const OPS: readonly OpDef[] = [
  ...constOps,
  ...quantOps,
  ...quantBlockOps,
  ...floatElementwiseOps,
  ...floatLinearOps,
  ...floatWindowOps,
  ...floatInterpolateOps,
  ...floatNormalizeOps,
  ...floatBorderOps,
  ...floatSelectOps,
  ...intElementwiseOps,
  ...indexSelectOps,
  ...layoutOps,
  ...integerLinearOps,
  ...integerWindowOps,
  ...integerElementwiseOps,
  ...requantOps,
  ...softmaxOps,
  ...normalizeOps,
  ...rescaleOps,
];

const table: ReadonlyMap<string, OpDef> = new Map(OPS.map((def) => [def.name, def]));

/** The definition of an op known to exist; an unknown name is a bug in qc and throws. */
export function opDef(name: string): OpDef {
  const def = table.get(name);
  if (!def) throw new Error(`no op is called ${name}`);
  return def;
}

/** The definition, if there is an op of that name. */
export const findOp = (name: string): OpDef | undefined => table.get(name);

/** Whether the op has a trait; false for an unknown op. */
export const hasTrait = (op: { readonly name: string }, trait: Trait): boolean =>
  findOp(op.name)?.traits.includes(trait) ?? false;
