/** Products of two tensors: the reference interpreter against the kernels, over random shapes, types, zero points and layouts. */
import { describe, expect, it } from "vitest";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import type { FuncBuilder } from "../../compiler/ir/builder.ts";
import { isShared, runProgram, runThreads } from "../../compiler/ir/kernel/interpreter.ts";
import { parallelize } from "../../compiler/ir/kernel/parallelize.ts";
import { verifyProgram } from "../../compiler/ir/kernel/verifier.ts";
import type { Func, Value } from "../../compiler/ir/module.ts";
import { runPipeline } from "../../compiler/ir/pass.ts";
import { fromNumber, rational } from "../../compiler/ir/rational.ts";
import { type IntType, int, intMax, intMin, sizeOf, tensor, U8 } from "../../compiler/ir/types.ts";
import { certify } from "../../compiler/passes/certify.ts";
import { lowerProduct } from "../../compiler/passes/lower/product.ts";
import { relaxedRefusal } from "../../runtime/relaxed.ts";
import { hasRelaxed, initialMemory } from "../kernel/harness.ts";
import { type Random, randomFrom } from "./rescales.ts";
import { checkStage, randomDense, randomPlace, type StageCase, stageFunc } from "./stages.ts";

const refusal = relaxedRefusal("u8s8");
if (hasRelaxed && refusal !== undefined)
  console.warn(`SKIPPED relaxed products of operands above 127: ${refusal}`);

type Side = "a" | "b";

interface Case {
  readonly batchA: readonly number[];
  readonly batchB: readonly number[];
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly a: IntType;
  readonly b: IntType;
  readonly za: number;
  readonly zb: number;
  readonly turned: boolean;
  readonly constant: Side | undefined;
  /** What follows the accumulators. */
  readonly after: "nothing" | "requant" | "clamp" | "table" | "residual";
}

const pick = <T>(r: Random, list: readonly T[]): T => list[r(list.length)]!;

const BATCHES: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[], []],
  [[], []],
  [[3], [3]],
  [[2], []],
  [[], [2]],
  [[2, 1], [3]],
  [
    [2, 3],
    [2, 3],
  ],
  [
    [1, 2],
    [3, 1],
  ],
  [
    [2, 1, 2],
    [1, 2, 2],
  ],
];

const TYPES: readonly IntType[] = [U8, U8, U8, int(false, 4), int(false, 7), int(true, 8), int(true, 16)];

function zeroOf(r: Random, t: IntType): number {
  const [lo, hi] = [intMin(t), intMax(t)];
  return pick(r, [0, lo, hi, Math.round((lo + hi + 1) / 2), lo + r(hi - lo + 1), lo - 3, hi + 50, 40000]);
}

function randomCase(seed: number): Case {
  const r = randomFrom(seed);
  const [batchA, batchB] = pick(r, BATCHES);
  const [a, b] = [pick(r, TYPES), pick(r, TYPES)];
  const k = pick(r, [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 33, 64]);
  const constant = pick<Side | undefined>(r, ["a", "b", undefined, undefined, undefined]);
  return {
    batchA,
    batchB,
    m: pick(r, [1, 1, 2, 3, 4, 5, 6, 7, 9, 13]),
    k,
    n: pick(r, [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33]),
    a,
    b,
    za: zeroOf(r, a),
    zb: zeroOf(r, b),
    turned: r(2) === 0,
    constant,
    after: pick(r, ["nothing", "requant", "requant", "clamp", "table", "residual"] as const),
  };
}

/** Largest |q − z| of a type. */
const reach = (t: IntType, z: number): number => Math.max(Math.abs(intMin(t) - z), Math.abs(intMax(t) - z));
const fits = (c: Case): boolean => c.k * reach(c.a, c.za) * reach(c.b, c.zb) < 2 ** 31;

