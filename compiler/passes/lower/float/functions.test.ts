/** Real functions on lanes against Math, and the interpreter against WASM bit for bit. */
import { describe, expect, test } from "vitest";
import { engine } from "../../../../test/kernel/harness.ts";
import { load, type Program, store } from "../../../ir/kernel/ir.ts";
import { erf, geluErf, geluTanh, sigmoid, softplus } from "../../../ir/ops/real-functions.ts";
import { createKernel } from "../block.ts";
import * as fn from "./functions.ts";
import * as inverse from "./functions-inverse.ts";

const N = 4096;

function programOf(f: fn.Fn): Program {
  const k = createKernel("k");
  k.block.loop(0, 4 * N, 16, (at, b) => {
    b.push(store("y", at, f(b, b.bind(load("i32x4", "x", at), "x"))));
  });
  const { kernel, buffers } = k.finish(["x"], ["y"]);
  return {
    buffers: [
      { name: "x", role: "input", bytes: 4 * N, align: 16 },
      { name: "y", role: "output", bytes: 4 * N, align: 16 },
      ...buffers,
    ],
    kernels: [kernel],
  };
}

/** Distance in units in the last place of the float32 nearest to `want`. */
function ulps(got: number, want: number): number {
  const w = Math.fround(want);
  if (Object.is(got, w) || got === w || (Number.isNaN(got) && Number.isNaN(w))) return 0;
  if (!Number.isFinite(w) || !Number.isFinite(got)) return Number.POSITIVE_INFINITY;
  const ulp = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(w))), -126) - 23);
  return Math.abs(got - want) / ulp;
}

async function run(f: fn.Fn, x: Float32Array): Promise<Float32Array> {
  const program = programOf(f);
  const memory = () =>
    new Map([
      ["x", new Uint8Array(x.slice().buffer)],
      ["y", new Uint8Array(4 * N)],
    ]);
  const [oracle, wasm] = [await engine(program, "interpreter"), await engine(program, "baseline")];
  const a = new Float32Array(oracle(memory()).get("y")!.slice().buffer);
  const b = new Float32Array(wasm(memory()).get("y")!.slice().buffer);
  for (let i = 0; i < N; i++) if (!Object.is(a[i], b[i])) throw new Error(`f(${x[i]}): ${a[i]} and ${b[i]}`);
  return b;
}

const grid = (lo: number, hi: number): Float32Array =>
  Float32Array.from({ length: N }, (_, i) => lo + ((hi - lo) * i) / (N - 1));
const decades = (): Float32Array =>
  Float32Array.from({ length: N }, (_, i) => 10 ** (-44 + (82 * i) / (N - 1)));

const functions: readonly (readonly [string, fn.Fn, (x: number) => number, Float32Array, number])[] = [
  ["exp", fn.exp, Math.exp, grid(-103, 89), 2],
  ["log", fn.log, Math.log, decades(), 2],
  ["log near 1", fn.log, Math.log, grid(0.5, 2), 2],
  ["expm1", fn.expm1, Math.expm1, grid(-20, 2), 4],
  ["asin", inverse.asin, Math.asin, grid(-1, 1), 4],
  ["acos", inverse.acos, Math.acos, grid(-1, 1), 4],
  ["atan", inverse.atan, Math.atan, grid(-30, 30), 4],
  ["sinh", inverse.sinh, Math.sinh, grid(-89, 89), 8],
  ["sinh near 0", inverse.sinh, Math.sinh, grid(-1, 1), 8],
  ["asinh", inverse.asinh, Math.asinh, grid(-30, 30), 6],
  ["asinh, positive decades", inverse.asinh, Math.asinh, decades(), 6],
  ["acosh", inverse.acosh, Math.acosh, grid(1, 30), 6],
  ["atanh", inverse.atanh, Math.atanh, grid(-1, 1), 8],
  ["log1p", fn.log1p, Math.log1p, grid(0, 1), 4],
  ["sigmoid", fn.sigmoid, sigmoid, grid(-80, 80), 4],
  ["softplus", fn.softplus, softplus, grid(-40, 40), 4],
  ["tanh", fn.tanh, Math.tanh, grid(-10, 10), 4],
  ["erf", fn.erf, erf, grid(-4, 4), 4],
  ["sin", fn.sin, Math.sin, grid(-3, 3), 4],
  ["cos", fn.cos, Math.cos, grid(-1.5, 1.5), 4],
];

describe("functions on lanes", () => {
  test.each(functions)("%s", async (_, f, oracle, x, most) => {
    const y = await run(f, x);
    let worst = 0;
    for (let i = 0; i < N; i++) worst = Math.max(worst, ulps(y[i]!, oracle(x[i]!)));
    expect(worst).toBeLessThanOrEqual(most);
  });

  test.each([
    ["gelu", fn.geluErf, geluErf, 1e-6],
    ["gelu, tanh", fn.geluTanh, geluTanh, 1e-6],
    ["mish", fn.mish, (v: number) => v * Math.tanh(softplus(v)), 1e-6],
    ["sin of large numbers", (b, x) => fn.sin(b, x), Math.sin, 2e-6],
  ] as readonly (readonly [string, fn.Fn, (v: number) => number, number])[])(
    "%s, absolutely",
    async (_, f, oracle, most) => {
      const x = grid(-30, 30);
      const y = await run(f, x);
      let worst = 0;
      for (let i = 0; i < N; i++)
        worst = Math.max(worst, Math.abs(y[i]! - oracle(x[i]!)) / Math.max(1, Math.abs(oracle(x[i]!))));
      expect(worst).toBeLessThanOrEqual(most);
    },
  );

  test("special values", async () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    const x = new Float32Array(N);
    x.set([nan, inf, -inf, 0, -0, 1, -1]);
    const first = async (f: fn.Fn): Promise<number[]> => [...(await run(f, x)).subarray(0, 7)];
    expect(await first(fn.exp)).toEqual([nan, inf, 0, 1, 1, Math.fround(Math.E), Math.fround(1 / Math.E)]);
    expect(await first(fn.log)).toEqual([nan, inf, nan, -inf, -inf, 0, nan]);
    expect((await first(fn.tanh)).slice(0, 5)).toEqual([nan, 1, -1, 0, -0]);
    expect((await first(fn.erf)).slice(0, 5)).toEqual([nan, 1, -1, 0, -0]);
    expect((await first(fn.sigmoid)).slice(0, 4)).toEqual([nan, 1, 0, 0.5]);
    expect((await first(fn.cos)).slice(0, 4)).toEqual([nan, nan, nan, 1]);
  });
});
