/** Row normalization: kernels against the definition, and the definition against the real function. */
import { describe, expect, it } from "vitest";
import { createBuilder } from "../../compiler/ir/builder.ts";
import { dense } from "../../compiler/ir/dense.ts";
import { interpretFunc } from "../../compiler/ir/interpreter.ts";
import type { Dense, Op } from "../../compiler/ir/module.ts";
import { inverseRoot, ROOT_ERROR } from "../../compiler/ir/ops/normalize-arithmetic.ts";
import { F32, type IntType, int, intMax, intMin, sizeOf, tensor } from "../../compiler/ir/types.ts";
import { integerizeModule } from "../../compiler/passes/integerize/index.ts";
import { lowerNormalize } from "../../compiler/passes/lower/normalize.ts";
import { type Random, randomFrom } from "./rescales.ts";
import { checkStage, randomDense, randomPlace, stageFunc } from "./stages.ts";

/** Integer square root by bisection. */
function root(n: bigint): bigint {
  let lo = 0n;
  let hi = 1n << BigInt((n.toString(2).length >> 1) + 1);
  while (hi - lo > 1n) {
    const mid = (lo + hi) >> 1n;
    if (mid * mid <= n) lo = mid;
    else hi = mid;
  }
  return lo;
}

it("finds inverse roots within the stated bound", () => {
  const random = randomFrom(1);
  const at: bigint[] = [];
  for (let i = 0; i < 20_000; i++)
    at.push((1n << 60n) + ((BigInt(random(2 ** 30)) * (3n << 60n)) >> 30n) + BigInt(random(2 ** 30)));
  for (let i = 0n; i < 500n; i++)
    at.push(
      (1n << 60n) + i,
      (1n << 62n) - 1n - i,
      (1n << 60n) + ((i + 1n) << 30n) - 1n,
      (1n << 62n) - 1n - (i << 30n),
    );
  for (const x of at) {
    if (x >= 1n << 62n) continue;
    // 2^61 / √x in units of 2^-20, floored.
    const want = root((1n << 162n) / x);
    const off = (inverseRoot(x) << 20n) - want;
    if (off > BigInt(ROOT_ERROR) << 20n || off < -(BigInt(ROOT_ERROR) << 20n))
      expect({ x, off }).toBe("within the bound");
  }
});

interface Case {
  readonly type: IntType;
  readonly zero: number;
  readonly scale: number;
  readonly shape: readonly number[];
  readonly axis: number;
  readonly centre: boolean;
  readonly epsilon: number;
  /** Of the parameters. */
  readonly along: readonly number[];
  readonly gain: readonly number[];
  readonly bias: readonly number[];
  readonly to: IntType;
  readonly step: number;
  readonly zeroTo: number;
  readonly rounding?: string;
}

/** The op that `integerize` makes of dequantize, normalize, multiply, add, quantize. */
function normalization(c: Case): Op {
  const b = createBuilder("main");
  const quant = (storage: IntType, scale: number, zeroPoint: number) =>
    ({
      kind: "quant",
      storage,
      lo: intMin(storage),
      hi: intMax(storage),
      scheme: { kind: "tensor", scale, zeroPoint },
    }) as const;
  const x = b.param(tensor(c.shape, quant(c.type, c.scale, c.zero)), { name: "x", dtype: "int8" });
  const constant = (data: readonly number[]) => b.add1("const", [], { value: dense(F32, c.along, data) });
  const real = b.add1("quant.dequantize", [x], {});
  const { axis, centre, epsilon } = c;
  const unit = b.add1("float.normalize", [real], { axis, centre, epsilon });
  const scaled = b.add1("float.mul", [unit, constant(c.gain)]);
  const y = b.add1("float.add", [scaled, constant(c.bias)]);
  const q = b.add1(
    "quant.quantize",
    [y],
    { rounding: c.rounding ?? "half_even", order: "round_then_shift" },
    { types: [tensor(c.shape, quant(c.to, c.step, c.zeroTo))] },
  );
  b.result(q, { name: "y", dtype: "int8" });
  const made = integerizeModule({ funcs: [b.build()] });
  if (!made.ok) throw new Error(made.diagnostics.map((d) => d.message).join("\n"));
  const op = made.value.funcs[0]!.ops.find((o) => o.name === "qc.normalize");
  if (op === undefined) throw new Error("no qc.normalize");
  return op;
}

