/** WASM instructions as trees: one builder per instruction, named as in the text format. */

/** An instruction with its operands. Written where it is used. */
export type Ref = Plain | Constant64 | Bytes16 | Access | Labelled | Block | If;

/** Operands, opcode, immediates. Opcodes behind a prefix are `prefix << 16 | opcode`. */
export interface Plain {
  readonly k: "plain";
  readonly code: number;
  readonly args: readonly Ref[];
  /** LEB128, signed for `i32.const`. */
  readonly imm: readonly number[];
}
interface Constant64 {
  readonly k: "i64.const";
  readonly value: bigint;
}
/** `v128.const`, `i8x16.shuffle`: 16 bytes follow. */
interface Bytes16 {
  readonly k: "bytes";
  readonly code: number;
  readonly args: readonly Ref[];
  readonly bytes: readonly number[];
}
/** Of memory. `align`: logarithm of the alignment promised. */
interface Access {
  readonly k: "access";
  readonly code: number;
  readonly args: readonly Ref[];
  readonly align: number;
  readonly offset: number;
  readonly lane?: number;
}
/** Branches name the loop they go to, calls a function, accesses of globals a global. */
interface Labelled {
  readonly k: "branch" | "call" | "global";
  readonly code: number;
  readonly args: readonly Ref[];
  readonly name: string;
}
interface Block {
  readonly k: "block" | "loop";
  /** Of a loop. */
  readonly label?: string;
  readonly body: readonly Ref[];
}
interface If {
  readonly k: "if";
  readonly cond: Ref;
  readonly then: Ref;
  readonly else: Ref | undefined;
}

/** Value types, as bytes of the binary format. */
export const TYPES = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;

const NONE: readonly number[] = [];
const plain = (code: number, args: readonly Ref[], imm: readonly number[] = NONE): Ref => ({
  k: "plain",
  code,
  args,
  imm,
});
const SIMD = 0xfd << 16;
const BULK = 0xfc << 16;
const ATOMIC = 0xfe << 16;

type Codes<K extends string> = { readonly [k in K]: number };
type Builders<K extends string, F> = { readonly [k in K]: F };
function builders<K extends string, F>(
  codes: Codes<K>,
  prefix: number,
  make: (code: number) => F,
): Builders<K, F> {
  const entries = (Object.entries(codes) as [K, number][]).map(([name, code]) => [name, make(prefix | code)]);
  return Object.fromEntries(entries) as Builders<K, F>;
}
const unary = <K extends string>(codes: Codes<K>, prefix = 0) =>
  builders(codes, prefix, (code) => (a: Ref) => plain(code, [a]));
const binary = <K extends string>(codes: Codes<K>, prefix = 0) =>
  builders(codes, prefix, (code) => (a: Ref, b: Ref) => plain(code, [a, b]));
const lanes = <K extends string>(codes: Codes<K>) =>
  builders(codes, SIMD, (code) => (a: Ref, lane: number) => plain(code, [a], [lane]));

const logarithm = (align: number): number => 31 - Math.clz32(align);
/** `align` in bytes. */
const loads = <K extends string>(codes: Codes<K>, prefix = 0) =>
  builders(
    codes,
    prefix,
    (code) =>
      (offset: number, align: number, ptr: Ref): Ref => ({
        k: "access",
        code,
        args: [ptr],
        align: logarithm(align),
        offset,
      }),
  );
const stores = <K extends string>(codes: Codes<K>, prefix = 0) =>
  builders(
    codes,
    prefix,
    (code) =>
      (offset: number, align: number, ptr: Ref, value: Ref): Ref => ({
        k: "access",
        code,
        args: [ptr, value],
        align: logarithm(align),
        offset,
      }),
  );
const laneStores = <K extends string>(codes: Codes<K>) =>
  builders(
    codes,
    SIMD,
    (code) =>
      (offset: number, align: number, lane: number, ptr: Ref, value: Ref): Ref => ({
        k: "access",
        code,
        args: [ptr, value],
        align: logarithm(align),
        offset,
        lane,
      }),
  );
