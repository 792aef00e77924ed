/** Checks everything the rest of qc takes for granted about a module. */
import { countFits } from "./builder.ts";
import type { Diagnostic, Loc } from "./diagnostics.ts";
import * as say from "./messages-text.ts";
import type { Attr, Dense, Func, Module, Op, Value } from "./module.ts";
import type { AttrKind, OpDef } from "./op.ts";
import { findOp } from "./ops/index.ts";
import { printAttr, printType } from "./printer.ts";
import { isDense, isList, isRational } from "./text/attrs.ts";
import { intMax, intMin, type QuantType, sameType, sizeOf, type TensorType } from "./types.ts";

/** All faults of a module, in order; empty if it is sound. */
export function verifyModule(module: Module): readonly Diagnostic[] {
  const out: Diagnostic[] = [];
  if (module.funcs.length === 0) out.push(say.noMain());
  const seen = new Set<string>();
  for (const f of module.funcs) {
    if (seen.has(f.name)) out.push(say.duplicateFunc(f.name));
    seen.add(f.name);
    verifyFunc(module, f, out);
  }
  return out;
}

function verifyFunc(module: Module, func: Func, out: Diagnostic[]): void {
  const defined = new Set<Value>();
  const define = (v: Value, by: string, loc: Loc | undefined): void => {
    if (defined.has(v)) out.push(say.definedTwice(by, v.name, loc));
    defined.add(v);
    const reason = typeFault(v.type);
    if (reason !== undefined) out.push(say.malformedType(`%${v.name} of ${by}`, reason, loc));
  };
  for (const p of func.params) define(p.value, `@${func.name}`, p.loc);
  for (const op of func.ops) {
    for (const v of op.operands) if (!defined.has(v)) out.push(say.notDominated(op.name, v.name, op.loc));
    const faults = opFaults(module, op);
    out.push(...faults);
    for (const r of op.results) define(r, op.name, op.loc);
  }
  const names = new Set<string>();
  for (const r of func.results) {
    if (!defined.has(r.value)) out.push(say.undefinedResult(func.name, r.name, r.loc));
    if (r.name !== "" && names.has(r.name)) out.push(say.duplicateResult(func.name, r.name, r.loc));
    names.add(r.name);
  }
}

function opFaults(module: Module, op: Op): readonly Diagnostic[] {
  const def = findOp(op.name);
  if (!def) return [say.unknownOp(op.name, op.loc)];
  const faults = attrFaults(def, op);
  if (!countFits(def, op.operands.length))
    faults.push(say.operandCount(op.name, operandText(def), op.operands.length, op.loc));
  // Inference may rely on well-formed operands, attributes and types.
  if (faults.length > 0 || [...op.operands, ...op.results].some((v) => typeFault(v.type) !== undefined))
    return faults;
  const declared = op.results.map((r) => r.type);
  const inferred = def.infer(
    op.operands.map((v) => v.type),
    op.attrs,
    declared,
  );
  if (typeof inferred === "string") return [say.badOperands(op.name, inferred, op.loc)];
  const same = inferred.length === declared.length && inferred.every((t, i) => sameType(t, declared[i]!));
  if (!same) return [say.resultType(op.name, typeList(declared), typeList(inferred), op.loc)];
  return op.name === "qc.call" ? callFaults(module, op) : [];
}

const typeList = (types: readonly TensorType[]): string => types.map(printType).join(", ") || "none";

const operandText = (def: OpDef): string => {
  const names = def.operands.join(", ");
  if (def.operands.length === 0) return "no operands";
  return `${def.operands.length === 1 ? "one operand" : `${def.operands.length} operands`} (${names})`;
};

function attrFaults(def: OpDef, op: Op): Diagnostic[] {
  const out: Diagnostic[] = [];
  const known = Object.keys(def.attrs);
  for (const name of Object.keys(op.attrs))
    if (!Object.hasOwn(def.attrs, name)) out.push(say.unknownAttr(op.name, name, known, op.loc));
  for (const [name, { kind }] of Object.entries(def.attrs)) {
    const a = Object.hasOwn(op.attrs, name) ? op.attrs[name] : undefined;
    if (a === undefined) out.push(say.missingAttr(op.name, name, op.loc));
    else if (!isOfKind(a, kind))
      out.push(say.attrKind(op.name, name, kindText(kind), printAttr(a).slice(0, 60), op.loc));
  }
  return out;
}

const listOf = (a: Attr, test: (x: Attr) => boolean): boolean => isList(a) && a.every(test);

