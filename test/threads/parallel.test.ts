/** Parallel loops: what is proved about them, and that kernels split this way compute the same in any order. */
import { describe, expect, test } from "vitest";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import { importModel } from "../../compiler/compile.ts";
import type { Access, For } from "../../compiler/ir/kernel/accesses.ts";
import { disjoint } from "../../compiler/ir/kernel/disjoint.ts";
import { isShared, runProgram, runThreads } from "../../compiler/ir/kernel/interpreter.ts";
import { c32, type Program } from "../../compiler/ir/kernel/ir.ts";
import { legalize } from "../../compiler/ir/kernel/legalize.ts";
import { parallelize } from "../../compiler/ir/kernel/parallelize.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import { printProgram } from "../../compiler/ir/kernel/printer.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";
import { runPipeline } from "../../compiler/ir/pass.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";
import { integerPasses, kernelPasses, provingPasses } from "../../compiler/pipeline.ts";
import { initialMemory } from "../kernel/harness.ts";
import { loadModelBytes, zooIsThere } from "../zoo.ts";

const targets = new Map([
  ["baseline", wasmSimd],
  ["relaxed", wasmRelaxed],
]);

const buffers = `input @x bytes 256 align 16
output @y bytes 256 align 16
temp @s bytes 64 align 16
`;
const program = (body: string, own = ""): Program => {
  const parsed = parseProgram(`${buffers}kernel @k reads(@x, @y, @s) writes(@y, @s)${own} {\n${body}\n}\n`);
  if (!parsed.ok) throw new Error(parsed.diagnostics[0]!.message);
  return parsed.value;
};
const messages = (body: string, own = ""): string[] =>
  verifyProgram(program(body, own)).map((d) => d.message);

const copyRow = (i: string) => `store @y[mul.i32(%${i}, 16)], load.i8x16 @x[mul.i32(%${i}, 16)]`;

