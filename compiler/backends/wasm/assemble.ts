/** Functions, memory and data → the bytes of a WASM module. */
import { type Bytes, growingBytes } from "./bytes.ts";
import { ATOMIC_PREFIX, I32_CONST, instructions, RELAXED_DOT, type Ref, TYPES } from "./instructions.ts";

export type { Ref } from "./instructions.ts";

/** Value types, and lists of them for parameters. */
export const types = {
  ...TYPES,
  none: [] as readonly number[],
  createType: (list: readonly number[]): readonly number[] => list,
};
export type Types = typeof types;

export interface Segment {
  readonly offset: number;
  readonly data: Uint8Array;
}

interface Func {
  readonly name: string;
  readonly params: readonly number[];
  readonly locals: readonly number[];
  readonly body: Ref;
}

interface Memory {
  readonly initial: number;
  readonly maximum: number;
  readonly exported: string | null;
  readonly segments: readonly Segment[];
  readonly shared: boolean;
}

/** Builders of instructions, and what a module has beside code. Names are inside of the builder only. */
export type Builder = ReturnType<typeof newModule>["builder"];

function newModule() {
  const functions: Func[] = [];
  const exports: { readonly name: string; readonly kind: "function" | "memory"; readonly of: string }[] = [];
  const globals: { readonly name: string; readonly type: number; readonly init: Ref }[] = [];
  const parts: { memory?: Memory; memoryImport?: readonly [string, string]; start?: string } = {};
  const builder = {
    ...instructions,
    /** Without result. Returns the name. */
    addFunction: (
      name: string,
      params: readonly number[],
      _result: readonly number[],
      locals: readonly number[],
      body: Ref,
    ): string => {
      functions.push({ name, params, locals, body });
      return name;
    },
    addFunctionExport: (of: string, name: string): void => {
      exports.push({ name, kind: "function", of });
    },
    addGlobal: (name: string, type: number, _mutable: true, init: Ref): void => {
      globals.push({ name, type, init });
    },
    /** Sizes in pages of 64 KiB. Segments are written to it when the module starts. */
    setMemory: (
      initial: number,
      maximum: number,
      exported: string | null,
      segments: readonly Segment[],
      shared = false,
    ): void => {
      parts.memory = { initial, maximum, exported, segments, shared };
      if (exported !== null) exports.push({ name: exported, kind: "memory", of: exported });
    },
    addMemoryImport: (module: string, name: string): void => {
      parts.memoryImport = [module, name];
    },
    setStart: (name: string): void => {
      parts.start = name;
    },
  };
  return { functions, exports, globals, parts, builder };
}
type Parts = ReturnType<typeof newModule>;

/** What an engine needs to have beside fixed-width SIMD and bulk memory. */
interface Features {
  readonly relaxed: boolean;
  readonly threads: boolean;
}

/** Runs `build` on a fresh module and returns the binary. Throws on instructions beyond `relaxed` and `threads`. */
export async function assemble(
  build: (b: Types, m: Builder) => void,
  relaxed: boolean,
  threads = false,
): Promise<Uint8Array> {
  const module = newModule();
  build(types, module.builder);
  return encode(module, { relaxed, threads });
}

const text = (out: Bytes, value: string): void => {
  const bytes = new TextEncoder().encode(value);
  out.unsigned(bytes.length);
  out.append(bytes);
};

