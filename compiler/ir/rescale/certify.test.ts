import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkRescale } from "../../../test/oracle/rescale-checker.ts";
import { fromNumber, parseRational, type Rational, rational, toNumber, ZERO } from "../rational.ts";
import { certify, evaluateExact, evaluateRescale, rescaleManifest } from "./index.ts";
import type { Certified, IntRange, RequantSpec, RescaleClass, Rounding } from "./types.ts";

const ROUNDINGS: readonly Rounding[] = ["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"];
const ORDERS = ["round_then_shift", "shift_then_round"] as const;
const CLASS_SETS: readonly (readonly RescaleClass[])[] = [
  ["i32", "hi32", "limb"],
  ["hi32", "limb"],
  ["limb"],
  ["hi32"],
];

const spec = (fields: Partial<RequantSpec> & { scales: readonly Rational[] }): RequantSpec => ({
  offset: ZERO,
  zeroPoint: ZERO,
  lo: -128,
  hi: 127,
  rounding: "half_even",
  order: "round_then_shift",
  ...fields,
});

type Success = Extract<Certified, { ok: true }>;

function certified(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  classes?: readonly RescaleClass[],
): Success {
  const result = certify(specs, ranges, classes ? { classes } : {});
  if (!result.ok) throw new Error(JSON.stringify(result.counterexample));
  return result;
}

/** The independent checker's verdict, and every accumulator when there are few. */
function verify(
  specs: readonly RequantSpec[],
  ranges: readonly (readonly IntRange[])[],
  result: Success,
): void {
  const { rescale, certificate } = result;
  const manifest = JSON.parse(JSON.stringify(rescaleManifest(rescale, certificate, ranges)));
  expect(checkRescale(specs, manifest)).toBe(null);
  for (const [channel, s] of specs.entries()) {
    const [r, q] = ranges[channel] as readonly [IntRange, IntRange?];
    const others = q ? every(q, 40) : [null];
    for (const b of others) {
      for (const a of every(r, q ? 40 : 3000)) {
        const operands = b === null ? [a] : [a, b];
        const got = evaluateRescale(rescale, channel, operands);
        if (got !== evaluateExact(s, operands))
          expect({ channel, operands, got }).toBe(evaluateExact(s, operands));
      }
    }
  }
}

/** All values of a small range, else its ends and evenly spread values. */
function every({ min, max }: IntRange, limit: number): number[] {
  if (min > max) return [];
  const step = Math.max(1, Math.floor((max - min) / limit));
  const values: number[] = [];
  for (let a = min; a <= max; a += step) values.push(a);
  return [...values, max];
}

const tieRich = fc.constantFrom(
  "1/2",
  "1/4",
  "1/6",
  "3/2",
  "1/10",
  "1/100",
  "1/49",
  "1/36",
  "5/8",
  "1/1",
  "2/1",
  "7/3",
);
const scale = fc.oneof(
  tieRich.map(parseRational),
  tieRich.map((s) => parseRational(`-${s}`)),
  fc.constant(ZERO),
  fc.double({ min: -3, max: 3, noNaN: true }).map(fromNumber),
  fc
    .tuple(fc.integer({ min: -4, max: 18 }), fc.float({ min: 0.5, max: 1, noNaN: true }))
    .map(([e, x]) => fromNumber(x * 2 ** -e)),
);
const offset = fc.oneof(
  fc.constant(ZERO),
  fc
    .tuple(fc.integer({ min: -600, max: 600 }), fc.constantFrom(1, 2, 3, 4, 7, 10))
    .map(([n, d]) => rational(n, d)),
  fc.float({ min: -100, max: 100, noNaN: true }).map(fromNumber),
);
const clamps = fc.constantFrom<[number, number]>(
  [-128, 127],
  [0, 255],
  [-8, 7],
  [0, 15],
  [0, 0],
  [-1, 1],
  [-127, 127],
  [0, 100],
);
const range = (span: number) =>
  fc
    .tuple(fc.integer({ min: -span, max: span }), fc.integer({ min: 0, max: span }))
    .map(([min, size]) => ({ min, max: min + size }));

/**
 * Two operands have a common shift when their scales are of similar magnitude and, as in files, float32: near-ties of arbitrary
 * doubles lie closer to a boundary than a 53-bit multiplier can tell.
 */
