/** Where relaxed dot products are exact: the proof against the interpreter run as each engine. */
import { describe, expect, test } from "vitest";
import { wasmRelaxed } from "../../compiler/backends/wasm/target.ts";
import { runPasses } from "../../compiler/compile.ts";
import { parseModule } from "../../compiler/index.ts";
import { runProgram } from "../../compiler/ir/kernel/interpreter.ts";
import { parseProgram } from "../../compiler/ir/kernel/parser.ts";
import type { EngineDot } from "../../compiler/ir/kernel/semantics.ts";
import { both, type Exactness, exactness, exactnessOf } from "../../compiler/passes/lower/dot-proof.ts";
import { lowerModule } from "../../compiler/passes/lower/index.ts";

const DOTS: readonly EngineDot[] = ["u8s8", "s8s8", "s8s8-wrap", "pairs16"];
const isExact = (on: Exactness, dot: EngineDot): boolean =>
  on === "any" || (on as readonly string[]).includes(dot.replace("-wrap", ""));

describe("one pair of products", () => {
  const ends = [-128, -127, -1, 0, 1, 63, 64, 65, 126, 127];
  const programs = new Map(
    ["dot4_s8u8.i32x4", "dot4_s8s8.i32x4"].map((op) => {
      const parsed = parseProgram(`input @w bytes 16 align 16
input @x bytes 16 align 16
output @y bytes 16 align 16
kernel @k reads(@w, @x) writes(@y) {
  store @y[0], ${op}(i32x4(0), load.i8x16 @w[0], load.i8x16 @x[0])
}`);
      if (!parsed.ok) throw new Error(parsed.diagnostics[0]!.message);
      return [op, parsed.value];
    }),
  );
  const vector = (list: readonly number[]): Uint8Array =>
    Uint8Array.from({ length: 16 }, (_, i) => list[i] ?? 0);
  const answer = (
    op: string,
    w: readonly number[],
    x: readonly number[],
    dot: EngineDot | undefined,
  ): number => {
    const memory = new Map([
      ["w", vector(w)],
      ["x", vector(x)],
    ]);
    return new DataView(runProgram(programs.get(op)!, memory, { dot }).get("y")!.buffer).getInt32(0, true);
  };

  test.each([
    ["dot4_s8u8.i32x4", 0, [1, 3, 15, 63, 64, 127, 128, 129, 200, 255]],
    ["dot4_s8s8.i32x4", -128, [-1, 0, 1, 127]],
  ] as const)("%s: exact where the proof says so, and wrong somewhere where it does not", (op, lo, tops) => {
    for (const hi of tops)
      for (const a of ends)
        for (const b of ends.filter((v) => v >= a)) {
          const on = exactnessOf(op, [[a, b]], { lo, hi });
          const extremes = [lo, hi].flatMap((u) => [lo, hi].map((v) => [u, v]));
          for (const dot of DOTS) {
            const equal = extremes.every(
              (x) => answer(op, [a, b], x, dot) === answer(op, [a, b], x, undefined),
            );
            if (isExact(on, dot)) expect(equal, `${dot}: ${a}, ${b} · ${lo} … ${hi}`).toBe(true);
            // One engine in two tiers: exact on both or not at all. Zero weights agree with everything.
            else if (!dot.startsWith("s8s8") && op.includes("u8") && (a !== 0 || b !== 0))
              expect(equal, `${dot}: ${a}, ${b} · ${lo} … ${hi}`).toBe(false);
          }
        }
  });
});

/** A convolution of `weights` over two channels of `bits` bits. */
async function lowered(weights: readonly number[], elem: string, depthwise = false) {
  const n = weights.length / 2;
  const text = depthwise
    ? `func @main(%x: tensor<1x4x4x2x${elem}>) -> tensor<1x4x4x2xi32> {
  %w = const {value = dense<2x${n}x1x1xi8> [${weights.join(", ")}]} : tensor<2x${n}x1x1xi8>
  %y = qc.conv %x, %w {strides = [1, 1], pads = [0, 0, ${n - 1}, 0], pad_value = 0, groups = 2} : tensor<1x4x4x2xi32>
  return %y
}`
    : `func @main(%x: tensor<1x4x4x2x${elem}>) -> tensor<1x4x4x${n}xi32> {
  %w = const {value = dense<${n}x1x1x2xi8> [${weights.join(", ")}]} : tensor<${n}x1x1x2xi8>
  %y = qc.conv %x, %w {strides = [1, 1], pads = [0, 0, 0, 0]} : tensor<1x4x4x${n}xi32>
  return %y
}`;
  const parsed = await parseModule(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.diagnostics));
  const fused = runPasses(parsed.value, "fuse-kernels");
  if (!fused.ok) throw new Error(JSON.stringify(fused.diagnostics));
  const program = lowerModule(fused.value, wasmRelaxed);
  if (!program.ok) throw new Error(JSON.stringify(program.diagnostics));
  return {
    ...program.value,
    exact: program.value.steps.reduce((all, s) => both(all, s.exact), "any" as Exactness),
  };
}

