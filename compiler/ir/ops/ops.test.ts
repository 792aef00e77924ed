import { describe, expect, test } from "vitest";
import { createBuilder } from "../builder.ts";
import { dense } from "../dense.ts";
import { interpret } from "../interpreter.ts";
import type { Attrs, Dense, Value } from "../module.ts";
import { rational } from "../rational.ts";
import { type ElemType, F32, F64, I8, I32, int, type TensorType, tensor, U8 } from "../types.ts";

/** Runs one op on constant params. */
function run(name: string, args: readonly Dense[], attrs: Attrs = {}, types?: readonly TensorType[]): Dense {
  const b = createBuilder();
  const values = args.map(
    (d, i): Value => b.param({ shape: d.shape, elem: d.elem }, { name: `x${i}`, dtype: "" }),
  );
  b.result(b.add1(name, values, attrs, types ? { types } : {}), { name: "y", dtype: "" });
  const inputs = new Map(args.map((d, i) => [`x${i}`, d]));
  return interpret({ funcs: [b.build()] }, inputs)[0]!.dense;
}
const i8 = (shape: readonly number[], ...v: number[]): Dense => dense(I8, shape, v);
const f32 = (shape: readonly number[], ...v: number[]): Dense => dense(F32, shape, v);
const list = (d: Dense): number[] => Array.from(d.data);
const iota = (elem: typeof I8 | typeof F32, ...shape: number[]): Dense => {
  const n = shape.reduce((a, b) => a * b, 1);
  return dense(
    elem,
    shape,
    Array.from({ length: n }, (_, i) => i),
  );
};

describe("layout", () => {
  const x = iota(I8, 2, 3);
  test.each<[string, Attrs, number[], number[]]>([
    ["layout.reshape", { shape: [3, 2] }, [3, 2], [0, 1, 2, 3, 4, 5]],
    ["layout.transpose", { perm: [1, 0] }, [3, 2], [0, 3, 1, 4, 2, 5]],
    ["layout.slice", { axes: [1], starts: [2], ends: [-1], steps: [-2] }, [2, 2], [2, 0, 5, 3]],
    ["layout.slice", { axes: [0, 1], starts: [1, 1], ends: [2, 3], steps: [1, 1] }, [1, 2], [4, 5]],
    ["layout.gather", { axis: 1, indices: [2, 2, 0] }, [2, 3], [2, 2, 0, 5, 5, 3]],
    ["layout.pad", { before: [0, 1], after: [1, 0], value: 9 }, [3, 4], [9, 0, 1, 2, 9, 3, 4, 5, 9, 9, 9, 9]],
    [
      "layout.pad",
      { before: [0, 2], after: [0, 1], mode: "reflect" },
      [2, 6],
      [2, 1, 0, 1, 2, 1, 5, 4, 3, 4, 5, 4],
    ],
    ["layout.pad", { before: [0, 1], after: [0, 1], mode: "edge" }, [2, 5], [0, 0, 1, 2, 2, 3, 3, 4, 5, 5]],
    ["layout.expand", { shape: [2, 2, 3] }, [2, 2, 3], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]],
    ["layout.tile", { repeats: [1, 2] }, [2, 6], [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]],
  ])("%s %o", (name, attrs, shape, values) => {
    const y = run(name, [x], attrs);
    expect(y.shape).toEqual(shape);
    expect(list(y)).toEqual(values);
  });

  test("concat joins along the axis", () => {
    const y = run("layout.concat", [x, i8([2, 1], 8, 9)], { axis: 1 });
    expect(list(y)).toEqual([0, 1, 2, 8, 3, 4, 5, 9]);
    const mixed = run("layout.concat", [i8([1], -3), dense(int(false, 8), [1], [200])], { axis: 0 });
    expect(mixed.elem).toEqual(int(true, 9));
    expect(list(mixed)).toEqual([-3, 200]);
    expect(run("layout.concat", [f32([1], 0.5), dense(F64, [1], [0.1])], { axis: 0 }).data).toEqual(
      Float64Array.of(0.5, 0.1),
    );
  });

  test("a quantisation axis follows the movement", () => {
    const elem: ElemType = {
      kind: "quant",
      storage: I8,
      lo: -128,
      hi: 127,
      scheme: { kind: "axis", axis: 1, scales: [1, 2, 3], zeroPoints: [0, 0, 0] },
    };
    const b = createBuilder();
    const v = b.param(tensor([2, 3], elem), { name: "x", dtype: "" });
    const t = b.add1("layout.transpose", [v], { perm: [1, 0] });
    const g = b.add1("layout.gather", [t], { axis: 0, indices: [2, 0] });
    expect(g.type.elem).toEqual({
      ...elem,
      scheme: { kind: "axis", axis: 0, scales: [3, 1], zeroPoints: [0, 0] },
    });
    expect(() => b.add1("layout.reshape", [v], { shape: [6] })).toThrow("quantisation axis");
  });
});