/** Of 32 bits, which they have to be aligned to. */
const atomic = (code: number, offset: number, args: readonly Ref[]): Ref => ({
  k: "access",
  code: ATOMIC | code,
  args,
  align: 2,
  offset,
});

const i32 = {
  const: (value: number): Ref => plain(I32_CONST, [], [value | 0]),
  ...unary({ eqz: 0x45, clz: 0x67, ctz: 0x68, wrap: 0xa7 }),
  ...binary({ eq: 0x46, ne: 0x47, lt_s: 0x48, lt_u: 0x49, gt_s: 0x4a, gt_u: 0x4b, le_s: 0x4c, le_u: 0x4d }),
  ...binary({
    ge_s: 0x4e,
    ge_u: 0x4f,
    add: 0x6a,
    sub: 0x6b,
    mul: 0x6c,
    div_s: 0x6d,
    div_u: 0x6e,
    rem_s: 0x6f,
  }),
  ...binary({ rem_u: 0x70, and: 0x71, or: 0x72, xor: 0x73, shl: 0x74, shr_s: 0x75, shr_u: 0x76 }),
  ...loads({ load: 0x28, load8_s: 0x2c, load8_u: 0x2d, load16_s: 0x2e, load16_u: 0x2f }),
  ...stores({ store: 0x36, store8: 0x3a, store16: 0x3b }),
  atomic: {
    load: (offset: number, ptr: Ref): Ref => atomic(0x10, offset, [ptr]),
    store: (offset: number, ptr: Ref, value: Ref): Ref => atomic(0x17, offset, [ptr, value]),
    rmw: {
      add: (offset: number, ptr: Ref, value: Ref): Ref => atomic(0x1e, offset, [ptr, value]),
      sub: (offset: number, ptr: Ref, value: Ref): Ref => atomic(0x25, offset, [ptr, value]),
    },
  },
};

const i64 = {
  const: (value: bigint): Ref => ({ k: "i64.const", value }),
  ...unary({ eqz: 0x50, clz: 0x79, ctz: 0x7a, extend_s: 0xac, extend_u: 0xad }),
  ...binary({ eq: 0x51, ne: 0x52, lt_s: 0x53, lt_u: 0x54, gt_s: 0x55, gt_u: 0x56, le_s: 0x57, le_u: 0x58 }),
  ...binary({
    ge_s: 0x59,
    ge_u: 0x5a,
    add: 0x7c,
    sub: 0x7d,
    mul: 0x7e,
    div_s: 0x7f,
    div_u: 0x80,
    rem_s: 0x81,
  }),
  ...binary({ rem_u: 0x82, and: 0x83, or: 0x84, xor: 0x85, shl: 0x86, shr_s: 0x87, shr_u: 0x88 }),
  ...loads({ load: 0x29 }),
  ...stores({ store: 0x37 }),
};

const v128 = {
  const: (bytes: readonly number[]): Ref => ({ k: "bytes", code: SIMD | 12, args: [], bytes }),
  ...loads({ load: 0, load8x8_s: 1, load8x8_u: 2, load16x4_s: 3, load16x4_u: 4 }, SIMD),
  ...loads({ load8_splat: 7, load16_splat: 8, load32_splat: 9, load64_splat: 10 }, SIMD),
  ...loads({ load32_zero: 92, load64_zero: 93 }, SIMD),
  ...stores({ store: 11 }, SIMD),
  ...laneStores({ store8_lane: 88, store16_lane: 89, store32_lane: 90, store64_lane: 91 }),
  ...unary({ not: 77 }, SIMD),
  ...binary({ and: 78, andnot: 79, or: 80, xor: 81 }, SIMD),
  bitselect: (a: Ref, b: Ref, mask: Ref): Ref => plain(SIMD | 82, [a, b, mask]),
};

