/** Modules as text, the inverse of the parser. */
import { sameDense } from "./dense.ts";
import type { Loc } from "./diagnostics.ts";
import type { Attr, Attrs, Dense, Func, Module, Op, Port, Value } from "./module.ts";
import { findOp } from "./ops/index.ts";
import { isDense, isList, isRational, sameAttr } from "./text/attrs.ts";
import { bytesOf, containerOf } from "./text/containers.ts";
import { fingerprint, printNumber, printString, toBase64 } from "./text/literals.ts";
import { type ElemType, intMax, intMin, type TensorType } from "./types.ts";

export interface PrintOptions {
  /** Print `loc(…)` after ops that have one (text spans excepted). */
  readonly locs?: boolean;
  /** Long constants print as a fingerprint, without data section; such text does not load. */
  readonly elide?: boolean;
}

/** Lists and dense constants up to these lengths print in place. */
const INLINE_LIST = 32;
const INLINE_DENSE = 16;

/** Prints attributes and types and collects what goes to the data section. */
interface Writer {
  readonly attr: (a: Attr) => string;
  readonly elem: (e: ElemType) => string;
  readonly type: (t: TensorType) => string;
  /** Lines of the data section. */
  readonly data: readonly string[];
}

function createWriter(elide: boolean): Writer {
  const data: string[] = [];
  const stored = new Map<object, string>();
  const store = (key: object, prefix: string, content: () => string): string => {
    const known = stored.get(key);
    if (known !== undefined) return known;
    const text = content();
    const name = `@${prefix}${data.length}`;
    stored.set(key, name);
    data.push(`${name} = ${text}`);
    return name;
  };
  const list = (items: readonly Attr[]): string => {
    if (items.length <= INLINE_LIST) return `[${items.map(attr).join(", ")}]`;
    const whole = () => `[${items.map(attr).join(", ")}]`;
    return elide ? `#${fingerprint(new TextEncoder().encode(whole()))}` : store(items, "l", whole);
  };
  const dense = (d: Dense): string => {
    const type = `dense<${dims(d.shape)}${elem(d.elem)}>`;
    if (d.data.length <= INLINE_DENSE) return `${type} [${Array.from(d.data, printNumber).join(", ")}]`;
    if (elide) return `${type} #${fingerprint(bytesOf(d.data))}`;
    const name = store(d.data, "d", () => `${containerOf(d.data)} "${toBase64(bytesOf(d.data))}"`);
    return `${type} ${name}`;
  };
  const attr = (a: Attr): string => {
    if (a === null) return "null";
    if (typeof a === "number") return printNumber(a);
    if (typeof a === "bigint") return `${a}n`;
    if (typeof a === "string") return printString(a);
    if (typeof a === "boolean") return String(a);
    if (isDense(a)) return dense(a);
    if (isList(a)) return list(a);
    if (isRational(a)) return `${a.num}/${a.den}`;
    return dict(a as Attrs);
  };
  const dict = (attrs: Attrs): string =>
    `{${Object.entries(attrs)
      .map(([k, v]) => `${printKey(k)} = ${attr(v)}`)
      .join(", ")}}`;
  const elem = (e: ElemType): string => {
    if (e.kind === "int") return `${e.signed ? "i" : "u"}${e.bits}`;
    if (e.kind === "float") return `f${e.bits}`;
    const whole = e.lo === intMin(e.storage) && e.hi === intMax(e.storage);
    const range = whole ? "" : `<${printNumber(e.lo)}:${printNumber(e.hi)}>`;
    const storage = elem(e.storage) + range;
    if (e.scheme.kind === "tensor")
      return `!q<${storage}, ${printNumber(e.scheme.scale)}:${printNumber(e.scheme.zeroPoint)}>`;
    const zeros = e.scheme.zeroPoints;
    const plain = zeros.length === e.scheme.scales.length && zeros.every((z) => Object.is(z, 0));
    const shifts = plain ? "" : `, ${list(zeros)}`;
    return `!q<${storage}, axis ${printNumber(e.scheme.axis)}, ${list(e.scheme.scales)}${shifts}>`;
  };
  return { attr, elem, type: (t) => `tensor<${dims(t.shape)}${elem(t.elem)}>`, data };
}

const dims = (shape: readonly number[]): string => shape.map((d) => `${d}x`).join("");
const printKey = (k: string): string => (/^[A-Za-z_]\w*$/.test(k) ? k : printString(k));
const printSymbol = (name: string): string =>
  /^[\w.$-]+$/.test(name) ? `@${name}` : `@${printString(name)}`;

