/** Kernel IR as `.qk` text. `parseProgram` reads it back to the same program. */
import type { Buffer, Expr, Kernel, Program, Stmt } from "./ir.ts";

export function printProgram(program: Program): string {
  const parts = program.buffers.map(declaration).join("");
  const kernels = program.kernels.map((k) => `\n${printKernel(k)}`).join("");
  const data = program.buffers
    .flatMap((b) => (b.data ? [`data ${at(b.name)} ${hex(b.data)}\n`] : []))
    .join("");
  return parts + kernels + (data && `\n${data}`);
}

export function printKernel(kernel: Kernel): string {
  const list = (names: readonly string[]): string => names.map(at).join(", ");
  const own = kernel.private?.length ? ` private(${list(kernel.private)})` : "";
  const head = `kernel ${at(kernel.name)} reads(${list(kernel.reads)}) writes(${list(kernel.writes)})${own} {\n`;
  return `${head}${kernel.body.map((s) => printStmt(s, "  ")).join("")}}\n`;
}

const declaration = (b: Buffer): string => `${b.role} ${at(b.name)} bytes ${b.bytes} align ${b.align}\n`;

/** Names of unusual characters are quoted. */
const name = (s: string): string => (/^[A-Za-z0-9_.]+$/.test(s) ? s : JSON.stringify(s));
const at = (s: string): string => `@${name(s)}`;
const value = (s: string): string => `%${name(s)}`;

function hex(data: Uint8Array): string {
  let s = "";
  for (const b of data) s += b.toString(16).padStart(2, "0");
  return `"${s}"`;
}

function place(buf: string, addr: Expr, offset: number): string {
  const sign = offset < 0 ? ` - ${-offset}` : offset > 0 ? ` + ${offset}` : "";
  return `${at(buf)}[${printExpr(addr)}${sign}]`;
}

export function printExpr(e: Expr): string {
  switch (e.k) {
    case "const": {
      const list = typeof e.value === "number" ? `${e.value}` : e.value.join(", ");
      return e.type === "i32" ? list : `${e.type}(${list})`;
    }
    case "var":
      return value(e.name);
    case "load":
      return `${e.op}.${e.type} ${place(e.buf, e.addr, e.offset)}`;
    case "op": {
      const imm = e.imm.length ? `; ${e.imm.join(", ")}` : "";
      return `${e.op}(${e.args.map(printExpr).join(", ")}${imm})`;
    }
  }
}

function printStmt(s: Stmt, indent: string): string {
  const block = (stmts: readonly Stmt[]): string =>
    `{\n${stmts.map((t) => printStmt(t, `${indent}  `)).join("")}${indent}}`;
  switch (s.k) {
    case "comment":
      return `${indent}#${s.text && ` ${s.text}`}\n`;
    case "let":
    case "var":
    case "set":
      return `${indent}${s.k} ${value(s.name)} = ${printExpr(s.value)}\n`;
    case "for":
      return `${indent}for ${value(s.i)} = ${printExpr(s.start)} to ${printExpr(s.end)} step ${s.step}${s.parallel ? " parallel" : ""} ${block(s.body)}\n`;
    case "if":
      return `${indent}if ${printExpr(s.cond)} ${block(s.then)}${s.else.length ? ` else ${block(s.else)}` : ""}\n`;
    case "store": {
      const lane = s.op.endsWith("_lane") ? ` lane ${s.lane}` : "";
      return `${indent}${s.op} ${place(s.buf, s.addr, s.offset)}, ${printExpr(s.value)}${lane}\n`;
    }
    case "fill":
      return `${indent}fill ${place(s.buf, s.addr, s.offset)} with ${s.byte} bytes ${s.bytes}\n`;
    case "copy":
      return `${indent}copy ${place(s.to, s.toAddr, 0)} from ${place(s.from, s.fromAddr, 0)} bytes ${s.bytes}\n`;
  }
}