const i8x16 = {
  shuffle: (a: Ref, b: Ref, bytes: readonly number[]): Ref => ({
    k: "bytes",
    code: SIMD | 13,
    args: [a, b],
    bytes,
  }),
  ...lanes({ extract_lane_s: 21, extract_lane_u: 22 }),
  ...unary({ splat: 15, abs: 96, neg: 97, popcnt: 98 }, SIMD),
  ...binary(
    { swizzle: 14, eq: 35, ne: 36, lt_s: 37, lt_u: 38, gt_s: 39, gt_u: 40, le_s: 41, le_u: 42 },
    SIMD,
  ),
  ...binary({ ge_s: 43, ge_u: 44, narrow_i16x8_s: 101, narrow_i16x8_u: 102, shl: 107, shr_s: 108 }, SIMD),
  ...binary({ shr_u: 109, add: 110, add_saturate_s: 111, add_saturate_u: 112, sub: 113 }, SIMD),
  ...binary(
    { sub_saturate_s: 114, sub_saturate_u: 115, min_s: 118, min_u: 119, max_s: 120, max_u: 121 },
    SIMD,
  ),
};

const i16x8 = {
  ...lanes({ extract_lane_s: 24, extract_lane_u: 25 }),
  ...unary(
    { splat: 16, abs: 128, neg: 129, extadd_pairwise_i8x16_s: 124, extadd_pairwise_i8x16_u: 125 },
    SIMD,
  ),
  ...unary({ extend_low_i8x16_s: 135, extend_high_i8x16_s: 136 }, SIMD),
  ...unary({ extend_low_i8x16_u: 137, extend_high_i8x16_u: 138 }, SIMD),
  ...binary({ eq: 45, ne: 46, lt_s: 47, lt_u: 48, gt_s: 49, gt_u: 50, le_s: 51, le_u: 52, ge_s: 53 }, SIMD),
  ...binary({ ge_u: 54, narrow_i32x4_s: 133, narrow_i32x4_u: 134, shl: 139, shr_s: 140, shr_u: 141 }, SIMD),
  ...binary({ add: 142, add_saturate_s: 143, add_saturate_u: 144, sub: 145, sub_saturate_s: 146 }, SIMD),
  ...binary({ sub_saturate_u: 147, mul: 149, min_s: 150, min_u: 151, max_s: 152, max_u: 153 }, SIMD),
  ...binary({ extmul_low_i8x16_s: 156, extmul_high_i8x16_s: 157 }, SIMD),
  ...binary({ extmul_low_i8x16_u: 158, extmul_high_i8x16_u: 159 }, SIMD),
};

const i32x4 = {
  ...lanes({ extract_lane: 27 }),
  ...unary(
    { splat: 17, abs: 160, neg: 161, extadd_pairwise_i16x8_s: 126, extadd_pairwise_i16x8_u: 127 },
    SIMD,
  ),
  ...unary({ extend_low_i16x8_s: 167, extend_high_i16x8_s: 168 }, SIMD),
  ...unary({ extend_low_i16x8_u: 169, extend_high_i16x8_u: 170, trunc_sat_f32x4_s: 248 }, SIMD),
  ...binary({ eq: 55, ne: 56, lt_s: 57, lt_u: 58, gt_s: 59, gt_u: 60, le_s: 61, le_u: 62, ge_s: 63 }, SIMD),
  ...binary({ ge_u: 64, shl: 171, shr_s: 172, shr_u: 173, add: 174, sub: 177, mul: 181, min_s: 182 }, SIMD),
  ...binary({ min_u: 183, max_s: 184, max_u: 185, dot_i16x8_s: 186 }, SIMD),
  ...binary({ extmul_low_i16x8_s: 188, extmul_high_i16x8_s: 189 }, SIMD),
  ...binary({ extmul_low_i16x8_u: 190, extmul_high_i16x8_u: 191 }, SIMD),
  /** Of relaxed SIMD: whether it takes the bytes of `b` as signed is the engine's choice. */
  relaxed_dot_i8x16_i7x16_add_s: (a: Ref, b: Ref, acc: Ref): Ref => plain(RELAXED_DOT, [a, b, acc]),
};

