/**
 * Time to certify: 10,000 channels with 8-bit outputs in tensors of 64, then 16 channels with 16-bit outputs.
 * Run with Node 24: `npx node bench/certify.ts`.
 */
import { fromNumber, type Rational, rational } from "../compiler/ir/rational.ts";
import { certify } from "../compiler/ir/rescale/index.ts";
import type { RequantSpec } from "../compiler/ir/rescale/types.ts";

let state = 1;
const random = (): number => {
  state = Math.imul(state, 1664525) + 1013904223;
  return (state >>> 0) / 2 ** 32;
};
const draw = (lo: number, hi: number): Rational => fromNumber(Math.fround(lo * (hi / lo) ** random()));
const ratio = (s: Rational, t: Rational, u: Rational): Rational =>
  rational(s.num * t.num * u.den, s.den * t.den * u.num);

function tensor(channels: number, lo: number, hi: number, step: number) {
  const sx = draw(0.004, 0.06);
  const sy = draw(0.01 * step, 0.1 * step);
  const specs: RequantSpec[] = [];
  const ranges: { min: number; max: number }[][] = [];
  for (let i = 0; i < channels; i++) {
    const sw = draw(0.001, 0.01);
    const span = Math.round(2 ** (15 + 8 * random()));
    specs.push({
      scales: [ratio(sx, sw, sy)],
      offset: ratio(draw(0.01, 2), rational(random() < 0.5 ? -1 : 1), sy),
      zeroPoint: rational(3),
      lo,
      hi,
      rounding: "half_even",
      order: "round_then_shift",
    });
    ranges.push([{ min: -span, max: span - 1 }]);
  }
  return { specs, ranges };
}

function measure(label: string, count: number, size: number, lo: number, hi: number, step: number): void {
  const tensors = Array.from({ length: Math.ceil(count / size) }, () => tensor(size, lo, hi, step));
  const seen = new Map<string, number>();
  let mBits = 0;
  const start = performance.now();
  for (const { specs, ranges } of tensors) {
    const result = certify(specs, ranges);
    const name = result.ok ? `${result.rescale.class} n=${result.rescale.n}` : "none";
    if (result.ok) mBits = Math.max(mBits, result.certificate.mBits);
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  const ms = performance.now() - start;
  const classes = [...seen].map(([name, n]) => `${name}: ${n}`).join(", ");
  console.log(
    `${label}: ${tensors.length * size} channels in ${ms.toFixed(0)} ms; m ≤ ${mBits} bits; ${classes}`,
  );
}

measure("8-bit outputs", 10_000, 64, -128, 127, 1);
measure("16-bit outputs", 16, 16, 0, 65_535, 1 / 256);
