/**
 * A decoder of WASM binaries for tests: sections, functions, instructions and the loops around them. Independent of the
 * assembler qc uses. Throws on anything it does not know.
 */

export interface Instr {
  /** As in the text format; `op 0x…` where no test needs the name. */
  readonly name: string;
  /** Computes, moves or converts floating-point numbers. */
  readonly float: boolean;
  /** A vector constant of zeros, which engines make without a load. */
  readonly zero?: true;
  /** Index of the function that a `call` calls. */
  readonly callee?: number;
}

export interface Loop {
  /** 1 for an outermost loop. */
  readonly depth: number;
  /** Contains no other loop. */
  readonly innermost: boolean;
  /** Instructions inside, those of inner loops included. */
  readonly body: readonly Instr[];
}

export interface Func {
  readonly index: number;
  /** Name it is exported under, if any. */
  readonly exportName: string | undefined;
  /** Value types of parameters, results and locals. */
  readonly types: readonly string[];
  readonly body: readonly Instr[];
  readonly loops: readonly Loop[];
}

export interface WasmModule {
  readonly sections: readonly { readonly id: number; readonly bytes: number; readonly name?: string }[];
  readonly imports: readonly { readonly module: string; readonly name: string; readonly kind: number }[];
  readonly exports: readonly { readonly name: string; readonly kind: number; readonly index: number }[];
  readonly functions: readonly Func[];
  /** Bytes of active data. */
  readonly dataBytes: number;
}

const valueTypes: { readonly [code: number]: string } = {
  127: "i32",
  126: "i64",
  125: "f32",
  124: "f64",
  123: "v128",
};

const range = (first: number, names: string): [number, string][] =>
  names.split(" ").map((name, i) => [first + i, name]);

const core = new Map<number, string>([
  ...range(0x00, "unreachable nop block loop if else"),
  ...range(0x0b, "end br br_if br_table return call call_indirect"),
  ...range(0x1a, "drop select"),
  ...range(0x20, "local.get local.set local.tee global.get global.set"),
  ...range(
    0x28,
    "i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32 memory.size memory.grow i32.const i64.const f32.const f64.const",
  ),
  ...range(
    0x45,
    "i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u",
  ),
  ...range(
    0x50,
    "i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u",
  ),
  ...range(
    0x67,
    "i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr",
  ),
  ...range(
    0x79,
    "i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr",
  ),
  [0xa7, "i32.wrap_i64"],
  ...range(0xac, "i64.extend_i32_s i64.extend_i32_u"),
  ...range(0xc0, "i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s"),
]);

const simd = new Map<number, string>([
  ...range(
    0,
    "v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u v128.load32x2_s v128.load32x2_u v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat v128.store v128.const i8x16.shuffle i8x16.swizzle i8x16.splat i16x8.splat i32x4.splat i64x2.splat",
  ),
  ...range(77, "v128.not v128.and v128.andnot v128.or v128.xor v128.bitselect v128.any_true"),
  ...range(
    84,
    "v128.load8_lane v128.load16_lane v128.load32_lane v128.load64_lane v128.store8_lane v128.store16_lane v128.store32_lane v128.store64_lane v128.load32_zero v128.load64_zero",
  ),
  ...range(101, "i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u"),
  ...range(133, "i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u"),
  ...range(
    135,
    "i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u",
  ),
  [149, "i16x8.mul"],
  [174, "i32x4.add"],
  [181, "i32x4.mul"],
  [186, "i32x4.dot_i16x8_s"],
  ...range(188, "i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s"),
  ...range(203, "i64x2.shl i64x2.shr_s i64x2.shr_u i64x2.add"),
  ...range(220, "i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s"),
  [0x100, "i8x16.relaxed_swizzle"],
  [0x112, "i16x8.relaxed_dot_i8x16_i7x16_s"],
  [0x113, "i32x4.relaxed_dot_i8x16_i7x16_add_s"],
]);

const within = (n: number, ...ranges: readonly (readonly [number, number])[]): boolean =>
  ranges.some(([a, b]) => n >= a && n <= b);

const coreFloat = (op: number): boolean =>
  within(
    op,
    [0x2a, 0x2b],
    [0x38, 0x39],
    [0x43, 0x44],
    [0x5b, 0x66],
    [0x8b, 0xa6],
    [0xa8, 0xab],
    [0xae, 0xbf],
  );