/** Whether all outputs are right on an engine when every input byte is `x`. */
function agrees(
  { program, inputs }: Awaited<ReturnType<typeof lowered>>,
  x: number,
  dot: EngineDot,
): boolean {
  const run = (engine: EngineDot | undefined): string => {
    const memory = runProgram({ ...program, kernels: [] });
    memory.get(inputs[0]!.layout.buffer)!.fill(x);
    const after = runProgram(program, memory, { dot: engine });
    return program.buffers.flatMap((b) => (b.role === "output" ? [String(after.get(b.name))] : [])).join();
  };
  return run(dot) === run(undefined);
}

describe("kernels", () => {
  const cases: readonly [string, readonly number[], string, boolean, Exactness][] = [
    ["seven bits", [127, 127, -128, -128], "u7", false, "any"],
    ["low bits", [7, -8, 7, 7], "u8", false, ["u8s8", "pairs16"]],
    ["a pair that just fits", [64, 64, -64, -64], "u8", false, ["u8s8", "pairs16"]],
    ["a pair that saturates", [64, 65, 1, 1], "u8", false, ["u8s8"]],
    ["whole bytes", [127, 127, -128, -128], "u8", false, ["u8s8"]],
    ["signed bytes", [127, 127, -128, -127], "i8", false, ["s8s8"]],
    ["two weights of −128 side by side", [-128, -128, 1, 1], "i8", false, []],
    ["two weights of −128 apart", [-128, 1, 1, -128], "i8", false, ["s8s8"]],
    ["depthwise, low bits", [7, -8, 7, 7, 1, 2], "u8", true, ["u8s8", "pairs16"]],
    ["depthwise, whole bytes", [127, 127, -128, -127, 100, 1], "u8", true, ["u8s8"]],
    ["depthwise, signed bytes", [127, 127, -127, -127, 100, 1], "i8", true, ["s8s8"]],
  ];
  test.each(cases)("%s", async (_, weights, elem, depthwise, expected) => {
    const made = await lowered(weights, elem, depthwise);
    expect(made.exact).toEqual(expected);
    const signed = elem.startsWith("i");
    for (const dot of DOTS) {
      const extremes = signed ? [128, 127] : [0, elem === "u7" ? 127 : 255];
      const right = extremes.every((x) => agrees(made, x, dot));
      if (isExact(made.exact, dot)) expect(right, dot).toBe(true);
      // On ARM the optimized tier alone would do.
      else if (dot !== "s8s8" || !signed) expect(right, dot).toBe(false);
    }
  });

  test("operands that cannot be followed may be anything", () => {
    const text = (x: string) => `input @x bytes 16 align 16
input @w bytes 16 align 16
output @y bytes 16 align 16
kernel @k reads(@w, @x) writes(@y) {
  let %w = load.i8x16 @w[0]
  store @y[0], dot4_s8u8.i32x4(i32x4(0), ${x}, load.i8x16 @x[0])
}`;
    const of = (x: string): Exactness => {
      const parsed = parseProgram(text(x));
      if (!parsed.ok) throw new Error(parsed.diagnostics[0]!.message);
      const buffers = parsed.value.buffers.map((b) =>
        b.name === "w" ? { ...b, role: "const" as const, data: new Uint8Array(16).fill(1) } : b,
      );
      return exactness(parsed.value.kernels[0]!, buffers, undefined);
    };
    expect(of("%w")).toEqual(["u8s8", "pairs16"]);
    expect(of("add.i8x16(%w, %w)")).toEqual(["u8s8"]);
  });
});
