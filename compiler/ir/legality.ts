/** Legality sets: what may occur in a module at a named stage. */
import type { Diagnostic } from "./diagnostics.ts";
import { illegalOp } from "./messages-text.ts";
import type { Module, Op, Value } from "./module.ts";
import { hasTrait } from "./ops/index.ts";

export interface Legality {
  readonly summary: string;
  /** Why an op is not legal; `undefined` if it is. */
  readonly op: (op: Op) => string | undefined;
}

const hasKind = (values: readonly Value[], kind: "float" | "quant"): boolean =>
  values.some((v) => v.type.elem.kind === kind);

export const LEGALITIES = {
  "no-float": {
    summary: "Integers only: no op on real numbers, no float or quantised type.",
    op: (op) => {
      if (hasTrait(op, "float")) return "it works on real numbers";
      if (hasKind([...op.operands, ...op.results], "float")) return "it has a float type";
      return hasKind([...op.operands, ...op.results], "quant") ? "it has a quantised type" : undefined;
    },
  },
  certified: {
    summary: "Every requantization has its certified integer form.",
    op: (op) => (op.name === "qc.requant" ? "it is not certified" : undefined),
  },
} as const satisfies { readonly [name: string]: Legality };

export type LegalityName = keyof typeof LEGALITIES;

/** The ops of a module that the set does not allow. `when` completes "not legal …": `after integerize`. */
export function checkLegality(module: Module, name: LegalityName, when: string): readonly Diagnostic[] {
  const set: Legality = LEGALITIES[name];
  const out: Diagnostic[] = [];
  for (const f of module.funcs)
    for (const op of f.ops) {
      const reason = set.op(op);
      if (reason !== undefined) out.push(illegalOp(name, when, op.name, reason, op.loc));
    }
  return out;
}