describe("verifier", () => {
  test("accepts disjoint turns", () => {
    expect(messages(`for %i = 0 to 16 step 1 parallel { ${copyRow("i")} }`)).toEqual([]);
  });

  test("accepts interleaved columns of rows", () => {
    const body = `for %c = 0 to 4 step 1 parallel {
      for %r = 0 to 4 step 1 {
        store64_lane @y[add.i32(mul.i32(%c, 8), mul.i32(%r, 32))], i8x16(1) lane 0
      }
    }`;
    expect(messages(body)).toEqual([]);
  });

  test("accepts a private buffer that every turn fills before it reads", () => {
    const body = `for %i = 0 to 16 step 1 parallel {
      store @s[0], load.i8x16 @x[mul.i32(%i, 16)]
      store @y[mul.i32(%i, 16)], load.i8x16 @s[0]
    }`;
    expect(messages(body, " private(@s)")).toEqual([]);
    expect(messages(body)).toEqual(["two threads may write the same byte of @s"]);
  });

  const cases: [string, string, string][] = [
    [
      "overlapping writes",
      "for %i = 0 to 16 step 1 parallel { store @y[mul.i32(%i, 8)], i8x16(1) }",
      "two threads may write the same byte of @y",
    ],
    [
      "a read of another turn's result",
      `for %i = 0 to 15 step 1 parallel { store @y[mul.i32(%i, 16)], load.i8x16 @y[mul.i32(%i, 16) + 16] }`,
      "two threads may read and write the same byte of @y",
    ],
    [
      "a write outside of parallel loops",
      `store @y[0], i8x16(1)\nfor %i = 1 to 16 step 1 parallel { ${copyRow("i")} }`,
      "every thread writes @y",
    ],
    [
      "nesting",
      `for %i = 0 to 2 step 1 parallel { for %j = 0 to 8 step 1 parallel { store @y[add.i32(mul.i32(%i, 128), mul.i32(%j, 16))], i8x16(1) } }`,
      "the parallel loop %j is inside another",
    ],
    [
      "a value carried from turn to turn",
      `var %a = i8x16(0)\nfor %i = 0 to 16 step 1 parallel { set %a = load.i8x16 @x[mul.i32(%i, 16)]\n ${copyRow("i")} }`,
      "the parallel loop %i assigns %a",
    ],
    [
      "an unknown number of turns",
      `for %i = 0 to load.i32 @x[0] step 1 parallel { ${copyRow("i")} }`,
      "the parallel loop %i has no constant number of turns",
    ],
    [
      "an address that is not linear",
      "for %i = 0 to 16 step 1 parallel { store @y[and.i32(%i, 15)], i8x16(1) }",
      "two threads may write the same byte of @y",
    ],
  ];
  test.each(cases)("refuses %s", (_, body, text) => {
    expect(messages(body)).toContain(text);
  });

  const stale: [string, string][] = [
    [
      "before it is written",
      `for %i = 0 to 16 step 1 parallel {
        store @y[mul.i32(%i, 16)], load.i8x16 @s[0]
        store @s[0], load.i8x16 @x[mul.i32(%i, 16)]
      }`,
    ],
    [
      "elsewhere than it is written",
      `for %i = 0 to 16 step 1 parallel {
        store @s[0], load.i8x16 @x[mul.i32(%i, 16)]
        store @y[mul.i32(%i, 16)], load.i8x16 @s[32]
      }`,
    ],
    [
      "after another loop wrote it",
      `for %i = 0 to 4 step 1 parallel { store @s[mul.i32(%i, 16)], load.i8x16 @x[mul.i32(%i, 16)] }
      for %j = 0 to 4 step 1 parallel { store @y[mul.i32(%j, 16)], load.i8x16 @s[mul.i32(%j, 16)] }`,
    ],
    [
      "where the turn before wrote it",
      `for %i = 0 to 4 step 1 parallel {
        store @s[mul.i32(%i, 16)], load.i8x16 @x[mul.i32(%i, 16)]
        store @y[mul.i32(%i, 16)], load.i8x16 @s[0]
      }`,
    ],
  ];
  test.each(stale)("refuses a private buffer read %s", (_, body) => {
    expect(messages(body, " private(@s)")).toEqual([
      "a thread may read what it did not write in its copy of @s",
    ]);
  });

  /** Two rows of a ring per turn; each step fills one slot and reads both, from `first` on. */
  const ring = (filled: number): string => `for %c = 0 to 2 step 1 parallel {
      for %i = 0 to ${filled} step 1 { store @s[mul.i32(%i, 16)], load.i8x16 @x[mul.i32(%i, 16)] }
      for %m = 0 to 4 step 1 {
        let %next = mul.i32(and.i32(add.i32(%m, 1), 1), 16)
        store @s[%next], load.i8x16 @x[mul.i32(%m, 16)]
        let %count = min_s.i32(sub.i32(8, mul.i32(%m, 2)), 2)
        for %p = 0 to %count step 1 {
          let %at = mul.i32(and.i32(add.i32(%m, %p), 1), 16)
          store @y[add.i32(mul.i32(%c, 128), add.i32(mul.i32(%m, 32), mul.i32(%p, 16)))], load.i8x16 @s[%at]
        }
      }
    }`;

  test("accepts a private ring whose slots are filled before they are read", () => {
    expect(messages(ring(1), " private(@s)")).toEqual([]);
  });

  test("refuses one whose first slot nobody fills", () => {
    const body = ring(1).replace("store @s[mul.i32(%i, 16)]", "store @s[add.i32(mul.i32(%i, 16), 32)]");
    expect(messages(body, " private(@s)")).toEqual([
      "a thread may read what it did not write in its copy of @s",
    ]);
  });

  test("refuses one whose slots depend on the parallel loop", () => {
    const body = ring(1).replaceAll("and.i32(add.i32(%m,", "and.i32(add.i32(add.i32(%m, %c),");
    expect(messages(body, " private(@s)")).toEqual([
      "a thread may read what it did not write in its copy of @s",
    ]);
  });

  test("refuses private inputs", () => {
    expect(messages(`for %i = 0 to 16 step 1 parallel { ${copyRow("i")} }`, " private(@x)")).toEqual([
      'private "x" is not a temp buffer that the kernel writes',
    ]);
  });
});