const ofTwo = fc
  .oneof(
    tieRich.map(parseRational),
    tieRich.map((s) => parseRational(`-${s}`)),
    fc.constant(ZERO),
    fc.float({ min: -3, max: 3, noNaN: true }).map(fromNumber),
  )
  .filter((s) => s.num === 0n || Math.abs(toNumber(s)) > 1e-6);

const tensor = (operands: number, accumulator: fc.Arbitrary<IntRange>) =>
  fc
    .record({
      clamp: clamps,
      rounding: fc.constantFrom(...ROUNDINGS),
      order: fc.constantFrom(...ORDERS),
      integerZero: fc.integer({ min: -130, max: 260 }),
      anyZero: offset,
      classes: fc.constantFrom(...CLASS_SETS),
      channels: fc.array(
        fc.record({
          scales: fc.array(operands === 1 ? scale : ofTwo, {
            minLength: operands,
            maxLength: operands,
          }),
          offset,
          ranges: fc.array(accumulator, { minLength: operands, maxLength: operands }),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    })
    .map((t) => ({
      classes: t.classes,
      ranges: t.channels.map((c) => c.ranges),
      specs: t.channels.map((c) =>
        spec({
          scales: c.scales,
          offset: c.offset,
          zeroPoint: t.order === "round_then_shift" ? rational(t.integerZero) : t.anyZero,
          lo: t.clamp[0],
          hi: t.clamp[1],
          rounding: t.rounding,
          order: t.order,
        }),
      ),
    }));

describe("random specifications", () => {
  const run = (operands: number, accumulator: fc.Arbitrary<IntRange>, numRuns: number) => {
    const seen: Record<string, number> = {};
    fc.assert(
      fc.property(tensor(operands, accumulator), ({ specs, ranges, classes }) => {
        const result = certify(specs, ranges, { classes });
        const name = result.ok ? `${result.rescale.class}/${result.rescale.form}` : "none";
        seen[name] = (seen[name] ?? 0) + 1;
        if (result.ok) verify(specs, ranges, result);
        // The limb class holds everything in these tests; hi32 alone may fail.
        else expect(classes, JSON.stringify(result.counterexample)).not.toContain("limb");
      }),
      { numRuns },
    );
    console.log(`${operands} operand(s):`, seen);
  };
  test("one operand, small ranges, every accumulator", () => run(1, range(700), 600));
  test("one operand, wide ranges", () => run(1, range(1 << 23), 200));
  test("one operand, single points", () =>
    run(
      1,
      fc.integer({ min: -(2 ** 20), max: 2 ** 20 }).map((x) => ({ min: x, max: x })),
      200,
    ));
  test("two operands of 8 bits", () =>
    run(2, fc.constantFrom({ min: 0, max: 255 }, { min: -128, max: 127 }, { min: 3, max: 40 }), 60));
});

test("two scales that nearly cancel at double precision are refused with a witness", () => {
  const scales = [rational(-1n, 6n), rational(-6755399441055661n, 2251799813685248n)];
  const result = certify(
    [spec({ scales })],
    [
      [
        { min: 0, max: 255 },
        { min: 0, max: 255 },
      ],
    ],
  );
  expect(result).toMatchObject({ ok: false, counterexample: { channel: 0 } });
  if (result.ok) return;
  const { a, expected, got } = result.counterexample;
  expect(evaluateExact(spec({ scales }), a)).toBe(expected);
  expect(got).not.toBe(expected);
});

describe("classes", () => {
  /** Deterministic value in [lo, hi), log-uniform. */
  const draw = (seed: number, lo: number, hi: number) =>
    fromNumber(Math.fround(lo * (hi / lo) ** ((Math.imul(seed + 1, 2654435761) >>> 0) / 2 ** 32)));
  const product = (s: Rational, t: Rational, u: Rational) =>
    rational(s.num * t.num * u.den, s.den * t.den * u.num);
  /** A convolution's requantization: input and output scale of the tensor, weight scale and bias of each channel. */
  const convolution = (seed: number, channels: number) => {
    const sx = draw(seed, 0.004, 0.06);
    const sy = draw(seed + 1000, 0.01, 0.1);
    const span = 2 ** (15 + (seed % 9));
    return {
      specs: Array.from({ length: channels }, (_, i) =>
        spec({
          scales: [product(sx, draw(seed * 977 + i, 0.001, 0.01), sy)],
          offset: product(draw(seed * 131 + i, 0.01, 2), rational(i % 2 ? 1 : -1), sy),
          zeroPoint: rational(3),
        }),
      ),
      ranges: Array.from({ length: channels }, () => [{ min: -span, max: span - 1 }]),
    };
  };
  test("scales of real networks", () => {
    const seen: Record<string, number> = {};
    for (let t = 0; t < 18; t++) {
      const { specs, ranges } = convolution(t, 8);
      const result = certified(specs, ranges);
      const name = `${result.rescale.class}, n = ${result.rescale.n}`;
      seen[name] = (seen[name] ?? 0) + 1;
      verify(specs, ranges, result);
    }
    console.log("network-like tensors:", seen);
  });

  test("16-bit outputs go to limbs", () => {
    const s = product(draw(7, 0.01, 0.02), draw(8, 0.01, 0.02), draw(9, 1, 2));
    const specs = [
      spec({
        scales: [s],
        offset: rational(1, 3),
        lo: 0,
        hi: 65535,
        zeroPoint: rational(32768),
      }),
    ];
    const ranges = [[{ min: -(2 ** 30), max: 2 ** 30 }]];
    const result = certified(specs, ranges);
    expect(result.rescale.class).toBe("limb");
    expect(result.certificate.mBits).toBeGreaterThan(26);
    verify(specs, ranges, result);
  });

  test("two 16-bit operands certify by the common denominator", () => {
    const ratio = (a: number, b: number) => {
      const [p, q] = [fromNumber(Math.fround(a)), fromNumber(Math.fround(b))];
      return rational(p.num * q.den, p.den * q.num);
    };
    const wide = { min: -32768, max: 32767 };
    for (const rounding of ROUNDINGS) {
      for (const scales of [
        [ratio(0.0123, 0.0177), ratio(0.0101, 0.0177)],
        [rational(1, 2), rational(1, 2)],
        [rational(3, 2), rational(-1, 4)],
        [ratio(0.5, 0.7), rational(1)],
      ]) {
        for (const order of ORDERS) {
          const zeroPoint = order === "shift_then_round" ? rational(1, 2) : rational(5);
          const specs = [spec({ scales, lo: -32768, hi: 32767, rounding, zeroPoint, order })];
          const result = certified(specs, [[wide, wide]]);
          verify(specs, [[wide, wide]], result);
        }
      }
    }
  });

  test("outputs too many to enumerate certify by the common denominator", () => {
    const wide = { lo: -(2 ** 31), hi: 2 ** 31 - 1 };
    for (const rounding of ROUNDINGS) {
      for (const s of [rational(1, 4), rational(-3, 8), rational(5, 7), rational(1, 49)]) {
        const specs = [
          spec({ ...wide, scales: [s], rounding, offset: rational(1, 2), zeroPoint: rational(-3) }),
        ];
        const ranges = [[{ min: -(2 ** 28), max: 2 ** 28 + 5 }]];
        verify(specs, ranges, certified(specs, ranges));
      }
    }
  });

  test("half-even ties of both parities need the tie form, one parity does not", () => {
    const average = spec({ scales: [rational(1, 36)] });
    const both = certified([average], [[{ min: -4000, max: 4000 }]]);
    expect(both.rescale).toMatchObject({ class: "i32", form: "tie", select: "odd" });
    expect(both.certificate.ties).toBe(true);
    const one = certified([average], [[{ min: 0, max: 53 }]]);
    expect(one.rescale.form).toBe("floor");
  });

  test("the two constants of the tie form lie within one step of each other", () => {
    const specs = [
      spec({
        scales: [rational(15736769, 1 << 24)],
        offset: rational(-221, 3),
        rounding: "up",
        lo: -8,
        hi: 7,
      }),
    ];
    const ranges = [[{ min: 0, max: 87 }]];
    const result = certified(specs, ranges);
    // n = 5 has a multiplier for either rule, but no two constants that belong together.
    expect(result.rescale).toMatchObject({ form: "tie", n: 8 });
    verify(specs, ranges, result);
  });

  test("zero scales, constant channels and empty ranges", () => {
    const specs = [
      spec({ scales: [ZERO], offset: rational(77, 3) }),
      spec({ scales: [rational(1, 3)], offset: rational(-5) }),
      spec({ scales: [rational(1, 97)] }),
      spec({ scales: [rational(1, 97)] }),
    ];
    const ranges = [
      [{ min: -1000, max: 1000 }],
      [{ min: 9, max: 9 }],
      [{ min: 5, max: -5 }],
      [{ min: -9999, max: 9998 }],
    ];
    for (const classes of CLASS_SETS) verify(specs, ranges, certified(specs, ranges, classes));
  });

  test("accumulators beyond int32 are refused with the accumulator", () => {
    const result = certify([spec({ scales: [rational(1, 97)] })], [[{ min: 0, max: 2 ** 31 }]]);
    expect(result).toMatchObject({
      ok: false,
      counterexample: { channel: 0, a: [2 ** 31], expected: 127, got: null },
    });
  });

  test("a refusal names an accumulator the best candidate gets wrong", () => {
    const average = spec({ scales: [rational(1, 36)] });
    const result = certify([average], [[{ min: -4000, max: 4000 }]], { classes: ["hi32"] });
    if (result.ok) throw new Error("ties of both parities have no hi32 form");
    const { a, expected, got } = result.counterexample;
    expect(evaluateExact(average, a)).toBe(expected);
    expect(got).not.toBe(expected);
    expect(got).not.toBe(null);
  });

  test("malformed specifications throw", () => {
    const good = spec({ scales: [ONE_THIRD] });
    const r = [[{ min: 0, max: 1 }]];
    expect(() => certify([], [])).toThrow(RangeError);
    expect(() => certify([{ ...good, zeroPoint: ONE_THIRD }], r)).toThrow(/integer zero point/);
    expect(() => certify([{ ...good, lo: 3, hi: 2 }], r)).toThrow(/output range/);
    expect(() => certify([good, { ...good, rounding: "floor" }], [...r, ...r])).toThrow(/share/);
    expect(() => certify([{ ...good, scales: [] }], r)).toThrow(/operands/);
  });
});

describe("the checker rejects what is not certified", () => {
  const specs = [
    spec({ scales: [rational(12345, 1 << 22)], offset: rational(-7, 3), zeroPoint: rational(3) }),
    spec({ scales: [rational(-54321, 1 << 24)], offset: rational(100, 7), zeroPoint: rational(3) }),
  ];
  const ranges = specs.map(() => [{ min: -20_000, max: 16_000 }]);
  const manifestOf = (classes: readonly RescaleClass[]) => {
    const result = certified(specs, ranges, classes);
    const manifest = rescaleManifest(result.rescale, result.certificate, ranges);
    expect(checkRescale(specs, manifest)).toBe(null);
    return { manifest, certificate: result.certificate };
  };
  const replace = <T>(values: readonly T[], at: number, value: T) =>
    values.map((x, i) => (i === at ? value : x));

  for (const classes of [["i32"], ["limb"]] as const) {
    test(`${classes}: c just outside its interval, m + 1, m - 1`, () => {
      const { manifest, certificate } = manifestOf(classes);
      for (const channel of [0, 1]) {
        const { lo, hi } = certificate.intervals[channel] as { lo: bigint; hi: bigint };
        for (const [c, verdict] of [
          [lo, null],
          [hi, null],
          [lo - 1n, channel],
          [hi + 1n, channel],
        ] as const) {
          const changed = { ...manifest, c: replace(manifest.c, channel, String(c)) };
          expect(checkRescale(specs, changed)?.channel ?? null, `c = ${c}`).toBe(verdict);
        }
        for (const step of [1, -1]) {
          const m = [(manifest.m[channel]?.[0] as number) + step];
          const changed = { ...manifest, m: replace(manifest.m, channel, m) };
          expect(checkRescale(specs, changed)).toMatchObject({ channel, reason: "wrong output" });
        }
      }
    });
  }

  test("hi32: a0, h or c that do not belong together, and ones that do but are wrong", () => {
    const { manifest } = manifestOf(["hi32"]);
    const a0 = manifest.a0 as readonly number[];
    const shift = 1n << BigInt(manifest.n);
    for (const channel of [0, 1]) {
      const next = replace(a0, channel, (a0[channel] as number) + 1);
      expect(checkRescale(specs, { ...manifest, a0: next })).toMatchObject({
        channel,
        reason: "c is not a0·m + h·2ⁿ",
      });
      const c = BigInt(manifest.c[channel] as string);
      const m = BigInt(manifest.m[channel]?.[0] as number);
      const moved = { ...manifest, a0: next, c: replace(manifest.c, channel, String(c + m)) };
      expect(checkRescale(specs, moved)).toMatchObject({ channel, reason: "wrong output" });
      const h = replace(manifest.h, channel, (manifest.h[channel] as number) + 1);
      const lifted = { ...manifest, h, c: replace(manifest.c, channel, String(c + shift)) };
      expect(checkRescale(specs, lifted)).toMatchObject({ channel, reason: "wrong output" });
      expect(checkRescale(specs, { ...manifest, h: replace(manifest.h, channel, 40_000) })).not.toBe(null);
    }
  });

  test("lanes that overflow", () => {
    const { manifest } = manifestOf(["i32"]);
    const doubled = {
      ...manifest,
      n: manifest.n + 8,
      m: manifest.m.map((row) => row.map((m) => m * 256)),
      c: manifest.c.map((c) => String(BigInt(c) * 256n)),
    };
    expect(checkRescale(specs, doubled)).toMatchObject({ reason: "sum exceeds 32 bits" });
    expect(checkRescale(specs, { ...doubled, class: "limb", width: 64, L: 0 })).toBe(null);
  });

  test("tie form: constants apart, the wrong choice", () => {
    const average = [spec({ scales: [rational(1, 36)], zeroPoint: rational(5) })];
    const range = [[{ min: -4000, max: 4000 }]];
    const { rescale, certificate } = certified(average, range);
    const manifest = rescaleManifest(rescale, certificate, range);
    expect(checkRescale(average, manifest)).toBe(null);
    expect(checkRescale(average, { ...manifest, select: "negative" })).toMatchObject({
      reason: "wrong output",
    });
    expect(checkRescale(average, { ...manifest, cUp: manifest.c })).toMatchObject({ reason: "wrong output" });
    expect(checkRescale(average, { ...manifest, c: manifest.cUp as readonly string[] })).toMatchObject({
      reason: "wrong output",
    });
    const far = [String(BigInt(manifest.c[0] as string) + (2n << BigInt(manifest.n)))];
    expect(checkRescale(average, { ...manifest, cUp: far })).toMatchObject({
      reason: "up and down too far apart",
    });
  });
});

const ONE_THIRD = rational(1, 3);

describe("more outputs than a list of steps holds, made by few accumulators", () => {
  const S = rational(46837437788953n, 3602879610880n);
  test.each([
    ["both ends reached", S, rational(-46837437788953n, 1759218560n), [-238837, 238576], [-16320, 20400]],
    ["clamped at the top", S, ZERO, [-300000, 200000], [-16320, 20400]],
    ["clamped at both ends", S, ZERO, [-150000, 150000], [-20000, 20000]],
    ["mirrored", rational(-46837437788953n, 3602879610880n), ZERO, [-300000, 300000], [-16320, 20400]],
    [
      "24 bits",
      rational(1234567891n, 3000001n),
      rational(7n, 3n),
      [-(2 ** 23), 2 ** 23 - 1],
      [-16320, 20400],
    ],
    ["ties", rational(4097n, 2n), ZERO, [-(2 ** 25), 2 ** 25 - 1], [-8000, 8000]],
    ["31 bits", rational(987654321n, 10007n), ZERO, [-(2 ** 30), 2 ** 30 - 1], [-10000, 10000]],
  ] as const)("%s", (_, s, b, [lo, hi], [min, max]) => {
    for (const rounding of ROUNDINGS) {
      const one = spec({ scales: [s], offset: b, lo, hi, rounding });
      const found = certify([one], [[{ min, max }]]);
      if (!found.ok) throw new Error(`${rounding}: ${found.counterexample.reason}`);
      for (let a = min; a <= max; a++)
        if (evaluateRescale(found.rescale, 0, [a]) !== evaluateExact(one, [a]))
          throw new Error(`${rounding}: ${a} becomes ${evaluateRescale(found.rescale, 0, [a])}`);
    }
  });
});
