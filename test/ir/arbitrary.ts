/** Random modules for fast-check, driven by the op table. Syntactically whole, not necessarily well typed. */
import fc from "fast-check";
import { denseOf, storageOf } from "../../compiler/ir/dense.ts";
import type { Loc } from "../../compiler/ir/diagnostics.ts";
import type {
  Attr,
  Attrs,
  Boundary,
  Dense,
  Func,
  Module,
  Op,
  Port,
  Value,
} from "../../compiler/ir/module.ts";
import type { AttrKind, OpDef } from "../../compiler/ir/op.ts";
import { OPS } from "../../compiler/ir/ops/index.ts";
import { rational } from "../../compiler/ir/rational.ts";
import {
  type ElemType,
  type FloatType,
  type IntType,
  int,
  intMax,
  intMin,
  sizeOf,
  type TensorType,
} from "../../compiler/ir/types.ts";

const number = fc.oneof(
  fc.double(),
  fc.float(),
  fc.integer(),
  fc.constantFrom(-0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1e21, 5e-324),
);
const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
const intType: fc.Arbitrary<IntType> = fc
  .tuple(fc.boolean(), fc.integer({ min: 1, max: 32 }))
  .map(([signed, bits]) => int(signed, bits));
const floatType: fc.Arbitrary<FloatType> = fc
  .constantFrom<16 | 32 | 64>(16, 32, 64)
  .map((bits) => ({ kind: "float", bits }));
const plainElem = fc.oneof(intType, floatType);
/** Lists that sometimes exceed what prints in place. */
const listOf = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.array(item, { maxLength: 5 }) },
    { weight: 1, arbitrary: fc.array(item, { minLength: 30, maxLength: 40 }) },
  );

const elem: fc.Arbitrary<ElemType> = fc.oneof(
  plainElem,
  fc
    .tuple(intType, fc.boolean(), fc.nat(), fc.nat(), number, fc.double({ noNaN: true }))
    .map(([storage, whole, a, b, scale, zeroPoint]): ElemType => {
      const span = intMax(storage) - intMin(storage) + 1;
      const lo = whole ? intMin(storage) : intMin(storage) + (a % span);
      const hi = whole ? intMax(storage) : intMin(storage) + (b % span);
      return { kind: "quant", storage, lo, hi, scheme: { kind: "tensor", scale, zeroPoint } };
    }),
  fc.tuple(intType, fc.nat(3), listOf(fc.tuple(number, fc.constantFrom(0, 3, -0.5)))).map(
    ([storage, axis, list]): ElemType => ({
      kind: "quant",
      storage,
      lo: intMin(storage),
      hi: intMax(storage),
      scheme: { kind: "axis", axis, scales: list.map((x) => x[0]), zeroPoints: list.map((x) => x[1]) },
    }),
  ),
);
const type: fc.Arbitrary<TensorType> = fc.record({ shape, elem });

const dense: fc.Arbitrary<Dense> = fc.tuple(shape, plainElem).chain(([s, e]) =>
  fc
    .array(e.kind === "float" ? number : fc.integer({ min: intMin(e), max: intMax(e) }), {
      minLength: sizeOf(s),
      maxLength: sizeOf(s),
    })
    .map((values) => denseOf({ shape: s, elem: storageOf(e) }, values)),
);
const aRational = fc
  .tuple(fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }), fc.bigInt({ min: 1n, max: 2n ** 80n }))
  .map(([n, d]) => rational(n, d));

/** Any attribute, nested a little. */
export const anyAttr: fc.Arbitrary<Attr> = fc.letrec<{ attr: Attr }>((tie) => ({
  attr: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false),
    number,
    fc.bigInt(),
    fc.string({ unit: "binary" }),
    aRational,
    dense,
    fc.array(tie("attr"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("func", "data", "null", "__proto__")), tie("attr"), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  ),
})).attr;

/** Attributes of a kind. */
export function attrOf(kind: AttrKind): fc.Arbitrary<Attr> {
  if (typeof kind === "object") return fc.constantFrom(...kind.oneOf);
  const small = fc.integer({ min: -3, max: 5 });
  switch (kind) {
    case "bool":
      return fc.boolean();
    case "int":
      return fc.oneof(small, fc.integer());
    case "bigint":
      return fc.bigInt();
    case "float":
      return number;
    case "string":
      return fc.string();
    case "ints":
      return listOf(small);
    case "floats":
      return listOf(number);
    case "rational":
      return aRational;
    case "rationals":
      return listOf(aRational);
    case "rationalLists":
      return fc.array(listOf(aRational), { maxLength: 3 });
    case "dense":
      return dense;
    case "dict":
      return fc.dictionary(fc.string(), anyAttr, { maxKeys: 3, noNullPrototype: true });
    case "any":
      return anyAttr;
  }
}

