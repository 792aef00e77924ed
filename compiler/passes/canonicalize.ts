/** Local simplifications of the integer graph; every rule is exact on the reachable values. */
import type { Attr, Dense, Op, Value } from "../ir/module.ts";
import { attr } from "../ir/op.ts";
import { definePass } from "../ir/pass.ts";
import { add, eq, ONE, type Rational, sign } from "../ir/rational.ts";
import type { Rule, RuleContext } from "../ir/rewriter.ts";
import { intMax, intMin, intTypeFor, sameElem, tensor } from "../ir/types.ts";

const range = (v: Value): [number, number] => {
  const e = v.type.elem;
  if (e.kind !== "int") throw new Error("integer graph expected");
  return [intMin(e), intMax(e)];
};

const options = (op: Op) => ({
  loc: op.loc,
  names: op.results.map((r) => r.name),
  types: op.results.map((r) => r.type),
});

/** requant(x; S = 1, B + z = 0) = clamp(x, lo, hi). */
const unitRequant: Rule = {
  name: "unit-requant",
  ops: ["qc.requant"],
  rewrite: (op, operands, ctx) => {
    const [x] = operands;
    const scales = attr<readonly (readonly Rational[])[]>(op, "scales");
    const z = attr<Rational>(op, "zero_point");
    if (operands.length !== 1 || x!.type.shape.length !== op.results[0]!.type.shape.length) return undefined;
    if (!scales[0]!.every((s) => eq(s, ONE))) return undefined;
    if (!attr<readonly Rational[]>(op, "offset").every((b) => sign(add(b, z)) === 0)) return undefined;
    return [ctx.b.add1("qc.clamp", [x!], { lo: op.attrs.lo!, hi: op.attrs.hi! }, options(op))];
  },
};

/** clamp(x, lo, hi) = x where x's type already lies in [lo, hi]; otherwise it is narrowed to what remains. */
const idleClamp: Rule = {
  name: "idle-clamp",
  ops: ["qc.clamp"],
  rewrite: (op, [x], ctx) => {
    const [min, max] = range(x!);
    const lo = attr<number>(op, "lo");
    const hi = attr<number>(op, "hi");
    if (lo <= min && max <= hi) return [x!];
    const elem = intTypeFor(Math.max(lo, Math.min(min, hi)), Math.min(hi, Math.max(max, lo)));
    if (elem === undefined || sameElem(elem, op.results[0]!.type.elem)) return undefined;
    return [ctx.b.add1("qc.clamp", [x!], op.attrs, { ...options(op), types: [tensor(x!.type.shape, elem)] })];
  },
};

/** clamp(requant(…; lo′, hi′), lo, hi) = requant(…; the nested bounds), when nothing else reads the inner value. */
const clampIntoRequant: Rule = {
  name: "clamp-into-requant",
  ops: ["qc.clamp"],
  rewrite: (op, [x], ctx) => {
    const inner = ctx.def(x!);
    if (inner?.name !== "qc.requant" || ctx.useCount(x!) > 1) return undefined;
    const within = (v: number) => Math.min(Math.max(v, attr<number>(op, "lo")), attr<number>(op, "hi"));
    const lo = within(attr<number>(inner, "lo"));
    const hi = within(attr<number>(inner, "hi"));
    const elem = intTypeFor(lo, hi);
    if (elem === undefined) return undefined;
    return [
      ctx.b.add1(
        "qc.requant",
        inner.operands,
        { ...inner.attrs, lo, hi },
        { ...options(op), loc: inner.loc, types: [tensor(x!.type.shape, elem)] },
      ),
    ];
  },
};

/** table(table(x)) = one table. */
const composeTables: Rule = {
  name: "compose-tables",
  ops: ["qc.table"],
  rewrite: (op, [x], ctx) => {
    const inner = ctx.def(x!);
    if (inner?.name !== "qc.table" || ctx.useCount(x!) > 1) return undefined;
    const outerTable = attr<Dense>(op, "table");
    const innerTable = attr<Dense>(inner, "table");
    const min = attr<number>(op, "min");
    const data = Int32Array.from(innerTable.data, (v) => outerTable.data[v - min]!);
    const table = { ...outerTable, shape: innerTable.shape, data } satisfies Attr;
    return [ctx.b.add1("qc.table", inner.operands, { table, min: attr<number>(inner, "min") }, options(op))];
  },
};