/** A type on one line, long lists elided: for messages. */
export const printType = (t: TensorType): string => createWriter(true).type(t);

/** An attribute on one line, long constants elided: for messages. */
export const printAttr = (a: Attr): string => createWriter(true).attr(a);

/** A hint as an identifier without `%`; empty if it says nothing. */
export function sanitise(hint: string): string {
  const clean = hint.replace(/[^\w.$-]+/g, "_").slice(0, 80);
  if (/^[\d_]*$/.test(clean)) return "";
  return /^\d/.test(clean) ? `_${clean}` : clean;
}

/** Unique printed names of a function's values, without `%`: the sanitised hint, or a number. */
export function nameValues(func: Func): Map<Value, string> {
  const names = new Map<Value, string>();
  const taken = new Set<string>();
  let unnamed = 0;
  const give = (v: Value): void => {
    if (names.has(v)) return;
    const base = sanitise(v.name);
    let name = base === "" ? String(unnamed++) : base;
    for (let i = 1; taken.has(name); i++) name = `${base}_${i}`;
    taken.add(name);
    names.set(v, name);
  };
  for (const p of func.params) give(p.value);
  for (const op of func.ops) for (const r of op.results) give(r);
  return names;
}

/** Attributes worth printing: those that differ from the table's default. */
function shownAttrs(op: Op): Attrs {
  const defs = findOp(op.name)?.attrs ?? {};
  return Object.fromEntries(
    Object.entries(op.attrs).filter(([k, v]) => {
      const fallback = Object.hasOwn(defs, k) ? defs[k]!.default : undefined;
      return v !== undefined && (fallback === undefined || !sameAttr(v, fallback, sameDense));
    }),
  );
}

/** Port facts that differ from what the parser assumes. */
function portAttrs(port: Port, assumedName: string): Attrs {
  const out: { [key: string]: Attr } = {};
  if (port.name !== assumedName) out.name = port.name;
  if (port.dtype !== "") out.dtype = port.dtype;
  if (port.boundary.kind !== "none") out.boundary = port.boundary;
  return out;
}

const suffix = (w: Writer, attrs: Attrs): string =>
  Object.keys(attrs).length === 0 ? "" : ` ${w.attr(attrs)}`;

function printLoc(w: Writer, loc: Loc | undefined): string {
  if (loc === undefined || loc.kind === "text") return "";
  return ` loc(${w.attr(loc as unknown as Attrs)})`;
}

function opLine(op: Op, w: Writer, name: (v: Value) => string, locs: boolean): string {
  const results = op.results.map(name).join(", ");
  const operands = op.operands.map(name).join(", ");
  const types = op.results.map((r) => w.type(r.type)).join(", ");
  return [
    results === "" ? "" : `${results} = `,
    op.name,
    operands === "" ? "" : ` ${operands}`,
    suffix(w, shownAttrs(op)),
    types === "" ? "" : ` : ${types}`,
    locs ? printLoc(w, op.loc) : "",
  ].join("");
}

function funcLines(func: Func, w: Writer, locs: boolean): string[] {
  const names = nameValues(func);
  const name = (v: Value): string => `%${names.get(v) ?? "?"}`;
  const params = func.params.map(
    (p) => `${name(p.value)}: ${w.type(p.value.type)}${suffix(w, portAttrs(p, names.get(p.value)!))}`,
  );
  const results = func.results.map((r) => w.type(r.value.type) + suffix(w, portAttrs(r, "")));
  const head = `func ${printSymbol(func.name)}(${params.join(", ")}) -> (${results.join(", ")}) {`;
  const end = ["return", func.results.map((r) => name(r.value)).join(", ")].filter((s) => s !== "");
  return [head, ...func.ops.map((op) => `  ${opLine(op, w, name, locs)}`), `  ${end.join(" ")}`, "}"];
}

/** The module as text, ending in a newline. */
export function printModule(module: Module, { locs = false, elide = false }: PrintOptions = {}): string {
  const w = createWriter(elide);
  const funcs = module.funcs.map((f) => funcLines(f, w, locs).join("\n"));
  const data = w.data.length === 0 ? [] : [["data {", ...w.data.map((l) => `  ${l}`), "}"].join("\n")];
  return `${[...funcs, ...data].join("\n\n")}\n`;
}

/** One op on one line, with value hints as names: for messages and debugging. */
export const printOp = (op: Op): string =>
  opLine(op, createWriter(true), (v) => `%${sanitise(v.name) || "_"}`, false);