const simdFloat = (op: number): boolean =>
  within(
    op,
    [19, 20],
    [31, 34],
    [65, 76],
    [94, 95],
    [103, 106],
    [116, 117],
    [122, 122],
    [148, 148],
    [224, 255],
    [0x101, 0x108],
    [0x10d, 0x110],
  );

interface Reader {
  readonly bytes: Uint8Array;
  at: number;
}

function byte(r: Reader): number {
  if (r.at >= r.bytes.length) throw new Error("truncated");
  return r.bytes[r.at++]!;
}

/** LEB128 of up to 10 bytes; exact only below 2^53, enough for indices and sizes. */
function leb(r: Reader): number {
  let value = 0;
  for (let scale = 1, i = 0; i < 10; i++, scale *= 128) {
    const b = byte(r);
    value += (b & 127) * scale;
    if (b < 128) return value;
  }
  throw new Error("overlong LEB128");
}

function text(r: Reader): string {
  const n = leb(r);
  r.at += n;
  return new TextDecoder("utf-8", { fatal: true }).decode(r.bytes.subarray(r.at - n, r.at));
}

const list = <T>(r: Reader, item: (r: Reader) => T): T[] => Array.from({ length: leb(r) }, () => item(r));

function valueType(r: Reader): string {
  const code = byte(r);
  return valueTypes[code] ?? fail(`value type 0x${code.toString(16)}`, r);
}

function fail(what: string, r: Reader): never {
  throw new Error(`unknown ${what} at byte ${r.at - 1}`);
}

function limits(r: Reader): void {
  const flags = leb(r);
  leb(r);
  if (flags & 1) leb(r);
}

const memarg = (r: Reader): void => {
  leb(r);
  leb(r);
};

function blockType(r: Reader): void {
  const code = byte(r);
  if (code !== 0x40 && !(code in valueTypes)) fail(`block type 0x${code.toString(16)}`, r);
}

function instruction(r: Reader): Instr {
  const op = byte(r);
  if (op === 0xfd) {
    const n = leb(r);
    if (n <= 11 || n === 92 || n === 93) memarg(r);
    else if (n === 12) {
      r.at += 16;
      const zero = r.bytes.subarray(r.at - 16, r.at).every((b) => b === 0);
      return { name: "v128.const", float: false, ...(zero && { zero }) };
    } else if (n === 13) r.at += 16;
    else if (within(n, [21, 34])) r.at += 1;
    else if (within(n, [84, 91])) {
      memarg(r);
      r.at += 1;
    } else if (n > 0x113) fail(`SIMD instruction ${n}`, r);
    return { name: simd.get(n) ?? `op 0xfd ${n}`, float: simdFloat(n) };
  }
  if (op === 0xfc) {
    const n = leb(r);
    if (n === 10) r.at += 2;
    else if (n === 11) r.at += 1;
    else if (n > 7) fail(`instruction 0xfc ${n}`, r);
    return { name: n === 10 ? "memory.copy" : n === 11 ? "memory.fill" : `op 0xfc ${n}`, float: n <= 7 };
  }
  const float = coreFloat(op);
  const name =
    core.get(op) ?? (float ? `op 0x${op.toString(16)}` : fail(`instruction 0x${op.toString(16)}`, r));
  if (within(op, [0x02, 0x04])) blockType(r);
  else if (within(op, [0x28, 0x3e])) memarg(r);
  else if (op === 0x10) return { name, float, callee: leb(r) };
  else if (within(op, [0x0c, 0x0d], [0x20, 0x24], [0x3f, 0x42])) leb(r);
  else if (op === 0x43) r.at += 4;
  else if (op === 0x44) r.at += 8;
  else if (op === 0x0e || op === 0x11) fail(name, r);
  return { name, float };
}