describe("float", () => {
  test("conv pads with zero, strides and groups", () => {
    const x = iota(F32, 1, 2, 3, 3);
    const w = f32([2, 1, 2, 2], 1, 1, 1, 1, 1, 0, 0, 2);
    const y = run("float.conv", [x, w], {
      strides: [2, 2],
      pads: [1, 1, 0, 0],
      dilations: [1, 1],
      groups: 2,
    });
    // Channel 0: window sums of 0…8 at rows −1, 1; channel 1: top-left + 2·bottom-right of 9…17.
    expect(y.shape).toEqual([1, 2, 2, 2]);
    expect(list(y)).toEqual([0, 3, 9, 24, 18, 22, 30, 47]);
  });

  test("matmul broadcasts its batch", () => {
    const a = iota(F32, 2, 2, 2);
    const b = f32([2, 1], 1, 10);
    expect(list(run("float.matmul", [a, b]))).toEqual([10, 32, 54, 76]);
  });

  test("pools: ceil mode never starts a window in the end padding", () => {
    const x = iota(F32, 1, 1, 1, 5);
    const attrs = { kernel: [1, 2], strides: [1, 2], pads: [0, 0, 0, 0], ceil_mode: true };
    expect(list(run("float.max_pool", [x], { ...attrs, dilations: [1, 1] }))).toEqual([1, 3, 4]);
    expect(list(run("float.average_pool", [x], attrs))).toEqual([0.5, 2.5, 4]);
    const padded = { ...attrs, pads: [0, 1, 0, 0], ceil_mode: false, count_include_pad: true };
    expect(list(run("float.average_pool", [x], padded))).toEqual([0, 1.5, 3.5]);
  });

  test("reductions and softmax", () => {
    const x = iota(F32, 2, 3);
    expect(list(run("float.reduce_mean", [x], { axes: [0], keepdims: false }))).toEqual([1.5, 2.5, 3.5]);
    expect(run("float.reduce_sum", [x], { axes: [1] }).shape).toEqual([2, 1]);
    expect(list(run("float.reduce_max", [x], { axes: [0, 1], keepdims: false }))).toEqual([
      Math.max(...list(x)),
    ]);
    expect(list(run("float.reduce_min", [x], { axes: [0] }))).toEqual(list(x).slice(0, 3));
    const s = list(run("float.softmax", [f32([2, 2], 0, Math.log(3), 5, 5)], { axis: 1 }));
    expect(s.map((v) => Math.round(v * 1e12) / 1e12)).toEqual([0.25, 0.75, 0.5, 0.5]);
  });

  test.each([
    // Reference values of erf to 16 digits.
    [0.1, 0.1124629160182849],
    [1, 0.8427007929497149],
    [2.4, 0.9993114861033549],
    [2.6, 0.9997639655834707],
    [-3, -0.9999779095030014],
    [5.5, 0.9999999999999927],
  ])("erf %d", (x, want) => {
    const [y] = list(run("float.erf", [f32([], x)]));
    expect(Math.abs(y! - want)).toBeLessThan(4e-16);
  });
});

describe("quant", () => {
  const q = (zeroPoint: number, storage = U8): TensorType =>
    tensor([5], { kind: "quant", storage, lo: 0, hi: 255, scheme: { kind: "tensor", scale: 2, zeroPoint } });
  const x = f32([5], 1, 3, -1, Number.NaN, 1000);
  test("order decides ties when the zero point is odd", () => {
    expect(list(run("quant.quantize", [x], {}, [q(3)]))).toEqual([3, 5, 3, 0, 255]);
    expect(list(run("quant.quantize", [x], { order: "shift_then_round" }, [q(3)]))).toEqual([
      4, 4, 2, 0, 255,
    ]);
  });
  test.each([
    ["half_even", [2, 2, -2, 3, -3]],
    ["half_up", [2, 3, -3, 3, -3]],
    ["half_down", [1, 2, -2, 3, -3]],
    ["ceil", [2, 3, -2, 3, -2]],
    ["floor", [1, 2, -3, 2, -3]],
    ["up", [2, 3, -3, 3, -3]],
    ["down", [1, 2, -2, 2, -2]],
  ])("rounding %s", (rounding, want) => {
    const t: TensorType = tensor([5], {
      kind: "quant",
      storage: I8,
      lo: -128,
      hi: 127,
      scheme: { kind: "tensor", scale: 1, zeroPoint: 0 },
    });
    expect(list(run("quant.quantize", [f32([5], 1.5, 2.5, -2.5, 2.7, -2.7)], { rounding }, [t]))).toEqual(
      want,
    );
  });
});

