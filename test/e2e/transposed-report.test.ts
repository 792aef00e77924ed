/** Several kernels of one layer share its multiply-accumulates in reports. */
import { expect, test } from "vitest";
import { compileModel } from "../../compiler/index.ts";
import { graphBuilder } from "./graphs/builder.ts";

test.each([
  ["a kernel per phase", 32, 2, 4],
  ["ragged phases", 32, 3, 4],
  ["one kernel", 2, 2, 1],
])("a transposed convolution counts once: %s", async (_, outputs, size, kernels) => {
  const g = graphBuilder();
  const x = g.dq(g.input([1, 8, 6, 5]), 0.1, 100);
  const w = g.weights([8, outputs, size, size]);
  const result = await compileModel(
    g.finish([g.q(g.op("ConvTranspose", [x, w], { strides: [2, 2] }), 0.4, 90)]),
    { target: "wasm" },
  );
  if (!result.ok) throw new Error("does not compile");
  const layers = result.value.report.layers.filter((l) => l.macs.executed > 0);
  expect(layers).toHaveLength(kernels);
  const own = 8 * 6 * 5 * size * size * outputs;
  const total = layers.reduce((n, l) => n + l.macs.nominal, 0);
  expect(Math.abs(total - own)).toBeLessThanOrEqual(kernels / 2);
});