function code(r: Reader): Pick<Func, "types" | "body" | "loops"> {
  const end = leb(r) + r.at;
  const types = list(r, (q) => {
    const n = leb(q);
    const type = valueType(q);
    return n > 0 ? [type] : [];
  }).flat();
  const body: Instr[] = [];
  const loops: { depth: number; innermost: boolean; body: Instr[] }[] = [];
  const open: ({ depth: number; innermost: boolean; body: Instr[] } | undefined)[] = [undefined];
  while (r.at < end) {
    const instr = instruction(r);
    body.push(instr);
    if (instr.name === "end") open.pop();
    const around = open.filter((l) => l !== undefined);
    for (const loop of around) loop.body.push(instr);
    if (instr.name === "loop") {
      for (const outer of around) outer.innermost = false;
      const loop = { depth: around.length + 1, innermost: true, body: [] };
      loops.push(loop);
      open.push(loop);
    } else if (instr.name === "block" || instr.name === "if") open.push(undefined);
  }
  if (r.at !== end || open.length !== 0) throw new Error("malformed function body");
  return { types, body, loops };
}

export function decodeWasm(bytes: Uint8Array): WasmModule {
  const r: Reader = { bytes, at: 8 };
  if ([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0].some((b, i) => bytes[i] !== b)) throw new Error("not a WASM binary");
  const sections: { id: number; bytes: number; name?: string }[] = [];
  const signatures: string[][] = [];
  const imports: { module: string; name: string; kind: number }[] = [];
  const exports: { name: string; kind: number; index: number }[] = [];
  let declared: number[] = [];
  let bodies: Pick<Func, "types" | "body" | "loops">[] = [];
  let dataBytes = 0;
  while (r.at < bytes.length) {
    const id = byte(r);
    const size = leb(r);
    const end = r.at + size;
    const section: { id: number; bytes: number; name?: string } = { id, bytes: size };
    sections.push(section);
    if (id === 0) {
      section.name = text(r);
      r.at = end;
    } else if (id === 1)
      list(r, (q) => {
        if (byte(q) !== 0x60) fail("type", q);
        signatures.push([...list(q, valueType), ...list(q, valueType)]);
      });
    else if (id === 2)
      list(r, (q) => {
        const entry = { module: text(q), name: text(q), kind: byte(q) };
        if (entry.kind === 0) leb(q);
        else if (entry.kind === 2) limits(q);
        else fail("import kind", q);
        imports.push(entry);
      });
    else if (id === 3) declared = list(r, leb);
    else if (id === 5) list(r, limits);
    else if (id === 7) list(r, (q) => exports.push({ name: text(q), kind: byte(q), index: leb(q) }));
    else if (id === 8) leb(r);
    else if (id === 10) bodies = list(r, code);
    else if (id === 11)
      list(r, (q) => {
        if (leb(q) !== 0 || instruction(q).name !== "i32.const" || instruction(q).name !== "end")
          fail("data segment", q);
        const n = leb(q);
        dataBytes += n;
        q.at += n;
      });
    else if (id === 12) leb(r);
    else fail(`section ${id}`, r);
    if (r.at !== end) throw new Error(`section ${id} ends at ${r.at}, not ${end}`);
  }
  const imported = imports.filter((i) => i.kind === 0).length;
  const functions = bodies.map((b, i): Func => {
    const index = imported + i;
    return {
      ...b,
      index,
      types: [...signatures[declared[i]!]!, ...b.types],
      exportName: exports.find((e) => e.kind === 0 && e.index === index && e.name !== "run")?.name,
    };
  });
  return { sections, imports, exports, functions, dataBytes };
}

/** Where floating point appears: instructions and value types. Empty in an integer-only module. */
export function floatUses(module: WasmModule): string[] {
  return module.functions.flatMap((f) => [
    ...f.types.filter((t) => t.startsWith("f")).map((t) => `function ${f.index}: type ${t}`),
    ...f.body.filter((i) => i.float).map((i) => `function ${f.index}: ${i.name}`),
  ]);
}

/**
 * Scalar multiplies in innermost loops without vectors: multiply-accumulates done one by one. Where a loop has vectors, they are
 * those of addresses.
 */
export const scalarMultiplies = (f: Func): number =>
  f.loops
    .filter((l) => l.innermost && !l.body.some((i) => /^(v128|[if]\d+x\d+)\./.test(i.name)))
    .reduce((n, l) => n + l.body.filter((i) => i.name === "i32.mul" || i.name === "i64.mul").length, 0);

export const countOf = (body: readonly Instr[], name: string): number =>
  body.filter((i) => i.name === name).length;
