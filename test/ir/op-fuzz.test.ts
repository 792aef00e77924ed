/** Every op of the table: whatever inference accepts, evaluation computes, with results of the inferred types. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { storageOf } from "../../compiler/ir/dense.ts";
import type { Attr, Attrs, Dense } from "../../compiler/ir/module.ts";
import type { AttrKind, OpDef } from "../../compiler/ir/op.ts";
import { OPS } from "../../compiler/ir/ops/index.ts";
import { rational } from "../../compiler/ir/rational.ts";
import { certify } from "../../compiler/ir/rescale/index.ts";
import {
  type ElemType,
  F32,
  F64,
  I8,
  I32,
  int,
  intMax,
  intMin,
  sameElem,
  sizeOf,
  type TensorType,
} from "../../compiler/ir/types.ts";
import { typeFault } from "../../compiler/ir/verifier.ts";
import { randomDense, randomWords } from "../random-inputs.ts";

/** Draws for one trial, from a seed. */
function drawer(seed: number) {
  const word = randomWords(seed);
  const below = (n: number): number => Math.floor((word() / 2 ** 32) * n);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const many = <T>(n: number, f: () => T): T[] => Array.from({ length: n }, f);
  return { word, below, pick, many };
}
type Draw = ReturnType<typeof drawer>;

const quant = (axis: number | undefined, n: number): ElemType => ({
  kind: "quant",
  storage: I8,
  lo: -127,
  hi: 127,
  scheme:
    axis === undefined
      ? { kind: "tensor", scale: 0.5, zeroPoint: 3 }
      : {
          kind: "axis",
          axis,
          scales: Array.from({ length: n }, (_, i) => 1 + i),
          zeroPoints: new Array<number>(n).fill(0),
        },
});

function type(d: Draw, float: boolean, rank: number): TensorType {
  const shape = d.many(rank, () => 1 + d.below(3));
  const axis = d.below(Math.max(rank, 1));
  const integers = [I8, int(false, 4), int(true, 6), I8];
  const quants = rank > 0 ? [quant(undefined, 0), quant(axis, shape[axis]!)] : [quant(undefined, 0)];
  const elems = float ? [F32, F64] : [...integers, ...quants];
  return { shape, elem: d.pick<ElemType>(elems) };
}

/** Attributes with one entry per spatial axis. */
const SPATIAL = new Set(["kernel", "strides", "dilations"]);

function attribute(d: Draw, name: string, kind: AttrKind, rank: number, table: Dense): Attr {
  if (typeof kind === "object") return d.pick(kind.oneOf);
  const general = [rank, rank, 2 * (rank - 2), rank - 2, 2, 1].filter((n) => n >= 0);
  const length = SPATIAL.has(name) ? Math.max(rank - 2, 0) : d.pick(general);
  const small = () => rational(d.below(5) - 2, 1 + d.below(3));
  switch (kind) {
    case "bool":
      return d.below(2) === 1;
    case "int":
      // The only one that goes with a small epsilon.
      return name === "epsilon_bits" ? 60 : d.pick([0, 1, 2, 3, -1, -128, 127]);
    case "bigint":
      return BigInt(1 + d.below(9));
    case "float":
      return d.pick([0, 1, -1, 0.5, Number.POSITIVE_INFINITY]);
    case "string":
      return "f";
    case "ints":
      return d.many(length, () => d.pick([0, 1, 1, 1, 2, 3]));
    case "floats":
      return d.many(length, () => 0.5);
    case "rational":
      return rational(d.below(3));
    case "rationals":
      return d.many(1 + d.below(2), small);
    case "rationalLists":
      return d.many(1 + d.below(2), () => d.many(1 + d.below(2), small));
    case "dense":
      if (name === "thresholds") return d.pick(STEPS);
      return name === "factor" || name === "offset" ? SCALAR : table;
    case "dict": {
      const spec = {
        scales: [rational(1, 3)],
        offset: rational(0),
        zeroPoint: rational(0),
        lo: -128,
        hi: 127,
      };
      const exact = { ...spec, rounding: "half_even", order: "round_then_shift" } as const;
      const c = certify([exact], [[{ min: -128, max: 127 }]]);
      if (!c.ok) throw new Error("1/3 certifies");
      return c.rescale as unknown as Attr;
    }
    case "any":
      return null;
  }
}