function finish(r: Random, c: Case, b: FuncBuilder, acc: Value, param: (t: Value["type"]) => Value): Value {
  const axis = acc.type.shape.length - 1;
  const bound = c.k * reach(c.a, c.za) * reach(c.b, c.zb);
  const n = r(2) === 0 ? 1 : c.n;
  const requant = (
    operands: readonly Value[],
    scales: readonly (readonly number[])[],
    lo: number,
    hi: number,
  ) =>
    b.add1(
      "qc.requant",
      operands,
      {
        axis,
        scales: scales.map((list) => list.map((s) => fromNumber(Math.fround(s)))),
        offset: [rational(BigInt(r(100)) - 50n, 7n)],
        zero_point: rational(BigInt(r(20))),
        lo,
        hi,
      },
      { types: [tensor(acc.type.shape, U8)] },
    );
  const scales = Array.from({ length: n }, () => ((1 + r(1000)) / 1000) * (500 / bound));
  const y = requant([acc], [scales], c.after === "clamp" ? 9 : 0, c.after === "clamp" ? 201 : 255);
  if (c.after === "clamp") return b.add1("qc.clamp", [y], { lo: 20, hi: 250 }, { types: [y.type] });
  if (c.after === "table") {
    const data = Int32Array.from({ length: 256 }, (_, i) => (i * 37) & 255);
    return b.add1(
      "qc.table",
      [y],
      { table: { kind: "dense", elem: U8, shape: [256], data }, min: 0 },
      { types: [y.type] },
    );
  }
  if (c.after === "residual") {
    const other = param(y.type);
    return requant(r(2) === 0 ? [y, other] : [other, y], [[0.71], [(1 + r(20)) / 16]], 5, 250);
  }
  return y;
}

function build(seed: number, c: Case): Func {
  const r = randomFrom(seed + 7777);
  const shapes = {
    a: [...c.batchA, c.m, c.k],
    b: [...c.batchB, ...(c.turned ? [c.n, c.k] : [c.k, c.n])],
  };
  const func = stageFunc((b, param) => {
    const side = (s: Side): Value => {
      const type = tensor(shapes[s], c[s]);
      if (c.constant !== s) return param(type);
      return b.add1("const", [], { value: randomDense(r, type) }, { types: [type] });
    };
    const [x, w] = [side("a"), side("b")];
    const attrs = { a_zero: c.za, b_zero: c.zb, transpose_b: c.turned };
    const acc = b.add1("qc.matmul", [x, w], attrs);
    return c.after === "nothing" ? acc : finish(r, c, b, acc, param);
  });
  const done = runPipeline({ funcs: [func] }, [certify]);
  if (!done.ok) throw new Error(`seed ${seed}: ${done.diagnostics[0]?.message}`);
  return done.value.funcs[0]!;
}

/** Sevenths of the random cases put their left operands below 128, where all engines' relaxed dots agree. */
async function check(seed: number, c: Case): Promise<void> {
  const func = build(seed, c);
  const r = randomFrom(seed + 99);
  const residual = c.after === "residual" ? func.params.length - 1 : -1;
  const inputs = func.params.map((p, i) => randomPlace(r, `x${i}`, p.value.type, i !== residual));
  const args = func.params.map((p) => randomDense(r, p.value.type));
  const place = randomPlace(r, "y", func.results[0]!.value.type, false);
  const stage: StageCase = { func, args, inputs, output: place };
  await checkStage(lowerProduct, stage);
  await checkStage(lowerProduct, stage, wasmRelaxed, ["interpreter"]);
  if (!hasRelaxed) return;
  const low = args.map((d) =>
    refusal === undefined ? d : { ...d, data: Int32Array.from(d.data, (v) => Math.min(v, 127)) },
  );
  await checkStage(lowerProduct, { ...stage, args: low }, wasmRelaxed, ["relaxed"]);
}