describe("integer", () => {
  test("conv equals float.conv on transposed data, with the pad value in the border", () => {
    const x = i8([1, 2, 2, 2], 1, 2, 3, 4, 5, 6, 7, 8);
    const w = i8([1, 2, 2, 2], 1, 0, 2, 0, 0, 1, 0, 3);
    const attrs = { strides: [1, 1], pads: [0, 0, 0, 1], pad_value: -1 };
    // Position 0: 1·1 + 2·3 + 1·6 + 3·8; position 1: 1·3 + 2·(−1) + 1·8 + 3·(−1).
    expect(list(run("qc.conv", [x, w], attrs))).toEqual([37, 6]);
  });
  test("an overflow of the declared type throws with the op's name", () => {
    const attrs = { strides: [1, 1], pads: [0, 0, 0, 0] };
    const x = i8([1, 1, 1, 1], 100);
    expect(() => run("qc.conv", [x, x], attrs, [tensor([1, 1, 1, 1], I8)])).toThrow(/qc\.conv.*10000.*i8/);
  });
  test("matmul and mul subtract zero points", () => {
    expect(list(run("qc.matmul", [i8([1, 2], 3, 4), i8([2, 1], 5, 6)], { a_zero: 1, b_zero: 2 }))).toEqual([
      18,
    ]);
    expect(list(run("qc.mul", [i8([2], 3, 4), i8([1], 5)], { a_zero: 1, b_zero: 2 }))).toEqual([6, 9]);
  });
  test("pools and sums", () => {
    const x = i8([1, 2, 2, 1], -3, -4, -5, -6);
    const attrs = { kernel: [2, 2], strides: [2, 2], pads: [1, 1, 1, 1] };
    expect(list(run("qc.max_pool", [x], attrs))).toEqual([-3, -4, -5, -6]);
    expect(list(run("qc.sum_pool", [x], { ...attrs, pad_value: 1 }))).toEqual([0, -1, -2, -3]);
    expect(list(run("qc.reduce_sum", [x], { axes: [1, 2] }))).toEqual([-18]);
  });
  test("clamp, table, insert_channels", () => {
    const x = i8([1, 3], -5, 0, 5);
    expect(list(run("qc.clamp", [x], { lo: -1, hi: 3 }, [tensor([1, 3], int(true, 3))]))).toEqual([-1, 0, 3]);
    const table = dense(U8, [11], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 200]);
    expect(list(run("qc.table", [x], { table, min: -5 }))).toEqual([9, 4, 200]);
    const inserted = run("qc.insert_channels", [x], { axis: 1, indices: [0, 2], values: [7, 8], size: 5 });
    expect(list(inserted)).toEqual([7, -5, 8, 0, 5]);
  });
  test("requant: exact ties, per-channel scales, two operands", () => {
    const a = dense(I32, [2, 2], [1, 1, 3, 3]);
    const base = { axis: 1, lo: -128, hi: 127, zero_point: rational(1) };
    const scales = [[rational(1, 2), rational(-1, 2)]];
    const t = [tensor([2, 2], I8)];
    expect(list(run("qc.requant", [a], { ...base, scales }, t))).toEqual([1, 1, 3, -1]);
    const shifted = run("qc.requant", [a], { ...base, scales, order: "shift_then_round" }, t);
    expect(list(shifted)).toEqual([2, 0, 2, 0]);
    const sum = run(
      "qc.requant",
      [a, i8([2], 10, 20)],
      { ...base, scales: [[rational(1)], [rational(1, 3)]], offset: [rational(1, 2)] },
      t,
    );
    // 1 + 10/3 + 1/2 = 4.83, 1 + 20/3 + 1/2 = 8.17, 6.83, 10.17; then + 1.
    expect(list(sum)).toEqual([6, 9, 8, 11]);
  });
});