/** A table that covers every 8-bit index. */
const TABLE: Dense = {
  kind: "dense",
  elem: I32,
  shape: [512],
  data: Int32Array.from({ length: 512 }, (_, i) => i + 1),
};

/** Thresholds of integers and of real numbers. */
const STEPS: readonly Dense[] = [
  { kind: "dense", elem: I32, shape: [1, 3], data: Int32Array.of(-9, 0, 40) },
  { kind: "dense", elem: { kind: "float", bits: 64 }, shape: [1, 3], data: Float64Array.of(-0.5, 0, 0.3) },
];

/** Broadcasts to everything. */
const SCALAR: Dense = { kind: "dense", elem: I32, shape: [], data: Int32Array.of(2 ** 30) };

/** One random instance of an op; `undefined` if inference refuses it. */
function instance(def: OpDef, seed: number) {
  const d = drawer(seed);
  const rank = d.pick([4, 4, 3, 2, 2, 1, 0]);
  const float = def.traits.includes("float") && !["quant.dequantize", "float.from_int"].includes(def.name);
  const variadic = def.operands.at(-1)?.endsWith("…") === true;
  const count = variadic ? def.operands.length - 1 + d.below(3) : def.operands.length;
  const first = type(d, float || d.below(4) === 0, rank);
  const types = d.many(count, () => (d.below(2) === 0 ? first : type(d, float, rank)));
  if (def.operands[0] === "condition") types[0] = { shape: types[0]!.shape, elem: int(false, 1) };
  const attrs: Attrs = Object.fromEntries(
    Object.entries(def.attrs).map(([name, a]) => [
      name,
      a.default !== undefined && d.below(3) > 0 ? a.default : attribute(d, name, a.kind, rank, TABLE),
    ]),
  );
  const declared: TensorType[] = [
    { shape: d.pick([first.shape, [1]]), elem: d.pick<ElemType>([I32, I32, quant(undefined, 0)]) },
  ];
  const results = def.infer(types, attrs, declared);
  return typeof results === "string" ? undefined : { d, types, attrs, results };
}

/** Calls, and ops whose operands are of several kinds and sizes: compiler/ir/ops/quant-blocks.test.ts. */
const skipped = new Set(["qc.call", "quant.dequantize_blocks", "float.matmul_blocks", "float.gather_blocks"]);

test.each(OPS.filter((def) => !skipped.has(def.name)).map((def) => [def.name, def] as const))(
  "%s",
  (_, def) => {
    let ran = 0;
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const made = instance(def, seed);
        if (!made) return;
        const { types, attrs, results } = made;
        for (const t of results) expect(typeFault(t)).toBe(undefined);
        const args = types.map((t) => randomDense(t, made.d.word));
        const got = evaluate(def, args, attrs, results, types);
        if (got === undefined) return;
        ran++;
        expect(got.length).toBe(results.length);
        results.forEach((t, i) => {
          const { shape, elem, data } = got[i]!;
          expect(shape).toEqual(t.shape);
          expect(data.length).toBe(sizeOf(t.shape));
          const want = storageOf(t.elem);
          if (want.kind === "float") {
            expect(elem.kind).toBe("float");
            return;
          }
          expect(sameElem(elem, want)).toBe(true);
          const [lo, hi] = [intMin(want), intMax(want)];
          expect(data.every((v) => Number.isInteger(v) && v >= lo && v <= hi)).toBe(true);
        });
      }),
      { numRuns: 3000, seed: 1 },
    );
    expect(ran, "instances that inference accepts").toBeGreaterThan(0);
  },
);

/** Results, or `undefined` where the op's own contract (a range, a table's domain) is broken by the random values. */
function evaluate(
  def: OpDef,
  args: readonly Dense[],
  attrs: Attrs,
  results: readonly TensorType[],
  types: readonly TensorType[],
) {
  try {
    return def.evaluate(args, attrs, results, types);
  } catch (e) {
    if (e instanceof RangeError && /outside|exceed/.test(e.message)) return undefined;
    throw e;
  }
}
