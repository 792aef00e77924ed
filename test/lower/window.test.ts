import { describe, expect, it } from "vitest";
import { rescaleAttr } from "../../compiler/ir/ops/integer-rescale.ts";
import { I8, I16, I32, type IntType, int, intMin, tensor, U8 } from "../../compiler/ir/types.ts";
import { lowerReduce } from "../../compiler/passes/lower/reduce.ts";
import { lowerWindow } from "../../compiler/passes/lower/window.ts";
import { KINDS, type Random, randomFrom, randomRescale } from "./rescales.ts";
import { checkStage, type Placed, placed, randomDense, randomPlace, stageFunc } from "./stages.ts";

const pickOf = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

interface Geometry {
  readonly shape: readonly number[];
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly pads: readonly [number, number, number, number];
}

function geometry(random: Random): Geometry {
  const kernel = [1 + random(4), 1 + random(4)] as const;
  const shape = [1 + random(2), kernel[0] + random(6), kernel[1] + random(6), 1 + random(40)];
  const pad = (k: number): number => random(Math.min(3, k));
  const pads = [pad(kernel[0]), pad(kernel[1]), pad(kernel[0]), pad(kernel[1])] as const;
  return { shape, kernel, strides: [1 + random(3), 1 + random(3)], pads };
}

/** A halo that covers the padding, and sometimes more. */
const haloed = (random: Random, g: Geometry, elem: IntType, value: number): Placed => {
  const [top, left, bottom, right] = g.pads;
  const halo = { top: top + random(2), left, bottom, right: right + random(2), value };
  return placed("x0", tensor(g.shape, elem), { halo, gap: random(3) });
};

it("max_pool", async () => {
  for (let seed = 0; seed < 80; seed++) {
    const random = randomFrom(seed);
    const g = geometry(random);
    const elem = pickOf(random, [U8, I8, I16, int(true, 20)]);
    const dilations = g.shape[1]! >= 2 * g.kernel[0] && g.shape[2]! >= 2 * g.kernel[1] ? [2, 2] : [1, 1];
    const func = stageFunc((b, param) => {
      const x = param(tensor(g.shape, elem));
      const y = b.add1("qc.max_pool", [x], { kernel: g.kernel, strides: g.strides, pads: g.pads, dilations });
      return random(3) === 0 ? b.add1("qc.clamp", [y], { lo: 5, hi: 100 }) : y;
    });
    const input =
      random(3) === 0
        ? haloed(random, g, elem, pickOf(random, [intMin(elem), 3]))
        : randomPlace(random, "x0", tensor(g.shape, elem));
    await checkStage(lowerWindow, {
      func,
      args: [randomDense(random, tensor(g.shape, elem))],
      inputs: [input],
      output: randomPlace(random, "y", func.results[0]!.value.type),
    });
  }
});

it("max_pool and a table", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const random = randomFrom(seed);
    const g = geometry(random);
    const table = randomDense(random, tensor([256], I8));
    const func = stageFunc((b, param) => {
      const x = param(tensor(g.shape, U8));
      const y = b.add1("qc.max_pool", [x], { kernel: g.kernel, strides: g.strides, pads: g.pads });
      return b.add1("qc.table", [y], { table, min: 0 });
    });
    await checkStage(lowerWindow, {
      func,
      args: [randomDense(random, tensor(g.shape, U8))],
      inputs: [randomPlace(random, "x0", tensor(g.shape, U8))],
      output: randomPlace(random, "y", func.results[0]!.value.type),
    });
  }
});

