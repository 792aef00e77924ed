/** What an import has made so far. */
import type { Diagnostic } from "../ir/diagnostics.ts";
import type { Op, Value } from "../ir/module.ts";
import type { Constant } from "./constants.ts";

export interface GraphImport {
  readonly ops: Op[];
  readonly definitions: Map<Value, Op>;
  readonly diagnostics: Diagnostic[];
  /** ONNX name of each value, the first one if it has several. */
  readonly names: Map<Value, string>;
  /** `const` values made so far. */
  readonly constants: Map<Constant, Value>;
  /** Elements folded so far. */
  folded: number;
}

export const createGraphImport = (): GraphImport => ({
  ops: [],
  definitions: new Map(),
  diagnostics: [],
  names: new Map(),
  constants: new Map(),
  folded: 0,
});
