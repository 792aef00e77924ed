/** Building functions op by op. Mistakes are bugs in qc and throw. */
import type { Loc } from "./diagnostics.ts";
import type { Attr, Attrs, Boundary, Func, Op, Port, Value } from "./module.ts";
import type { OpDef } from "./op.ts";
import { opDef } from "./ops/index.ts";
import type { TensorType } from "./types.ts";

export interface OpOptions {
  readonly loc?: Loc | undefined;
  /** Name hints of the results. */
  readonly names?: readonly string[];
  /** Result types, for ops that let their author choose. */
  readonly types?: readonly TensorType[];
}

/** What the user sees of a graph input or output. */
export interface PortInfo {
  /** Exact ONNX tensor name. */
  readonly name: string;
  readonly dtype: string;
  /** Default: none. */
  readonly boundary?: Boundary;
}

export interface FuncBuilder {
  /** Adds a parameter and returns its value. */
  readonly param: (type: TensorType, info: PortInfo) => Value;
  /** Adds a parameter with its existing value. */
  readonly addParam: (port: Port) => void;
  /** Adds an op: defaults applied, result types inferred. Throws if the operands or attributes are wrong. */
  readonly op: (
    name: string,
    operands: readonly Value[],
    attrs?: Attrs,
    options?: OpOptions,
  ) => readonly Value[];
  /** `op` for an op with exactly one result. */
  readonly add1: (name: string, operands: readonly Value[], attrs?: Attrs, options?: OpOptions) => Value;
  /** Adds an op as it is, unchecked; its results stay the same values. */
  readonly append: (op: Op) => void;
  /** Adds a result. */
  readonly result: (value: Value, info: PortInfo) => void;
  readonly addResult: (port: Port) => void;
  /** Ops added so far. */
  readonly ops: readonly Op[];
  readonly build: () => Func;
}

/** The attributes with the table's defaults filled in, in the table's order; unknown ones last. */
export function withDefaults(def: OpDef, attrs: Attrs): Attrs {
  const declared = Object.keys(def.attrs);
  const given = Object.keys(attrs);
  if (declared.length === given.length && declared.every((name, i) => name === given[i])) return attrs;
  const out = new Map<string, Attr>();
  for (const [name, { default: fallback }] of Object.entries(def.attrs)) {
    const v = Object.hasOwn(attrs, name) ? attrs[name] : fallback;
    if (v !== undefined) out.set(name, v);
  }
  for (const [name, v] of Object.entries(attrs)) if (!out.has(name)) out.set(name, v);
  return Object.fromEntries(out);
}

/** A checked op with fresh result values. Throws on a mistake. */
export function makeOp(
  name: string,
  operands: readonly Value[],
  attrs: Attrs = {},
  { loc, names, types }: OpOptions = {},
): Op {
  const def = opDef(name);
  const full = withDefaults(def, attrs);
  for (const key of Object.keys(full))
    if (!Object.hasOwn(def.attrs, key)) throw new Error(`${name} has no attribute ${key}`);
  for (const key of Object.keys(def.attrs))
    if (full[key] === undefined) throw new Error(`${name} lacks attribute ${key}`);
  if (!countFits(def, operands.length)) throw new Error(`${name} cannot have ${operands.length} operands`);
  const inferred = def.infer(
    operands.map((v) => v.type),
    full,
    types,
  );
  if (typeof inferred === "string") throw new Error(`${name}: ${inferred}`);
  const results = inferred.map((type, i): Value => ({ name: names?.[i] ?? "", type }));
  return loc === undefined
    ? { name, operands, attrs: full, results }
    : { name, operands, attrs: full, results, loc };
}

/** Whether an op takes that many operands; a trailing `…` stands for none or more. */
export function countFits(def: OpDef, n: number): boolean {
  const variadic = def.operands.at(-1)?.endsWith("…") === true;
  return variadic ? n >= def.operands.length - 1 : n === def.operands.length;
}

const port = (value: Value, { name, dtype, boundary = { kind: "none" } }: PortInfo): Port => ({
  value,
  name,
  dtype,
  boundary,
});

export function createBuilder(name = "main"): FuncBuilder {
  const params: Port[] = [];
  const ops: Op[] = [];
  const results: Port[] = [];
  const op: FuncBuilder["op"] = (opName, operands, attrs, options) => {
    const made = makeOp(opName, operands, attrs, options);
    ops.push(made);
    return made.results;
  };
  return {
    param: (type, info) => {
      const value: Value = { name: info.name, type };
      params.push(port(value, info));
      return value;
    },
    addParam: (p) => {
      params.push(p);
    },
    op,
    add1: (opName, operands, attrs, options) => {
      const values = op(opName, operands, attrs, options);
      if (values.length !== 1) throw new Error(`${opName} has ${values.length} results, not 1`);
      return values[0]!;
    },
    append: (made) => {
      ops.push(made);
    },
    result: (value, info) => {
      results.push(port(value, info));
    },
    addResult: (p) => {
      results.push(p);
    },
    ops,
    build: () => ({ name, params: [...params], ops: [...ops], results: [...results] }),
  };
}
