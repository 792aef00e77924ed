/** Schedules decide speed only: every legal one of a kernel gives what the graph interpreter gives, and the cost model picks one. */
import { describe, expect, it } from "vitest";
import { wasmRelaxed, wasmSimd } from "../../compiler/backends/wasm/target.ts";
import { dense } from "../../compiler/ir/dense.ts";
import type { Func } from "../../compiler/ir/module.ts";
import { runPipeline } from "../../compiler/ir/pass.ts";
import { fromNumber, rational } from "../../compiler/ir/rational.ts";
import type { Target } from "../../compiler/ir/target.ts";
import { int, sizeOf, tensor, U8 } from "../../compiler/ir/types.ts";
import { certify } from "../../compiler/passes/certify.ts";
import { lowerContraction } from "../../compiler/passes/lower/contraction.ts";
import { lowerDepthwise } from "../../compiler/passes/lower/depthwise.ts";
import { costOf, legalSchedules, scheduleText } from "../../compiler/passes/lower/schedule/index.ts";
import { type Choice, keyOf, type Schedule } from "../../compiler/passes/lower/schedule/schedule.ts";
import type { Stage } from "../../compiler/passes/lower/stage.ts";
import { randomFrom } from "./rescales.ts";
import { checkStage, placed, randomDense, type StageCase, stageFunc } from "./stages.ts";

interface Shape {
  readonly n?: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly o: number;
  readonly k?: readonly [number, number];
  readonly stride?: number;
  readonly pad?: number;
  readonly groups?: number;
  /** Weights of nine bits: some K-groups take a second byte. */
  readonly wide?: boolean;
  readonly residual?: boolean;
}

const PAD_VALUE = 9;

function caseOf(s: Shape): StageCase {
  const { n = 1, h, w, c, o, k = [1, 1], stride = 1, pad = 0, groups = 1 } = s;
  const random = randomFrom(7);
  const x = tensor([n, h, w, c], U8);
  const limit = s.wide ? 200 : 127;
  const shape = [o, ...k, c / groups];
  const data = Array.from({ length: sizeOf(shape) }, () => random(2 * limit + 1) - limit);
  const scale = (i: number) => fromNumber(Math.fround((1 + (i % 5)) / (40 * c * k[0] * k[1])));
  const requant = { axis: 3, zero_point: rational(3n), lo: 0, hi: 255, offset: [rational(1n, 2n)] };
  const func = stageFunc((b, param) => {
    const weights = dense(int(true, 9), shape, data);
    const value = b.add1("const", [], { value: weights }, { types: [tensor(shape, int(true, 9))] });
    const attrs = { strides: [stride, stride], pads: [pad, pad, pad, pad], dilations: [1, 1], groups };
    const acc = b.add1("qc.conv", [param(x), value], { ...attrs, pad_value: PAD_VALUE });
    const type = tensor(acc.type.shape, U8);
    const scales = [Array.from({ length: o }, (_, i) => scale(i))];
    const y = b.add1(
      "qc.requant",
      [acc],
      { ...requant, scales, offset: scales[0]!.map(() => rational(1n, 2n)) },
      { types: [type] },
    );
    if (!s.residual) return y;
    const both = [[fromNumber(0.75)], [fromNumber(0.5)]];
    return b.add1("qc.requant", [y, param(type)], { ...requant, scales: both }, { types: [type] });
  });
  const certified = runPipeline({ funcs: [func] }, [certify]);
  if (!certified.ok) throw new Error(certified.diagnostics[0]!.message);
  const ready: Func = certified.value.funcs[0]!;
  const halo = pad > 0 ? { halo: { top: pad, left: pad, bottom: pad, right: pad, value: PAD_VALUE } } : {};
  const [first, ...others] = ready.params.map((p) => p.value.type);
  return {
    func: ready,
    args: ready.params.map((p) => randomDense(random, p.value.type)),
    inputs: [placed("x", first!, halo), ...others.map((t) => placed("r", t, {}))],
    output: placed("y", ready.results[0]!.value.type, {}),
  };
}

