/** Legality sets: what may occur in a module at a named stage. */
import { type Diagnostic, type Loc, quote } from "./diagnostics.ts";
import { illegalOp } from "./messages-text.ts";
import type { Module, Op, Value } from "./module.ts";
import { hasTrait } from "./ops/index.ts";
import type { TensorType } from "./types.ts";

export interface Legality {
  readonly summary: string;
  /** Why an op is not legal; `undefined` if it is. */
  readonly op: (op: Op) => string | undefined;
  /** Why a value may not have this type: asked of params and results of ops. */
  readonly type?: (type: TensorType) => string | undefined;
}

export const LEGALITIES = {
  "no-float": {
    summary: "Integers only: no op on real numbers, no float or quantised type.",
    op: (op) => (hasTrait(op, "float") ? "it works on real numbers" : undefined),
    type: ({ elem }) =>
      elem.kind === "int" ? undefined : `it has a ${elem.kind === "float" ? "float" : "quantised"} type`,
  },
  lifted: {
    summary: "Integers, and float islands in 32 bits: no quantised type, no quantizer.",
    op: (op) => (op.name.startsWith("quant.") ? "it is a quantizer" : undefined),
    type: ({ elem }) =>
      elem.kind === "quant"
        ? "it has a quantised type"
        : elem.kind === "float" && elem.bits !== 32
          ? "it is a float of another width than 32 bits"
          : undefined,
  },
  certified: {
    summary: "Every requantization has its certified integer form.",
    op: (op) => (op.name === "qc.requant" ? "it is not certified" : undefined),
  },
} as const satisfies { readonly [name: string]: Legality };

export type LegalityName = keyof typeof LEGALITIES;

/** The ops and params of a module that the set does not allow. `when` completes "not legal …": `after integerize`. */
export function checkLegality(module: Module, name: LegalityName, when: string): readonly Diagnostic[] {
  const set: Legality = LEGALITIES[name];
  const out: Diagnostic[] = [];
  const add = (what: string, reason: string | undefined, loc: Loc | undefined): void => {
    if (reason !== undefined) out.push(illegalOp(name, when, what, reason, loc));
  };
  const typeOf = (v: Value): string | undefined => set.type?.(v.type);
  for (const f of module.funcs) {
    for (const p of f.params) add(`param ${quote(p.name)}`, typeOf(p.value), p.loc);
    for (const op of f.ops) {
      const types = op.results.map(typeOf).find((reason) => reason !== undefined);
      add(op.name, set.op(op) ?? types, op.loc);
    }
  }
  return out;
}
