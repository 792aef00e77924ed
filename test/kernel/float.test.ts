/** Float ops of the kernel IR: the interpreter against an oracle written with Math.fround, and against WASM. */
import { describe, expect, test } from "vitest";
import { c32, load, type OpName, op, type Program, signatures, store } from "../../compiler/ir/kernel/ir.ts";
import { engine } from "./harness.ts";

const F = Math.fround;
const half = (x: number): number => {
  const [lo, hi] = [Math.floor(x), Math.ceil(x)];
  if (x - lo !== hi - x) return x - lo < hi - x ? lo : hi;
  return lo % 2 === 0 ? lo : hi;
};
const mask = (b: boolean): number => (b ? -1 : 0);
const oracle: { readonly [name: string]: (x: number, y: number) => number } = {
  fadd: (x, y) => F(x + y),
  fsub: (x, y) => F(x - y),
  fmul: (x, y) => F(x * y),
  fdiv: (x, y) => F(x / y),
  fmin: (x, y) => Math.min(x, y),
  fmax: (x, y) => Math.max(x, y),
  fsqrt: (x) => F(Math.sqrt(x)),
  fabs: (x) => Math.abs(x),
  fneg: (x) => -x,
  fceil: (x) => Math.ceil(x),
  ffloor: (x) => Math.floor(x),
  ftrunc: (x) => Math.trunc(x),
  fnearest: (x) => (Number.isFinite(x) && Math.abs(x) < 2 ** 24 ? half(Math.abs(x)) * Math.sign(x) : x),
};
const compares: typeof oracle = {
  feq: (x, y) => mask(x === y),
  fne: (x, y) => mask(x !== y),
  flt: (x, y) => mask(x < y),
  fle: (x, y) => mask(x <= y),
};
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const values = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  -1.5,
  2.5,
  -2.5,
  0.1,
  -0.3,
  3e38,
  -3e38,
  1e-45,
  -1e-38,
  16777217,
  8388607.5,
  -8388609,
  2147483648,
  -2147483648,
  2147483520,
  1e10,
  -1e10,
  inf,
  -inf,
  nan,
  7.25,
].map(F);

function programOf(name: OpName): Program {
  const args = signatures[name].args.map((_, i) => load("i32x4", "x", c32(16 * i)));
  return {
    buffers: [
      { name: "x", role: "input", bytes: 32, align: 16 },
      { name: "y", role: "output", bytes: 16, align: 16 },
    ],
    kernels: [{ name: "k", reads: ["x"], writes: ["y"], body: [store("y", c32(0), op(name, args))] }],
  };
}

async function each(name: OpName, check: (out: Uint8Array, x: number, y: number, lane: number) => void) {
  const program = programOf(name);
  for (const kind of ["interpreter", "baseline"] as const) {
    const run = await engine(program, kind);
    for (const x of values)
      for (let k = 0; k < values.length; k += 4) {
        const memory = new Map(["x", "y"].map((n) => [n, new Uint8Array(n === "x" ? 32 : 16)]));
        const input = new Float32Array(memory.get("x")!.buffer);
        input.fill(x, 0, 4);
        input.set(values.slice(k, k + 4), 4);
        const out = run(memory).get("y")!.slice();
        for (let i = 0; i < 4; i++) check(out, x, values[k + i]!, i);
      }
  }
}

describe("float ops", () => {
  test.each(Object.keys(oracle))("%s", async (name) => {
    await each(`${name}.i32x4` as OpName, (out, x, y, i) => {
      const got = new Float32Array(out.buffer)[i]!;
      const want = oracle[name]!(x, y);
      expect(got === want || (Number.isNaN(got) && Number.isNaN(want)), `${name}(${x}, ${y}) = ${got}`).toBe(
        true,
      );
    });
  });

  test.each(Object.keys(compares))("%s", async (name) => {
    await each(`${name}.i32x4` as OpName, (out, x, y, i) => {
      expect(new Int32Array(out.buffer)[i], `${name}(${x}, ${y})`).toBe(compares[name]!(x, y));
    });
  });

  test("conversions", async () => {
    await each("ftrunc_sat_s.i32x4", (out, x, _, i) => {
      const want = Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)));
      expect(new Int32Array(out.buffer)[i]).toBe(want === 0 ? 0 : want);
    });
    await each("fconvert_s.i32x4", (out, x, _, i) => {
      const bits = new Int32Array(new Float32Array([x]).buffer)[0]!;
      expect(new Float32Array(out.buffer)[i]).toBe(F(bits));
    });
  });
});
