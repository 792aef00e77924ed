/** The integer softmax: kernels against the definition, and the definition against the real function. */
import { describe, expect, it } from "vitest";
import { createBuilder } from "../../compiler/ir/builder.ts";
import { dense } from "../../compiler/ir/dense.ts";
import { interpretFunc } from "../../compiler/ir/interpreter.ts";
import type { Dense, Op } from "../../compiler/ir/module.ts";
import { type IntType, int, intMax, intMin, sizeOf, tensor } from "../../compiler/ir/types.ts";
import { integerizeModule } from "../../compiler/passes/integerize/index.ts";
import { lowerSoftmax } from "../../compiler/passes/lower/softmax.ts";
import { type Random, randomFrom } from "./rescales.ts";
import { checkStage, randomDense, randomPlace, stageFunc } from "./stages.ts";

interface Case {
  readonly type: IntType;
  readonly scale: number;
  readonly shape: readonly number[];
  readonly axis: number;
  readonly to: IntType;
  readonly step: number;
  readonly zeroTo: number;
  readonly rounding: string;
}

/** The op that `integerize` makes of dequantize, softmax, quantize. */
function softmax(c: Case): Op {
  const b = createBuilder("main");
  const quant = (storage: IntType, scale: number, zeroPoint: number) =>
    ({
      kind: "quant",
      storage,
      lo: intMin(storage),
      hi: intMax(storage),
      scheme: { kind: "tensor", scale, zeroPoint },
    }) as const;
  const x = b.param(tensor(c.shape, quant(c.type, c.scale, 3)), { name: "x", dtype: "int8" });
  const y = b.add1("float.softmax", [b.add1("quant.dequantize", [x], {})], { axis: c.axis });
  const q = b.add1(
    "quant.quantize",
    [y],
    { rounding: c.rounding, order: "round_then_shift" },
    { types: [tensor(c.shape, quant(c.to, c.step, c.zeroTo))] },
  );
  b.result(q, { name: "y", dtype: "int8" });
  const made = integerizeModule({ funcs: [b.build()] });
  if (!made.ok) throw new Error(made.diagnostics.map((d) => d.message).join("\n"));
  return made.value.funcs[0]!.ops.find((o) => o.name === "qc.softmax")!;
}

const TYPES = [int(false, 8), int(true, 8), int(true, 16), int(false, 16), int(false, 4), int(false, 10)];
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

function randomCase(random: Random, shape: readonly number[], axis: number): Case {
  const type = pick(random, TYPES);
  const to = pick(random, TYPES);
  return {
    type,
    // The range reaches from much less than one step to far beyond where exponentials vanish.
    scale: Math.fround((10 ** (random(300) / 100 - 1) * 10) / 2 ** type.bits),
    shape,
    axis,
    to,
    step: Math.fround((0.3 + random(1000) / 1000) / 2 ** to.bits),
    zeroTo: intMin(to) + random(2 ** (to.bits - 1)),
    rounding: pick(random, ["half_even", "half_even", "floor", "ceil"]),
  };
}

const funcOf = (c: Case, op: Op) =>
  stageFunc((b, param) =>
    b.add1("qc.softmax", [param(tensor(c.shape, c.type))], op.attrs, { types: [op.results[0]!.type] }),
  );

/** Random, constant, one outlier, or close together. */
function inputOf(random: Random, c: Case): Dense {
  const [lo, hi] = [intMin(c.type), intMax(c.type)];
  const kind = random(5);
  const base = lo + random(hi - lo + 1);
  const size = sizeOf(c.shape);
  const at = random(size);
  return dense(
    c.type,
    c.shape,
    Array.from({ length: size }, (_, i) => {
      if (kind === 0) return base;
      if (kind === 1) return i === at ? hi : lo;
      if (kind === 2) return Math.max(lo, Math.min(hi, base + random(9)));
      return lo + random(hi - lo + 1);
    }),
  );
}

describe("within the stated error of the real softmax", () => {
  it.each([1, 2, 5, 16, 17, 64, 197, 600, 1024])("rows of %i", (n) => {
    for (let seed = 0; seed < 40; seed++) {
      const random = randomFrom(seed * 10_000 + n);
      const c = randomCase(random, [3, n], 1);
      const op = softmax(c);
      const error = op.attrs.error as number;
      expect(error).toBeLessThan(0.5);
      const func = funcOf(c, op);
      const x = inputOf(random, c);
      const [y] = interpretFunc({ funcs: [func] }, func, [x]);
      for (let r = 0; r < 3; r++) {
        const row = Array.from(x.data.subarray(r * n, (r + 1) * n));
        const top = Math.max(...row);
        const e = row.map((t) => Math.exp((t - top) * c.scale));
        const sum = e.reduce((a, b) => a + b, 0);
        e.forEach((v, i) => {
          const want = v / sum / c.step;
          const got = y!.data[r * n + i]! - c.zeroTo;
          const [below, above] = { half_even: [0.5, 0.5], floor: [1, 0], ceil: [0, 1] }[
            c.rounding as "floor"
          ] as [number, number];
          const limit = intMax(c.to) - c.zeroTo;
          const ok =
            (got >= want - below - error - 1e-9 || got === limit) && got <= want + above + error + 1e-9;
          if (!ok) expect({ seed, n, i, want, got, c, error }).toBe("within the bound");
        });
      }
    }
  });
});

describe("kernels", () => {
  it("equal the definition, byte for byte, on random shapes, axes and layouts", async () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = randomFrom(seed);
      const rank = 1 + random(4);
      const shape = Array.from({ length: rank }, () => 1 + random(random(3) === 0 ? 40 : 5));
      const c = randomCase(random, shape, random(rank));
      const op = softmax(c);
      await checkStage(lowerSoftmax, {
        func: funcOf(c, op),
        args: [random(2) === 0 ? randomDense(random, tensor(shape, c.type)) : inputOf(random, c)],
        inputs: [randomPlace(random, "x", tensor(shape, c.type), false)],
        output: randomPlace(random, "y", op.results[0]!.type),
      });
    }
  }, 60_000);
});
