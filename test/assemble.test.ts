/** The assembler against binaryen: equal calls, equal bytes. */
import binaryen from "binaryen";
import { describe, expect, test, vi } from "vitest";
import {
  assemble,
  type Builder,
  type Ref,
  type Segment,
  type Types,
} from "../compiler/backends/wasm/assemble.ts";
import { instructions } from "../compiler/backends/wasm/instructions.ts";

/** binaryen prints why a module does not validate to what `console.error` is when it loads. */
const printed = vi.hoisted(() => {
  const { error } = console;
  console.error = () => {};
  return error;
});
console.error = printed;

type Build = (b: Types, m: Builder) => void;

/** Undefined if it does not validate. */
function reference(build: Build): Uint8Array | undefined {
  const module = new binaryen.Module();
  const { SIMD128, RelaxedSIMD, BulkMemory, BulkMemoryOpt, MutableGlobals } = binaryen.Features;
  module.setFeatures(
    SIMD128 | RelaxedSIMD | BulkMemory | BulkMemoryOpt | MutableGlobals | binaryen.Features.Atomics,
  );
  const same = module as unknown as Builder;
  const m = Object.assign(Object.create(module) as Builder, {
    setMemory: (
      initial: number,
      maximum: number,
      name: string | null,
      segments: readonly Segment[],
      shared = false,
    ) =>
      module.setMemory(
        initial,
        maximum,
        name,
        segments.map((s) => ({ offset: module.i32.const(s.offset), data: s.data, passive: false })),
        shared,
        false,
        "memory",
      ),
    addMemoryImport: (from: string, name: string) => module.addMemoryImport("memory", from, name, true),
    // Takes a function by reference there.
    setStart: (name: string) => module.setStart(module.getFunction(name)),
    addFunction: (...args: Parameters<Builder["addFunction"]>) => {
      same.addFunction(...args);
      return args[0];
    },
  });
  try {
    build(binaryen as unknown as Types, m);
    return module.validate() ? module.emitBinary() : undefined;
  } finally {
    module.dispose();
  }
}

type Make = (...args: readonly unknown[]) => Ref;
const at = (root: unknown, path: readonly string[]): Make =>
  path.reduce((o, k) => (o as { readonly [k: string]: unknown })[k], root) as Make;

const BYTES = Array.from({ length: 16 }, (_, i) => (7 * i + 3) % 32);
const OPERANDS = ["i32", "i64", "v128"] as const;
type Operand = (typeof OPERANDS)[number];
const operand = (m: Builder, t: Operand): Ref =>
  t === "i32" ? m.i32.const(-77777) : t === "i64" ? m.i64.const(-(2n ** 40n)) : m.v128.const(BYTES);
const operandLists = (n: number): readonly (readonly Operand[])[] =>
  n === 0 ? [[]] : operandLists(n - 1).flatMap((rest) => OPERANDS.map((t) => [...rest, t]));

interface Instruction {
  readonly path: readonly string[];
  /** Arguments that are no operands. */
  readonly front: readonly unknown[];
  readonly back: readonly unknown[];
}
const vector = (group: string, name: string): Instruction => {
  const front = /^store.*lane$/.test(name) ? [300, 1, 1] : /^(load|store)/.test(name) ? [70000, 1] : [];
  const back = name.startsWith("extract_lane") ? [1] : name === "shuffle" ? [BYTES] : [];
  return { path: [group, name], front, back };
};
const all: readonly Instruction[] = [
  ...(["i32", "i64", "v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4"] as const).flatMap((group) =>
    Object.keys(instructions[group])
      // The last is not among binaryen's builders.
      .filter((name) => name !== "const" && name !== "atomic" && name !== "relaxed_dot_i8x16_i7x16_add_s")
      .map((name) => vector(group, name)),
  ),
  ...["load", "store"].map((name) => ({ path: ["i32", "atomic", name], front: [200], back: [] })),
  ...["add", "sub"].map((name) => ({ path: ["i32", "atomic", "rmw", name], front: [8], back: [] })),
  ...["wait32", "notify"].map((name) => ({ path: ["memory", "atomic", name], front: [], back: [] })),
  ...["fill", "copy"].map((name) => ({ path: ["memory", name], front: [], back: [] })),
  { path: ["select"], front: [], back: [] },
];