const i64x2 = {
  ...lanes({ extract_lane: 29 }),
  ...unary({ splat: 18, abs: 192, neg: 193, extend_low_i32x4_s: 199, extend_high_i32x4_s: 200 }, SIMD),
  ...unary({ extend_low_i32x4_u: 201, extend_high_i32x4_u: 202 }, SIMD),
  ...binary({ shl: 203, shr_s: 204, shr_u: 205, add: 206, sub: 209, mul: 213, eq: 214, ne: 215 }, SIMD),
  ...binary({ lt_s: 216, gt_s: 217, le_s: 218, ge_s: 219 }, SIMD),
  ...binary({ extmul_low_i32x4_s: 220, extmul_high_i32x4_s: 221 }, SIMD),
  ...binary({ extmul_low_i32x4_u: 222, extmul_high_i32x4_u: 223 }, SIMD),
};

const f32x4 = {
  ...unary({ ceil: 103, floor: 104, trunc: 105, nearest: 106, abs: 224, neg: 225, sqrt: 227 }, SIMD),
  ...unary({ convert_i32x4_s: 250 }, SIMD),
  ...binary({ eq: 65, ne: 66, lt: 67, gt: 68, le: 69, ge: 70, add: 228, sub: 229, mul: 230, div: 231 }, SIMD),
  ...binary({ min: 232, max: 233 }, SIMD),
};

const memory = {
  fill: (to: Ref, byte: Ref, bytes: Ref): Ref => plain(BULK | 11, [to, byte, bytes], [0]),
  copy: (to: Ref, from: Ref, bytes: Ref): Ref => plain(BULK | 10, [to, from, bytes], [0, 0]),
  atomic: {
    wait32: (ptr: Ref, expected: Ref, timeout: Ref): Ref => atomic(1, 0, [ptr, expected, timeout]),
    notify: (ptr: Ref, count: Ref): Ref => atomic(0, 0, [ptr, count]),
  },
};

/** What `get` and `tee` say about types and `call` about results is for the reader. Blocks have no label and leave no trace. */
export const instructions = {
  i32,
  i64,
  v128,
  i8x16,
  i16x8,
  i32x4,
  i64x2,
  f32x4,
  memory,
  local: {
    get: (index: number, _type: number): Ref => plain(0x20, [], [index]),
    set: (index: number, value: Ref): Ref => plain(0x21, [value], [index]),
    tee: (index: number, value: Ref, _type: number): Ref => plain(0x22, [value], [index]),
  },
  global: {
    get: (name: string, _type: number): Ref => ({ k: "global", code: 0x23, args: [], name }),
    set: (name: string, value: Ref): Ref => ({ k: "global", code: 0x24, args: [value], name }),
  },
  call: (name: string, args: readonly Ref[], _result: readonly number[]): Ref => ({
    k: "call",
    code: 0x10,
    args,
    name,
  }),
  drop: (value: Ref): Ref => plain(0x1a, [value]),
  select: (cond: Ref, a: Ref, b: Ref): Ref => plain(0x1b, [a, b, cond]),
  return: (): Ref => plain(0x0f, []),
  block: (_label: null, body: readonly Ref[]): Ref => ({ k: "block", body }),
  loop: (label: string, body: Ref): Ref => ({ k: "loop", label, body: [body] }),
  if: (cond: Ref, then: Ref, otherwise?: Ref): Ref => ({ k: "if", cond, then, else: otherwise }),
  /** Back to the start of the loop of that name around it. */
  br: (label: string): Ref => ({ k: "branch", code: 0x0c, args: [], name: label }),
  br_if: (label: string, cond: Ref): Ref => ({ k: "branch", code: 0x0d, args: [cond], name: label }),
};

export const I32_CONST = 0x41;
export const RELAXED_DOT = SIMD | 0x113;
/** Prefix of the instructions of the threads proposal. */
export const ATOMIC_PREFIX = 0xfe;