const attrsOf = (def: OpDef): fc.Arbitrary<Attrs> =>
  fc.record(
    Object.fromEntries(
      Object.entries(def.attrs).map(([name, { kind, default: fallback }]) => [
        name,
        fallback === undefined ? attrOf(kind) : fc.oneof(fc.constant(fallback), attrOf(kind)),
      ]),
    ),
    { noNullPrototype: true },
  );

const hint = fc.oneof(fc.constantFrom("", "x", "x_1", "conv1/w:0", "3", "3d", "_", "é"), fc.string());
const aValue: fc.Arbitrary<Value> = fc.record({ name: hint, type });

const loc: fc.Arbitrary<Loc> = fc.oneof(
  fc.record({ kind: fc.constant("tensor" as const), name: fc.string() }),
  fc.record({ kind: fc.constant("node" as const), op: fc.string(), name: fc.string(), output: fc.string() }),
  fc.constant<Loc>({ kind: "fused", locs: [{ kind: "pass", pass: "p", at: { kind: "file", path: "f" } }] }),
);

const boundary: fc.Arbitrary<Boundary> = fc.oneof(
  fc.constant<Boundary>({ kind: "none" }),
  fc.record({
    kind: fc.constant("quantize" as const),
    scale: number,
    zeroPoint: number,
    lo: number,
    hi: number,
  }),
  fc.record({
    kind: fc.constant("thresholds" as const),
    sign: fc.constantFrom<1 | -1>(1, -1),
    thresholds: listOf(number),
    lo: number,
    hi: number,
  }),
  fc.record({
    kind: fc.constant("dequantize" as const),
    axis: fc.nat(3),
    scales: listOf(number),
    zeroPoints: listOf(number),
  }),
);
const portOf = (value: Value): fc.Arbitrary<Port> =>
  fc.record({
    value: fc.constant(value),
    name: fc.string(),
    dtype: fc.constantFrom("", "float32", "uint8"),
    boundary,
  });

const opOf = (seen: readonly Value[]): fc.Arbitrary<Op> =>
  fc.constantFrom(...OPS).chain((def) => {
    const variadic = def.operands.at(-1)?.endsWith("…") === true;
    const n = def.operands.length;
    const operands =
      seen.length === 0
        ? fc.constant<Value[]>([])
        : fc.array(fc.constantFrom(...seen), {
            minLength: variadic ? n - 1 : n,
            maxLength: variadic ? n + 2 : n,
          });
    const results = fc.array(aValue, { minLength: 1, maxLength: def.name === "qc.call" ? 3 : 1 });
    return fc
      .tuple(operands, attrsOf(def), results, fc.option(loc, { nil: undefined }))
      .map(([o, attrs, r, l]): Op => {
        const op = { name: def.name, operands: o, attrs, results: r };
        return l === undefined ? op : { ...op, loc: l };
      });
  });

const opsOf = (seen: readonly Value[], left: number): fc.Arbitrary<readonly Op[]> =>
  left === 0
    ? fc.constant([])
    : opOf(seen).chain((op) =>
        opsOf([...seen, ...op.results], left - 1).map((rest): readonly Op[] => [op, ...rest]),
      );

const funcNamed = (name: string): fc.Arbitrary<Func> =>
  fc
    .tuple(fc.array(aValue, { maxLength: 3 }), fc.nat(5))
    .chain(([inputs, n]) => fc.tuple(fc.tuple(...inputs.map(portOf)), opsOf(inputs, n)))
    .chain(([params, ops]) => {
      const values = [...params.map((p) => p.value), ...ops.flatMap((o) => o.results)];
      const results =
        values.length === 0
          ? fc.constant<Port[]>([])
          : fc.array(fc.constantFrom(...values).chain(portOf), { maxLength: 3 });
      return results.map((r): Func => ({ name, params, ops, results: r }));
    });

/** Modules of one to three functions. */
export const anyModule: fc.Arbitrary<Module> = fc
  .uniqueArray(fc.oneof(fc.constantFrom("main", "f", "g"), fc.string()), { minLength: 1, maxLength: 3 })
  .chain((names) => fc.tuple(...names.map(funcNamed)))
  .map((funcs): Module => ({ funcs }));
