import { describe, expect, it } from "vitest";
import { rescaleAttr } from "../../compiler/ir/ops/integer-rescale.ts";
import { I8, I16, I32, type IntType, int, tensor, U8 } from "../../compiler/ir/types.ts";
import { lowerElementwise } from "../../compiler/passes/lower/elementwise.ts";
import { lowerTable } from "../../compiler/passes/lower/table.ts";
import { KINDS, type Random, randomFrom, randomRescale } from "./rescales.ts";
import { checkStage, placed, randomDense, randomPlace, stageFunc } from "./stages.ts";

const shapeOf = (random: Random): number[] => {
  const c = 1 + random(40);
  return random(4) === 0 ? [1 + random(3), c] : [1 + random(2), 1 + random(5), 1 + random(5), c];
};
const pickOf = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

/** The shape with some axes broadcast. */
const broadcast = (random: Random, shape: readonly number[]): number[] => {
  const r = random(6);
  if (r === 0) return [];
  if (r === 1) return [shape.at(-1)!];
  if (r === 2) return shape.map((d, i) => (i === shape.length - 1 ? 1 : d));
  return [...shape];
};

describe("rescale of one and two tensors", () => {
  for (const kind of KINDS)
    it(kind, async () => {
      let made = 0;
      for (let seed = 0; seed < (kind === "tie" ? 10 : 20); seed++) {
        const random = randomFrom(seed * 10 + KINDS.indexOf(kind));
        const shape = shapeOf(random);
        const wide = kind === "limb64";
        const operands = kind === "hi32" || wide ? 1 : 1 + random(2);
        const elem: IntType =
          operands === 2 ? U8 : wide ? int(true, 24) : pickOf(random, [U8, I8, I16, int(true, 20)]);
        const [out, lo, hi] = pickOf(random, [
          [U8, 0, 255],
          [I8, -128, 127],
          [U8, 2, 77],
          [I16, -300, 300],
          [int(true, 18), -200, 200],
        ] as const);
        const axis = random(5) === 0 ? random(shape.length) : shape.length - 1;
        const channels = shape[axis]!;
        const reach = wide ? 2 ** 22 : 2000;
        const ranges = Array.from({ length: operands }, () =>
          elem === U8
            ? { min: 0, max: 255 }
            : { min: elem === I8 ? -128 : -reach, max: elem === I8 ? 127 : reach },
        );
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
        const shapes = [shape, broadcast(random, shape)].slice(0, operands);
        const func = stageFunc((b, param) => {
          const y = b.add1(
            "qc.rescale",
            shapes.map((s) => param(tensor(s, elem))),
            { axis, rescale: rescaleAttr(rescale) },
            { types: [tensor(shape, out)] },
          );
          return random(3) === 0 ? b.add1("qc.clamp", [y], { lo: lo + 1, hi: hi - 5 }) : y;
        });
        await checkStage(lowerElementwise, {
          func,
          args: shapes.map((s, i) => randomDense(random, tensor(s, elem), ranges[i]!.min, ranges[i]!.max)),
          inputs: shapes.map((s, i) => randomPlace(random, `x${i}`, tensor(s, elem))),
          output: randomPlace(random, "y", tensor(shape, out)),
        });
      }
      expect(made).toBeGreaterThan(3);
    });
});

it("products, additions of constants, clamps, constants as operands", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = randomFrom(seed);
    const shape = shapeOf(random);
    const elem = pickOf(random, [U8, I8]);
    const types = [tensor(shape, elem), tensor(broadcast(random, shape), U8)];
    const which = random(4);
    const constant = randomDense(random, types[1]!);
    const func = stageFunc((b, param) => {
      const x = param(types[0]!);
      if (which === 0)
        return b.add1(
          "qc.mul",
          [x, param(types[1]!)],
          { a_zero: random(10), b_zero: random(200) },
          { types: [tensor(shape, I32)] },
        );
      if (which === 1)
        return b.add1(
          "qc.mul",
          [x, b.add1("const", [], { value: constant })],
          { b_zero: 5 },
          { types: [tensor(shape, I32)] },
        );
      if (which === 2)
        return b.add1("qc.add_const", [x], { value: random(200) - 100 }, { types: [tensor(shape, I16)] });
      return b.add1("qc.clamp", [x], { lo: 3, hi: 90 }, { types: [tensor(shape, U8)] });
    });
    const n = func.params.length;
    await checkStage(lowerElementwise, {
      func,
      args: types.slice(0, n).map((t) => randomDense(random, t)),
      inputs: types.slice(0, n).map((t, i) => randomPlace(random, `x${i}`, t)),
      output: randomPlace(random, "y", func.results[0]!.value.type),
    });
  }
});