describe("product", () => {
  it("equals the interpreter on random products in all engines", async () => {
    let done = 0;
    for (let seed = 1; done < 150; seed++) {
      const c = randomCase(seed);
      if (!fits(c)) continue;
      done++;
      try {
        await check(seed, c);
      } catch (error) {
        throw new Error(`seed ${seed} ${JSON.stringify(c)}`, { cause: error });
      }
    }
  });

  const base: Case = {
    batchA: [2],
    batchB: [2],
    m: 67,
    k: 300,
    n: 20,
    a: U8,
    b: U8,
    za: 100,
    zb: 3,
    turned: true,
    constant: undefined,
    after: "requant",
  };
  it.each<[string, Partial<Case>]>([
    ["by columns", {}],
    ["by rows", { turned: false }],
    ["with a residual", { after: "residual" }],
    ["a multiple of the strip", { m: 48, k: 512 }],
  ])("left operand in strips, %s", async (_, more) => {
    await check(5, { ...base, ...more });
  });

  it.each([1, 7, 8, 9, 16, 61].flatMap((k) => [1, 5, 8, 13].map((n) => [k, n] as const)))(
    "rows of %i by %i columns, nothing packed",
    async (k, n) => {
      for (const m of [1, 2, 3])
        await check(k + n, { ...base, m, k, n, after: m === 2 ? "residual" : "nothing" });
      const wide = { ...base, m: 1, k, n, a: int(true, 16), za: 0, zb: 255 };
      await check(n, wide);
      // Several batches on one right operand pack it.
      await check(n, { ...base, batchA: [5], batchB: [1], m: 1, k, n });
    },
  );

  it("packs nothing for one or two rows", () => {
    const stores = (c: Partial<Case>): number => {
      const func = build(1, { ...base, k: 64, after: "nothing", ...c });
      const layouts = func.params.map(
        (p, i) => randomPlace(randomFrom(3), `x${i}`, p.value.type, false).layout,
      );
      const y = randomPlace(randomFrom(3), "y", func.results[0]!.value.type, false).layout;
      const lowered = lowerProduct({ func, inputs: layouts, outputs: [y], target: wasmSimd, name: "k" });
      return JSON.stringify(lowered!.kernel.body).split(/panels(?:_\d+)?"/).length - 1;
    };
    expect([1, 2].map((m) => stores({ m }))).toEqual([0, 0]);
    expect(stores({ m: 3 })).toBeGreaterThan(0);
    expect(stores({ m: 1, turned: false })).toBeGreaterThan(0);
    expect(stores({ m: 1, batchA: [3], batchB: [1] })).toBeGreaterThan(0);
  });

  it.each([1, 24])("shares out heads and rows between threads, %i rows", async (m) => {
    const func = build(8, { ...base, m, k: 64, after: "residual" });
    const args = func.params.map((p) => randomDense(randomFrom(4), p.value.type));
    const inputs = func.params.map((p, i) => randomPlace(randomFrom(6), `x${i}`, p.value.type, false));
    const output = randomPlace(randomFrom(6), "y", func.results[0]!.value.type, false);
    const program = await checkStage(lowerProduct, { func, args, inputs, output });
    const shared = parallelize(program, { leastGain: 0 });
    expect(shared.kernels.some((k) => isShared(k.body))).toBe(true);
    expect(verifyProgram(shared)).toEqual([]);
    const memory = () => new Map([...initialMemory(shared, 3), ...initialMemory(program, 3)]);
    const want = runProgram(program, memory()).get("y");
    for (const order of [[0], [1, 0], [2, 0, 1]])
      expect(runThreads(shared, order, memory()).get("y")).toEqual(want);
  });

  it("multiplies in the form that its operands and the target allow", async () => {
    const names = (func: Func, target: typeof wasmSimd): Set<string> => {
      const layouts = func.params.map(
        (p, i) => randomPlace(randomFrom(3), `x${i}`, p.value.type, false).layout,
      );
      const y = randomPlace(randomFrom(3), "y", func.results[0]!.value.type, false).layout;
      const lowered = lowerProduct({ func, inputs: layouts, outputs: [y], target, name: "k" });
      const text = JSON.stringify(lowered!.kernel.body);
      return new Set(["dot2.i32x4", "dot4_s8u8.i32x4", "mul.i32x4"].filter((n) => text.includes(n)));
    };
    const plain = { ...base, after: "nothing" as const, m: 4, k: 8, za: 0, zb: 128 };
    expect(names(build(1, plain), wasmSimd)).toEqual(new Set(["dot2.i32x4"]));
    expect(names(build(1, plain), wasmRelaxed)).toEqual(new Set(["dot4_s8u8.i32x4"]));
    expect(names(build(1, { ...plain, a: int(true, 16) }), wasmRelaxed)).toEqual(new Set(["dot2.i32x4"]));
    expect(names(build(1, { ...plain, a: int(true, 16), za: 5 }), wasmSimd)).toEqual(new Set(["mul.i32x4"]));
    expect(sizeOf(build(1, plain).results[0]!.value.type.shape)).toBe(2 * 4 * 20);
  });
});