/** Whether an attribute has the shape its definition asks for. */
export function isOfKind(a: Attr, kind: AttrKind): boolean {
  if (typeof kind === "object") return typeof a === "string" && kind.oneOf.includes(a);
  switch (kind) {
    case "bool":
      return typeof a === "boolean";
    case "int":
      return Number.isSafeInteger(a);
    case "bigint":
      return typeof a === "bigint";
    case "float":
      return typeof a === "number";
    case "string":
      return typeof a === "string";
    case "ints":
      return listOf(a, Number.isSafeInteger);
    case "floats":
      return listOf(a, (x) => typeof x === "number");
    case "rational":
      return isRational(a);
    case "rationals":
      return listOf(a, isRational);
    case "rationalLists":
      return listOf(a, (x) => listOf(x, isRational));
    case "dense":
      return isDense(a) && denseFault(a) === undefined;
    case "dict":
      return typeof a === "object" && a !== null && !isList(a) && !isDense(a) && !isRational(a);
    case "any":
      return true;
  }
}

const KIND_TEXT: { readonly [K in Extract<AttrKind, string>]: string } = {
  bool: "true or false",
  int: "an integer",
  bigint: "a big integer (12n)",
  float: "a number",
  string: "a string",
  ints: "a list of integers",
  floats: "a list of numbers",
  rational: "a rational (3/4)",
  rationals: "a list of rationals",
  rationalLists: "a list of lists of rationals",
  dense: "a sound dense constant",
  dict: "a dictionary",
  any: "anything",
};
/** An attribute kind in words. */
export const kindText = (kind: AttrKind): string =>
  typeof kind === "string" ? KIND_TEXT[kind] : `one of ${kind.oneOf.map((s) => `"${s}"`).join(", ")}`;

function denseFault(d: Dense): string | undefined {
  const fault = typeFault({ shape: d.shape, elem: d.elem });
  if (fault !== undefined) return fault;
  if (d.data.length !== sizeOf(d.shape)) return "wrong number of elements";
  if (d.elem.kind !== "int") return undefined;
  const [lo, hi] = [intMin(d.elem), intMax(d.elem)];
  for (let i = 0; i < d.data.length; i++) {
    const v = d.data[i]!;
    if (!(v >= lo && v <= hi) || !Number.isInteger(v)) return "an element is outside the type";
  }
  return undefined;
}

/** What is wrong with a type in itself; `undefined` if nothing is. */
export function typeFault(t: TensorType): string | undefined {
  if (!t.shape.every((d) => Number.isSafeInteger(d) && d >= 0)) return "a size is not a natural number";
  if (t.elem.kind === "float") return undefined;
  const storage = t.elem.kind === "quant" ? t.elem.storage : t.elem;
  if (!Number.isInteger(storage.bits) || storage.bits < 1 || storage.bits > 32)
    return "integers have 1 to 32 bits";
  return t.elem.kind === "quant" ? quantFault(t.elem, t.shape) : undefined;
}

function quantFault(q: QuantType, shape: readonly number[]): string | undefined {
  if (!Number.isInteger(q.lo) || !Number.isInteger(q.hi) || q.lo > q.hi) return "the range is empty";
  if (q.lo < intMin(q.storage) || q.hi > intMax(q.storage)) return "the range exceeds the storage type";
  const { scheme } = q;
  const [scales, zeros] =
    scheme.kind === "tensor" ? [[scheme.scale], [scheme.zeroPoint]] : [scheme.scales, scheme.zeroPoints];
  if (!scales.every((s) => Number.isFinite(s) && s > 0)) return "a scale is not a positive number";
  if (!zeros.every(Number.isFinite)) return "a zero point is not finite";
  if (scheme.kind === "tensor") return undefined;
  if (shape[scheme.axis] === undefined) return `there is no axis ${scheme.axis}`;
  const n = shape[scheme.axis];
  return scales.length === n && zeros.length === n ? undefined : `axis ${scheme.axis} needs ${n} scales`;
}

function callFaults(module: Module, op: Op): readonly Diagnostic[] {
  const callee = op.attrs.callee as string;
  const f = module.funcs.find((g) => g.name === callee);
  if (!f) return [say.badCall(callee, "there is no such function", op.loc)];
  if (f === module.funcs[0]) return [say.badCall(callee, "the entry function cannot be called", op.loc)];
  const fits = (ports: Func["params"], values: readonly Value[]): boolean =>
    ports.length === values.length && ports.every((p, i) => sameType(p.value.type, values[i]!.type));
  if (!fits(f.params, op.operands)) return [say.badCall(callee, "the operands are not its params", op.loc)];
  if (!fits(f.results, op.results)) return [say.badCall(callee, "the results are not its results", op.loc)];
  return [];
}
