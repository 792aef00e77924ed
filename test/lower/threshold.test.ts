import { expect, it } from "vitest";
import { I8, I16, I32, type IntType, int, tensor, U8 } from "../../compiler/ir/types.ts";
import { lowerThreshold } from "../../compiler/passes/lower/threshold.ts";
import { type Random, randomFrom } from "./rescales.ts";
import { checkStage, randomDense, randomPlace, stageFunc } from "./stages.ts";

const pickOf = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

it("counts of thresholds: any axis, few and many, mirrored, at the ends of 32 bits", async () => {
  let looped = 0;
  for (let seed = 0; seed < 60; seed++) {
    const random = randomFrom(seed + 7);
    const c = 1 + random(40);
    const shape = random(4) === 0 ? [1 + random(3), c] : [1 + random(2), 1 + random(5), 1 + random(5), c];
    const axis = random(3) === 0 ? random(shape.length) : shape.length - 1;
    const rows = random(2) === 0 ? 1 : shape[axis]!;
    const columns = pickOf(random, [0, 1, 3, 15, 16, 40, 255]);
    if (columns > 15) looped++;
    const elem: IntType = pickOf(random, [U8, I8, I16, int(true, 20), I32]);
    const reach = elem === I32 ? 2 ** 31 : elem.bits === 8 ? 128 : 3000;
    const list = (): number[] =>
      Array.from({ length: columns }, () =>
        random(20) === 0 ? 2 ** 31 - 1 : Math.trunc(((random(2 ** 20) - 2 ** 19) / 2 ** 19) * reach),
      ).sort((a, b) => a - b);
    const data = Int32Array.from(Array.from({ length: rows }, list).flat());
    const out = pickOf(random, columns < 250 ? [U8, int(false, 9), I16, I32] : [int(false, 9), I32]);
    const min = elem.signed ? -reach : 0;
    const max = elem === U8 ? 255 : reach - 1;
    const func = stageFunc((b, param) =>
      b.add1(
        "qc.threshold",
        [param(tensor(shape, elem))],
        {
          thresholds: { kind: "dense", elem: I32, shape: [rows, columns], data },
          base: Array.from({ length: rows }, () => random(5)),
          mirrored: Array.from({ length: rows }, () => random(2)),
          axis,
        },
        { types: [tensor(shape, out)] },
      ),
    );
    await checkStage(lowerThreshold, {
      func,
      args: [randomDense(random, tensor(shape, elem), min, max)],
      inputs: [randomPlace(random, "x", tensor(shape, elem))],
      output: randomPlace(random, "y", tensor(shape, out)),
    });
  }
  expect(looped).toBeGreaterThan(10);
});
