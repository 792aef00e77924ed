/** Types, attributes and the data section: from syntax to values. */
import { dense as makeDense } from "../dense.ts";
import type { Diagnostic, Loc } from "../diagnostics.ts";
import { textAttr, textData, textDuplicate, textType } from "../messages-text.ts";
import type { Attr, Attrs, Dense, Elements } from "../module.ts";
import {
  type ElemType,
  type FloatType,
  type IntType,
  int,
  intMax,
  intMin,
  type Scheme,
  sizeOf,
  type TensorType,
} from "../types.ts";
import type { AttrNode, DataNode, ElemNode, EntryNode, Tok, TypeNode } from "./ast.ts";
import { isList } from "./attrs.ts";
import { elementsFrom, isContainer } from "./containers.ts";
import { fromBase64, readNumber } from "./literals.ts";

/** Thrown inside the resolver only, and caught by `resolveModule`. */
export interface Fault {
  readonly diagnostic: Diagnostic;
}

export interface AttrResolver {
  readonly attr: (node: AttrNode) => Attr;
  readonly dict: (entries: readonly EntryNode[]) => Attrs;
  readonly type: (node: TypeNode) => TensorType;
  readonly at: (tok: Tok) => Loc;
}

const throwFault = (diagnostic: Diagnostic): never => {
  const fault: Fault = { diagnostic };
  throw fault;
};

/** A symbol's name: `@x` or `@"any text"`. */
export const symbolName = (tok: Tok): string =>
  tok.image.startsWith('@"') ? unquote(tok.image.slice(1)) : tok.image.slice(1);

/** The text of a quoted token; escapes it does not know stand for themselves. */
export function unquote(image: string): string {
  try {
    return JSON.parse(image) as string;
  } catch {
    return image.slice(1, -1);
  }
}

