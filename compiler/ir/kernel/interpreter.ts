/**
 * Runs kernel IR on byte buffers, exactly as written: the oracle of the backends. What a kernel must not rely on is
 * made visible: bytes outside a buffer and buffers never written read as 0xA5.
 */
import { type Buffer, type Expr, type Kernel, type LoadOp, type Program, SLACK, type Stmt } from "./ir.ts";
import { type RegisterFile, registerFile } from "./registers.ts";
import { type EngineDot, meaningOf } from "./semantics.ts";
import { loadBytes, storeBytes } from "./widths.ts";

/** Bytes of each buffer by name. Two names may share bytes (in-place kernels, a flat arena). */
export type Memory = ReadonlyMap<string, Uint8Array>;

const GARBAGE = 0xa5;

type Step = () => void;

/** `dot`: compute dot4s as this engine's relaxed instruction does, instead of as the IR defines them. */
export interface RunOptions {
  readonly dot?: EngineDot | undefined;
}

/**
 * Runs all kernels once. Buffers missing from `memory` are created; those present are read and written in place.
 * Returns all buffers. Throws on what no verified program may do: an access outside its buffer (reads: outside its
 * slack), a write to a buffer not in `writes`, a negative address, a `for` whose range is empty.
 */
export function runProgram(
  program: Program,
  memory: Memory = new Map(),
  { dot }: RunOptions = {},
): Map<string, Uint8Array> {
  const all = allocate(program, memory);
  for (const kernel of program.kernels) compileKernel(kernel, program, all, undefined, dot)();
  return all;
}

/**
 * As `runProgram`, as several threads would: every thread in `order` takes its share of the turns of parallel loops, one thread
 * after the other, on copies of its own of private buffers. The results do not depend on the order or on how many there are.
 */
export function runThreads(
  program: Program,
  order: readonly number[],
  memory: Memory = new Map(),
): Map<string, Uint8Array> {
  const all = allocate(program, memory);
  for (const kernel of program.kernels) {
    if (!isShared(kernel.body)) compileKernel(kernel, program, all)();
    else
      for (const thread of order) {
        const own = (kernel.private ?? []).map(
          (name) => [name, new Uint8Array(all.get(name)!.length).fill(GARBAGE)] as const,
        );
        compileKernel(kernel, program, new Map([...all, ...own]), { thread, threads: order.length })();
      }
  }
  return all;
}

/** Whether there is a parallel loop among the statements: threads share them out. */
export const isShared = (stmts: readonly Stmt[]): boolean =>
  stmts.some(
    (s) =>
      (s.k === "for" && (s.parallel === true || isShared(s.body))) ||
      (s.k === "if" && (isShared(s.then) || isShared(s.else))),
  );

/** As `runProgram`, split: compile once, run often on the returned bytes. */
export function prepareProgram(
  program: Program,
  memory: Memory = new Map(),
  { dot }: RunOptions = {},
): { readonly memory: Map<string, Uint8Array>; readonly run: () => void } {
  const all = allocate(program, memory);
  const kernels = program.kernels.map((k) => compileKernel(k, program, all, undefined, dot));
  return {
    memory: all,
    run: () => {
      for (const k of kernels) k();
    },
  };
}

function allocate(program: Program, memory: Memory): Map<string, Uint8Array> {
  const all = new Map<string, Uint8Array>();
  for (const b of program.buffers) {
    const bytes = b.data ?? memory.get(b.name) ?? new Uint8Array(b.bytes).fill(GARBAGE);
    if (bytes.length !== b.bytes)
      throw new Error(`buffer ${b.name}: ${bytes.length} bytes given, ${b.bytes} declared`);
    all.set(b.name, bytes);
  }
  return all;
}

/** Turns the `n` bytes fetched into the start of register `r` into the loaded value. */
function expand(f: RegisterFile, op: LoadOp, r: number): void {
  const b = r * 16;
  switch (op) {
    case "load":
      return;
    case "load8_u":
      f.i32[r * 4] = f.u8[b]!;
      return;
    case "load8_s":
      f.i32[r * 4] = f.i8[b]!;
      return;
    case "load16_u":
      f.i32[r * 4] = f.u16[r * 8]!;
      return;
    case "load16_s":
      f.i32[r * 4] = f.i16[r * 8]!;
      return;
    case "load8_splat":
      f.u8.fill(f.u8[b]!, b, b + 16);
      return;
    case "load16_splat":
      f.u16.fill(f.u16[r * 8]!, r * 8, r * 8 + 8);
      return;
    case "load32_splat":
      f.u32.fill(f.u32[r * 4]!, r * 4, r * 4 + 4);
      return;
    case "load64_splat":
      f.u8.copyWithin(b + 8, b, b + 8);
      return;
    case "load32_zero":
      f.u8.fill(0, b + 4, b + 16);
      return;
    case "load64_zero":
      f.u8.fill(0, b + 8, b + 16);
      return;
    case "load8x8_u":
      for (let i = 7; i >= 0; i--) f.i16[r * 8 + i] = f.u8[b + i]!;
      return;
    case "load8x8_s":
      for (let i = 7; i >= 0; i--) f.i16[r * 8 + i] = f.i8[b + i]!;
      return;
    case "load16x4_u":
      for (let i = 3; i >= 0; i--) f.i32[r * 4 + i] = f.u16[r * 8 + i]!;
      return;
    case "load16x4_s":
      for (let i = 3; i >= 0; i--) f.i32[r * 4 + i] = f.i16[r * 8 + i]!;
      return;
  }
}

