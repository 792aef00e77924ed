/** Checks that a program means something: types, scopes, names, buffers, immediates. Addresses are checked when run. */
import { type Diagnostic, quote } from "../diagnostics.ts";
import { buffersInvalid, kernelInvalid } from "../messages-kernel.ts";
import { accessesOf } from "./accesses.ts";
import {
  type Buffer,
  type Expr,
  type Kernel,
  type KType,
  type LoadOp,
  type OpName,
  type Program,
  type Stmt,
  type StoreOp,
  signatures,
} from "./ir.ts";
import { type Marks, raceOf } from "./races.ts";

const scalars: readonly KType[] = ["i32", "i64"];
const vectors: readonly KType[] = ["i8x16", "i16x8", "i32x4", "i64x2"];

/** Result types of each load. Splat and zero loads only move bytes: any vector type will do. */
export const loadTypes: { readonly [K in LoadOp]: readonly KType[] } = {
  load: [...scalars, ...vectors],
  load8_u: ["i32"],
  load8_s: ["i32"],
  load16_u: ["i32"],
  load16_s: ["i32"],
  load8_splat: vectors,
  load16_splat: vectors,
  load32_splat: vectors,
  load64_splat: vectors,
  load32_zero: vectors,
  load64_zero: vectors,
  load8x8_u: ["i16x8"],
  load8x8_s: ["i16x8"],
  load16x4_u: ["i32x4"],
  load16x4_s: ["i32x4"],
};

/** Types each store accepts, and how many lanes it chooses from. */
export const storeTypes: {
  readonly [K in StoreOp]: { readonly types: readonly KType[]; readonly lanes: number };
} = {
  store: { types: [...scalars, ...vectors], lanes: 1 },
  store8: { types: ["i32"], lanes: 1 },
  store16: { types: ["i32"], lanes: 1 },
  store8_lane: { types: vectors, lanes: 16 },
  store16_lane: { types: vectors, lanes: 8 },
  store32_lane: { types: vectors, lanes: 4 },
  store64_lane: { types: vectors, lanes: 2 },
};

/** Exclusive upper bound of an op's immediates. */
export function immediateBound(name: OpName): number {
  if (name.startsWith("shuffle.")) return 32;
  const [lane = "", lanes] = (
    name.startsWith("lane") ? signatures[name].args[0]! : signatures[name].out
  ).split("x");
  return name.startsWith("lane") ? Number(lanes) : Number(lane.slice(1));
}

export function verifyProgram(program: Program): Diagnostic[] {
  const found: Diagnostic[] = [];
  const buffers = new Map<string, Buffer>();
  for (const b of program.buffers) {
    const bad = (text: string): number => found.push(buffersInvalid(`buffer ${quote(b.name)} ${text}`));
    if (buffers.has(b.name)) bad("is declared twice");
    if (!Number.isSafeInteger(b.bytes) || b.bytes < 0) bad(`has ${b.bytes} bytes`);
    if (!(b.align >= 1 && Number.isInteger(Math.log2(b.align)))) bad(`has alignment ${b.align}`);
    if ((b.role === "const") !== (b.data !== undefined))
      bad(b.data ? `is ${b.role} but has data` : "has no data");
    if (b.data && b.data.length !== b.bytes) bad(`has ${b.data.length} bytes of data, ${b.bytes} declared`);
    buffers.set(b.name, b);
  }
  const names = new Set<string>();
  for (const k of program.kernels) {
    if (names.has(k.name)) found.push(kernelInvalid(k.name, "the name is used twice"));
    names.add(k.name);
    verifyKernel(k, buffers, found);
  }
  return found;
}

type Binding = { readonly type: KType; readonly mutable: boolean };