const TYPES = [int(false, 8), int(true, 8), int(true, 16), int(false, 16), int(false, 4)];
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;
const real = (random: Random, lo: number, hi: number): number =>
  Math.fround(lo + ((hi - lo) * random(2 ** 24)) / 2 ** 24);

function randomCase(random: Random, shape: readonly number[], axis: number): Case {
  const type = pick(random, TYPES);
  const to = pick(random, TYPES);
  const rows = shape.slice(axis);
  const along = pick(random, [rows, [], shape.map((d, a) => (a === axis ? d : 1)), shape.slice(axis + 1)]);
  const n = sizeOf(along);
  const step = Math.fround(8 / 2 ** to.bits) * real(random, 0.2, 4);
  return {
    type,
    zero: intMin(type) + random(2 ** type.bits),
    scale: Math.fround(10 ** (real(random, 0, 4) - 4)),
    shape,
    axis,
    centre: random(3) > 0,
    epsilon: Math.fround(pick(random, [1e-5, 1e-6, 1e-12, 0, 0.1])),
    along,
    gain: Array.from({ length: n }, () => (random(10) === 0 ? 0 : real(random, -2, 2))),
    bias: Array.from({ length: n }, () => real(random, -1, 1)),
    to,
    step: Math.fround(step),
    zeroTo: intMin(to) + random(2 ** to.bits),
  };
}

/** Rows that are hard on the arithmetic: constant, one outlier, both extremes, all but constant. */
function hardRow(random: Random, n: number, { bits, signed }: IntType): number[] {
  const [lo, hi] = [signed ? -(2 ** (bits - 1)) : 0, signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1];
  const at = random(n);
  const base = lo + random(hi - lo);
  const kind = random(7);
  return Array.from({ length: n }, (_, i) => {
    if (kind === 0) return base;
    if (kind === 1) return i === at ? hi : lo;
    if (kind === 2) return i < n / 2 ? lo : hi;
    if (kind === 3) return base + (i === at ? 1 : 0);
    if (kind === 4) return i === at ? lo : hi;
    return lo + random(hi - lo + 1);
  });
}

const inputOf = (random: Random, c: Case): Dense => {
  const n = sizeOf(c.shape.slice(c.axis));
  const rows = Array.from({ length: sizeOf(c.shape) / n }, () => hardRow(random, n, c.type));
  return dense(c.type, c.shape, rows.flat());
};

const funcOf = (c: Case, op: Op) =>
  stageFunc((b, param) =>
    b.add1("qc.normalize", [param(tensor(c.shape, c.type))], op.attrs, { types: [op.results[0]!.type] }),
  );

