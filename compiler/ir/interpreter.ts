/** The reference interpreter: runs any function of a module by the op table's `evaluate`. Mistakes are bugs and throw. */
import { sameDense, storageOf } from "./dense.ts";
import type { Dense, Func, Module, Op, Port, Value } from "./module.ts";
import { opDef } from "./ops/index.ts";
import { sameElem, sameShape, type TensorType } from "./types.ts";

/** Inputs by param, or by the param's name. Quantised values are their stored integers. */
export type Inputs = ReadonlyMap<string | Port, Dense>;

export interface InterpretOptions {
  /** Sees every value of the entry function as it is computed, params first; callees report too, with their own values. */
  readonly observe?: (value: Value, dense: Dense) => void;
  /**
   * Rounds every result of type f32 to float32, as float islands do op by op. Equal to what their kernels compute but for
   * sums, whose order is theirs, and for functions that are not correctly rounded. Default: floats are float64.
   */
  readonly float32?: boolean;
}

/** One result of the entry function. */
export interface Output {
  readonly port: Port;
  readonly dense: Dense;
}

/** Runs `funcs[0]`. Throws if an input is missing or of another type, or an integer leaves its declared type. */
export function interpret(module: Module, inputs: Inputs, options: InterpretOptions = {}): readonly Output[] {
  const entry = module.funcs[0];
  if (!entry) throw new Error("the module has no function");
  const args = entry.params.map((p) => {
    const d = inputs.get(p) ?? inputs.get(p.name);
    if (!d) throw new Error(`no input for ${p.name}`);
    return d;
  });
  const values = interpretFunc(module, entry, args, options);
  return entry.results.map((port, i) => ({ port, dense: values[i]! }));
}

/** Runs one function on arguments by position; returns its results by position. */
export function interpretFunc(
  module: Module,
  func: Func,
  args: readonly Dense[],
  { observe, float32 = false }: InterpretOptions = {},
): readonly Dense[] {
  const env = new Map<Value, Dense>();
  const bind = (v: Value, d: Dense, what: string): void => {
    checkType(v.type, d, what);
    env.set(v, d);
    observe?.(v, d);
  };
  const lastUse = lastUses(func);
  func.params.forEach((p, i) => {
    const d = args[i];
    if (!d) throw new Error(`@${func.name}: no argument for ${p.name}`);
    bind(p.value, d, `@${func.name} param ${p.name}`);
  });
  func.ops.forEach((op, at) => {
    const operands = op.operands.map((v) => {
      const d = env.get(v);
      if (!d) throw new Error(`${op.name}: operand %${v.name} has no value`);
      return d;
    });
    const results = evaluateOp(module, op, operands, { float32, ...(observe && { observe }) });
    op.results.forEach((r, i) => {
      const { elem } = r.type;
      const narrow = float32 && elem.kind === "float" && elem.bits === 32;
      bind(r, narrow ? rounded(results[i]!) : results[i]!, op.name);
    });
    for (const v of op.operands) if (lastUse.get(v) === at) env.delete(v);
  });
  return func.results.map((r) => env.get(r.value) ?? missing(r));
}

const missing = (r: Port): never => {
  throw new Error(`result ${r.name} has no value`);
};

const rounded = (d: Dense): Dense =>
  d.data instanceof Float32Array ? d : { ...d, data: Float32Array.from(d.data) };

/** Index of the op after which a value is no longer needed; function results are needed for ever. */
function lastUses(func: Func): Map<Value, number> {
  const last = new Map<Value, number>();
  func.ops.forEach((op, at) => {
    for (const v of op.operands) last.set(v, at);
  });
  for (const r of func.results) last.delete(r.value);
  return last;
}

function evaluateOp(
  module: Module,
  op: Op,
  operands: readonly Dense[],
  options: InterpretOptions,
): readonly Dense[] {
  if (op.name === "qc.call") {
    const callee = module.funcs.find((f) => f.name === op.attrs.callee);
    if (!callee) throw new Error(`no function @${op.attrs.callee}`);
    return interpretFunc(module, callee, operands, options);
  }
  const types = (values: readonly Value[]): readonly TensorType[] => values.map((v) => v.type);
  try {
    return opDef(op.name).evaluate(operands, op.attrs, types(op.results), types(op.operands));
  } catch (cause) {
    const name = op.results[0]?.name ?? "";
    throw new Error(`${op.name} %${name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function checkType(type: TensorType, d: Dense, what: string): void {
  if (!sameShape(type.shape, d.shape))
    throw new Error(`${what}: shape [${d.shape.join(", ")}] instead of [${type.shape.join(", ")}]`);
  const want = storageOf(type.elem);
  if (want.kind === "float" ? d.elem.kind !== "float" : !sameElem(want, d.elem))
    throw new Error(`${what}: wrong element type`);
}

/** Whether two runs gave the same results, in order. */
export const sameOutputs = (a: readonly Output[], b: readonly Output[]): boolean =>
  a.length === b.length && a.every((o, i) => sameDense(o.dense, b[i]!.dense));