function encode(module: Parts, features: Features): Uint8Array {
  const { functions, exports, globals, parts } = module;
  const { memory } = parts;
  const signatures = signaturesOf(functions);
  const functionAt = new Map(functions.map((f, i) => [f.name, i]));
  const globalAt = new Map(globals.map((g, i) => [g.name, i]));
  const names: Names = { functionAt, globalAt, features };
  const dataBytes = memory?.segments.reduce((n, s) => n + s.data.length + 16, 0) ?? 0;
  const out = growingBytes(dataBytes + (1 << 18));
  out.append(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
  const part = growingBytes(1 << 16);
  const section = (id: number, count: number, each: (i: number) => void): void => {
    if (count === 0) return;
    part.clear();
    part.unsigned(count);
    for (let i = 0; i < count; i++) each(i);
    out.byte(id);
    out.unsigned(part.view().length);
    out.append(part.view());
  };
  const limits = ({ initial, maximum, shared }: Memory): void => {
    part.byte(shared ? 3 : 1);
    part.unsigned(initial);
    part.unsigned(maximum);
  };

  section(1, signatures.list.length, (i) => {
    part.byte(0x60);
    part.unsigned(signatures.list[i]!.length);
    signatures.list[i]!.forEach(part.byte);
    part.unsigned(0);
  });
  const { memoryImport } = parts;
  if (memory && memoryImport)
    section(2, 1, () => {
      for (const name of memoryImport) text(part, name);
      part.byte(2);
      limits(memory);
    });
  section(3, functions.length, (i) => part.unsigned(signatures.of(functions[i]!)));
  if (memory && !memoryImport) section(5, 1, () => limits(memory));
  section(6, globals.length, (i) => {
    part.byte(globals[i]!.type);
    part.byte(1);
    writeTree(part, globals[i]!.init, names, []);
    part.byte(END);
  });
  section(7, exports.length, (i) => {
    const { name, kind, of } = exports[i]!;
    text(part, name);
    part.byte(kind === "function" ? 0 : 2);
    part.unsigned(kind === "function" ? functionIndex(names, of) : 0);
  });
  const number = (id: number, value: number): void => {
    part.clear();
    part.unsigned(value);
    out.byte(id);
    out.unsigned(part.view().length);
    out.append(part.view());
  };
  if (parts.start !== undefined) number(8, functionIndex(names, parts.start));
  if (memory && memory.segments.length > 0) number(12, memory.segments.length);
  const body = growingBytes(1 << 14);
  section(10, functions.length, (i) => {
    body.clear();
    writeFunction(body, functions[i]!, names);
    part.unsigned(body.view().length);
    part.append(body.view());
  });
  section(11, memory?.segments.length ?? 0, (i) => {
    const { offset, data } = memory!.segments[i]!;
    part.byte(0);
    part.byte(I32_CONST);
    part.signed(offset);
    part.byte(END);
    part.unsigned(data.length);
    part.append(data);
  });
  return out.view().slice();
}

/** Each list of parameters once, the most frequent first. */
function signaturesOf(functions: readonly Func[]) {
  const counts = new Map<string, { readonly params: readonly number[]; n: number }>();
  for (const { params } of functions) {
    const entry = counts.get(params.join());
    if (entry) entry.n++;
    else counts.set(params.join(), { params, n: 1 });
  }
  const sorted = [...counts].sort(([, a], [, b]) => b.n - a.n);
  const index = new Map(sorted.map(([key], i) => [key, i]));
  return {
    list: sorted.map(([, { params }]) => params),
    of: ({ params }: Func): number => index.get(params.join())!,
  };
}

interface Names {
  readonly functionAt: ReadonlyMap<string, number>;
  readonly globalAt: ReadonlyMap<string, number>;
  readonly features: Features;
}

const END = 0x0b;
const EMPTY = 0x40;

function functionIndex({ functionAt }: Names, name: string): number {
  const index = functionAt.get(name);
  if (index === undefined) throw new Error(`no function ${name}`);
  return index;
}

/** Locals of one type are numbered in a row, types in the order in which they first appear. */
function writeFunction(out: Bytes, { params, locals, body }: Func, names: Names): void {
  const groups = new Map<number, number>();
  const within = locals.map((t) => {
    const n = groups.get(t) ?? 0;
    groups.set(t, n + 1);
    return n;
  });
  const starts = new Map<number, number>();
  let next = params.length;
  for (const [t, n] of groups) {
    starts.set(t, next);
    next += n;
  }
  const places = [...params.keys(), ...locals.map((t, i) => starts.get(t)! + within[i]!)];
  out.unsigned(groups.size);
  for (const [t, n] of groups) {
    out.unsigned(n);
    out.byte(t);
  }
  writeTree(out, body, names, places);
  out.byte(END);
}

/** `places`: number of each local in the binary. */
function writeTree(out: Bytes, root: Ref, names: Names, places: readonly number[]): void {
  /** Of the blocks around, the innermost last; undefined where no branch goes. */
  const labels: (string | undefined)[] = [];
  const opcode = (code: number): void => {
    if (code < 0x100) {
      out.byte(code);
      return;
    }
    const prefix = code >>> 16;
    if (
      (code === RELAXED_DOT && !names.features.relaxed) ||
      (prefix === ATOMIC_PREFIX && !names.features.threads)
    )
      throw new Error(`instruction ${code.toString(16)} is beyond the features of the module`);
    out.byte(prefix);
    out.unsigned(code & 0xffff);
  };
  const all = (list: readonly Ref[]): void => {
    for (let i = 0; i < list.length; i++) write(list[i]!);
  };
  const write = (e: Ref): void => {
    switch (e.k) {
      case "plain": {
        all(e.args);
        const { code, imm } = e;
        opcode(code);
        if (code === I32_CONST) out.signed(imm[0]!);
        else if (code >= 0x20 && code <= 0x22) out.unsigned(localPlace(places, imm[0]!));
        else for (let i = 0; i < imm.length; i++) out.unsigned(imm[i]!);
        return;
      }
      case "i64.const":
        out.byte(0x42);
        out.signed64(e.value);
        return;
      case "bytes":
        all(e.args);
        opcode(e.code);
        if (e.bytes.length !== 16) throw new Error("a vector has 16 bytes");
        e.bytes.forEach(out.byte);
        return;
      case "access":
        all(e.args);
        opcode(e.code);
        out.unsigned(e.align);
        out.unsigned(e.offset);
        if (e.lane !== undefined) out.byte(e.lane);
        return;
      case "branch": {
        all(e.args);
        out.byte(e.code);
        const at = labels.lastIndexOf(e.name);
        if (at < 0) throw new Error(`no label ${e.name}`);
        out.unsigned(labels.length - 1 - at);
        return;
      }
      case "call":
        all(e.args);
        out.byte(e.code);
        out.unsigned(functionIndex(names, e.name));
        return;
      case "global": {
        all(e.args);
        out.byte(e.code);
        const index = names.globalAt.get(e.name);
        if (index === undefined) throw new Error(`no global ${e.name}`);
        out.unsigned(index);
        return;
      }
      case "block":
        all(e.body);
        return;
      case "loop":
        out.byte(0x03);
        out.byte(EMPTY);
        labels.push(e.label);
        all(e.body);
        labels.pop();
        out.byte(END);
        return;
      case "if":
        write(e.cond);
        out.byte(0x04);
        out.byte(EMPTY);
        labels.push(undefined);
        write(e.then);
        if (e.else) {
          out.byte(0x05);
          write(e.else);
        }
        labels.pop();
        out.byte(END);
        return;
    }
  };
  write(root);
}

function localPlace(places: readonly number[], index: number): number {
  const place = places[index];
  if (place === undefined) throw new Error(`no local ${index}`);
  return place;
}
