/** Parts of kernels that become functions: as few functions as there are shapes, and the same results. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layout, separatePlan } from "../../compiler/backends/wasm/layout.ts";
import { shareParts } from "../../compiler/backends/wasm/share.ts";
import { express } from "../../compiler/backends/wasm/solve.ts";
import type { Expr, Program, Stmt } from "../../compiler/ir/kernel/ir.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import { decodeWasm } from "../wasm-decode.ts";
import { compileWasm, difference, engine, initialMemory } from "./harness.ts";

function program(text: string): Program {
  const parsed = parseProgram(text);
  if (!parsed.ok) throw new Error(parsed.diagnostics.map((d) => d.message).join("\n"));
  return parsed.value;
}

/** Sums of `rows` rows of 16 bytes, `stride` apart, by column block, times a constant of the caller. */
const layer = (
  name: string,
  from: string,
  to: string,
  blocks: number,
  stride: number,
  end: number,
): string => `
kernel @${name} reads(@${from}) writes(@${to}) {
  let %k = i16x8(3)
  for %n = 0 to ${blocks} step 1 {
    let %at = mul.i32(%n, 16)
    var %sum = i16x8(0)
    for %p = 0 to ${end} step ${2 * stride} {
      let %here = add.i32(%at, %p)
      set %sum = add.i16x8(%sum, mul.i16x8(load8x8_u.i16x8 @${from}[%here], %k))
      set %sum = add.i16x8(%sum, load8x8_u.i16x8 @${from}[%here + ${stride}])
    }
    store @${to}[%at], %sum
  }
}`;

const same = program(`input @a bytes 512 align 16
input @b bytes 2048 align 16
output @x bytes 64 align 16
output @y bytes 128 align 16
output @z bytes 128 align 16
${layer("first", "a", "x", 4, 64, 512)}
${layer("second", "b", "y", 8, 128, 1024)}
${layer("third", "b", "z", 8, 128, 2048)}`);

const addressesOf = (p: Program): ReadonlyMap<string, number> => layout(p, separatePlan(p)).addresses;

describe("parts of kernels", () => {
  it("that differ in sizes and places are one function", () => {
    const { kernels, procedures } = shareParts(same.kernels, addressesOf(same), 0);
    // The step of a loop is no number of the code: the first kernel's is another.
    expect(procedures.length).toBe(2);
    expect(kernels.map((k) => k.name)).toEqual(["first", "second", "third"]);
    expect(procedures.map((p) => p.params.length)).toEqual([2, 3]);
  });

  it("stay where they are below the work they are worth", () => {
    expect(shareParts(same.kernels, addressesOf(same)).procedures).toEqual([]);
  });

  it("compute the same, called once or several times", async () => {
    const memory = initialMemory(same, 7);
    const expected = (await engine(same, "interpreter"))(memory);
    for (const worth of [undefined, 0])
      expect(
        difference(expected, (await engine(same, "baseline", new Map(), worth))(memory)),
      ).toBeUndefined();
    const { binary } = await compileWasm(same, "baseline", { worth: 0 });
    const calls = decodeWasm(binary).functions.flatMap((f) => f.body.filter((i) => i.name === "call"));
    expect(calls.length).toBe(3 + 3);
  });

  it("are not cut where they assign to what is around them", () => {
    const sum = program(`input @a bytes 512 align 16
output @x bytes 16 align 16
kernel @sum reads(@a) writes(@x) {
  var %sum = i32x4(0)
  for %p = 0 to 512 step 16 {
    set %sum = add.i32x4(%sum, load.i32x4 @a[%p])
  }
  store @x[0], %sum
}`);
    expect(shareParts(sum.kernels, addressesOf(sum), 0).procedures).toEqual([]);
  });
});

describe("numbers of several parts", () => {
  const evaluate = (e: Expr, env: ReadonlyMap<string, number>): number => {
    if (e.k === "const") return Number(e.value);
    if (e.k === "var") return env.get(e.name)!;
    if (e.k !== "op") throw new Error("no number");
    const [a, b] = e.args.map((x) => evaluate(x, env)) as [number, number];
    return e.op === "mul.i32" ? Math.imul(a, b) : (a + b) | 0;
  };
  const parts = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 8 })).chain(([n, holes]) =>
    fc.array(fc.array(fc.oneof(fc.nat(4), fc.nat(100_000)), { minLength: holes, maxLength: holes }), {
      minLength: n,
      maxLength: n,
    }),
  );

  it("are expressed exactly, with an offset that is not negative", () => {
    fc.assert(
      fc.property(parts, (numbers) => {
        const { params, derived, holes } = express(numbers);
        numbers.forEach((list, part) => {
          const env = new Map(params.map((p) => [p.name, p.values[part]!]));
          for (const s of derived as readonly (Stmt & { readonly k: "var" })[])
            env.set(s.name, evaluate(s.value, env));
          const got = holes.map((h) => (h.k === "number" ? h.value : evaluate(h.value, env) + h.at));
          expect(got).toEqual(list);
          for (const h of holes) if (h.k === "sum") expect(h.at).toBeGreaterThanOrEqual(0);
        });
      }),
      { numRuns: 300 },
    );
  });

  it("need one parameter for all multiples of a stride", () => {
    const rows = (address: number, stride: number): number[] => [0, 1, 2, 3].map((r) => address + r * stride);
    const { params, derived } = express([rows(64, 16), rows(64, 48), rows(64, 20)]);
    expect(params.length).toBe(1);
    expect(derived.length).toBe(2);
    expect(express([[1, 2, 3]]).params).toEqual([]);
  });
});
