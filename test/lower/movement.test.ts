import { describe, expect, it } from "vitest";
import type { Attrs } from "../../compiler/ir/module.ts";
import { I8, I16, sizeOf, type TensorType, tensor, U8 } from "../../compiler/ir/types.ts";
import { copyLayout } from "../../compiler/passes/lower/copy.ts";
import { lowerMovement } from "../../compiler/passes/lower/movement.ts";
import { segmentsOf } from "../../compiler/passes/lower/movement-indices.ts";
import { type Random, randomFrom } from "./rescales.ts";
import { checkStage, randomDense, randomPlace, stageFunc } from "./stages.ts";

const pickOf = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;
const shapeOf = (random: Random): number[] =>
  Array.from({ length: 1 + random(4) }, () => 1 + random(random(3) === 0 ? 20 : 5));

/** Attributes of a random movement of `shape`. */
const moves: { readonly [name: string]: (random: Random, shape: readonly number[]) => Attrs } = {
  "layout.transpose": (random, shape) => ({
    perm: shape
      .map((_, i) => [random(100), i] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, i]) => i),
  }),
  "layout.slice": (random, shape) => {
    const axes = shape.map((_, i) => i).filter(() => random(2) === 0);
    const parts = axes.map((a) => {
      const d = shape[a]!;
      const start = random(d);
      return random(3) === 0
        ? { start, end: -1, step: -1 - random(2) }
        : { start, end: start + 1 + random(d - start), step: 1 + random(3) };
    });
    return {
      axes,
      starts: parts.map((p) => p.start),
      ends: parts.map((p) => p.end),
      steps: parts.map((p) => p.step),
    };
  },
  "layout.pad": (random, shape) => ({
    before: shape.map(() => random(3)),
    after: shape.map(() => random(3)),
    mode: pickOf(random, ["constant", "constant", "edge", "reflect"]),
    value: random(100),
  }),
  "layout.tile": (random, shape) => ({ repeats: shape.map(() => 1 + random(3)) }),
  "layout.gather": (random, shape) => {
    const axis = random(shape.length);
    const d = shape[axis]!;
    const indices =
      random(2) === 0
        ? Array.from({ length: 2 * d }, (_, i) => i >> 1)
        : Array.from({ length: 1 + random(9) }, () => random(d));
    return { axis, indices };
  },
  "layout.expand": (random, shape) => ({
    shape: [
      ...Array.from({ length: random(2) }, () => 1 + random(3)),
      ...shape.map((d) => (d === 1 ? 1 + random(5) : d)),
    ],
  }),
  "layout.reshape": (random, shape) => {
    const n = sizeOf(shape);
    const divisors = Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
    const first = pickOf(random, divisors);
    return { shape: random(2) ? [first, n / first] : [1, n / first, 1, first] };
  },
  "qc.insert_channels": (random, shape) => {
    const axis = random(shape.length);
    const size = shape[axis]! + random(6);
    const all = Array.from({ length: size }, (_, i) => [random(1000), i] as const).sort(
      (a, b) => a[0] - b[0],
    );
    const indices = all
      .slice(0, size - shape[axis]!)
      .map(([, i]) => i)
      .sort((a, b) => a - b);
    return { axis, size, indices, values: indices.map(() => random(100)) };
  },
};

describe("between random layouts", () => {
  for (const [name, attrs] of Object.entries(moves))
    it(name, async () => {
      for (let seed = 0; seed < 40; seed++) {
        const random = randomFrom(seed);
        const shape = shapeOf(random);
        const type = tensor(shape, pickOf(random, [U8, I8, I16]));
        const func = stageFunc((b, param) => b.add1(name, [param(type)], attrs(random, shape)));
        await checkStage(lowerMovement, {
          func,
          args: [randomDense(random, type)],
          inputs: [randomPlace(random, "x0", type, false)],
          output: randomPlace(random, "y", func.results[0]!.value.type),
        });
      }
    });

  it("concat, also of constants", async () => {
    for (let seed = 0; seed < 40; seed++) {
      const random = randomFrom(seed);
      const shape = shapeOf(random);
      const axis = random(shape.length);
      const part = (): TensorType =>
        tensor(
          shape.map((d, i) => (i === axis ? 1 + random(20) : d)),
          U8,
        );
      const types = Array.from({ length: 1 + random(3) }, part);
      const constant = randomDense(random, part());
      const func = stageFunc((b, param) =>
        b.add1("layout.concat", [...types.map(param), b.add1("const", [], { value: constant })], { axis }),
      );
      await checkStage(lowerMovement, {
        func,
        args: types.map((t) => randomDense(random, t)),
        inputs: types.map((t, i) => randomPlace(random, `x${i}`, t, false)),
        output: randomPlace(random, "y", func.results[0]!.value.type),
      });
    }
  });

  it("a constant result", async () => {
    const random = randomFrom(3);
    const value = randomDense(random, tensor([1, 3, 2, 5], I8));
    const func = stageFunc((b) => b.add1("const", [], { value }));
    await checkStage(lowerMovement, {
      func,
      args: [],
      inputs: [],
      output: randomPlace(random, "y", func.results[0]!.value.type),
    });
  });

  it("copies", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = randomFrom(seed);
      const type = tensor(shapeOf(random), pickOf(random, [U8, I8, I16]));
      const func = stageFunc((b, param) => b.add1("layout.reshape", [param(type)], { shape: type.shape }));
      await checkStage((s) => copyLayout(s.name, s.inputs[0]!, s.outputs[0]!, s.target), {
        func,
        args: [randomDense(random, type)],
        inputs: [randomPlace(random, "x0", type)],
        output: randomPlace(random, "y", type),
      });
    }
  });
});

describe("segments", () => {
  const at = (...list: number[]) => segmentsOf(list.map((index) => ({ index })));
  it("keep nested repeats whole", () => {
    expect(at(0, 0, 1, 1, 2, 2)).toHaveLength(1);
    expect(at(0, 1, 2, 0, 1, 2)).toHaveLength(1);
    expect(at(5, 4, 3)).toHaveLength(1);
  });
  it("split where the step changes", () => {
    expect(at(0, 1, 2, 7, 8).map((s) => [s.start, s.count, s.base])).toEqual([
      [0, 3, 0],
      [3, 2, 7],
    ]);
  });
});