test("text reads back", () => {
  const p = program(
    `for %i = 0 to 16 step 1 parallel {
      store @s[0], load.i8x16 @x[mul.i32(%i, 16)]
      store @y[mul.i32(%i, 16)], load.i8x16 @s[0]
    }`,
    " private(@s)",
  );
  expect(printProgram(p)).toContain("private(@s)");
  expect(printProgram(p)).toContain("step 1 parallel {");
  expect(parseProgram(printProgram(p))).toEqual({ ok: true, value: p, diagnostics: [] });
});

describe("parallelize", () => {
  const shared = (p: Program): boolean[] => p.kernels.map((k) => isShared(k.body));
  const sameInAnyOrder = (before: Program, after: Program): void => {
    expect(verifyProgram(after)).toEqual([]);
    const memory = () => initialMemory(before, 7);
    const own = after.buffers.slice(before.buffers.length);
    const withOwn = () =>
      new Map([...memory(), ...own.map((b) => [b.name, new Uint8Array(b.bytes)] as const)]);
    const expected = runProgram(before, memory()).get("y")!;
    for (const order of [[0], [0, 1], [1, 0], [2, 0, 1], [4, 3, 2, 1, 0]])
      expect(runThreads(after, order, withOwn()).get("y")).toEqual(expected);
  };

  test("splits rows; the last, narrower tile goes to one thread", () => {
    const p = program(`for %i = 0 to 15 step 1 { ${copyRow("i")} }
      var %last = load.i8x16 @x[240]
      set %last = add.i8x16(%last, i8x16(1))
      store @y[240], %last`);
    const after = parallelize(p, { leastGain: 1 });
    expect(printProgram(after)).toContain("for %i = 0 to 15 step 1 parallel");
    expect(printProgram(after)).toContain("for %one.0 = 0 to 1 step 1 parallel");
    expect(after.kernels).toHaveLength(1);
    sameInAnyOrder(p, after);
  });

  test("gives every thread its own scratch where turns reuse it", () => {
    const p = program(`for %i = 0 to 16 step 1 {
      store @s[0], load.i8x16 @x[mul.i32(%i, 16)]
      store @y[mul.i32(%i, 16)], add.i8x16(load.i8x16 @s[0], i8x16(3))
    }`);
    const after = parallelize(p, { leastGain: 1 });
    expect(after.kernels[0]!.private).toEqual(["s.own"]);
    sameInAnyOrder(p, after);
  });

  test("cuts where one part needs all of another", () => {
    const p = program(`for %i = 0 to 4 step 1 { store @s[mul.i32(%i, 16)], load.i8x16 @x[mul.i32(%i, 16)] }
      for %j = 0 to 12 step 1 { store @y[mul.i32(%j, 16)], load.i8x16 @s[and.i32(%j, 3)] }`);
    const after = parallelize(p, { leastGain: 1 });
    expect(after.kernels.map((k) => k.name)).toEqual(["k", "k.1"]);
    expect(shared(after)).toEqual([true, true]);
    sameInAnyOrder(p, after);
  });

  test("leaves what turns need of each other to one thread", () => {
    const p = program(`store @y[0], i8x16(1)
      for %i = 0 to 15 step 1 {
        store @y[mul.i32(%i, 16) + 16], add.i8x16(load.i8x16 @y[mul.i32(%i, 16)], i8x16(1))
      }`);
    const after = parallelize(p, { leastGain: 1 });
    expect(shared(after)).toEqual([false]);
    expect(after.kernels[0]).toBe(p.kernels[0]);
  });

  test("leaves little work to one thread", () => {
    const p = program(`for %i = 0 to 16 step 1 { ${copyRow("i")} }`);
    expect(shared(parallelize(p))).toEqual([false]);
  });
});

