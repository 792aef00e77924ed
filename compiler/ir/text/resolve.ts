/** From syntax to a module: value names, symbols, ports. */
import { withDefaults } from "../builder.ts";
import { type Diagnostic, fail, type Loc, ok, type Result } from "../diagnostics.ts";
import { textAttr, textCount, textDuplicate, textReturnType, textUnknownValue } from "../messages-text.ts";
import type { Attr, Attrs, Boundary, Func, Module, Op, Port, Value } from "../module.ts";
import { findOp } from "../ops/index.ts";
import { sameType } from "../types.ts";
import type { FuncNode, ModuleNode, OpNode, PortNode, Tok } from "./ast.ts";
import { isList } from "./attrs.ts";
import { type AttrResolver, createAttrResolver, type Fault, symbolName } from "./resolve-attrs.ts";

const isFault = (e: unknown): e is Fault => typeof e === "object" && e !== null && "diagnostic" in e;

/** Reports every faulty function and op, not only the first. */
export function resolveModule(tree: ModuleNode, file: string): Result<Module> {
  const errors: Diagnostic[] = [];
  const attempt = <T>(f: () => T): T | undefined => {
    try {
      return f();
    } catch (e) {
      if (!isFault(e)) throw e;
      errors.push(e.diagnostic);
      return undefined;
    }
  };
  const attrs = attempt(() => createAttrResolver(file, tree.data));
  if (!attrs) return fail(...errors);
  const names = new Set<string>();
  const funcs: Func[] = [];
  for (const node of tree.funcs) {
    const name = symbolName(node.name);
    if (names.has(name)) errors.push(textDuplicate(`@${name}`, attrs.at(node.name)));
    names.add(name);
    funcs.push(resolveFunc(node, name, attrs, errors, attempt));
  }
  return errors.length > 0 ? fail(...errors.slice(0, 20)) : ok({ funcs });
}

/** A printed number is no name: the value has no hint. */
const hint = (tok: Tok): string => (/^%\d+$/.test(tok.image) ? "" : tok.image.slice(1));

function resolveFunc(
  node: FuncNode,
  name: string,
  attrs: AttrResolver,
  errors: Diagnostic[],
  attempt: <T>(f: () => T) => T | undefined,
): Func {
  const scope = new Map<string, Value | undefined>();
  const define = (tok: Tok, v: Value | undefined): void => {
    if (scope.has(tok.image)) errors.push(textDuplicate(tok.image, attrs.at(tok)));
    scope.set(tok.image, v);
  };
  /** `undefined` for an unknown value, and silently for one whose definition is faulty. */
  const use = (tok: Tok): Value | undefined => {
    if (!scope.has(tok.image)) errors.push(textUnknownValue(tok.image, attrs.at(tok)));
    return scope.get(tok.image);
  };
  const params: Port[] = [];
  for (const p of node.params) {
    const port = attempt(() => {
      const value: Value = { name: hint(p.value!), type: attrs.type(p.type) };
      return makePort(p, value, p.value!.image.slice(1), attrs);
    });
    define(p.value!, port?.value);
    if (port) params.push(port);
  }
  const ops: Op[] = [];
  for (const o of node.ops) {
    const operands = o.operands.map(use);
    const op = attempt(() => makeOp(o, operands, attrs));
    o.results.forEach((tok, i) => {
      define(tok, op?.results[i]);
    });
    if (op) ops.push(op);
  }
  const returned = node.returned.map(use);
  const results: Port[] = [];
  attempt(() => {
    if (returned.length !== node.results.length)
      throw fault(textCount("returned values", node.results.length, returned.length, attrs.at(node.ret)));
    node.results.forEach((r, i) => {
      const value = returned[i];
      const type = attrs.type(r.type);
      if (!value) return;
      if (!sameType(type, value.type))
        throw fault(textReturnType(node.returned[i]!.image, attrs.at(r.type.tok)));
      results.push(makePort(r, value, "", attrs));
    });
  });
  return { name, params, ops, results };
}

const fault = (diagnostic: Diagnostic): Fault => ({ diagnostic });

function makeOp(node: OpNode, operands: readonly (Value | undefined)[], attrs: AttrResolver): Op {
  const at = attrs.at(node.name);
  if (node.types.length !== node.results.length)
    throw fault(textCount("result types", node.results.length, node.types.length, at));
  const given = attrs.dict(node.attrs);
  const results = node.results.map(
    (tok, i): Value => ({ name: hint(tok), type: attrs.type(node.types[i]!) }),
  );
  const def = findOp(node.name.image);
  const loc = node.loc ? locOf(attrs.attr(node.loc), attrs.at(node.loc.tok)) : at;
  return {
    name: node.name.image,
    operands: operands.filter((v) => v !== undefined),
    attrs: def ? withDefaults(def, given) : given,
    results,
    loc,
  };
}

const LOC_KINDS = ["node", "tensor", "file", "text", "fused", "pass"];

function locOf(a: Attr, at: Loc): Loc {
  const kind = (a as Attrs).kind;
  if (typeof kind === "string" && LOC_KINDS.includes(kind)) return a as unknown as Loc;
  throw fault(textAttr(`a location's kind is one of ${LOC_KINDS.join(", ")}`, at));
}

function makePort(node: PortNode, value: Value, assumedName: string, attrs: AttrResolver): Port {
  const loc = attrs.at(node.value ?? node.type.tok);
  if (!node.attrs) return { value, name: assumedName, dtype: "", boundary: { kind: "none" }, loc };
  const at = attrs.at(node.attrs.tok);
  const { name, dtype, boundary, ...rest } = attrs.attr(node.attrs) as Attrs;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw fault(textAttr(`a port has no ${JSON.stringify(unknown)}`, at));
  if (name !== undefined && typeof name !== "string") throw fault(textAttr("name is a string", at));
  if (dtype !== undefined && typeof dtype !== "string") throw fault(textAttr("dtype is a string", at));
  return { value, name: name ?? assumedName, dtype: dtype ?? "", boundary: boundaryOf(boundary, at), loc };
}

const isNumber = (a: Attr | undefined): boolean => typeof a === "number";
const isNumbers = (a: Attr | undefined): boolean => a !== undefined && isList(a) && a.every(isNumber);

const BOUNDARIES: {
  readonly [kind: string]: { readonly [field: string]: (a: Attr | undefined) => boolean };
} = {
  none: {},
  quantize: { scale: isNumber, zeroPoint: isNumber, lo: isNumber, hi: isNumber },
  thresholds: { sign: (a) => a === 1 || a === -1, thresholds: isNumbers, lo: isNumber, hi: isNumber },
  dequantize: { axis: isNumber, scales: isNumbers, zeroPoints: isNumbers },
};

function boundaryOf(a: Attr | undefined, at: Loc): Boundary {
  if (a === undefined) return { kind: "none" };
  const { kind, ...fields } = (typeof a === "object" && a !== null && !isList(a) ? a : {}) as Attrs;
  const want = typeof kind === "string" && Object.hasOwn(BOUNDARIES, kind) ? BOUNDARIES[kind]! : undefined;
  if (!want) throw fault(textAttr(`a boundary's kind is one of ${Object.keys(BOUNDARIES).join(", ")}`, at));
  for (const [field, test] of Object.entries(want))
    if (!test(fields[field])) throw fault(textAttr(`boundary: ${field} is missing or malformed`, at));
  if (Object.keys(fields).length !== Object.keys(want).length)
    throw fault(textAttr("boundary: unknown field", at));
  return a as unknown as Boundary;
}