export function createAttrResolver(file: string, data: readonly DataNode[]): AttrResolver {
  const at = (tok: Tok): Loc => ({ kind: "text", file, line: tok.line, column: tok.column });
  const entries = new Map<string, DataNode>();
  const values = new Map<string, Elements | readonly Attr[] | "busy">();
  for (const d of data) {
    const name = symbolName(d.name);
    if (entries.has(name)) throwFault(textDuplicate(`@${name}`, at(d.name)));
    entries.set(name, d);
  }

  const lookup = (tok: Tok): Elements | readonly Attr[] => {
    const name = symbolName(tok);
    const known = values.get(name);
    if (known === "busy") return throwFault(textData(`@${name}`, "contains itself", at(tok)));
    if (known !== undefined) return known;
    const node = entries.get(name);
    if (!node) return throwFault(textData(`@${name}`, "does not exist", at(tok)));
    values.set(name, "busy");
    const value = node.container ? elements(node, node.container) : listOf(node.value);
    values.set(name, value);
    return value;
  };
  const elements = (node: DataNode, container: Tok): Elements => {
    const name = symbolName(node.name);
    if (!isContainer(container.image))
      return throwFault(textData(`@${name}`, "has an unknown container", at(container)));
    const bytes = fromBase64(node.value.tok.image.slice(1, -1));
    const data = bytes && elementsFrom(container.image, bytes);
    return (
      data ?? throwFault(textData(`@${name}`, "is no base64 text of whole elements", at(node.value.tok)))
    );
  };
  const listOf = (node: AttrNode): readonly Attr[] => {
    const value = attr(node);
    return isList(value) ? value : throwFault(textAttr("a list is expected", at(node.tok)));
  };
  const numbersOf = (node: AttrNode): readonly number[] => {
    const list = listOf(node);
    if (list.every((x) => typeof x === "number")) return list;
    return throwFault(textType("a list of numbers is expected", at(node.tok)));
  };

  const atom = (tok: Tok): Attr => {
    switch (tok.kind) {
      case "constant":
        if (tok.image === "null") return null;
        if (tok.image === "true" || tok.image === "false") return tok.image === "true";
        return readNumber(tok.image);
      case "number":
        return readNumber(tok.image);
      case "big integer":
        return BigInt(tok.image.slice(0, -1));
      case "rational": {
        const [num, den] = tok.image.split("/").map(BigInt);
        if (den === 0n) return throwFault(textAttr("the denominator is zero", at(tok)));
        return { num: num!, den: den! };
      }
      case "string":
        try {
          return JSON.parse(tok.image) as string;
        } catch {
          return throwFault(textAttr("the string has an unknown escape", at(tok)));
        }
      case "symbol": {
        const value = lookup(tok);
        return isList(value as Attr)
          ? (value as readonly Attr[])
          : throwFault(textData(tok.image, "holds elements; write dense<…> before it", at(tok)));
      }
      default:
        return throwFault(textAttr("an elided constant cannot be loaded", at(tok)));
    }
  };
  const denseOf = (node: AttrNode & { kind: "dense" }): Dense => {
    const elem = plainElem(node.elem);
    const shape = shapeOf(node.dims);
    if (node.value.tok.kind === "fingerprint")
      return throwFault(textAttr("an elided constant cannot be loaded", at(node.value.tok)));
    const found = node.value.kind === "list" ? attr(node.value) : lookup(node.value.tok);
    const list = isList(found as Attr) ? (found as readonly Attr[]) : (found as Elements);
    const n = sizeOf(shape);
    if (list.length !== n)
      return throwFault(textAttr(`${list.length} elements do not fill ${n}`, at(node.value.tok)));
    const numbers = Array.isArray(list) ? numbersOf(node.value) : (list as Elements);
    if (elem.kind === "int" && !numbers.every((v) => inType(v, elem)))
      return throwFault(textAttr("an element is outside the element type", at(node.value.tok)));
    if (!Array.isArray(list)) return { kind: "dense", elem, shape, data: list as Elements };
    return makeDense(elem, shape, numbers);
  };
  const attr = (node: AttrNode): Attr => {
    if (node.kind === "atom") return atom(node.tok);
    if (node.kind === "list") return node.items.map(attr);
    if (node.kind === "dense") return denseOf(node);
    return dict(node.entries);
  };
  const dict = (nodes: readonly EntryNode[]): Attrs => {
    const out = new Map<string, Attr>();
    for (const { key, value } of nodes) {
      const name = key.kind === "string" ? (atom(key) as string) : key.image;
      if (out.has(name)) throwFault(textDuplicate(name, at(key)));
      out.set(name, attr(value));
    }
    return Object.fromEntries(out);
  };

  const plainElem = (tok: Tok): IntType | FloatType => {
    const match = /^([iuf])(\d{1,3})$/.exec(tok.image);
    const bits = Number(match?.[2]);
    if (match?.[1] === "f" && (bits === 16 || bits === 32 || bits === 64)) return { kind: "float", bits };
    if (match && match[1] !== "f" && bits >= 1 && bits <= 32) return int(match[1] === "i", bits);
    return throwFault(textType("an element type is i1 … i32, u1 … u32, f16, f32 or f64", at(tok)));
  };
  const shapeOf = (tok: Tok | undefined): number[] => {
    const shape = tok ? tok.image.slice(0, -1).split("x").map(Number) : [];
    if (shape.length > 32 || !Number.isSafeInteger(sizeOf(shape)))
      return throwFault(textType("the shape is too large", at(tok!)));
    return shape;
  };
  const scheme = (node: NonNullable<ElemNode["quant"]>["scheme"], storage: Tok): Scheme => {
    if (node.kind === "tensor") {
      const zeroPoint = node.zeroPoint ? number(node.zeroPoint) : 0;
      return { kind: "tensor", scale: number(node.scale), zeroPoint };
    }
    const scales = numbersOf(node.scales);
    const zeroPoints = node.zeroPoints ? numbersOf(node.zeroPoints) : scales.map(() => 0);
    if (zeroPoints.length !== scales.length)
      return throwFault(textType("scales and zero points differ in number", at(storage)));
    return { kind: "axis", axis: number(node.axis), scales, zeroPoints };
  };
  const number = (tok: Tok): number => {
    const v = atom(tok);
    return typeof v === "number" ? v : throwFault(textType("a number is expected", at(tok)));
  };
  const elemOf = (node: ElemNode): ElemType => {
    const storage = plainElem(node.tok);
    if (!node.quant) return storage;
    if (storage.kind !== "int")
      return throwFault(textType("a quantised type is stored in integers", at(node.tok)));
    const [lo, hi] = node.quant.range?.map(number) ?? [intMin(storage), intMax(storage)];
    return { kind: "quant", storage, lo: lo!, hi: hi!, scheme: scheme(node.quant.scheme, node.tok) };
  };
  const type = (node: TypeNode): TensorType => ({ shape: shapeOf(node.dims), elem: elemOf(node.elem) });
  return { attr, dict, type, at };
}

const inType = (v: number, t: IntType): boolean => Number.isInteger(v) && v >= intMin(t) && v <= intMax(t);
