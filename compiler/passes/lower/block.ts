/** Writing kernel bodies: statements in order, fresh names, constant and scratch buffers collected on the side. */
import { type Buffer, c32, type Expr, type Kernel, type KType, ref, type Stmt } from "../../ir/kernel/ir.ts";

export interface Mutable {
  readonly ref: Expr;
  readonly name: string;
}

/** A list of statements under construction. Nested blocks share names and buffers with their parent. */
export interface Block {
  readonly stmts: readonly Stmt[];
  readonly push: (...stmts: Stmt[]) => void;
  /** Binds an expression to a fresh name; constants and variables are returned as they are. */
  readonly bind: (value: Expr, hint?: string) => Expr;
  /** A mutable variable with its initial value. */
  readonly variable: (value: Expr, hint?: string) => Mutable;
  readonly set: (v: Mutable, value: Expr) => void;
  /** `for i = start; i < end; i += step`, unrolled away when it runs once. Does nothing when start ≥ end (static bounds). */
  readonly loop: (
    start: number,
    end: number,
    step: number,
    body: (i: Expr, inner: Block) => void,
    hint?: string,
  ) => void;
  /** `for i = start; i < end; i += step` with bounds known only when it runs; start < end must hold. */
  readonly loopBetween: (
    start: Expr,
    end: Expr,
    step: number,
    body: (i: Expr, inner: Block) => void,
    hint?: string,
  ) => void;
  /** A constant buffer of these bytes; equal bytes share a buffer. Returns its name. */
  readonly constant: (data: Uint8Array, hint: string, align?: number) => string;
  /** A buffer that only lives while the kernel runs. Returns its name. */
  readonly scratch: (bytes: number, hint: string) => string;
}

export interface KernelBuilder {
  readonly block: Block;
  /** The kernel and its constant and scratch buffers. */
  readonly finish: (
    reads: readonly string[],
    writes: readonly string[],
  ) => { kernel: Kernel; buffers: readonly Buffer[] };
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i]);

export function createKernel(name: string): KernelBuilder {
  const buffers: Buffer[] = [];
  const counts = new Map<string, number>();
  const fresh = (hint: string): string => {
    const n = counts.get(hint) ?? 0;
    counts.set(hint, n + 1);
    return n === 0 ? hint : `${hint}_${n}`;
  };
  const constant = (data: Uint8Array, hint: string, align = 16): string => {
    const same = buffers.find((b) => b.data !== undefined && sameBytes(b.data, data));
    if (same) return same.name;
    const buffer: Buffer = {
      name: `${name}.${fresh(`k_${hint}`)}`,
      role: "const",
      bytes: data.length,
      align,
      data,
    };
    buffers.push(buffer);
    return buffer.name;
  };
  const scratch = (bytes: number, hint: string): string => {
    const buffer: Buffer = { name: `${name}.${fresh(`s_${hint}`)}`, role: "temp", bytes, align: 16 };
    buffers.push(buffer);
    return buffer.name;
  };
  const makeBlock = (): Block => {
    const stmts: Stmt[] = [];
    const bind = (value: Expr, hint = "t"): Expr => {
      if (value.k === "var" || value.k === "const") return value;
      const n = fresh(hint);
      stmts.push({ k: "let", name: n, value });
      return ref(n, value.type);
    };
    return {
      stmts,
      push: (...s) => void stmts.push(...s),
      bind,
      variable: (value, hint = "v") => {
        const n = fresh(hint);
        stmts.push({ k: "var", name: n, value });
        return { name: n, ref: ref(n, value.type) };
      },
      set: (v, value) => void stmts.push({ k: "set", name: v.name, value }),
      loop: (start, end, step, body, hint = "i") => {
        if (start >= end) return;
        if (start + step >= end) {
          const inner = makeBlock();
          body(c32(start), inner);
          stmts.push(...inner.stmts);
          return;
        }
        const i = fresh(hint);
        const inner = makeBlock();
        body(ref(i), inner);
        stmts.push({ k: "for", i, start: c32(start), end: c32(end), step, body: inner.stmts });
      },
      loopBetween: (start, end, step, body, hint = "i") => {
        const i = fresh(hint);
        const inner = makeBlock();
        body(ref(i), inner);
        stmts.push({ k: "for", i, start, end, step, body: inner.stmts });
      },
      constant,
      scratch,
    };
  };
  const block = makeBlock();
  return {
    block,
    finish: (reads, writes) => ({
      kernel: {
        name,
        reads: [...reads, ...buffers.map((b) => b.name)],
        writes: [...writes, ...buffers.filter((b) => b.role === "temp").map((b) => b.name)],
        body: block.stmts,
      },
      buffers,
    }),
  };
}

/** Little-endian bytes of typed numbers. */
export function bytesOf(values: ArrayLike<number>, type: "i8" | "u8" | "i16" | "i32" | "f32"): Uint8Array {
  const size = { i8: 1, u8: 1, i16: 2, i32: 4, f32: 4 }[type];
  const view = new DataView(new ArrayBuffer(values.length * size));
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    if (type === "f32") view.setFloat32(i * 4, x, true);
    else if (size === 1) view.setUint8(i, x & 255);
    else if (size === 2) view.setInt16(i * 2, x, true);
    else view.setInt32(i * 4, x, true);
  }
  return new Uint8Array(view.buffer);
}

export type { Expr, KType, Stmt };
