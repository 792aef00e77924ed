import { expect, test } from "vitest";
import { dense } from "../dense.ts";
import { F32, int, type TensorType, tensor } from "../types.ts";
import { opDef } from "./index.ts";

const u4 = int(false, 4);
const q = dense(u4, [2, 5], [0, 1, 2, 3, 4, 15, 14, 13, 12, 11]);
const scales = dense(F32, [2, 3], [0.5, 1, 2, 0.25, 3, 4]);
const zeros = dense(u4, [2, 3], [1, 2, 3, 8, 9, 10]);
const types = [tensor([2, 5], u4), tensor([2, 3], F32), tensor([2, 3], u4)];
const WEIGHTS = [-0.5, 0, 0, 1, 2, 1.75, 1.5, 12, 9, 4];

const run = (
  name: string,
  operands: Parameters<ReturnType<typeof opDef>["evaluate"]>[0],
  of: TensorType[],
  attrs: object,
) => {
  const def = opDef(name);
  const results = def.infer(of, { ...attrs }, undefined);
  if (typeof results === "string") return results;
  return {
    shape: results[0]!.shape,
    data: Array.from(def.evaluate(operands, { ...attrs }, results, of)[0]!.data),
  };
};

test("blocks of two along a row of five", () => {
  const attrs = { axis: 1, block: 2 };
  expect(run("quant.dequantize_blocks", [q, scales, zeros], types, attrs)).toEqual({
    shape: [2, 5],
    data: WEIGHTS,
  });
});

test("zero points may be fractions", () => {
  const half = dense(F32, [2, 3], [1.5, 2, 3, 8, 9, 10]);
  const made = run("quant.dequantize_blocks", [q, scales, half], [types[0]!, types[1]!, types[1]!], {
    axis: 1,
    block: 2,
  });
  expect(made).toMatchObject({ data: [-0.75, -0.25, ...WEIGHTS.slice(2)] });
});

test("the product multiplies what dequantizing gives", () => {
  const x = dense(F32, [1, 2, 5], [1, 2, 3, 4, 5, -1, 0.5, 2, 0, 1]);
  const row = (m: number, n: number): number =>
    [0, 1, 2, 3, 4].reduce((sum, k) => sum + x.data[m * 5 + k]! * WEIGHTS[n * 5 + k]!, 0);
  expect(
    run("float.matmul_blocks", [x, q, scales, zeros], [tensor([1, 2, 5], F32), ...types], { block: 2 }),
  ).toEqual({
    shape: [1, 2, 2],
    data: [row(0, 0), row(0, 1), row(1, 0), row(1, 1)],
  });
});

test.each([
  [{ axis: 1, block: 3 }, "the scales' shape must be [2, 2]"],
  [{ axis: 2, block: 2 }, "axis 2 is not an axis of q"],
  [{ axis: 1, block: 0 }, "block must be 1 or more, is 0"],
])("%o is refused", (attrs, message) => {
  expect(run("quant.dequantize_blocks", [q, scales, zeros], types, attrs)).toBe(message);
});