describe("sum_pool", () => {
  for (const kind of KINDS.filter((k) => k !== "limb64"))
    it(`and rescale of class ${kind}`, async () => {
      let made = 0;
      for (let seed = 0; seed < 20; seed++) {
        const random = randomFrom(seed);
        const g = geometry(random);
        const elem = pickOf(random, [U8, I8, I16]);
        const pad_value = random(100);
        const taps = g.kernel[0] * g.kernel[1];
        const range =
          elem === U8
            ? { min: 0, max: 255 }
            : elem === I8
              ? { min: -128, max: 127 }
              : { min: -999, max: 999 };
        const [lo, hi] = elem === U8 ? [0, 255] : [-128, 127];
        const channels = g.shape[3]!;
        const ranges = [{ min: range.min * taps, max: range.max * taps }];
        const rescale = randomRescale(random, {
          kind,
          channels,
          perChannel: random(2) === 0,
          ranges,
          lo,
          hi,
        });
        if (!rescale) continue;
        made++;
        const func = stageFunc((b, param) => {
          const x = param(tensor(g.shape, elem));
          const y = b.add1("qc.sum_pool", [x], {
            kernel: g.kernel,
            strides: g.strides,
            pads: g.pads,
            pad_value,
          });
          const out = tensor(y.type.shape, elem === U8 ? U8 : I8);
          return b.add1("qc.rescale", [y], { axis: 3, rescale: rescaleAttr(rescale) }, { types: [out] });
        });
        const input =
          random(2) === 0
            ? haloed(random, g, elem, pickOf(random, [pad_value, 7]))
            : randomPlace(random, "x0", tensor(g.shape, elem));
        await checkStage(lowerWindow, {
          func,
          args: [randomDense(random, tensor(g.shape, elem), range.min, range.max)],
          inputs: [input],
          output: randomPlace(random, "y", func.results[0]!.value.type),
        });
      }
      expect(made).toBeGreaterThan(5);
    });

  it("of many taps, as sums", async () => {
    for (const [elem, kernel] of [
      [U8, [15, 17]],
      [U8, [16, 16]],
      [I8, [16, 17]],
    ] as const) {
      const random = randomFrom(kernel[0]);
      const shape = [1, 18, 18, 21];
      const func = stageFunc((b, param) =>
        b.add1("qc.sum_pool", [param(tensor(shape, elem))], { kernel, strides: [1, 1], pads: [0, 0, 0, 0] }),
      );
      const extreme = elem === U8 ? 255 : -128;
      for (const args of [
        randomDense(random, tensor(shape, elem)),
        randomDense(random, tensor(shape, elem), extreme, extreme),
      ])
        await checkStage(lowerWindow, {
          func,
          args: [args],
          inputs: [placed("x0", tensor(shape, elem), {})],
          output: placed("y", tensor([1, 19 - kernel[0], 19 - kernel[1], 21], I32), {}),
        });
    }
  });
});

describe("reduce_sum", () => {
  it("over any axes", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = randomFrom(seed);
      const shape = Array.from({ length: 1 + random(4) }, () => 1 + random(random(3) === 0 ? 40 : 6));
      const elem = pickOf(random, [U8, I8, I16, int(true, 20)]);
      const axes = shape.map((_, i) => i).filter(() => random(2) === 0);
      const func = stageFunc((b, param) =>
        b.add1("qc.reduce_sum", [param(tensor(shape, elem))], { axes, keepdims: random(2) === 0 }),
      );
      await checkStage(lowerReduce, {
        func,
        args: [randomDense(random, tensor(shape, elem))],
        inputs: [randomPlace(random, "x0", tensor(shape, elem))],
        output: randomPlace(random, "y", func.results[0]!.value.type),
      });
    }
  });

  for (const kind of KINDS.filter((k) => k !== "limb64"))
    it(`over pixels, and rescale of class ${kind}`, async () => {
      let made = 0;
      for (let seed = 0; seed < 12; seed++) {
        const random = randomFrom(seed);
        const shape = [1 + random(2), 1 + random(30), 1 + random(30), 1 + random(40)];
        const elem = pickOf(random, [U8, I8]);
        const n = shape[1]! * shape[2]!;
        const ranges = [{ min: intMin(elem) * n, max: (elem === U8 ? 255 : 127) * n }];
        const [lo, hi] = elem === U8 ? [0, 255] : [-128, 127];
        const channels = shape[3]!;
        const rescale = randomRescale(random, {
          kind,
          channels,
          perChannel: random(2) === 0,
          ranges,
          lo,
          hi,
        });
        if (!rescale) continue;
        made++;
        const keepdims = random(2) === 0;
        const out = tensor(keepdims ? [shape[0]!, 1, 1, channels] : [shape[0]!, channels], elem);
        const func = stageFunc((b, param) => {
          const y = b.add1("qc.reduce_sum", [param(tensor(shape, elem))], { axes: [1, 2], keepdims });
          return b.add1(
            "qc.rescale",
            [y],
            { axis: out.shape.length - 1, rescale: rescaleAttr(rescale) },
            { types: [out] },
          );
        });
        const extreme = random(3) === 0 ? (elem === U8 ? 255 : -128) : undefined;
        await checkStage(lowerReduce, {
          func,
          args: [randomDense(random, tensor(shape, elem), extreme, extreme)],
          inputs: [randomPlace(random, "x0", tensor(shape, elem))],
          output: randomPlace(random, "y", out),
        });
      }
      expect(made).toBeGreaterThan(2);
    });
});