const SHAPES: readonly (readonly [string, Shape])[] = [
  ["1×1, one run of pixels", { h: 4, w: 8, c: 20, o: 19 }],
  ["1×1, fewer channels than a group", { h: 3, w: 5, c: 3, o: 8 }],
  ["3×3, rows that overlap", { h: 6, w: 5, c: 9, o: 10, k: [3, 3], pad: 1 }],
  ["3×3 of stride 2 in groups", { h: 9, w: 11, c: 8, o: 24, k: [3, 3], stride: 2, pad: 1, groups: 2 }],
  ["two images, weights of nine bits", { n: 2, h: 3, w: 4, c: 13, o: 17, wide: true }],
  ["one position", { h: 1, w: 1, c: 37, o: 43 }],
  ["two images of four positions, weights of nine bits", { n: 2, h: 2, w: 2, c: 18, o: 12, wide: true }],
  ["3×3 of stride 1, whole tiles", { h: 8, w: 6, c: 8, o: 11, k: [3, 3], pad: 1 }],
  [
    "3×3 of stride 1, half tiles at the ends",
    { h: 5, w: 7, c: 12, o: 18, k: [3, 3], pad: 1, residual: true },
  ],
  ["3×3 of stride 1 without padding, two images", { n: 2, h: 5, w: 6, c: 4, o: 8, k: [3, 3] }],
  ["depthwise 3×3", { h: 6, w: 9, c: 32, o: 32, k: [3, 3], pad: 1, groups: 32 }],
  [
    "depthwise 3×3 of stride 2, two images",
    { n: 2, h: 9, w: 11, c: 16, o: 16, k: [3, 3], pad: 1, stride: 2, groups: 16 },
  ],
  ["depthwise 5×5", { h: 7, w: 8, c: 64, o: 64, k: [5, 5], pad: 2, groups: 64 }],
  ["depthwise, one row", { h: 5, w: 11, c: 16, o: 16, k: [1, 7], groups: 16 }],
  ["depthwise, two outputs for each input", { h: 6, w: 7, c: 8, o: 16, k: [3, 3], groups: 8 }],
  ["a residual, weights of nine bits", { h: 4, w: 6, c: 16, o: 12, wide: true, residual: true }],
];

/** Lowers with the wanted schedule, or the cost model's, and tells which it was. */
function lowering(
  target: Target,
  wanted: ReadonlyMap<string, unknown> | undefined,
  tell: (c: Choice) => void,
) {
  return (stage: Stage) => {
    const own = { ...stage, target, tuning: wanted };
    const lowered = lowerDepthwise(own) ?? lowerContraction(own);
    if (lowered?.choice) tell(lowered.choice);
    return lowered;
  };
}

async function choiceOf(
  c: StageCase,
  target: Target,
  wanted?: ReadonlyMap<string, unknown>,
): Promise<Choice> {
  let choice: Choice | undefined;
  await checkStage(
    lowering(target, wanted, (x) => {
      choice = x;
    }),
    c,
  );
  return choice!;
}

describe.each(SHAPES)("%s", (_, shape) => {
  // Relaxed kernels run with their dot product written out, which means the same in every engine.
  it.each([wasmSimd, wasmRelaxed])(
    "every legal schedule of $name gives the interpreter's integers",
    async (target) => {
      const c = caseOf(shape);
      const { key, work, schedule, from } = await choiceOf(c, target);
      expect(from).toBe("cost model");
      const legal = legalSchedules(work, target);
      expect(new Set(legal.map(scheduleText)).size).toBe(legal.length);
      expect(legal).toContainEqual(schedule);
      const costs = legal.map((s) => costOf(s, work, target));
      expect(costs.every((x) => Number.isFinite(x) && x > 0)).toBe(true);
      expect(costOf(schedule, work, target)).toBe(Math.min(...costs));
      for (const s of legal) {
        const got = await choiceOf(c, target, new Map([[key, s]]));
        expect(got).toEqual({ key, work, schedule: s, from: "tuning" });
      }
    },
  );
});

it("a schedule that is not legal is refused, also one that is no schedule at all", async () => {
  const c = caseOf(SHAPES[0]![1]);
  const { key, schedule } = await choiceOf(c, wasmSimd);
  const wrong: readonly unknown[] = [{ ...schedule, rows: 99 }, { ...schedule, extra: 1 }, {}, null, "fast"];
  for (const s of wrong)
    expect(await choiceOf(c, wasmSimd, new Map([[key, s]]))).toMatchObject({
      schedule,
      from: "refused tuning",
    });
  const reordered = Object.fromEntries(Object.entries(schedule as Schedule).reverse());
  expect(await choiceOf(c, wasmSimd, new Map([[key, reordered]]))).toMatchObject({
    schedule,
    from: "tuning",
  });
});

it("keys tell apart what schedules depend on", async () => {
  const keys = new Set<string>();
  for (const [, shape] of SHAPES) {
    const { key, work } = await choiceOf(caseOf(shape), wasmSimd);
    expect(key).toBe(keyOf(work));
    keys.add(key);
  }
  expect(keys.size).toBe(SHAPES.length);
});
