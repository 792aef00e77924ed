import fc from "fast-check";
import { expect, test } from "vitest";
import { quantize } from "../../../runtime/boundary.ts";
import type { Module } from "../../ir/module.ts";
import { parseModule } from "../../ir/parser.ts";
import { add, div, fromNumber, mul, type Rounding, rational, round } from "../../ir/rational.ts";
import { integerizeModule } from "./index.ts";
import { thresholdsOf } from "./thresholds.ts";

test("steps of a step function, where they are", () => {
  const steps = (x: number): number => (x < -1 ? -3 : x < 0 ? -1 : x <= 0.5 ? 0 : x < 2 ** 120 ? 5 : 6);
  const after = 0.5 + 2 ** -24;
  expect(thresholdsOf(steps, -3, 9, 32)).toEqual({
    lo: -3,
    thresholds: [-1, -1, 0, after, after, after, after, after, 2 ** 120],
  });
  expect(thresholdsOf(steps, -2, 1, 64)).toEqual({ lo: -2, thresholds: [-1, 0, 0.5 + 2 ** -53] });
  expect(thresholdsOf(() => 4, 0, 9, 32)).toEqual({ lo: 4, thresholds: [] });
});

const ROUNDINGS: readonly Rounding[] = ["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"];

/** The module's one param under a quantizer with arithmetic in front. */
function paramOf(a: number, b: number, s: number, z: number, rounding: string, order: string): Module {
  const text = `func @main(%x: tensor<1xf32> {dtype = "float32"}) -> tensor<1x!q<i6<-20:21>, ${s}:${z}>> {
  %a = const {value = dense<f64> [${a}]} : tensor<f64>
  %b = const {value = dense<f64> [${b}]} : tensor<f64>
  %m = float.mul %x, %a : tensor<1xf32>
  %s = float.add %b, %m : tensor<1xf32>
  %z = quant.quantize %s {rounding = "${rounding}", order = "${order}"} : tensor<1x!q<i6<-20:21>, ${s}:${z}>>
  return %z
}
`;
  const parsed = parseModule(text, "t.qir");
  const made = parsed.ok ? integerizeModule(parsed.value) : parsed;
  if (!made.ok) throw new Error(made.diagnostics.map((d) => d.message).join("\n"));
  return made.value;
}

const coefficient = fc.oneof(
  fc.integer({ min: -12, max: 12 }).map((n) => n / 4),
  fc.double({ min: -3, max: 3, noNaN: true }),
);

test("arithmetic on an input and its quantizer are exact for every float32", () => {
  let compared = 0;
  fc.assert(
    fc.property(
      coefficient.filter((a) => Math.abs(a) > 1e-3),
      coefficient,
      fc.double({ min: 0.01, max: 2, noNaN: true }).map(Math.fround),
      fc.constantFrom(...ROUNDINGS),
      fc.boolean(),
      (a, b, s, rounding, after) => {
        const z = after ? 0.75 : 3;
        const order = after ? "shift_then_round" : "round_then_shift";
        const [port] = paramOf(a, b, s, z, rounding, order).funcs[0]!.params;
        const boundary = port!.boundary;
        if (boundary.kind !== "thresholds") throw new Error("thresholds expected");
        const near = boundary.thresholds.flatMap((t) =>
          [-1, 0, 1].map((d) => nextFloat(boundary.sign * t, d)),
        );
        const x = Float32Array.from([...near, 0, 1e30, -1e30, 2 ** -149, Infinity, -Infinity, NaN]);
        const out = new Int32Array(x.length);
        quantize(x, out, boundary, 0);
        x.forEach((v, i) => {
          const finite = Number.isNaN(v) ? undefined : Math.max(-3.4e38, Math.min(3.4e38, v));
          const exact = finite === undefined ? -20 : exactly(finite, a, b, s, z, rounding, after);
          expect(out[i], `${v}`).toBe(exact);
          compared++;
        });
      },
    ),
    { numRuns: 60 },
  );
  expect(compared).toBeGreaterThan(3000);
});

const word = new Int32Array(1);
const float = new Float32Array(word.buffer);
/** The float32 `d` patterns from x, away from zero for positive d. */
function nextFloat(x: number, d: number): number {
  float[0] = x;
  if (x !== 0) word[0]! += d;
  return float[0]!;
}

function exactly(
  x: number,
  a: number,
  b: number,
  s: number,
  z: number,
  rounding: Rounding,
  after: boolean,
): number {
  const v = div(add(mul(fromNumber(x), fromNumber(a)), fromNumber(b)), fromNumber(s));
  const q = after ? round(add(v, fromNumber(z)), rounding) : round(v, rounding) + BigInt(z);
  const n = rational(q).num;
  return n < -20n ? -20 : n > 21n ? 21 : Number(n);
}