it("product and rescale in one kernel", async () => {
  for (let seed = 0; seed < 12; seed++) {
    const random = randomFrom(seed);
    const shape = shapeOf(random);
    const channels = shape.at(-1)!;
    const rescale = randomRescale(random, {
      kind: seed % 2 ? "hi32" : "i32",
      channels,
      perChannel: random(2) === 0,
      ranges: [{ min: -255 * 100, max: 255 * 255 }],
      lo: 0,
      hi: 255,
    });
    if (!rescale) continue;
    const types = [tensor(shape, U8), tensor([channels], U8)];
    const func = stageFunc((b, param) => {
      const y = b.add1(
        "qc.mul",
        [param(types[0]!), param(types[1]!)],
        { b_zero: 100 },
        { types: [tensor(shape, I32)] },
      );
      return b.add1(
        "qc.rescale",
        [y],
        { axis: shape.length - 1, rescale: rescaleAttr(rescale) },
        { types: [tensor(shape, U8)] },
      );
    });
    await checkStage(lowerElementwise, {
      func,
      args: types.map((t) => randomDense(random, t)),
      inputs: types.map((t, i) => randomPlace(random, `x${i}`, t)),
      output: randomPlace(random, "y", tensor(shape, U8)),
    });
  }
});

it("tables", async () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = randomFrom(seed);
    const shape = shapeOf(random);
    const [elem, min, length] = pickOf(random, [
      [U8, 0, 256],
      [I8, -128, 256],
      [U8, 10, 40],
      [int(true, 9), -20, 270],
      [I16, 1000, 300],
    ] as const);
    const out = pickOf(random, [U8, I8, I16, int(true, 20)]);
    const noise = randomDense(random, tensor([length], out));
    // Like an activation function, two tables of three are constant at both ends, one of them everywhere.
    const [from, to] = pickOf(random, [
      [0, length],
      [Math.floor(length / 3), length - 20],
      [5, 5],
    ] as const);
    const data = noise.data.map((_, i) => noise.data[Math.min(Math.max(i, from), to)] ?? 7);
    const entries = { ...noise, data };
    const func = stageFunc((b, param) =>
      b.add1("qc.table", [param(tensor(shape, elem))], { table: entries, min }),
    );
    await checkStage(lowerTable, {
      func,
      args: [randomDense(random, tensor(shape, elem), min, min + length - 1)],
      inputs: [randomPlace(random, "x0", tensor(shape, elem))],
      output: randomPlace(random, "y", tensor(shape, out)),
    });
  }
});

it.each([
  ["u8", U8, 0],
  ["i8", I8, -128],
] as const)(
  "a table of all %s without gaps is looked up byte by byte, one that saturates is swizzled",
  async (_, elem, min) => {
    const random = randomFrom(3);
    const type = tensor([3, 23], elem);
    const out = tensor([3, 23], U8);
    for (const swizzled of [false, true]) {
      const noise = randomDense(random, tensor([256], U8));
      const entries = { ...noise, data: noise.data.map((v, i) => (swizzled && i > 150 ? 255 : v)) };
      const func = stageFunc((b, param) => b.add1("qc.table", [param(type)], { table: entries, min }));
      const program = await checkStage(lowerTable, {
        func,
        args: [randomDense(random, type)],
        inputs: [placed("x", type, {})],
        output: placed("y", out, {}),
      });
      expect(JSON.stringify(program.kernels[0]!.body).includes("swizzle")).toBe(swizzled);
    }
  },
);

it("a residual addition without gaps is one run of whole vectors", async () => {
  const random = randomFrom(1);
  const type = tensor([1, 4, 4, 12], U8);
  const rescale = randomRescale(random, {
    kind: "i32",
    channels: 12,
    perChannel: false,
    ranges: [
      { min: 0, max: 255 },
      { min: 0, max: 255 },
    ],
    lo: 0,
    hi: 255,
  })!;
  const func = stageFunc((b, param) =>
    b.add1(
      "qc.rescale",
      [param(type), param(type)],
      { axis: 3, rescale: rescaleAttr(rescale) },
      { types: [type] },
    ),
  );
  const program = await checkStage(lowerElementwise, {
    func,
    args: [randomDense(random, type), randomDense(random, type)],
    inputs: ["a", "b"].map((n) => placed(n, type, {})),
    output: placed("y", type, {}),
  });
  const loops = program.kernels[0]!.body.filter((s) => s.k === "for");
  expect(loops).toHaveLength(1);
  expect(JSON.stringify(loops).includes("_lane")).toBe(false);
});
