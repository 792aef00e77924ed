/** Syntax of `.qir` as plain data, before names and types are resolved. */

/** A token: its text, kind and 1-based position. */
export interface Tok {
  readonly image: string;
  readonly kind: string;
  readonly line: number;
  readonly column: number;
}

export type AttrNode =
  | { readonly kind: "atom"; readonly tok: Tok }
  | { readonly kind: "list"; readonly tok: Tok; readonly items: readonly AttrNode[] }
  | { readonly kind: "dict"; readonly tok: Tok; readonly entries: readonly EntryNode[] }
  | {
      readonly kind: "dense";
      readonly tok: Tok;
      readonly dims: Tok | undefined;
      readonly elem: Tok;
      /** A list, a reference into the data section or the fingerprint of an elided constant. */
      readonly value: AttrNode;
    };

export interface EntryNode {
  readonly key: Tok;
  readonly value: AttrNode;
}

export type SchemeNode =
  | { readonly kind: "tensor"; readonly scale: Tok; readonly zeroPoint: Tok | undefined }
  | {
      readonly kind: "axis";
      readonly axis: Tok;
      readonly scales: AttrNode;
      readonly zeroPoints: AttrNode | undefined;
    };

export interface ElemNode {
  /** Element type name, or the storage type's of a quantised type. */
  readonly tok: Tok;
  readonly quant:
    | { readonly range: readonly [Tok, Tok] | undefined; readonly scheme: SchemeNode }
    | undefined;
}

export interface TypeNode {
  readonly tok: Tok;
  readonly dims: Tok | undefined;
  readonly elem: ElemNode;
}

export interface OpNode {
  readonly results: readonly Tok[];
  readonly name: Tok;
  readonly operands: readonly Tok[];
  readonly attrs: readonly EntryNode[];
  readonly types: readonly TypeNode[];
  readonly loc: AttrNode | undefined;
}

export interface PortNode {
  /** Absent for results. */
  readonly value: Tok | undefined;
  readonly type: TypeNode;
  readonly attrs: AttrNode | undefined;
}

export interface FuncNode {
  readonly name: Tok;
  readonly params: readonly PortNode[];
  readonly results: readonly PortNode[];
  readonly ops: readonly OpNode[];
  readonly ret: Tok;
  readonly returned: readonly Tok[];
}

/** An entry of the data section: a container with base64 text, or a list. */
export interface DataNode {
  readonly name: Tok;
  readonly container: Tok | undefined;
  readonly value: AttrNode;
}

export interface ModuleNode {
  readonly funcs: readonly FuncNode[];
  readonly data: readonly DataNode[];
}
