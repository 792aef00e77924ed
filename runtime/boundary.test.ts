import fc from "fast-check";
import { expect, test } from "vitest";
import { dequantize, quantize } from "./boundary.ts";

/** Exact value of a finite double as n·2^e. */
function exact(x: number): { n: bigint; e: number } {
  let e = 0;
  let y = x;
  while (!Number.isInteger(y)) {
    y *= 2;
    e--;
  }
  return { n: BigInt(y), e };
}

/** Round to nearest, ties to even, of a finite double, in BigInt. */
function slowRne(x: number): bigint {
  const { n, e } = exact(x);
  if (e >= 0) return n;
  const d = 1n << BigInt(-e);
  const floor = n >= 0n ? n / d : -((-n + d - 1n) / d);
  const twice = 2n * (n - floor * d);
  return twice > d || (twice === d && (floor & 1n) === 1n) ? floor + 1n : floor;
}

/** Nearest float32 of the exact quotient x / s, ties to even, by comparing neighbours exactly. */
function slowDivide(x: number, s: number): number {
  const guess = Math.fround(x / s);
  const bits = new Int32Array(1);
  const float = new Float32Array(bits.buffer);
  float[0] = guess;
  const around = [-1, 0, 1].map((d) => {
    const b = new Int32Array([bits[0]! + d]);
    return { v: new Float32Array(b.buffer)[0]!, even: (b[0]! & 1) === 0 };
  });
  // |x − v·s| as an exact fraction over a common power of two; the least wins, even mantissa on a tie.
  const distance = (v: number): bigint => {
    const a = exact(x);
    const b = exact(v);
    const c = exact(s);
    const low = -400;
    const left = a.n << BigInt(a.e - low);
    const right = (b.n * c.n) << BigInt(b.e + c.e - low);
    return left > right ? left - right : right - left;
  };
  let best = around[1]!;
  for (const c of around)
    if (Number.isFinite(c.v)) {
      const d = distance(c.v) - distance(best.v);
      if (d < 0n || (d === 0n && c.even && !best.even)) best = c;
    }
  return best.v;
}

function slowQuantize(x: number, s: number, zp: number, lo: number, hi: number): number {
  if (Number.isNaN(x)) return lo;
  if (x === Infinity) return hi;
  if (x === -Infinity) return lo;
  const f = slowDivide(x, s);
  if (f === Infinity) return hi;
  if (f === -Infinity) return lo;
  const q = slowRne(f) + BigInt(zp);
  return Number(q < BigInt(lo) ? BigInt(lo) : q > BigInt(hi) ? BigInt(hi) : q);
}

const scale = fc.double({ min: 1e-6, max: 1e3, noNaN: true }).map(Math.fround);
const grids = fc.constantFrom(
  { lo: 0, hi: 255, make: Uint8Array },
  { lo: -128, hi: 127, make: Int8Array },
  { lo: -7, hi: 7, make: Int8Array },
  { lo: 0, hi: 65535, make: Uint16Array },
  { lo: -32768, hi: 32767, make: Int16Array },
);
/** Ties, values near ties, ordinary values, specials. */
const multiple = fc.oneof(
  fc.integer({ min: -70000, max: 70000 }).map((k) => k / 2),
  fc.double({ min: -400, max: 400, noNaN: true }),
  fc.constantFrom(
    NaN,
    Infinity,
    -Infinity,
    0,
    -0,
    3.4e38,
    -3.4e38,
    1e-45,
    2 ** 31,
    2 ** 52,
    2 ** 53 + 2,
    -(2 ** 63),
  ),
);

test("quantize is ONNX QuantizeLinear in float32, ties and specials included", () => {
  fc.assert(
    fc.property(
      scale,
      grids,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(multiple, { minLength: 1 }),
      (s, g, t, ks) => {
        const zp = Math.round(g.lo + t * (g.hi - g.lo));
        const x = Float32Array.from(ks, (k) => k * s);
        const out = new g.make(x.length);
        quantize(x, out, { kind: "quantize", scale: s, zeroPoint: zp, lo: g.lo, hi: g.hi }, 0);
        x.forEach((v, i) => {
          expect(out[i]).toBe(slowQuantize(v, s, zp, g.lo, g.hi));
        });
      },
    ),
    { numRuns: 400 },
  );
});

test("quantize stores q + bias and clamps before it", () => {
  const out = new Int8Array(4);
  const b = { kind: "quantize", scale: 1, zeroPoint: 0, lo: 0, hi: 255 } as const;
  quantize(new Float32Array([-5, 0, 200.5, 300]), out, b, -128);
  expect([...out]).toEqual([-128, -128, 72, 127]);
});

test("dequantize per tensor and per axis", () => {
  const one = new Float32Array(3);
  dequantize(
    Int8Array.of(-128, 0, 127),
    one,
    { kind: "dequantize", axis: 0, scales: [0.1], zeroPoints: [-3] },
    0,
    [3],
  );
  expect([...one]).toEqual([-125, 3, 130].map((k) => Math.fround(k * 0.1)));

  const shape = [2, 3, 2];
  const q = Uint8Array.from({ length: 12 }, (_, i) => i + 128);
  const scales = [1, 10, 100];
  const zeroPoints = [0, 1, 2];
  const out = new Float32Array(12);
  dequantize(q, out, { kind: "dequantize", axis: 1, scales, zeroPoints }, 128, shape);
  expect([...out]).toEqual(Array.from(q, (_, i) => (i - zeroPoints[(i >> 1) % 3]!) * scales[(i >> 1) % 3]!));
});

test("thresholds count how many the input reaches; NaN reaches none", () => {
  const out = new Int8Array(9);
  const x = new Float32Array([-Infinity, -2, -1, 0.25, 0.5, 3, Infinity, NaN, -0]);
  const b = { kind: "thresholds", sign: 1, thresholds: [-1, 0, 0.5, 0.5], lo: -2, hi: 2 } as const;
  quantize(x, out, b, 0);
  expect([...out]).toEqual([-2, -2, -1, 0, 2, 2, 2, -2, 0]);
  quantize(x, out, { ...b, sign: -1 }, 10);
  expect([...out]).toEqual([12, 12, 12, 9, 9, 8, 8, 8, 10]);
  quantize(x, out, { ...b, thresholds: [], hi: -2 }, 0);
  expect([...out]).toEqual(new Array(9).fill(-2));
});
