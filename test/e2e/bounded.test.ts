/** Normalizations, softmax and 16-bit tables in artifacts: what is reported of them, and what their modules consist of. */
import { expect, test } from "vitest";
import { countOf, decodeWasm, floatUses } from "../wasm-decode.ts";
import { compileBytes } from "./compiled.ts";
import { graphBuilder } from "./graphs/builder.ts";
import { many } from "./graphs/case.ts";

const bytes = (() => {
  const g = graphBuilder();
  const x = g.dq(g.input([1, 6, 40]), 0.1, 128);
  const parameters = [
    g.floats(
      [40],
      many(40, (i) => 0.5 + i / 40),
    ),
    g.floats(
      [40],
      many(40, (i) => i / 80),
    ),
  ];
  const n = g.fq(g.op("LayerNormalization", [x, ...parameters]), 0.0002, 0, { type: "int16" });
  const curve = g.fq(g.op("Gelu", [n]), 0.0002, 0, { type: "int16" });
  const y = g.q(g.op("Softmax", [curve]), 1 / 256, 0);
  return g.finish([y], 21);
})();

test("the report states bounds below half a step, and the sizes of large tables", async () => {
  const { report } = await compileBytes(bytes);
  const of = (op: string) => report.layers.filter((l) => l.op === op);
  expect(of("qc.normalize")).toHaveLength(1);
  expect(of("qc.softmax")).toHaveLength(1);
  for (const { bound } of [...of("qc.normalize"), ...of("qc.softmax")]) {
    expect(bound).toBeGreaterThan(0);
    expect(bound).toBeLessThan(0.05);
  }
  expect(of("qc.table").map((l) => l.table)).toEqual([2 * 65536]);
});

test("modules have no floating point and no 64-bit vector shifts", async () => {
  const { baseline, relaxed } = await compileBytes(bytes);
  for (const wasm of [baseline, relaxed!]) {
    const module = decodeWasm(wasm);
    expect(floatUses(module)).toEqual([]);
    for (const f of module.functions)
      for (const name of ["i64x2.shr_s", "i64x2.shr_u", "i64x2.shl"]) expect(countOf(f.body, name)).toBe(0);
  }
});