function countExprs(stmts: readonly Stmt[]): number {
  let n = 0;
  const expr = (e: Expr): void => {
    n++;
    if (e.k === "load") expr(e.addr);
    if (e.k === "op") e.args.forEach(expr);
  };
  const stmt = (s: Stmt): void => {
    n += 2;
    if ("value" in s) expr(s.value);
    if ("addr" in s) expr(s.addr);
    if (s.k === "copy") [s.toAddr, s.fromAddr].forEach(expr);
    if (s.k === "for") {
      [s.start, s.end].forEach(expr);
      s.body.forEach(stmt);
    }
    if (s.k === "if") {
      expr(s.cond);
      s.then.forEach(stmt);
      s.else.forEach(stmt);
    }
  };
  stmts.forEach(stmt);
  return n;
}

/** Thread `thread` of `threads` takes turns ⌊n·thread/threads⌋ to ⌊n·(thread+1)/threads⌋ of every parallel loop. */
interface Share {
  readonly thread: number;
  readonly threads: number;
}

function compileKernel(
  kernel: Kernel,
  program: Program,
  memory: Memory,
  share?: Share,
  dot?: EngineDot,
): Step {
  const f = registerFile(countExprs(kernel.body) + 1);
  const buffers = new Map<string, Buffer>(program.buffers.map((b) => [b.name, b]));
  const slots = new Map<string, number>();
  let next = 1;

  const fault = (text: string): never => {
    throw new Error(`kernel ${kernel.name}: ${text}`);
  };
  const bytes = (name: string, write: boolean): Uint8Array => {
    if (write && !kernel.writes.includes(name)) fault(`writes buffer ${name}, which is not in its writes`);
    if (write && buffers.get(name)?.role === "const") fault(`writes constant ${name}`);
    if (!kernel.reads.includes(name) && !kernel.writes.includes(name))
      fault(`uses undeclared buffer ${name}`);
    return memory.get(name) ?? fault(`unknown buffer ${name}`);
  };
  /** Position of an access of `n` bytes, checked against the buffer widened by `slack`. */
  const place = (
    name: string,
    size: number,
    addr: number,
    offset: number,
    n: number,
    slack: number,
  ): number => {
    const at = addr + offset;
    if (addr < 0) fault(`address ${addr} in ${name} is negative`);
    if (at < -slack || at + n > size + slack)
      fault(`${slack ? "reads" : "writes"} bytes ${at} … ${at + n - 1} of ${name}, which has ${size}`);
    return at;
  };

  const constant = (e: Expr & { readonly k: "const" }): number => {
    const r = next++;
    const values = typeof e.value === "number" ? [e.value] : e.value;
    const [lane, count] = e.type.split("x");
    const n = count === undefined ? 1 : Number(count);
    for (let i = 0; i < n; i++) {
      const v = values[values.length === 1 ? 0 : i]!;
      if (lane === "i64") f.i64[r * 2 + i] = BigInt(v);
      else if (lane === "i32") f.i32[r * 4 + i] = v;
      else if (lane === "i16") f.i16[r * 8 + i] = v;
      else f.i8[r * 16 + i] = v;
    }
    return r;
  };

  /** Appends the steps that compute `e`; returns the register that holds it. */
  const expr = (e: Expr, steps: Step[], target?: number): number => {
    switch (e.k) {
      case "const":
        return constant(e);
      case "var":
        return slots.get(e.name) ?? fault(`unknown name ${e.name}`);
      case "load": {
        const from = bytes(e.buf, false);
        const addr = expr(e.addr, steps);
        const r = target ?? next++;
        const { op, offset, buf } = e;
        const n = loadBytes(op, e.type);
        const size = from.length;
        steps.push(() => {
          const at = place(buf, size, f.i32[addr * 4]!, offset, n, SLACK);
          for (let i = 0; i < n; i++) {
            const j = at + i;
            f.u8[r * 16 + i] = j >= 0 && j < size ? from[j]! : GARBAGE;
          }
          expand(f, op, r);
        });
        return r;
      }
      case "op": {
        const [a = 0, b = 0, c = 0] = e.args.map((x) => expr(x, steps));
        const r = target ?? next++;
        const meaning = meaningOf(e.op, dot);
        const imm = e.imm;
        steps.push(() => meaning(f, r, a, b, c, imm));
        return r;
      }
    }
  };

  const move = (to: number, from: number): Step => {
    return () => {
      f.i64[to * 2] = f.i64[from * 2]!;
      f.i64[to * 2 + 1] = f.i64[from * 2 + 1]!;
    };
  };
  /** Evaluates into register `to`. A `set` must not overwrite its own operands before they are used. */
  const assign = (value: Expr, to: number, direct: boolean, steps: Step[]): void => {
    const r = expr(value, steps, direct && (value.k === "op" || value.k === "load") ? to : undefined);
    if (r !== to) steps.push(move(to, r));
  };

  const block = (stmts: readonly Stmt[]): Step => {
    const steps: Step[] = [];
    for (const s of stmts) stmt(s, steps);
    return () => {
      for (let i = 0; i < steps.length; i++) steps[i]!();
    };
  };

  const stmt = (s: Stmt, steps: Step[]): void => {
    switch (s.k) {
      case "comment":
        return;
      case "let":
      case "var": {
        const r = next++;
        assign(s.value, r, true, steps);
        slots.set(s.name, r);
        return;
      }
      case "set":
        assign(s.value, slots.get(s.name) ?? fault(`unknown name ${s.name}`), false, steps);
        return;
      case "for": {
        const start = expr(s.start, steps);
        const endValue = expr(s.end, steps);
        const i = next++;
        slots.set(s.i, i);
        const body = block(s.body);
        const { step } = s;
        const { thread, threads } = (s.parallel && share) || { thread: 0, threads: 1 };
        steps.push(() => {
          let end = f.i32[endValue * 4]!;
          let at = f.i32[start * 4]!;
          if (at >= end) fault(`for ${s.i} from ${at} to ${end} is empty`);
          const turns = Math.ceil((end - at) / step);
          end = Math.min(end, at + step * Math.floor((turns * (thread + 1)) / threads));
          at += step * Math.floor((turns * thread) / threads);
          if (at >= end) return;
          do {
            f.i32[i * 4] = at;
            body();
            at += step;
          } while (at < end);
        });
        return;
      }
      case "if": {
        const cond = expr(s.cond, steps);
        const then = block(s.then);
        const otherwise = block(s.else);
        steps.push(() => (f.i32[cond * 4] !== 0 ? then() : otherwise()));
        return;
      }
      case "store": {
        const to = bytes(s.buf, true);
        const addr = expr(s.addr, steps);
        const value = expr(s.value, steps);
        const n = storeBytes(s.op, s.value.type);
        const from = value * 16 + (s.op.endsWith("_lane") ? s.lane * n : 0);
        const { buf, offset } = s;
        steps.push(() => {
          const at = place(buf, to.length, f.i32[addr * 4]!, offset, n, 0);
          for (let i = 0; i < n; i++) to[at + i] = f.u8[from + i]!;
        });
        return;
      }
      case "fill": {
        const to = bytes(s.buf, true);
        const addr = expr(s.addr, steps);
        steps.push(() => {
          const at = place(s.buf, to.length, f.i32[addr * 4]!, s.offset, s.bytes, 0);
          to.fill(s.byte, at, at + s.bytes);
        });
        return;
      }
      case "copy": {
        const to = bytes(s.to, true);
        const from = bytes(s.from, false);
        const toAddr = expr(s.toAddr, steps);
        const fromAddr = expr(s.fromAddr, steps);
        steps.push(() => {
          const target = place(s.to, to.length, f.i32[toAddr * 4]!, 0, s.bytes, 0);
          // A copy stays inside both buffers: it would carry slack bytes into memory.
          const source = place(s.from, from.length, f.i32[fromAddr * 4]!, 0, s.bytes, 0);
          const distance = to.byteOffset + target - (from.byteOffset + source);
          if (to.buffer === from.buffer && Math.abs(distance) < s.bytes)
            fault(`copy ${s.from} to ${s.to} overlaps`);
          to.set(from.subarray(source, source + s.bytes), target);
        });
        return;
      }
    }
  };

  return block(kernel.body);
}
