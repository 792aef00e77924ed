import { expect, test } from "vitest";
import type { Func, Port } from "./module.ts";
import { parseModule } from "./parser.ts";
import { analyzeRanges, type ChannelRange } from "./ranges.ts";
import { copyOp } from "./rewriter.ts";

const text = `
func @main(%x: tensor<1x3xi8>) -> tensor<1x2xu8> {
  %w = const {value = dense<3x2xi8> [1, -2, 3, 4, -5, 6]} : tensor<3x2xi8>
  %a = qc.matmul %x, %w : tensor<1x2xi32>
  %y = qc.requant %a {axis = 1, scales = [[1/3, 1/7]], lo = 0, hi = 255} : tensor<1x2xu8>
  return %y
}`;

function parsed(): Func {
  const module = parseModule(text);
  if (!module.ok) throw new Error(module.diagnostics.map((d) => d.message).join("\n"));
  return module.value.funcs[0]!;
}

const params =
  (min: readonly number[], max: readonly number[]) =>
  (_: Port): ChannelRange => ({ min, max });
const rangesOf = (func: Func, known?: (p: Port) => ChannelRange) => {
  const ranges = analyzeRanges(func, known);
  return func.ops.map((op) => ranges.of(op.results[0]!));
};

test("the range of each channel follows from its weights", () => {
  const [w, a, y] = rangesOf(parsed(), params([0, 0, -1], [10, 1, 1]));
  expect(w).toEqual({ min: [-5], max: [6] });
  expect(a).toEqual({ min: [-5, -26], max: [18, 10] });
  expect(y).toEqual({ min: [0, 0], max: [6, 1] });
});

test("a second analysis computes nothing anew, neither do ops on other values of the same ranges", () => {
  const func = parsed();
  const first = rangesOf(func);
  for (const [i, r] of rangesOf(func).entries()) expect(r).toBe(first[i]);
  const value = { ...func.params[0]!.value };
  const [w, a, y] = func.ops as [Func["ops"][0], Func["ops"][0], Func["ops"][0]];
  const moved = {
    ...func,
    params: [{ ...func.params[0]!, value }],
    ops: [w, copyOp(a, [value, w.results[0]!]), y],
  };
  expect(rangesOf(moved)[1]).toBe(first[1]);
});

test("what is remembered serves equal facts only", () => {
  const func = parsed();
  const known = [
    params([0, 0, 0], [1, 2, 3]),
    params([0, 0, 0], [1, 2, 4]),
    params([-1], [1]),
    params([0, 0, 0], [1, 2, 3]),
  ];
  for (const k of known) expect(rangesOf(func, k)).toEqual(rangesOf(parsed(), k));
  const [w, a, y] = func.ops as [Func["ops"][0], Func["ops"][0], Func["ops"][0]];
  const value = w.attrs.value as { readonly data: Int32Array };
  const other = {
    ...w,
    attrs: { ...w.attrs, value: { ...value, data: value.data.map((x) => -x) } as typeof w.attrs.value },
  };
  const negated = rangesOf({ ...func, ops: [other as typeof w, a, y] }, known[0]);
  expect(negated[1]).toEqual({ min: [-7, -26], max: [15, 2] });
});