/** conv(pad(x, v)) = conv(x; pads + the padding) when v is what the conv's own padding reads, or it has none; likewise sum_pool. */
const padIntoWindow: Rule = {
  name: "pad-into-window",
  ops: ["qc.conv", "qc.sum_pool"],
  rewrite: (op, [x, ...rest], ctx) => {
    const pad = ctx.def(x!);
    if (pad?.name !== "layout.pad" || attr<string>(pad, "mode") !== "constant") return undefined;
    const before = attr<readonly number[]>(pad, "before");
    const after = attr<readonly number[]>(pad, "after");
    const spatialOnly = [0, 3].every((a) => before[a] === 0 && after[a] === 0);
    if (!spatialOnly || [...before, ...after].some((p) => p < 0)) return undefined;
    const pads = attr<readonly number[]>(op, "pads");
    const value = attr<number>(pad, "value");
    if (pads.some((p) => p > 0) && attr<number>(op, "pad_value") !== value) return undefined;
    const sum = [before[1]!, before[2]!, after[1]!, after[2]!].map((p, i) => p + pads[i]!);
    return [
      ctx.b.add1(
        op.name,
        [pad.operands[0]!, ...rest],
        { ...op.attrs, pads: sum, pad_value: value },
        options(op),
      ),
    ];
  },
};

/** reshape(pad…) and friends stay; a pad of nothing is the identity. */
const idlePad: Rule = {
  name: "idle-pad",
  ops: ["layout.pad"],
  rewrite: (op, [x]) =>
    [...attr<readonly number[]>(op, "before"), ...attr<readonly number[]>(op, "after")].every((p) => p === 0)
      ? [x!]
      : undefined,
};

/** add_const(add_const(x, a), b) = add_const(x, a + b); add_const(x, 0) = x. */
const mergeAddConst: Rule = {
  name: "merge-add-const",
  ops: ["qc.add_const"],
  rewrite: (op, [x], ctx: RuleContext) => {
    const value = attr<number>(op, "value");
    if (value === 0 && sameElem(x!.type.elem, op.results[0]!.type.elem)) return [x!];
    const inner = ctx.def(x!);
    if (inner?.name !== "qc.add_const") return undefined;
    return [
      ctx.b.add1(
        "qc.add_const",
        inner.operands,
        { value: value + attr<number>(inner, "value") },
        options(op),
      ),
    ];
  },
};

/**
 * matmul(a, transpose(x, p)), where p brings the last axis to the place before: the product reads columns of b as rows of x, and
 * what is left of p keeps the last axis.
 */
const transposeIntoMatmul: Rule = {
  name: "transpose-into-matmul",
  ops: ["qc.matmul"],
  rewrite: (op, [a, b], ctx) => {
    const t = ctx.def(b!);
    const last = b!.type.shape.length - 1;
    if (t?.name !== "layout.transpose") return undefined;
    const p = attr<readonly number[]>(t, "perm");
    if (p[last - 1] !== last) return undefined;
    const perm = [...p.slice(0, -2), p[last]!, p[last - 1]!];
    const rows = perm.every((axis, i) => axis === i)
      ? t.operands[0]!
      : ctx.b.add1("layout.transpose", t.operands, { perm }, { loc: t.loc, names: [b!.name] });
    const attrs = { ...op.attrs, transpose_b: !attr<boolean>(op, "transpose_b") };
    return [ctx.b.add1("qc.matmul", [a!, rows], attrs, options(op))];
  },
};

export const canonicalize = definePass({
  name: "canonicalize",
  summary:
    "Drop identities, compose tables and clamps, fold padding and transposes into the windows and products that read them.",
  rules: [
    unitRequant,
    idleClamp,
    clampIntoRequant,
    composeTables,
    padIntoWindow,
    idlePad,
    mergeAddConst,
    transposeIntoMatmul,
  ],
});
