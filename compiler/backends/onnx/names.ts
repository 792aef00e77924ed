/** Which tensor names the values of a function get. */
import type { Func, Value } from "../../ir/module.ts";
import { definitions } from "../../ir/module.ts";
import type { Emitter } from "./emitter.ts";
import type { Dtype } from "./model.ts";

export interface Names {
  /** What the file calls it, not necessarily free. */
  readonly hint: (v: Value) => string;
  /** Type of the graph output that the value is; undefined for others. */
  readonly output: (v: Value) => string | undefined;
  /** The tensor's name: the output's where the value is one of this type, else a free one. To be asked for once. */
  readonly take: (v: Value, dtype: Dtype) => string;
}

export function tensorNames(func: Func, e: Emitter): Names {
  const defs = definitions(func);
  const outputs = new Map<Value, { readonly name: string; readonly dtype: string }>();
  const params = new Set(func.params.map((p) => p.value));
  const seen = new Set<string>();
  for (const port of func.results) {
    if (params.has(port.value) || outputs.has(port.value) || defs.get(port.value)?.name === "const") continue;
    if (!seen.has(port.name)) outputs.set(port.value, port);
    seen.add(port.name);
  }
  const hint = (v: Value): string => {
    const op = defs.get(v);
    if (v.name !== "") return v.name;
    if (op?.name === "const") return "constant";
    return op?.loc?.kind === "node" ? op.loc.output : "";
  };
  /** Integers have the name of the quantizer, what they stand for one made from it. */
  const wanted = (v: Value): string => {
    const op = defs.get(v);
    if (op?.name !== "quant.dequantize") return hint(v);
    const integers = hint(op.operands[0]!);
    return hint(v) === integers ? `${integers}_dequantized` : hint(v);
  };
  return {
    hint,
    output: (v) => outputs.get(v)?.dtype,
    take(v, dtype) {
      const port = outputs.get(v);
      if (port?.dtype === dtype) return port.name;
      return e.fresh(wanted(v));
    },
  };
}