describe("every instruction", () => {
  test.each(all.map((p) => [p.path.join("."), p] as const))("%s", async (_, { path, front, back }) => {
    const arity = at(instructions, path).length - front.length - back.length;
    const found = [true, false].flatMap((result) =>
      operandLists(arity).flatMap((list) => {
        const build: Build = (b, m) => {
          m.setMemory(1, 1, null, []);
          const e = at(m, path)(...front, ...list.map((t) => operand(m, t)), ...back);
          m.addFunction("f", b.none, b.none, [], result ? m.drop(e) : e);
        };
        const expected = reference(build);
        return expected ? [{ build, expected }] : [];
      }),
    );
    expect(found.length).toBeGreaterThan(0);
    for (const { build, expected } of found) expect(await assemble(build, true, true)).toEqual(expected);
  });

  test("the relaxed dot product, its accumulator last", async () => {
    const bytes = await assemble((b, m) => {
      const [x, y, acc] = [m.local.get(0, b.v128), m.local.get(1, b.v128), m.local.get(2, b.v128)];
      const dot = m.i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y, acc);
      m.addFunction("f", b.createType([b.v128, b.v128, b.v128]), b.none, [], m.drop(dot));
    }, true);
    const expected = binaryen.parseText(`(module (func (param v128 v128 v128) (drop
      (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 1) (local.get 2)))))`);
    expect(bytes).toEqual(expected.emitBinary());
    expected.dispose();
  });
});

const same = async (build: Build): Promise<void> =>
  expect(await assemble(build, true, true)).toEqual(reference(build));

test("constants at the limits of their encodings", () =>
  same((b, m) => {
    const ints = [0, 63, 64, -64, -65, 8191, 8192, -8192, -8193, 2 ** 31 - 1, -(2 ** 31)];
    const longs = [0n, 63n, 64n, -64n, -65n, 2n ** 62n, 2n ** 63n - 1n, -(2n ** 63n)];
    const drops = [...ints.map((v) => m.i32.const(v)), ...longs.map((v) => m.i64.const(v))].map((c) =>
      m.drop(c),
    );
    m.addFunction("f", b.none, b.none, [], m.block(null, drops));
  }));

test.each([
  ["a module with data and a memory of its own", false],
  ["a module on a shared memory", true],
])("%s: control flow, locals of mixed types, calls, globals, exports", (_, shared) =>
  same((b, m) => {
    const segments = [8, 70000].map((offset, i) => ({
      offset,
      data: new Uint8Array(300 * i + 5).fill(i + 1),
    }));
    m.setMemory(2, 65536, shared ? null : "memory", segments, shared);
    if (shared) m.addMemoryImport("env", "memory");
    m.addGlobal("g", b.i32, true, m.i32.const(-5));
    m.addGlobal("h", b.i64, true, m.i64.const(5n));
    m.addFunction("once", b.createType([b.i64]), b.none, [], m.block(null, []));
    const x = () => m.local.get(0, b.i32);
    for (const name of ["f", "twice"]) {
      const inner = m.loop(
        "inner",
        m.block(null, [
          m.br_if("inner", m.local.get(3, b.i32)),
          m.br_if("outer", m.i32.lt_s(m.local.tee(1, x(), b.i32), m.i32.const(3))),
        ]),
      );
      const outer = m.loop(
        "outer",
        m.block(null, [inner, m.if(x(), m.br("outer"), m.local.set(2, m.local.get(5, b.v128)))]),
      );
      const body = [
        m.local.set(5, m.v128.const(BYTES)),
        m.local.set(4, m.i64.const(1n)),
        outer,
        m.if(
          m.i32.eqz(m.local.get(1, b.i32)),
          m.block(null, [m.global.set("h", m.global.get("h", b.i64)), m.return()]),
        ),
        m.call("once", [m.local.get(4, b.i64)], b.none),
      ];
      const params = b.createType([b.i32]);
      m.addFunction(name, params, b.none, [b.i32, b.v128, b.i32, b.i64, b.v128], m.block(null, body));
    }
    m.addFunctionExport("twice", "ausführen");
    m.addFunction("start", b.none, b.none, [], m.drop(m.i32.const(1)));
    m.setStart("start");
  }),
);

test.each([
  [
    "relaxed SIMD",
    (_: Types, m: Builder) =>
      m.i32x4.relaxed_dot_i8x16_i7x16_add_s(...([0, 0, 0].map(() => m.v128.const(BYTES)) as [Ref, Ref, Ref])),
  ],
  ["threads", (_: Types, m: Builder) => m.i32.atomic.load(0, m.i32.const(0))],
])("%s needs its feature", async (_, make) => {
  const build: Build = (b, m) => void m.addFunction("f", b.none, b.none, [], m.drop(make(b, m)));
  await expect(assemble(build, false)).rejects.toThrow("beyond the features");
});