function verifyKernel(kernel: Kernel, buffers: ReadonlyMap<string, Buffer>, found: Diagnostic[]): void {
  const bad = (text: string): number => found.push(kernelInvalid(kernel.name, text));
  const declared = new Set<string>();
  for (const name of [...kernel.reads, ...kernel.writes])
    if (!buffers.has(name)) bad(`buffer ${quote(name)} is not declared`);
  for (const name of kernel.writes)
    if (buffers.get(name)?.role === "const") bad(`constant ${quote(name)} is written`);

  type Scope = Map<string, Binding>;
  const access = (name: string, write: boolean): void => {
    if (!kernel.writes.includes(name) && (write || !kernel.reads.includes(name)))
      bad(`buffer ${quote(name)} is ${write ? "written" : "read"} but not in ${write ? "writes" : "reads"}`);
  };
  const offset = (n: number): void => {
    if (!Number.isInteger(n) || Math.abs(n) >= 2 ** 31) bad(`offset ${n} is not an i32`);
  };
  const address = (e: Expr, scope: Scope): void => {
    expr(e, scope, "i32");
    if (e.k === "const" && Number(e.value) < 0) bad(`address ${e.value} is negative: use the offset`);
  };

  const expr = (e: Expr, scope: Scope, want?: KType): void => {
    if (want !== undefined && e.type !== want) bad(`${describe(e)} is ${e.type}, expected ${want}`);
    switch (e.k) {
      case "const":
        constant(e);
        return;
      case "var": {
        const binding = scope.get(e.name);
        if (!binding) bad(`%${e.name} is not visible here`);
        else if (binding.type !== e.type) bad(`%${e.name} is ${binding.type}, used as ${e.type}`);
        return;
      }
      case "load":
        access(e.buf, false);
        address(e.addr, scope);
        offset(e.offset);
        if (!loadTypes[e.op].includes(e.type)) bad(`${e.op} cannot produce ${e.type}`);
        return;
      case "op": {
        const s = signatures[e.op];
        if (e.type !== s.out) bad(`${e.op} is ${s.out}, not ${e.type}`);
        if (e.args.length !== s.args.length)
          bad(`${e.op} takes ${s.args.length} arguments, not ${e.args.length}`);
        e.args.forEach((a, i) => {
          expr(a, scope, s.args[i]);
        });
        if (e.imm.length !== s.imm) bad(`${e.op} takes ${s.imm} immediates, not ${e.imm.length}`);
        const bound = s.imm ? immediateBound(e.op) : 0;
        for (const n of e.imm)
          if (!Number.isInteger(n) || n < 0 || n >= bound)
            bad(`${e.op}: immediate ${n} is not in 0 … ${bound - 1}`);
        return;
      }
    }
  };

  const constant = (e: Expr & { readonly k: "const" }): void => {
    const [lane = "", lanes] = e.type.split("x");
    const bits = Number(lane.slice(1));
    const values = typeof e.value === "number" ? [e.value] : e.value;
    if (typeof e.value !== "number" && e.value.length !== Number(lanes))
      bad(`a constant ${e.type} has ${e.value.length} lanes`);
    for (const v of values)
      if (!Number.isSafeInteger(v) || (bits < 64 && (v < -(2 ** (bits - 1)) || v >= 2 ** bits)))
        bad(`${v} does not fit a lane of ${e.type}`);
  };

  const bind = (name: string, binding: Binding, scope: Scope): void => {
    if (declared.has(name)) bad(`%${name} is defined twice`);
    declared.add(name);
    scope.set(name, binding);
  };

  const block = (stmts: readonly Stmt[], outer: Scope): void => {
    const scope = new Map(outer);
    for (const s of stmts) stmt(s, scope);
  };

  const stmt = (s: Stmt, scope: Scope): void => {
    switch (s.k) {
      case "comment":
        if (!/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u.test(s.text) || s.text.trim() !== s.text)
          bad("a comment is one line without surrounding space");
        return;
      case "let":
      case "var":
        expr(s.value, scope);
        bind(s.name, { type: s.value.type, mutable: s.k === "var" }, scope);
        return;
      case "set": {
        const binding = scope.get(s.name);
        if (!binding?.mutable) bad(`%${s.name} is not a variable visible here`);
        expr(s.value, scope, binding?.type);
        return;
      }
      case "for": {
        expr(s.start, scope, "i32");
        expr(s.end, scope, "i32");
        if (!Number.isInteger(s.step) || s.step <= 0) bad(`step ${s.step} of %${s.i} is not positive`);
        if (s.start.k === "const" && s.end.k === "const" && Number(s.start.value) >= Number(s.end.value))
          bad(`for %${s.i} from ${s.start.value} to ${s.end.value} is empty`);
        const inner = new Map(scope);
        bind(s.i, { type: "i32", mutable: false }, inner);
        block(s.body, inner);
        return;
      }
      case "if":
        expr(s.cond, scope, "i32");
        block(s.then, scope);
        block(s.else, scope);
        return;
      case "store": {
        access(s.buf, true);
        address(s.addr, scope);
        offset(s.offset);
        expr(s.value, scope);
        const { types, lanes } = storeTypes[s.op];
        if (!types.includes(s.value.type)) bad(`${s.op} cannot store ${s.value.type}`);
        if (!Number.isInteger(s.lane) || s.lane < 0 || s.lane >= lanes)
          bad(`${s.op}: lane ${s.lane} is not in 0 … ${lanes - 1}`);
        return;
      }
      case "fill":
        access(s.buf, true);
        address(s.addr, scope);
        offset(s.offset);
        if (!Number.isInteger(s.byte) || s.byte < 0 || s.byte > 255) bad(`fill with ${s.byte} is not a byte`);
        if (!Number.isInteger(s.bytes) || s.bytes < 0) bad(`fill of ${s.bytes} bytes`);
        return;
      case "copy":
        access(s.to, true);
        access(s.from, false);
        address(s.toAddr, scope);
        address(s.fromAddr, scope);
        if (!Number.isInteger(s.bytes) || s.bytes < 0) bad(`copy of ${s.bytes} bytes`);
        return;
    }
  };

  const before = found.length;
  block(kernel.body, new Map());
  if (found.length === before) verifySharing(kernel, buffers, bad);
}

/** Parallel loops are not nested, and whatever the threads do at once is proved to be independent. */
function verifySharing(
  kernel: Kernel,
  buffers: ReadonlyMap<string, Buffer>,
  bad: (text: string) => void,
): void {
  for (const name of kernel.private ?? [])
    if (buffers.get(name)?.role !== "temp" || !kernel.writes.includes(name))
      bad(`private ${quote(name)} is not a temp buffer that the kernel writes`);
  const marks = new Map<Stmt, "turns">();
  const visit = (stmts: readonly Stmt[], inside: boolean): void => {
    for (const s of stmts) {
      if (s.k === "if") [s.then, s.else].forEach((b) => void visit(b, inside));
      if (s.k !== "for") continue;
      if (s.parallel && inside) bad(`the parallel loop %${s.i} is inside another`);
      if (s.parallel) marks.set(s, "turns");
      visit(s.body, inside || s.parallel === true);
    }
  };
  visit(kernel.body, false);
  if (marks.size === 0) return;
  const constants = new Set([...buffers.values()].flatMap((b) => (b.role === "const" ? [b.name] : [])));
  const own = new Set(kernel.private);
  const race = raceOf(accessesOf(kernel, buffers), marks as Marks, (name) => own.has(name), constants);
  if (race) bad(race.text);
}

const describe = (e: Expr): string =>
  e.k === "var" ? `%${e.name}` : e.k === "const" ? "a constant" : e.k === "load" ? e.op : e.op;
