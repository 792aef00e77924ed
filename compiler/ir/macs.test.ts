import { expect, test } from "vitest";
import { createBuilder } from "./builder.ts";
import { dense } from "./dense.ts";
import { macsOf, opMacs } from "./macs.ts";
import { I8, tensor, U8 } from "./types.ts";

test("products of convolutions, depthwise convolutions and matmuls, padding included; nothing else", () => {
  const b = createBuilder();
  const weights = (...shape: number[]) => {
    const n = shape.reduce((a, d) => a * d, 1);
    return b.add1("const", [], { value: dense(I8, shape, new Int8Array(n)) }, { types: [tensor(shape, I8)] });
  };
  const x = b.param(tensor([2, 8, 6, 3], U8), { name: "x", dtype: "uint8" });
  const window = { strides: [2, 1], pads: [1, 1, 1, 1] };
  // [2, 4, 6, 5]: 240 outputs of 3·3·3 products.
  const full = b.add1("qc.conv", [x, weights(5, 3, 3, 3)], window);
  // Depthwise: 2·4·6·3 outputs of 3·3 products.
  const depthwise = b.add1("qc.conv", [x, weights(3, 3, 3, 1)], { ...window, groups: 3 });
  const sum = b.add1("qc.reduce_sum", [depthwise], { axes: [1, 2], keepdims: false });
  // [2, 3]·[3, 7].
  const product = b.add1("qc.matmul", [sum, weights(3, 7)]);
  // Batched: [2, 8, 6, 3]·[3, 4].
  b.add1("qc.matmul", [x, weights(3, 4)]);
  b.result(full, { name: "y", dtype: "int32" });
  b.result(product, { name: "z", dtype: "int32" });
  const func = b.build();
  expect(func.ops.map(opMacs).filter((n) => n > 0)).toEqual([240 * 27, 144 * 9, 42, 2 * 8 * 6 * 3 * 4]);
  expect(macsOf(func)).toBe(240 * 27 + 144 * 9 + 42 + 1152);
});

test("a transposed convolution multiplies every input by every tap", () => {
  const b = createBuilder();
  const w = b.add1(
    "const",
    [],
    { value: dense(I8, [6, 3, 3, 2], new Int8Array(108)) },
    { types: [tensor([6, 3, 3, 2], I8)] },
  );
  const x = b.param(tensor([2, 5, 4, 4], U8), { name: "x", dtype: "uint8" });
  const attrs = { strides: [2, 2], pads: [1, 1, 1, 1], groups: 2 };
  b.result(b.add1("qc.conv_transpose", [x, w], attrs), { name: "y", dtype: "int32" });
  // 2·5·4 pixels of 4 channels, each by 9 taps of 3 outputs.
  expect(macsOf(b.build())).toBe(160 * 9 * 3);
});