describe("within the stated error of the real function", () => {
  const lengths = [1, 2, 3, 7, 8, 31, 64, 100, 192, 257, 768, 1024];
  it.each(lengths)("rows of %i", (n) => {
    for (let seed = 0; seed < 40; seed++) {
      const random = randomFrom(seed * 1000 + n);
      const c = randomCase(random, [6, n], 1);
      const op = normalization(c);
      const error = op.attrs.error as number;
      expect(error).toBeLessThan(0.5);
      const func = funcOf(c, op);
      const x = inputOf(random, c);
      const [y] = interpretFunc({ funcs: [func] }, func, [x]);
      const at = (list: readonly number[], i: number) => list[list.length === 1 ? 0 : i % n]!;
      for (let r = 0; r < 6; r++) {
        const row = Array.from(x.data.subarray(r * n, (r + 1) * n), (t) => t - c.zero);
        // Sums of integers are exact in float64.
        const sum = c.centre ? row.reduce((s, t) => s + t, 0) : 0;
        const v = n * row.reduce((s, t) => s + t * t, 0) - sum * sum;
        const e = (c.epsilon * n * n) / (c.scale * c.scale);
        row.forEach((t, i) => {
          const d = n * t - sum;
          const unit = d === 0 ? 0 : d / Math.sqrt(v + e);
          const want = (at(c.gain, i) * unit + at(c.bias, i)) / c.step;
          const got = y!.data[r * n + i]! - c.zeroTo;
          const [lo, hi] = [intMin(c.to) - c.zeroTo, intMax(c.to) - c.zeroTo];
          const nearest = Math.min(Math.max(want, lo), hi);
          const distance = Math.abs(got - nearest);
          if (!(distance <= 0.5 + error + 1e-9 * (1 + Math.abs(want))))
            expect({ seed, n, i, distance, want, got, c, error }).toBe("within the bound");
        });
      }
    }
  });
});

it("rounds the bias exactly where an element is the mean", () => {
  for (const rounding of ["half_even", "half_up", "half_down", "floor", "ceil"] as const)
    for (const bias of [0, 0.5, 1, 1.5, -0.5, -1, -1.5, 2.5, 0.25]) {
      const c: Case = {
        type: int(false, 8),
        zero: 3,
        scale: 0.1,
        shape: [1, 4],
        axis: 1,
        centre: true,
        epsilon: 1e-5,
        along: [],
        gain: [1],
        bias: [bias],
        to: int(true, 8),
        step: 1,
        zeroTo: 1,
        rounding,
      };
      const op = normalization(c);
      const func = funcOf(c, op);
      const [y] = interpretFunc({ funcs: [func] }, func, [dense(c.type, [1, 4], [9, 9, 9, 9])]);
      const even = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
      const want = {
        half_even: even(bias),
        half_up: Math.sign(bias) * Math.floor(Math.abs(bias) + 0.5),
        half_down: Math.sign(bias) * Math.ceil(Math.abs(bias) - 0.5),
        floor: Math.floor(bias),
        ceil: Math.ceil(bias),
      }[rounding];
      expect([rounding, bias, ...y!.data]).toEqual([rounding, bias, ...Array(4).fill(want + 1)]);
    }
});

describe("kernels", () => {
  it("equal the definition, byte for byte, on random shapes, layouts and rows", async () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = randomFrom(seed);
      const rank = 1 + random(4);
      const shape = Array.from({ length: rank }, () => 1 + random(random(3) === 0 ? 40 : 5));
      const c = randomCase(random, shape, random(rank));
      const op = normalization(c);
      await checkStage(lowerNormalize, {
        func: funcOf(c, op),
        args: [random(3) === 0 ? randomDense(random, tensor(shape, c.type)) : inputOf(random, c)],
        inputs: [randomPlace(random, "x", tensor(shape, c.type), false)],
        output: randomPlace(random, "y", op.results[0]!.type),
      });
    }
  }, 60_000);

  it("equal the definition on long rows", async () => {
    for (const [n, seed] of [
      [768, 1],
      [1000, 2],
      [1024, 3],
      [4099, 4],
      [16_000, 5],
    ] as const) {
      const random = randomFrom(seed);
      const c = {
        ...randomCase(random, [2, n], 1),
        type: pick(random, [int(false, 8), int(true, 16), int(false, 16)]),
      };
      const op = normalization({ ...c, zero: 0 });
      await checkStage(lowerNormalize, {
        func: funcOf(c, op),
        args: [inputOf(random, c)],
        inputs: [randomPlace(random, "x", tensor(c.shape, c.type), false)],
        output: randomPlace(random, "y", op.results[0]!.type),
      });
    }
  });
});