/** Every byte an access touches, for all turns of its loops; with `turn` fixed for one of them. */
function bytesOf(a: Access, turns: ReadonlyMap<string, number>, name?: string, turn = 0): Set<number> {
  let starts = [a.at!.constant];
  for (const [n, c] of a.at!.terms) {
    const ks = n === name ? [turn] : Array.from({ length: turns.get(n)! }, (_, k) => k);
    starts = starts.flatMap((s) => ks.map((k) => s + c * k));
  }
  return new Set(starts.flatMap((s) => Array.from({ length: a.bytes }, (_, i) => s + i)));
}

test("what is called disjoint is disjoint, by enumeration", () => {
  let state = 12345;
  const random = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const names = ["i", "j", "k"];
  const coefficients = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, -8, -16];
  const stmt: For = { k: "for", i: "i", start: c32(0), end: c32(1), step: 1, body: [] };
  let proved = 0;
  let possible = 0;
  for (let n = 0; n < 6000; n++) {
    const turns = new Map(names.map((name) => [name, 1 + random(5)]));
    const used = names.filter(() => random(4) > 0);
    const shape = used.map((name) => [name, coefficients[random(coefficients.length)]!] as const);
    const make = (): Access => ({
      buf: "b",
      write: true,
      bytes: [1, 4, 8, 16][random(4)]!,
      at: { terms: new Map(shape), constant: random(6) * 8 },
      loops: [],
      ifs: [],
      stmt,
    });
    const [a, b] = [make(), make()];
    const parallel = random(3) > 0 ? "i" : undefined;
    const claim = disjoint(a, b, turns, parallel);
    let overlap = false;
    const count = parallel === undefined ? 1 : turns.get(parallel)!;
    for (let p = 0; p < count && !overlap; p++)
      for (let q = 0; q < count && !overlap; q++) {
        if (parallel !== undefined && p === q) continue;
        const other = bytesOf(b, turns, parallel, q);
        overlap = [...bytesOf(a, turns, parallel, p)].some((x) => other.has(x));
      }
    if (claim) expect(overlap, `case ${n}`).toBe(false);
    if (!overlap) possible++;
    if (claim) proved++;
  }
  // Sound, and complete enough to be of use.
  expect(possible).toBeGreaterThan(1000);
  expect(proved / possible).toBeGreaterThan(0.9);
});

describe.skipIf(!zooIsThere)(
  "kernels of a real model, in any order of threads, on garbage in their own copies",
  () => {
    test.each([...targets.entries()])("%s", (_, target) => {
      const imported = importModel(loadModelBytes("int8-qdq/mlperf_kws_dscnn"), {});
      if (!imported.ok) throw new Error("import");
      const choices = { keepQuantizers: false, foldConstants: true };
      const passes = [...integerPasses(choices), ...provingPasses(choices), ...kernelPasses];
      const fused = runPipeline(imported.value, passes);
      if (!fused.ok) throw new Error("passes");
      const lowered = lowerModule(fused.value, target);
      if (!lowered.ok) throw new Error("lower");
      const before = legalize(lowered.value.program, target);
      const after = parallelize(before, { leastGain: 1 });
      expect(verifyProgram(after)).toEqual([]);
      expect(after.kernels.some((k) => (k.private ?? []).length > 0)).toBe(true);
      const cost = (p: Program, parallel: boolean): number =>
        p.kernels.filter((k) => isShared(k.body) === parallel).length;
      expect(cost(after, true)).toBeGreaterThan(cost(after, false));
      const outputs = before.buffers.filter((b) => b.role === "output").map((b) => b.name);
      const results = (memory: ReadonlyMap<string, Uint8Array>) => outputs.map((name) => memory.get(name));
      const inputs = () =>
        new Map(
          [...initialMemory(before, 3)].filter(([name]) =>
            before.buffers.some((b) => b.name === name && b.role === "input"),
          ),
        );
      const expected = results(runProgram(before, inputs()));
      for (const order of [
        [1, 0],
        [0, 2, 1],
      ])
        expect(results(runThreads(after, order, inputs()))).toEqual(expected);
    });
  },
);
